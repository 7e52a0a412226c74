"""Boxes hold every state that walks pass through, and everything that bent layers make of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from sensx_sc.core.sampling import Design, orders
from sensx_sc.evaluators.graph.bends import Affine
from sensx_sc.evaluators.stem import reach
from sensx_sc.evaluators.stem.reach import Reach, reach_of_walks
from sensx_sc.evaluators.stem.stem import Branch, Stem
from sensx_sc.evaluators.stem.turns import families

if TYPE_CHECKING:
    from torch import Tensor

N, H = 90, 7


def walks(block: int, n_branches: int) -> tuple[Stem, Tensor, list[Tensor], np.ndarray]:
    """A stem, states at the start, moves and orders of one block."""
    torch.manual_seed(block)
    branches = tuple(
        Branch(torch.randn(N, H, dtype=torch.float64), torch.randn(H, dtype=torch.float64), None)
        for _ in range(n_branches)
    )
    start = torch.randn(block, n_branches * H, dtype=torch.float64)
    moves = [torch.randn(block, N, dtype=torch.float64) for _ in branches]
    order = orders(3, 4, Design("balanced", block, 1), range(1), N, np.arange(N))
    return Stem(branches, torch.nn.Identity()), start, moves, order


def visited(stem: Stem, start: Tensor, moves: list[Tensor], order: np.ndarray) -> Tensor:
    """Every state of the walks, the sum of all branches, (W, N + 1, H)."""
    states = []
    for w, steps in enumerate(torch.as_tensor(order.copy())):
        moved = sum(
            branch.weight[steps] * move[w, steps, None]
            for branch, move in zip(stem.branches, moves, strict=True)
        )
        first = start[w].reshape(-1, H).sum(dim=0)
        states.append(torch.cat([first[None], first + moved.cumsum(dim=0)]))
    return torch.stack(states)


@pytest.mark.parametrize("stretch", [1, 4, 1000])
@pytest.mark.parametrize("n_branches", [1, 2])
@pytest.mark.parametrize("block", [4, 20])
def test_boxes_hold_all_states(
    block: int, n_branches: int, stretch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reach, "_STRETCH", stretch)
    stem, start, moves, order = walks(block, n_branches)
    ((_, turns),) = families(order, 32)
    boxes = reach_of_walks(stem, start, moves, torch.arange(N), turns)
    assert boxes.centre.shape == boxes.radius.shape
    low = (boxes.centre - boxes.radius).amin(dim=0)[:, None]
    high = (boxes.centre + boxes.radius).amax(dim=0)[:, None]
    states = visited(stem, start, moves, order)
    assert (states >= low - 1e-9).all()
    assert (states <= high + 1e-9).all()
    if stretch == 1 and n_branches == 1:  # a step ends where its box does
        torch.testing.assert_close(states.amin(dim=1, keepdim=True), low)
        torch.testing.assert_close(states.amax(dim=1, keepdim=True), high)


def test_boxes_of_the_memory_that_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    stem, start, moves, order = walks(20, 1)
    ((_, turns),) = families(order, 32)
    monkeypatch.setattr(reach, "_STRETCH", 1)
    monkeypatch.setattr(reach, "_BYTES", 8 * 20 * H * 5)
    boxes = reach_of_walks(stem, start, moves, torch.arange(N), turns)
    assert len(boxes.centre) <= 5 + 10  # every turn begins a stretch


@pytest.mark.parametrize("slope", [0.0, 0.3, 1.0])
def test_boxes_go_through_layers(slope: float) -> None:
    torch.manual_seed(1)
    box = Reach(torch.randn(3, 2, H), torch.rand(3, 2, H))
    layer = Affine(torch.randn(H, 5), torch.randn(5))
    mapped, bent = box.mapped(layer), box.bent(slope)
    inside = box.centre + box.radius * (2 * torch.rand(4000, 3, 2, H) - 1)
    for made, points in (
        (mapped, inside @ layer.weight + layer.bias),
        (bent, torch.where(inside > 0, inside, slope * inside)),
    ):
        assert ((points - made.centre).abs() <= made.radius + 1e-5).all()
    # They are no larger than they must be.
    corner = box.centre[..., None] + box.radius[..., None] * layer.weight.sign()
    top = (corner * layer.weight).sum(dim=-2) + layer.bias
    torch.testing.assert_close(mapped.centre + mapped.radius, top)


def test_sides() -> None:
    centre = torch.tensor([[[2.0, -2.0, 0.5, 0.0, 0.0]], [[1.0, -1.0, 2.0, 0.0, 1.0]]])
    radius = torch.tensor([[[1.0, 2.0, 1.0, 0.0, 0.0]], [[1.0, 0.5, 1.0, 0.0, float("nan")]]])
    assert Reach(centre, radius).sides().tolist() == [1, -1, 0, 1, 0]
