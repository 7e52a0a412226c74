"""Shapley baselines: exact on linear responses, the same as our own exact values, refusals."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sensx_sc.metrics.baselines import BASELINES, NotApplicableError

pytest.importorskip("shap")
_asked = runpy.run_path(str(Path(__file__).parent / "asked.py"))
asked, N, X, BACKGROUND = (_asked[name] for name in ("asked", "N", "X", "BACKGROUND"))
W = np.linspace(-1, 2, N)
SHAP = ["kernel_shap", "permutation_shap"]


def bilinear(rows: np.ndarray) -> np.ndarray:
    return rows @ W + 3 * rows[:, 0] * rows[:, 1]


@pytest.mark.parametrize("name", SHAP)
def test_a_linear_response_in_closed_form(name: str) -> None:
    answer = BASELINES[name](asked(lambda rows: rows @ W))
    np.testing.assert_allclose(answer.scores, W * (X - BACKGROUND.mean(axis=0)), atol=1e-8)
    np.testing.assert_allclose(answer.missed, 0, atol=1e-8)


@pytest.mark.parametrize("name", SHAP)
def test_an_interaction_is_shared(name: str) -> None:
    """The product's Shapley value, averaged over the background."""
    answer = BASELINES[name](asked(bilinear))
    for row, x in zip(answer.scores, X, strict=True):
        b = BACKGROUND
        own = [
            1.5 * ((x[j] - b[:, j]) * (x[1 - j] + b[:, 1 - j])).mean()
            + W[j] * (x[j] - b[:, j].mean())
            for j in (0, 1)
        ]
        np.testing.assert_allclose(row[:2], own, atol=1e-6)


@pytest.mark.parametrize("name", SHAP)
def test_seeds_and_the_global_state(name: str) -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    how: dict[str, Any] = {"n_samples": 40, "n_permutations": 1}

    def model(rows: np.ndarray) -> np.ndarray:
        return np.sin(3 * rows).prod(axis=1)

    found = [BASELINES[name](asked(model, seed=seed, **how)).scores for seed in (0, 0, 1)]
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_too_much_memory_is_told() -> None:
    with pytest.raises(NotApplicableError, match=r"needs .* GB of memory, more than the budget"):
        BASELINES["kernel_shap"](asked(lambda rows: rows @ W, max_bytes=1e5))


@pytest.mark.parametrize("name", SHAP)
def test_too_many_evaluations_are_told(name: str) -> None:
    with pytest.raises(NotApplicableError, match=r"evaluations of the model an input.*`max_rows`"):
        BASELINES[name](asked(lambda rows: rows @ W, max_rows=100))


def test_a_library_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "shap", None)
    with pytest.raises(NotApplicableError, match=r"needs shap.*sensx_sc\[compare\]"):
        BASELINES["kernel_shap"](asked(lambda rows: rows @ W))
