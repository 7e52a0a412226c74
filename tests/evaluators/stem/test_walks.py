"""Walks of related orders share the rows of A; single steps are evaluated on their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

import sensx_sc as sx
from sensx_sc.core import make_domain
from sensx_sc.core.sampling import Design, endpoints, orders
from sensx_sc.core.walks import place
from sensx_sc.evaluators import DenseEvaluator
from sensx_sc.evaluators.choose import choose_evaluator
from sensx_sc.evaluators.stem import evaluator
from sensx_sc.evaluators.stem.evaluator import StemEvaluator
from sensx_sc.evaluators.stem.turns import families
from sensx_sc.evaluators.walk_set import WalkSet
from sensx_sc.models.qoi import make_response

if TYPE_CHECKING:
    from sensx_sc.evaluators.protocol import Floats
    from sensx_sc.evaluators.stem.stem import Stem

N = 150


class TwoBranches(nn.Module):
    """One layer reads the input as it is, one its logarithm."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(N, 6), nn.Linear(N, 5)
        self.last = nn.Linear(11, 3)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        both = [self.first(rows), self.second(torch.log1p(rows))]
        return self.last(torch.tanh(torch.cat(both, dim=1)))


NETS = {
    "wide": lambda: nn.Sequential(nn.Linear(N, 70), nn.ReLU(), nn.Linear(70, 4)),
    "narrow": lambda: nn.Sequential(nn.Linear(N, 3), nn.Tanh(), nn.Linear(3, 2)),
    "logistic": lambda: nn.Linear(N, 1),
    "two branches": TwoBranches,
}
DESIGNS = [Design("balanced", 20, 2), Design("balanced", 2, 5), Design("uniform", 1, 37)]


@pytest.fixture
def cells(rng: np.random.Generator) -> Floats:
    return rng.random((2, N)) * (rng.random((2, N)) < 0.4)


def drawn(
    design: Design,
    cells: Floats,
    mask: np.ndarray | None,
    slow: DenseEvaluator,
    targets: tuple[int, int] = (0, 0),
) -> WalkSet:
    domain = make_domain(0, 5, N, mask=mask)
    blocks, free = range(design.n_blocks), domain.free
    order = [orders(0, k, design, blocks, N, free) for k in range(len(cells))]
    end = [
        place(endpoints(0, k, design, blocks, N, free), x, domain, 0.5) for k, x in enumerate(cells)
    ]
    cell = np.repeat(np.arange(len(cells)), design.n_walks)
    target = np.array(targets)
    q_x = slow.at(cells, target)
    return WalkSet(cells, target, q_x, cell, free, np.concatenate(end), np.concatenate(order))


def both(net: nn.Module, cells: Floats) -> tuple[StemEvaluator, DenseEvaluator]:
    response = make_response(sx.models.as_model(net.double().eval()), "probability")
    fast, why = choose_evaluator(response, np.dtype(np.float64), 512, cells)
    assert isinstance(fast, StemEvaluator), why
    return fast, DenseEvaluator(response, np.dtype(np.float64), 512)


