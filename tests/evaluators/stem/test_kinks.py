"""Heads are narrowed where units provably keep their side, and give the same numbers."""

from __future__ import annotations

from dataclasses import replace
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
from sensx_sc.evaluators.stem import evaluator as stem_evaluator
from sensx_sc.evaluators.stem.evaluator import StemEvaluator
from sensx_sc.evaluators.stem.kinks import Narrower, with_sides
from sensx_sc.evaluators.walk_set import WalkSet
from sensx_sc.models.qoi import make_response

if TYPE_CHECKING:
    from sensx_sc.evaluators.stem.stem import Stem

N = 400


def net() -> nn.Module:
    torch.manual_seed(2)
    layers = [nn.Linear(N, 60), nn.ReLU(), nn.Linear(60, 40), nn.LeakyReLU(0.1), nn.Linear(40, 3)]
    return nn.Sequential(*layers).double().eval()


@pytest.fixture
def cells(rng: np.random.Generator) -> np.ndarray:
    return rng.random((2, N)) * (rng.random((2, N)) < 0.3)


def evaluators(
    model: nn.Module, cells: np.ndarray, dtype: type = np.float64
) -> tuple[StemEvaluator, DenseEvaluator]:
    response = make_response(sx.models.as_model(model), "probability")
    fast, why = choose_evaluator(response, np.dtype(dtype), 512, cells)
    assert isinstance(fast, StemEvaluator), why
    return fast, DenseEvaluator(response, np.dtype(dtype), 512)


def drawn(cells: np.ndarray, delta: float) -> WalkSet:
    """Walks of two blocks of each cell."""
    design, free = Design("balanced", 20, 2), np.arange(N)
    domain, blocks = make_domain(0, 1, N), range(2)
    order = [orders(0, k, design, blocks, N, free) for k in range(len(cells))]
    end = [
        place(endpoints(0, k, design, blocks, N, free), x, domain, delta)
        for k, x in enumerate(cells)
    ]
    target, q_x, cell = np.array([2, 0]), np.zeros(2), np.repeat([0, 1], 40)
    return WalkSet(cells, target, q_x, cell, free, np.concatenate(end), np.concatenate(order))


