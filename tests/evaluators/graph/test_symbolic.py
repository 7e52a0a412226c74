"""Random programs of operations that are understood, against what torch computes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from sensx_sc.evaluators.full_precision import full_precision
from sensx_sc.evaluators.graph.columns import features
from sensx_sc.evaluators.graph.symbolic import combined, moved
from sensx_sc.evaluators.graph.trace import find_stem

if TYPE_CHECKING:
    from collections.abc import Callable

    Step = Callable[[torch.Tensor], torch.Tensor]

N = 24


class Program(nn.Module):
    """Steps, one after the other; then a linear layer."""

    def __init__(self, steps: list[Step], size: int) -> None:
        super().__init__()
        self.steps = steps
        self.layer = nn.Linear(size, 3, dtype=torch.float64)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        for step in self.steps:
            rows = step(rows)
        return torch.tanh(self.layer(rows.flatten(1)))


def random_step(rng: np.random.Generator, shape: tuple[int, ...]) -> Step:
    """One operation on values (B, *shape)."""
    dim = int(rng.integers(1, 1 + len(shape)))
    size = shape[dim - 1]
    constant = torch.as_tensor(rng.random(shape))
    number = float(rng.normal())
    places = torch.as_tensor(rng.integers(0, size, max(1, size - 1)))
    start = int(rng.integers(0, size))
    other = int(rng.integers(1, 1 + len(shape)))
    total = math.prod(shape)
    factor = next((k for k in (3, 2, 5) if total % k == 0), 1)
    moves: list[Step] = [
        lambda x: x.flip(dim),
        lambda x: torch.roll(x, 3, -1),
        lambda x: x.transpose(dim, other),
        lambda x: x.narrow(dim, start, size - start),
        lambda x: torch.index_select(x, dim, places),
        lambda x: x.reshape(x.shape[0], factor, -1),
        lambda x: x.flatten(1),
        lambda x: x.unsqueeze(dim),
        lambda x: torch.cat(x.chunk(2, dim)[::-1], dim),
        lambda x: torch.cat([x, torch.zeros_like(x) + constant], dim),
        lambda x: torch.cat([torch.full_like(x, number), x], dim),
        lambda x: x[..., start:],
        lambda x: x[:, None],
    ]
    if total < 200:
        moves += [
            lambda x: torch.stack([x, torch.tanh(x)], dim),
            lambda x: torch.cat([torch.cos(x), x], -1),
            lambda x: x.repeat(1, 2, *(1 for _ in shape[1:])),
        ]
    functions: list[Step] = [
        lambda x: x * constant + number,
        lambda x: number - x,
        lambda x: torch.tanh(x),
        lambda x: torch.where(x > number, x, constant),
        lambda x: x * torch.sigmoid(x),
        lambda x: x.clamp(max=1.5) / (2 + constant),
        lambda x: x + torch.sin(x) - constant[None],
    ]
    choices = moves if rng.random() < 0.6 else functions
    return choices[int(rng.integers(len(choices)))]


@pytest.mark.parametrize("seed", range(60))
def test_random_programs(seed: int) -> None:
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    rows = torch.rand(5, N, dtype=torch.float64) * 4 - 2
    steps, value = [], rows
    for _ in range(8):
        step = random_step(rng, tuple(value.shape[1:]))
        steps.append(step)
        value = step(value)
    program = Program(steps, math.prod(value.shape[1:])).eval()
    with full_precision():
        stem = find_stem(program, N, torch.float64, torch.device("cpu"), widest=10_000)
        for size in (1, 2, 5):
            torch.testing.assert_close(
                stem.outputs(stem.states(rows[:size])), program(rows[:size]), rtol=1e-9, atol=1e-11
            )


def test_numbers_of_two_features_are_no_columns() -> None:
    x = features(4, torch.float64, torch.device("cpu"))
    turned = moved("flip", torch.flip, (x, [1]), {})
    assert turned.source.tolist() == [3, 2, 1, 0]
    for function in (torch.add, torch.sub, torch.mul, torch.maximum):
        assert combined(function.__name__, function, (x, turned), {}) is None
        assert combined(function.__name__, function, (x, x), {}) is not None


def test_a_sum_of_columns_stays_affine() -> None:
    x = features(3, torch.float64, torch.device("cpu"))
    total: Any = combined("add", torch.add, (combined("mul", torch.mul, (x, 3), {}), x), {})
    assert total.curve is None
    assert total.scale.tolist() == [4, 4, 4]


def test_rows_that_an_index_moves_are_noticed() -> None:
    """Two separate lists of places bring their dimension to the front, where rows were."""
    x = features(24, torch.float64, torch.device("cpu"))
    cube = moved("view", lambda x, *size: x.view(*size), (x, -1, 2, 3, 4), {})
    places = (slice(None), [0, 1], slice(None), [2, 3])
    assert moved("getitem", lambda x, at: x[at], (cube, places), {}) is None
    together = (slice(None), [0, 1], [2, 0])
    assert moved("getitem", lambda x, at: x[at], (cube, together), {}).shape == (2, 4)


def test_rows_are_not_broadcast_against_columns() -> None:
    """(B, 1) + (B, 1, 1) is (B, B, 1)."""
    x = features(1, torch.float64, torch.device("cpu"))
    deeper = moved("unsqueeze", torch.unsqueeze, (x, 2), {})
    assert combined("add", torch.add, (x, deeper), {}) is None
    assert combined("add", torch.add, (x, torch.zeros(5, 1)), {}) is None
    assert combined("add", torch.add, (x, torch.zeros(1, 1, 1)), {}) is None
    assert combined("add", torch.add, (x, torch.zeros(1, 3)), {}).shape == (3,)
