"""What a run will take is said before it starts."""

from __future__ import annotations

import logging
import time
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import sensx_sc as sx
from sensx_sc.core.plan import duration
from sensx_sc.core.preparation import block_size


def net(n: int) -> nn.Module:
    return nn.Sequential(nn.Linear(n, 8), nn.Tanh(), nn.Linear(8, 1)).eval()


def test_walks_by_the_criterion_are_planned_at_their_budget() -> None:
    how: dict[str, Any] = {"lower": 0, "upper": 1, "n_samples": 100, "deltas": [0.1, 0.5]}
    model = net(30)
    most = sx.core.plan(np.zeros((2, 30)), model, n_walks="auto", max_walks=240, **how)
    fixed = sx.core.plan(np.zeros((2, 30)), model, n_walks=240, **how)
    assert most.evaluations == fixed.evaluations


@pytest.mark.parametrize(
    ("n_walks", "design", "expected"),
    [(200, "balanced", 200), (50, "balanced", 60), (33, "uniform", 33)],
)
def test_evaluations_are_those_of_the_method(n_walks: int, design: str, expected: int) -> None:
    mask = np.arange(30) < 20
    found = sx.core.plan(
        np.zeros((4, 30)), lambda z: z.sum(axis=1), lower=0, upper=1, mask=mask,
        n_walks=n_walks, design=design, n_samples=100, deltas=[0.1, 0.5],
    )  # fmt: skip
    assert (found.n_inputs, found.n_features, found.n_tested) == (4, 30, 20)
    assert found.evaluations == 4 * (2 * 100 + expected * 20)
    assert found.complete_rows >= found.evaluations
    assert found.evaluator == "dense"
    assert "black box" in found.why


def test_a_stem_needs_hardly_any_complete_row() -> None:
    found = sx.core.plan(np.zeros((2, 200)), net(200), lower=0, upper=1, n_walks=40)
    assert found.evaluator == "stem"
    assert found.complete_rows == 2 * 40
    assert "affine stem of 8 outputs" in str(found)
    assert f"{2 * (50_000 + 40 * 200):.3g} evaluations from 80 complete rows" in str(found)


def test_the_time_is_of_the_right_size() -> None:
    """A model that takes a tenth of a millisecond a row, whatever else the machine does."""

    def slow(z: np.ndarray) -> np.ndarray:
        time.sleep(1e-4 * len(z))
        return z.sum(axis=1)

    found = sx.core.plan(np.zeros((3, 10)), slow, lower=0, upper=1, n_walks=80, n_samples=100)
    rows = 3 * (50 * 100 + 80 * 10)
    assert 0.8 < found.seconds / (1e-4 * rows) < 4


def test_more_inputs_features_and_walks_take_more() -> None:
    def planned(cells: int, n: int, n_walks: int) -> Any:
        return sx.core.plan(np.zeros((cells, n)), net(n), lower=0, upper=1, n_walks=n_walks)

    base = planned(2, 100, 40)
    assert planned(20, 100, 40).memory > base.memory
    assert planned(2, 1000, 40).memory > base.memory
    assert planned(20, 100, 40).evaluations == 10 * base.evaluations


def test_nothing_is_explained_and_mistakes_are_found() -> None:
    x = np.zeros((2, 5))
    with pytest.raises(TypeError, match="it has no 'n_walk'"):
        sx.core.plan(x, lambda z: z.sum(axis=1), lower=0, upper=1, n_walk=3)
    with pytest.raises(ValueError, match="`tau` must be a positive number"):
        sx.core.plan(x, lambda z: z.sum(axis=1), lower=0, upper=1, tau=-1)
    with pytest.raises(ValueError, match="outside"):
        sx.core.plan(x + 3, lambda z: z.sum(axis=1), lower=0, upper=1)


def test_arguments_of_explain_all_work() -> None:
    how = {
        "target": None, "keys": ["a", "b"], "progress": False, "seed": 3, "precision": None,
        "top_k": 2, "alpha": 0.1, "qoi": "value", "batch_size": 7, "device": "cpu",
        "refine_tol": None, "min_step": 0.1, "rank_by": "change", "out_of_domain": "clip",
    }  # fmt: skip
    x = np.zeros((2, 5))
    sx.core.explain(x, lambda z: z.sum(axis=1), lower=0, upper=1, **how)
    sx.core.plan(x, lambda z: z.sum(axis=1), lower=0, upper=1, **how)