@pytest.fixture
def widths(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """Widths of the stems that blocks of walks are given; None for the whole one."""
    monkeypatch.setattr(stem_evaluator, "_CACHE_BYTES", 0)
    found: list[int | None] = []
    whole = Narrower.narrowed

    def noting(self: Narrower, *given: Any) -> tuple[Stem, torch.Tensor]:
        narrow = whole(self, *given)
        found.append(None if narrow[0] is self.stem else narrow[0].width)
        return narrow

    monkeypatch.setattr(Narrower, "narrowed", noting)
    return found


@pytest.mark.parametrize("delta", [1e-4, 0.03, 0.2])
def test_narrow_heads_give_the_numbers_of_dense_evaluation(
    delta: float, cells: np.ndarray, widths: list[int | None]
) -> None:
    fast, slow = evaluators(net(), cells)
    walks = drawn(cells, delta)
    np.testing.assert_allclose(fast.walks(walks), slow.walks(walks), rtol=1e-9, atol=1e-12)
    assert len(widths) == 4
    if delta == 1e-4:
        assert max(width or 60 for width in widths) <= 5  # three outputs, hardly any unit
    if delta == 0.03:
        assert all(width is not None and 3 < width < 60 for width in widths)


def test_where_most_units_change_sides_the_head_stays_whole(
    cells: np.ndarray, widths: list[int | None]
) -> None:
    fast, slow = evaluators(net(), cells)
    walks = drawn(cells, 1.0)
    np.testing.assert_allclose(fast.walks(walks), slow.walks(walks), rtol=1e-9, atol=1e-12)
    assert widths == [None] * 4


def test_units_without_a_bend_are_never_narrowed(
    cells: np.ndarray, widths: list[int | None]
) -> None:
    model = nn.Sequential(nn.Linear(N, 60), nn.Tanh(), nn.Linear(60, 3)).double().eval()
    fast, slow = evaluators(model, cells)
    walks = drawn(cells, 1e-4)
    np.testing.assert_allclose(fast.walks(walks), slow.walks(walks), rtol=1e-9, atol=1e-12)
    assert widths == [None] * 4


class Added(nn.Module):
    """Two layers read the input and are added, one of them twice or broadcast."""

    def __init__(self, outputs: int, alpha: float) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.a, self.d, self.c = nn.Linear(N, 60), nn.Linear(N, outputs), nn.Linear(60, 3)
        self.alpha = alpha

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.c(torch.relu(self.a(rows).add(self.d(rows), alpha=self.alpha)))


class FunctionLinear(nn.Module):
    """What follows the units is called as a function, with weights of odd shapes."""

    def __init__(self, weight: tuple[int, ...], bias: tuple[int, ...] | None) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.a = nn.Linear(N, 60)
        self.weight = nn.Parameter(torch.randn(weight))
        self.bias = None if bias is None else nn.Parameter(torch.randn(bias))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(torch.relu(self.a(rows)), self.weight, self.bias)


def biased(layer: int, value: float) -> nn.Module:
    model = net()
    model[3] = nn.ReLU()  # type: ignore[index]
    with torch.no_grad():
        model[layer].bias[:10] = value  # type: ignore[index]
    return model


def scaled(*factors: float) -> nn.Module:
    model = net()
    with torch.no_grad():
        for layer, factor in zip((0, 2, 4), factors, strict=True):
            model[layer].weight *= factor  # type: ignore[index]
            model[layer].bias *= factor  # type: ignore[index]
    return model


ODD = {
    "added with a factor": lambda: Added(60, 2.0),
    "broadcast": lambda: Added(1, 1.0),
    "one weight": lambda: FunctionLinear((60,), None),
    "a bias for all": lambda: FunctionLinear((3, 60), (1,)),
    "a bias row": lambda: FunctionLinear((3, 60), (1, 3)),
    "units that are never on": lambda: biased(0, -np.inf),
    "later units that are never on": lambda: biased(2, -np.inf),
    "huge biases": lambda: biased(0, 1e308),
    "huge, tiny and huge": lambda: scaled(1e150, 1e-290, 1e140),
}


@pytest.mark.filterwarnings("ignore:The use of `x.T` on tensors")
@pytest.mark.parametrize("name", ODD)
def test_odd_models_have_the_numbers_of_dense_evaluation(
    name: str, cells: np.ndarray, widths: list[int | None]
) -> None:
    fast, slow = evaluators(ODD[name]().double().eval(), cells)
    walks = replace(drawn(cells, 0.03), target=np.array([0, 0]))
    expected = slow.walks(walks)
    least = 1e-9 * float(np.abs(expected).max())
    np.testing.assert_allclose(fast.walks(walks), expected, rtol=1e-9, atol=least)
    assert len(widths) == 4


def test_single_precision_keeps_the_head_where_composed_weights_do_not_hold(
    cells: np.ndarray, widths: list[int | None]
) -> None:
    fast, slow = evaluators(scaled(1e22, 1e-22, 1e-22).float(), cells, np.float32)
    walks = drawn(cells, 0.03)
    np.testing.assert_allclose(fast.walks(walks), slow.walks(walks), rtol=1e-4)


def test_a_head_that_would_be_wider_is_not_made(
    cells: np.ndarray, widths: list[int | None]
) -> None:
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(N, 40), nn.ReLU(), nn.Linear(40, 500)).double().eval()
    fast, slow = evaluators(model, cells)
    walks = drawn(cells, 1e-4)
    np.testing.assert_allclose(fast.walks(walks), slow.walks(walks), rtol=1e-9, atol=1e-12)
    assert widths == [None] * 4


def test_inputs_that_are_changed_in_place_are_seen(cells: np.ndarray) -> None:
    fast, slow = evaluators(net(), cells)
    walks = drawn(cells, 0.03)
    fast.walks(walks)
    cells += 0.01
    np.testing.assert_allclose(fast.walks(walks), slow.walks(walks), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("mixed", ["all", "none", "some"])
def test_any_sides_give_what_the_units_would(mixed: str, cells: np.ndarray) -> None:
    """Units that are told to keep a side are linear, whatever they do; here none leaves it."""
    fast, _ = evaluators(net(), cells)
    stem = fast.stem
    assert stem.bends is not None
    rows = torch.as_tensor(cells[:1])
    units = stem.states(rows)[0]
    sides = []
    for k, bend in enumerate(stem.bends.layers):
        side = units.sign().to(torch.int8)
        keep = {"all": 0, "none": 1}.get(mixed)
        sides.append(side * (torch.arange(len(side)) % 3 != k if keep is None else keep))
        bent = torch.where(units > 0, units, bend.slope * units)
        units = bent @ bend.after.weight + bend.after.bias
    narrow = with_sides(stem, stem.bends, sides, 3)
    assert narrow.stem.width == sum(int((side == 0).sum()) for side in sides) + 3
    expected = stem.outputs(stem.states(rows))
    torch.testing.assert_close(narrow.stem.outputs(narrow.stem.states(rows)), expected)
    torch.testing.assert_close(narrow.stem.outputs(narrow.states(stem.states(rows))), expected)


def test_single_precision_does_not_depend_on_the_company(
    cells: np.ndarray, widths: list[int | None]
) -> None:
    fast, _ = evaluators(net().float(), cells, np.float32)
    walks = drawn(cells, 0.03)
    whole = fast.walks(walks)
    for part in (slice(0, 20), slice(20, 40), slice(40, 80), slice(60, 80)):
        alone, _ = evaluators(net().float(), cells, np.float32)
        np.testing.assert_array_equal(alone.walks(walks.some(part)), whole[part])
    assert None not in widths
