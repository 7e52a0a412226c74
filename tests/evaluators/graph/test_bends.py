"""Layers of bent units at the start of a head are found, and nothing is taken for one."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from sensx_sc.evaluators.graph.bends import Affine, Scaling

if TYPE_CHECKING:
    from collections.abc import Callable

_ZOO = runpy.run_path(str(Path(__file__).parents[1] / "zoo.py"))
N, built, found, Model = (_ZOO[name] for name in ("N", "built", "found", "Model"))
tail, batch_norm = _ZOO["tail"], _ZOO["batch_norm"]

SLOPES = {
    "paper": [0, 0],
    "no bias": [],  # its units are curved
    "batch norm, relu and dropout": [0, 0],
    "four bent layers": [0, 0, 0, 0],
    "leaky": [0.2, 0],
    "leaky by function": [0.3],
    "relu in place": [0, 0],
    "relu by function": [0],
    "bends of several functions": [0],
    "bends and what follows": [0],
    "bends read twice at the end": [0],
}


@pytest.mark.parametrize("name", SLOPES)
def test_layers_that_are_found(name: str) -> None:
    stem = found(built(name))
    slopes = [] if stem.bends is None else [bend.slope for bend in stem.bends.layers]
    assert slopes == pytest.approx(SLOPES[name])


@pytest.mark.parametrize("name", [name for name, slopes in SLOPES.items() if slopes])
def test_layers_and_the_rest_are_the_head(name: str) -> None:
    stem = found(built(name))
    rows = torch.randn(9, N, dtype=torch.float64).abs()
    states = stem.states(rows)
    parts = torch.split(states, len(stem.branches[0].bias), dim=1)
    units = torch.stack(parts).sum(dim=0)
    if stem.bends.entry is not None:
        units = units @ stem.bends.entry.weight + stem.bends.entry.bias
    for bend in stem.bends.layers:
        units = torch.where(units > 0, units, bend.slope * units)
        units = units @ bend.after.weight + bend.after.bias
    given = stem.bends.rest(units).reshape(len(rows), -1)
    torch.testing.assert_close(given, stem.outputs(states))


def of(function: Callable[[Any, torch.Tensor], Any], **parts: Any) -> Any:
    return Model(function, **{"a": nn.Linear(N, 8), "b": nn.Linear(8, 3), **parts})


NOT_BENT: dict[str, Callable[[], nn.Module]] = {
    "another activation": lambda: of(lambda m, x: m.b(functional.gelu(m.a(x)))),
    "clipped above": lambda: of(lambda m, x: m.b(functional.relu6(m.a(x)))),
    "a slope that turns back": lambda: of(lambda m, x: m.b(functional.leaky_relu(m.a(x), -0.5))),
    "a slope that is learned": lambda: of(lambda m, x: m.b(m.act(m.a(x))), act=nn.PReLU()),
    "a second reader before the bend": lambda: of(
        lambda m, x: (lambda h: m.b(torch.relu(h) + h))(m.a(x))
    ),
    "a second reader behind it": lambda: of(
        lambda m, x: (lambda h: m.b(h) * h.sum(1, keepdim=True))(torch.relu(m.a(x)))
    ),
    "no layer behind it": lambda: of(lambda m, x: torch.relu(m.a(x))),
    "two layers that read the input": lambda: of(
        lambda m, x: m.b(torch.relu(m.a(x) + torch.tanh(m.c(x)))), c=nn.Linear(N, 8)
    ),
    "rows that are counted": lambda: of(lambda m, x: m.b(torch.relu(m.a(x))) / x.shape[0]),
    "another shape": lambda: of(lambda m, x: m.b(torch.relu(m.a(x).view(-1, 2, 4)).flatten(1))),
    "a weight made of the input": lambda: of(
        lambda m, x: functional.linear(torch.relu(m.a(x)), m.a(x).mean(0)[None])
    ),
    "normalised by layer": lambda: of(lambda m, x: m.b(torch.relu(m.n(m.a(x)))), n=nn.LayerNorm(8)),
    "batch norm of this batch": lambda: of(
        lambda m, x: m.b(torch.relu(m.n(m.a(x)))), n=nn.BatchNorm1d(8, track_running_stats=False)
    ),
}


@pytest.mark.parametrize("name", NOT_BENT)
def test_near_misses(name: str) -> None:
    assert found(built(NOT_BENT[name])).bends is None


def test_what_follows_an_unfinished_layer_is_left_to_the_rest() -> None:
    net = nn.Sequential(nn.Linear(N, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.LayerNorm(6))
    bends = found(built(lambda: net)).bends
    assert [bend.slope for bend in bends.layers] == [0]
    assert [type(part) for part in bends.rest.children() if list(part.parameters())] != []
    states = torch.randn(4, 6, dtype=torch.float64)
    torch.testing.assert_close(bends.rest(states), net[4](torch.relu(states)))


def test_maps_one_after_the_other() -> None:
    one, other = (Affine(torch.randn(m, k), torch.randn(k)) for m, k in ((5, 4), (4, 3)))
    rows = torch.randn(7, 5)
    expected = (rows @ one.weight + one.bias) @ other.weight + other.bias
    both = one.then(other)
    assert both is not None
    torch.testing.assert_close(rows @ both.weight + both.bias, expected)
    scaling = Scaling(torch.randn(4), torch.randn(4))
    both = scaling.after(one)
    assert both is not None
    expected = (rows @ one.weight + one.bias) * scaling.scale + scaling.shift
    torch.testing.assert_close(rows @ both.weight + both.bias, expected)
    alone = scaling.after(None)
    assert alone is not None
    torch.testing.assert_close(
        rows[:, :4] @ alone.weight + alone.bias, rows[:, :4] * scaling.scale + scaling.shift
    )


def test_what_is_too_large_is_not_written_out() -> None:
    narrow, wide = (Affine(torch.zeros(m, k), torch.zeros(k)) for m, k in ((4000, 10), (10, 4000)))
    assert narrow.then(wide) is None
    assert wide.then(narrow) is not None
    scaling = Scaling(torch.ones(5000), torch.zeros(5000))
    assert scaling.after(None) is None
    bottleneck = nn.Sequential(
        nn.Linear(N, 12), nn.ReLU(), nn.Linear(12, 2), nn.Linear(2, 12), nn.ReLU(), nn.Linear(12, 1)
    )
    bends = found(built(lambda: bottleneck)).bends
    assert [bend.after.weight.shape[1] for bend in bends.layers] == [2]


def test_a_wide_normalisation_takes_no_square() -> None:
    wide = nn.Sequential(nn.Linear(N, 8), nn.ReLU(), nn.Linear(8, 6000), batch_norm(6000))
    bends = found(built(lambda: nn.Sequential(*wide, nn.ReLU(), nn.Linear(6000, 1)))).bends
    assert [bend.after.weight.shape[1] for bend in bends.layers] == [6000, 1]
