"""Agreement of rankings against scipy and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from sensx_sc.core import spearman, spearman_brown, top_k_overlap


@given(st.integers(0, 10_000))
def test_spearman_is_scipys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 6, (2, 12)).astype(float)
    a[0], a[1], b[0], b[1] = 0, 1, 1, 0  # neither is constant
    assert spearman(a, b) == pytest.approx(spearmanr(a, b)[0], abs=1e-12)


def test_spearman_leaves_nan_out_and_has_an_answer_for_constants() -> None:
    a = np.array([1.0, 2.0, np.nan, 4.0, 3.0])
    b = np.array([1.0, 3.0, 0.0, 4.0, np.nan])
    assert spearman(a, b) == pytest.approx(1.0)
    flat = np.zeros(3)
    assert spearman(flat, flat + 2) == 1.0
    assert spearman(flat, np.arange(3.0)) == 0.0


def test_overlap_breaks_ties_by_index() -> None:
    a, b = np.array([1.0, 1.0, 1.0, 0.0]), np.array([0.0, 1.0, 2.0, 3.0])
    assert top_k_overlap(a, b, 1) == 0.0
    assert top_k_overlap(a, b, 2) == 0.0
    assert top_k_overlap(a, b, 3) == pytest.approx(2 / 3)
    assert top_k_overlap(a, b, 9) == 1.0
    assert top_k_overlap(a, a, 2) == 1.0


def test_overlap_without_any_known_feature() -> None:
    assert np.isnan(top_k_overlap(np.full(3, np.nan), np.ones(3), 2))
    assert top_k_overlap(np.array([np.nan, 1.0, 2.0]), np.array([3.0, 1.0, 2.0]), 1) == 1.0


def test_spearman_brown_against_parallel_halves() -> None:
    """Two halves that measure the same with independent errors, and their sums."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=200_000)
    parts = truth + 0.7 * rng.normal(size=(4, len(truth)))
    half = np.corrcoef(parts[0], parts[1])[0, 1]
    whole = np.corrcoef(parts[0] + parts[1], parts[2] + parts[3])[0, 1]
    assert spearman_brown(half) == pytest.approx(whole, abs=4e-3)
    assert spearman_brown(spearman_brown(0.4), 0.5) == pytest.approx(0.4)
    assert spearman_brown(-0.3) == -0.3
    assert spearman_brown(1.0) == 1.0


@pytest.mark.parametrize("function", [spearman, lambda a, b: top_k_overlap(a, b, 2)])
@pytest.mark.parametrize("shapes", [((3,), (4,)), ((2, 3), (2, 3)), ((), ())])
def test_other_shapes_are_refused(function: object, shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ValueError, match=r"two scores of one shape \(F,\)"):
        function(*(np.zeros(shape) for shape in shapes))  # type: ignore[operator]


def test_k_is_at_least_one() -> None:
    with pytest.raises(ValueError, match="`k` must be at least 1; got 0"):
        top_k_overlap(np.ones(3), np.ones(3), 0)