def test_the_log_says_it_too(caplog: pytest.LogCaptureFixture) -> None:
    adata = sx.datasets.toy()
    torch.manual_seed(0)
    with caplog.at_level(logging.INFO, logger="sensx_sc"):
        sx.tl.sensx(adata[:2].copy(), net(adata.n_vars), lower=0, upper=20, n_walks=8,
                    n_samples=50, progress=False)  # fmt: skip
    said = caplog.text
    assert "evaluations (" in said
    assert "complete rows; by an affine stem" in said or "complete rows; row by row" in said
    assert "about 1 s" in said


@pytest.mark.parametrize("chunk_size", [1, np.int64(3)])
def test_any_whole_number_of_inputs_may_be_dense_at_a_time(chunk_size: int) -> None:
    assert block_size(chunk_size, 10) == chunk_size
    with pytest.raises(ValueError, match="whole number of at least 1; got 0"):
        block_size(0, 10)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "1 s"),
        (99, "99 s"),
        (100, "2 min"),
        (5990, "100 min"),
        (7200, "2.0 h"),
        (1e6, "12 days"),
    ],
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("target", "error", "match"),
    [
        ("T cells", KeyError, "`target` 'T cells' is not an output of the model; it has '0', '1'"),
        (7, KeyError, "`target` 7 is not an output"),
        (["0"], ValueError, "`target` must have one entry a cell, 2; got 1"),
        (["0", "9"], KeyError, "`target` '9' is not an output"),
        (None, ValueError, "`target` must name one of the 2 outputs"),
    ],
)
def test_a_wrong_target_is_refused(target: object, error: type[Exception], match: str) -> None:
    def model(z: np.ndarray) -> np.ndarray:
        return z[:, :2]

    with pytest.raises(error, match=match):
        sx.core.plan(np.zeros((2, 5)), model, lower=0, upper=1, target=target)
    assert sx.core.plan(np.zeros((2, 5)), model, lower=0, upper=1, target=["0", "1"]).n_inputs == 2


def test_wrong_keys_are_refused() -> None:
    with pytest.raises(ValueError, match="`keys` must name each of the 2 inputs; got 3"):
        sx.core.plan(np.zeros((2, 5)), lambda z: z.sum(axis=1), lower=0, upper=1, keys=list("abc"))


def test_a_model_that_fails_on_the_way_has_no_time() -> None:
    calls: list[int] = []

    def model(z: np.ndarray) -> np.ndarray:
        calls.append(len(z))
        if len(z) > 20:
            msg = "too many"
            raise ArithmeticError(msg)
        return z.sum(axis=1)

    found = sx.core.plan(np.zeros((2, 5)), model, lower=0, upper=1)
    assert np.isnan(found.seconds)
    assert "about an unknown time" in str(found)


def test_backward_passes_are_timed_where_they_screen() -> None:
    how: dict[str, Any] = {"lower": 0, "upper": 1, "n_samples": 100, "deltas": [0.1, 0.5]}
    found = sx.core.plan(np.full((2, 30), 0.5), net(30), estimator="gradient", n_walks=80, **how)
    assert 0 < found.seconds < 600
    assert "its gradients screen all features" in found.why


def test_a_model_whose_rows_cost_is_not_asked_to_be_timed() -> None:
    class Billed(sx.models.as_model(net(3)).__class__):  # type: ignore[misc]
        announced = 0

        def announce(self, n_rows: int) -> None:
            Billed.announced = n_rows

    found = sx.core.plan(
        np.zeros((2, 3)), Billed(net(3)), lower=0, upper=1, n_walks=20, n_samples=100, deltas=[0.5]
    )
    assert np.isnan(found.seconds)
    assert "about an unknown time" in str(found)
    assert Billed.announced == 2 * (20 * (3 + 1) + 100)
