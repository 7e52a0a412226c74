"""Stem evaluation returns the numbers of dense evaluation, for a zoo of models."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

import sensx_sc as sx
from sensx_sc.core import make_domain
from sensx_sc.core.sampling import endpoints, make_design, orders, uniforms
from sensx_sc.core.walks import place
from sensx_sc.evaluators import DenseEvaluator, choose
from sensx_sc.evaluators.choose import choose_evaluator
from sensx_sc.evaluators.stem import kinks
from sensx_sc.evaluators.stem.evaluator import StemEvaluator
from sensx_sc.evaluators.walk_set import WalkSet
from sensx_sc.models.qoi import make_response

if TYPE_CHECKING:
    from collections.abc import Callable

    from sensx_sc.evaluators.protocol import Evaluator

_ZOO = runpy.run_path(str(Path(__file__).parents[1] / "zoo.py"))
N, WITH_STEM, found = _ZOO["N"], _ZOO["WITH_STEM"], _ZOO["found"]
WITHOUT_STEM = runpy.run_path(str(Path(__file__).parents[1] / "near_misses.py"))["WITHOUT_STEM"]


def built(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(3)
    return make().eval()


def evaluator_of(model: Any, probes: np.ndarray, dtype: type = np.float64) -> tuple[Evaluator, str]:
    ready = sx.models.as_model(model, n_features=N, device="cpu")
    qoi = "probability" if ready.kind != "value" else "value"
    return choose_evaluator(make_response(ready, qoi), np.dtype(dtype), 512, probes)


@pytest.fixture
def cells(rng: np.random.Generator) -> np.ndarray:
    """Three cells, most of whose genes are zero; one gene at its upper bound."""
    x = np.where(rng.random((3, N)) < 0.7, 0.0, 3 * rng.random((3, N)))
    x[0, 1] = 5.0
    return x


def compare(fast: Evaluator, cells: np.ndarray, mask: np.ndarray, rtol: float = 1e-9) -> None:
    """Rows, neighbourhoods and walks, against dense evaluation of the same response."""
    slow = DenseEvaluator(fast.response, fast.dtype, 512)  # type: ignore[attr-defined]
    domain = make_domain(0, 5, N, mask=mask)
    free, target = domain.free, np.zeros(len(cells), dtype=np.int64)
    np.testing.assert_allclose(fast.at(cells, target), slow.at(cells, target), rtol=rtol)
    deltas = np.geomspace(1e-3, 1, 12)
    u = uniforms(0, 5, "calibration", 0, 33, N)[:, free]
    for x in cells:
        down, up = (
            np.stack(part) for part in zip(*(domain.reach(x, d) for d in deltas), strict=True)
        )
        got, expected = (one.sweep(x, 0, free, down, up, u) for one in (fast, slow))
        np.testing.assert_allclose(got, expected, rtol=rtol, atol=rtol)
    lines = np.tile(free, len(cells))
    values = np.linspace(0, 5, 7) * np.linspace(0.2, 1, len(lines))[:, None]
    arguments = (cells, target, np.repeat(np.arange(len(cells)), len(free)), lines, values)
    got, expected = (one.one_at_a_time(*arguments) for one in (fast, slow))
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=rtol)
    design = make_design("balanced", 24)
    blocks = range(design.n_blocks)
    order = np.concatenate([orders(0, k, design, blocks, N, free) for k in range(len(cells))])
    end = np.concatenate([
        place(endpoints(0, k, design, blocks, N, free), cells[k], domain, 0.6)
        for k in range(len(cells))
    ])  # fmt: skip
    cell = np.repeat(np.arange(len(cells)), design.n_walks)
    walks = WalkSet(cells, target, slow.at(cells, target), cell, free, end, order)
    got, expected = (one.walks(walks) for one in (fast, slow))
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("few", [False, True], ids=["all", "masked"])
@pytest.mark.parametrize("name", WITH_STEM)
def test_the_zoo_is_evaluated_by_its_stem_with_the_same_numbers(
    name: str, few: bool, cells: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Small chunks, so that walks cross several of them.
    monkeypatch.setattr("sensx_sc.evaluators.stem.evaluator._STATE_BYTES", 64 * 64)
    fast, why = evaluator_of(built(WITH_STEM[name]), cells)
    assert isinstance(fast, StemEvaluator), why
    mask = np.arange(N) % 4 != 1 if few else np.ones(N, dtype=bool)
    compare(fast, cells, mask)


@pytest.mark.parametrize(
    "name", [name for name in WITH_STEM if found(built(WITH_STEM[name]).double()).bends]
)
def test_narrowed_walks_have_the_same_numbers(
    name: str, cells: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Walks share the rows of A, whatever is gained; stretches are short.
    monkeypatch.setattr("sensx_sc.evaluators.stem.evaluator._CACHE_BYTES", 0)
    monkeypatch.setattr("sensx_sc.evaluators.stem.evaluator._STATE_BYTES", 64 * 64)
    monkeypatch.setattr("sensx_sc.evaluators.stem.reach._STRETCH", 5)
    monkeypatch.setattr("sensx_sc.evaluators.stem.kinks._LEAST_UNITS", 1)
    monkeypatch.setattr("sensx_sc.evaluators.stem.kinks._pays", lambda *_: True)
    fast, _ = evaluator_of(built(WITH_STEM[name]), cells)
    made: list[int] = []
    whole = kinks.Narrower.narrowed

    def counting(self: kinks.Narrower, *arguments: Any) -> Any:
        narrow = whole(self, *arguments)
        made.append(narrow[0].width)
        assert narrow[0] is not self.stem
        return narrow

    monkeypatch.setattr(kinks.Narrower, "narrowed", counting)
    compare(fast, cells, np.arange(N) % 7 != 1)
    assert len(made) == 3 * 4  # every block of every cell


@pytest.mark.parametrize("name", WITHOUT_STEM)
def test_a_near_miss_has_no_stem(name: str, cells: np.ndarray) -> None:
    make, reason = WITHOUT_STEM[name]
    slow, why = evaluator_of(built(make), cells + 0.1)
    assert type(slow) is DenseEvaluator
    assert reason in why


@pytest.mark.parametrize("name", ["paper", "gated", "log1p first", "softmax regression"])
def test_single_precision_and_every_device(name: str, cells: np.ndarray, device: str) -> None:
    model = sx.models.as_model(built(WITH_STEM[name]), device=device)
    response = make_response(model, "probability")
    fast, why = choose_evaluator(response, np.dtype(np.float32), 512, cells)
    assert isinstance(fast, StemEvaluator), why
    compare(fast, cells, np.ones(N, dtype=bool), rtol=2e-5)


@pytest.mark.parametrize(
    "name",
    ["paper", "zero columns", "two branches", "scaled log", "encoder with batch and library",
     "log1p and raw of the same", "image patches"],
)  # fmt: skip
def test_explanations_are_those_of_dense_evaluation(
    name: str, cells: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = built(WITH_STEM[name])
    for parameter in net.parameters():
        parameter.data *= 3
    arguments: dict[str, Any] = {
        "lower": 0, "upper": 5, "n_walks": 40, "n_samples": 200, "precision": "float64",
    }  # fmt: skip
    fast = sx.core.explain(cells, net, **arguments)
    assert fast.params["evaluator"] == "stem"

    def refuse(*_: object) -> None:
        msg = "for the comparison"
        raise choose.NoStemError(msg)

    monkeypatch.setattr(choose, "_stem", refuse)
    slow = sx.core.explain(cells, net, **arguments)
    assert slow.params["evaluator"] == "dense"
    assert fast.status == slow.status
    np.testing.assert_array_equal(fast.delta_star, slow.delta_star)
    np.testing.assert_array_equal(fast.rank, slow.rank)
    for field in ("value", "mean", "change", "shapley", "envelope", "qoi"):
        expected = getattr(slow, field)
        np.testing.assert_allclose(
            getattr(fast, field), expected, rtol=1e-9, atol=1e-9 * np.nanmax(np.abs(expected))
        )


def test_dead_features_are_exactly_zero(cells: np.ndarray) -> None:
    r = sx.core.explain(cells, built(WITH_STEM["zero columns"]), lower=0, upper=5, tau=1e-3)
    assert set(r.status) <= {"resolved", "unsaturated"}
    for field in ("value", "mean", "std", "change", "shapley"):
        assert (getattr(r, field)[:, ::3] == 0).all()
        assert (getattr(r, field)[:, 1::3] != 0).all()
    assert (r.n[:, ::3] == r.n[:, 1::3]).all()


def test_all_dead(cells: np.ndarray) -> None:
    mask = np.arange(N) % 3 == 0
    fast, _ = evaluator_of(built(WITH_STEM["zero columns"]), cells)
    compare(fast, cells, mask)


def test_a_stem_that_does_not_give_the_outputs_is_not_used(cells: np.ndarray) -> None:
    class Sly(nn.Module):
        """Its graph is traced once; afterwards it does something else."""

        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(N, 4)
            self.sly = True

        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            if type(rows) is not torch.Tensor:
                return self.first(rows)
            return self.first(rows) + torch.relu(rows[:, :1])

    slow, why = evaluator_of(Sly().eval(), cells)
    assert type(slow) is DenseEvaluator
    assert "does not give its outputs" in why


def test_the_head_sees_few_rows_and_the_model_hardly_any(cells: np.ndarray) -> None:
    rows_of: dict[str, int] = {"model": 0, "head": 0}

    class Counting(nn.Module):
        def __init__(self, name: str, inner: nn.Module) -> None:
            super().__init__()
            self.name, self.inner = name, inner

        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            if type(rows) is torch.Tensor:
                rows_of[self.name] += len(rows)
            return self.inner(rows)

    net = nn.Sequential(nn.Linear(N, 8), nn.Tanh(), nn.Linear(8, 1)).eval()
    sx.core.explain(cells, Counting("model", net), lower=0, upper=5, n_walks=40, n_samples=200)
    # Checks, probes, q(x) and the ends of walks: never a step of a walk or a point of the sweep.
    assert rows_of["model"] < 800  # of 3 * (40 * 60 + 50 * 200)


@pytest.mark.parametrize("size", [6, 20, 100])
def test_single_precision_does_not_depend_on_the_company(size: int) -> None:
    torch.manual_seed(0)
    n, width = 4 * size, size
    net = nn.Sequential(nn.Linear(n, width), nn.ReLU(), nn.Linear(width, 1)).eval()
    x = np.random.default_rng(0).gamma(0.3, size=(7, n))
    arguments: dict[str, Any] = {
        "lower": 0, "upper": 9, "out_of_domain": "clip", "n_walks": 40, "n_samples": 60,
        "deltas": [0.1, 0.5, 1.0], "tau": 1e-3, "precision": "float32", "device": "cpu",
    }  # fmt: skip
    whole = sx.core.explain(x, net, **arguments)
    turned = sx.core.explain(x[::-1], net, **arguments, keys=range(7)[::-1])
    alone = sx.core.explain(x[3:4], net, **arguments, keys=[3], batch_size=33)
    assert whole.params["evaluator"] == "stem"
    for name in ("value", "mean", "change", "shapley", "qoi", "envelope"):
        expected = getattr(whole, name)
        least = 1e-6 * float(np.nanmax(np.abs(expected)))  # of the largest
        np.testing.assert_allclose(getattr(turned, name)[::-1], expected, rtol=1e-6, atol=least)
        np.testing.assert_allclose(getattr(alone, name)[0], expected[3], rtol=1e-6, atol=least)