@pytest.mark.parametrize("cache", [0, 2**20], ids=["shared", "apart"])
@pytest.mark.parametrize("state_bytes", [2**12, 2**21])
@pytest.mark.parametrize("masked", [False, True], ids=["all", "masked"])
@pytest.mark.parametrize("design", DESIGNS, ids=lambda design: f"{design.name} {design.block}")
@pytest.mark.parametrize("name", NETS)
def test_walks_and_steps_are_those_of_dense_evaluation(
    name: str,
    design: Design,
    masked: bool,
    state_bytes: int,
    cache: int,
    cells: Floats,
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(evaluator, "_CACHE_BYTES", cache)
    monkeypatch.setattr(evaluator, "_STATE_BYTES", state_bytes)
    torch.manual_seed(3)
    fast, slow = both(NETS[name](), cells)
    mask = rng.random(N) < 0.7 if masked else None
    last = fast.response.outputs(torch.as_tensor(cells)).shape[1] - 1
    walks = drawn(design, cells, mask, slow, (0, last))
    walked = slow.walks(walks)
    np.testing.assert_allclose(fast.walks(walks), walked, rtol=1e-9, atol=1e-9)
    chosen = rng.permutation(walks.n_steps)[:13]
    change, before = np.empty_like(walked), walks.q_x[walks.cell, None]
    np.put_along_axis(change, walks.order, np.diff(walked, axis=1, prepend=before), axis=1)
    for each in (fast, slow):
        stepped = each.steps(walks, chosen)
        np.testing.assert_allclose(stepped, change[:, chosen], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("chosen", [[], [0], list(range(N))])
def test_any_number_of_steps(chosen: list[int], cells: Floats) -> None:
    fast, slow = both(NETS["wide"](), cells)
    walks = drawn(DESIGNS[0], cells, None, slow)
    of_some = np.array(chosen, dtype=np.int64)
    got, expected = (one.steps(walks, of_some) for one in (fast, slow))
    assert got.shape == (len(walks.order), len(chosen))
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-10)


def test_families_of_related_orders(rng: np.random.Generator) -> None:
    base = rng.permutation(40)
    related = [base, np.roll(base, -7), np.roll(base, -7)[::-1], base[::-1], np.roll(base, 1)]
    other = [rng.permutation(40) for _ in range(7)]
    order = np.array([*other[:3], *related, *other[3:]])
    found = list(families(order, 3))
    assert [(part.start, part.stop) for part, _ in found] == [(0, 3), (3, 8), (8, 11), (11, 12)]
    turns = [turns for _, turns in found]
    assert turns[0] is turns[2] is turns[3] is None
    assert turns[1].turn.tolist() == [0, 7, 7, 0, 39]
    assert turns[1].backward.tolist() == [False, False, True, True, False]


def test_nearly_related_orders_are_not_claimed(rng: np.random.Generator) -> None:
    base = rng.permutation(60)
    swapped = base.copy()
    swapped[[40, 41]] = swapped[[41, 40]]
    found = list(families(np.array([base, swapped, base, base, swapped]), 32))
    assert [turns for _, turns in found] == [None]


def test_the_head_sees_two_states_a_step(cells: Floats, monkeypatch: pytest.MonkeyPatch) -> None:
    fast, slow = both(NETS["wide"](), cells)
    walks = drawn(DESIGNS[0], cells, None, slow)
    rows: list[int] = []
    whole = type(fast.stem).outputs

    def counting(self: Stem, states: torch.Tensor) -> torch.Tensor:
        rows.append(len(states))
        return whole(self, states)

    monkeypatch.setattr(type(fast.stem), "outputs", counting)
    fast.steps(walks, np.array([4, 90]))
    assert sum(rows) == 2 * 2 * len(walks.order)


class Curved(nn.Module):
    """A stem on a function of each feature."""

    def __init__(self, phi: Any) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.phi, self.first, self.last = phi, nn.Linear(N, 6), nn.Linear(6, 2)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.last(torch.tanh(self.first(self.phi(rows))))


CURVES = {
    "pole": lambda rows: 1 / (rows - 0.5),
    "huge": lambda rows: torch.clamp(1 / (rows - 0.5), -1e300, 1e300),
    "steep": lambda rows: torch.exp(200 * rows) * 1e-80,
}


@pytest.mark.parametrize("name", CURVES)
def test_sums_that_would_lose_their_precision_are_not_made(name: str, cells: Floats) -> None:
    cells = cells.copy()
    cells[0, 3] = 0.5  # on the pole: what follows the step away from it must recover
    fast, slow = both(Curved(CURVES[name]), cells + 0.1)
    chosen = np.array([3, 70])
    with np.errstate(all="ignore"):
        walks = drawn(DESIGNS[0], cells, None, slow)
        got, expected = (one.walks(walks) for one in (fast, slow))
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-10)
        got, expected = (one.steps(walks, chosen) for one in (fast, slow))
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-10)
        down, up = np.full((3, N), 0.2), np.full((3, N), 0.4)
        u = np.random.default_rng(0).random((5, N))
        got, expected = (one.sweep(cells[1], 0, walks.free, down, up, u) for one in (fast, slow))
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-10)
