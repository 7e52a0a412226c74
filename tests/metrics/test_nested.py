"""Nested rows give the numbers of complete rows, whatever the evaluator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import sensx_sc as sx
from sensx_sc.core.options import Options
from sensx_sc.core.preparation import prepare
from sensx_sc.metrics import nested, perturbation_curve
from sensx_sc.metrics.nested import nested_responses

N = 40


def net(outputs: int = 3, *, curved: bool = False) -> nn.Module:
    torch.manual_seed(2)
    first: list[nn.Module] = [nn.BatchNorm1d(N).eval()]
    if curved:
        first = [Log()]
    return nn.Sequential(*first, nn.Linear(N, 12), nn.Tanh(), nn.Linear(12, outputs)).eval()


class Log(nn.Module):
    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return torch.log1p(rows)


def of_trees() -> Any:
    from sklearn.ensemble import RandomForestRegressor

    rng = np.random.default_rng(0)
    X = rng.random((200, N))
    y = 3 * X[:, 0] + (X[:, 1] > 0.5) + X[:, 2] * X[:, 3]
    return RandomForestRegressor(20, random_state=0, n_jobs=1).fit(X, y)


MODELS: dict[str, tuple[Any, str]] = {
    "stem": (net, "stem"),
    "curved stem": (lambda: net(curved=True), "stem"),
    "one logit": (lambda: net(1), "stem"),
    "one against the rest": (lambda: {"a": net(1), "b": net(1, curved=True)}, "stem"),
    "forest": (of_trees, "trees"),
    "black box": (lambda: lambda rows: np.sin(rows).sum(axis=1), "dense"),
}


def prepared(model: Any, precision: Any = "float64") -> Any:
    return prepare(
        np.full((1, N), 0.2), model, lower=0, upper=1, mask=np.arange(N) % 5 != 0, qoi="auto",
        deltas="auto", n_walks=20, design="balanced", out_of_domain="raise", names=None,
        batch_size="auto", device="cpu", options=Options(precision=precision),
    )  # fmt: skip


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("name", MODELS)
def test_the_numbers_are_those_of_complete_rows(
    name: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, kind = MODELS[name]
    if name in ("black box", "forest") and precision == "float32":
        pytest.skip("it is given float64")
    run = prepared(make(), precision)
    evaluator = next(iter(run.evaluators.values()))
    assert kind in evaluator.name
    rng = np.random.default_rng(1)
    x, free = rng.random(N), run.domain.free
    ends, scores = rng.random((17, len(free))), np.full(N, np.nan)
    scores[free] = rng.random(len(free))
    order = np.argsort(-scores[free])
    ks = np.array([0, 1, 2, 9, len(free)])
    target = 1 if name == "one against the rest" else 0
    # several parts: as many draws as fit
    monkeypatch.setattr(nested, "_ROW_BYTES", 8 * N * 5)
    found = nested_responses(evaluator, x, target, free, ends, order, ks)
    whole = np.full((17, N), np.nan)
    whole[:, free] = ends

    def q(rows: np.ndarray) -> np.ndarray:
        return evaluator.at(rows, np.full(len(rows), target))

    expected = perturbation_curve(q, x, scores, whole, ks)
    tolerance = {"float64": 1e-9, "float32": 1e-4}[precision]
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def test_a_stem_takes_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Complete rows are only asked for to confirm."""
    run = prepared(net())
    evaluator = next(iter(run.evaluators.values()))
    seen: list[int] = []
    at = type(evaluator).at

    def counted(self: Any, rows: np.ndarray, target: np.ndarray) -> np.ndarray:
        seen.append(len(rows))
        return at(self, rows, target)

    monkeypatch.setattr(type(evaluator), "at", counted)
    free = run.domain.free
    order, ends = np.arange(len(free)), np.full((50, len(free)), 0.5)
    nested_responses(evaluator, np.full(N, 0.2), 0, free, ends, order, np.array([1, 5, 9]))
    assert seen == [4]


def test_a_stem_that_is_not_confirmed_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    run = prepared(net())
    evaluator: Any = next(iter(run.evaluators.values()))
    free = run.domain.free
    order, ends = np.arange(len(free)), np.random.default_rng(0).random((6, len(free)))
    ks = np.array([1, len(free)])
    right = nested_responses(evaluator, np.full(N, 0.2), 0, free, ends, order, ks)
    monkeypatch.setattr(
        type(evaluator.stem), "outputs", lambda self, states: torch.full((len(states), 3), 7.0)
    )
    found = nested_responses(evaluator, np.full(N, 0.2), 0, free, ends, order, ks)
    np.testing.assert_allclose(found, right, rtol=1e-9)


def test_the_package_names_the_room() -> None:
    assert "metrics" in sx.__all__
