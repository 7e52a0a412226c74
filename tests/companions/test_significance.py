from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from sensx_sc.companions.significance import (
    adjusted,
    expression_bins,
    placebo_p,
    sign_flip_p,
    stand_ins,
)


def test_placebo_p() -> None:
    observed = np.array([5.0, 0.0, np.nan])
    placebo = np.array([[1.0, 1, 1], [5, 1, 1], [np.nan, 1, 1]])
    np.testing.assert_allclose(placebo_p(observed, placebo), [2 / 3, 1.0, np.nan])
    assert np.isnan(placebo_p(np.array([1.0]), np.empty((0, 1))))


def test_placebo_p_is_uniform_under_the_null(rng: np.random.Generator) -> None:
    scores = rng.normal(size=(20, 20_000))  # the first of 20 is as good as any
    p = placebo_p(scores[0], scores[1:])
    for level in (0.05, 0.25, 0.5):
        assert abs(np.mean(p <= level) - level) < 0.01


def test_sign_flips_agree_with_enumeration(rng: np.random.Generator) -> None:
    values = rng.normal(0.5, 1, 10)
    signs = 2.0 * ((np.arange(1024)[:, None] >> np.arange(10)) & 1) - 1
    exact = np.mean(np.abs(signs @ values) >= abs(values.sum()) * (1 - 1e-12))
    assert sign_flip_p(values, n_flips=20_000) == pytest.approx(exact, abs=0.015)
    with_gaps = np.append(values, [np.nan, np.nan])
    assert sign_flip_p(with_gaps) == sign_flip_p(values)
    assert np.isnan(sign_flip_p(np.array([1.0, np.nan])))


def test_adjusted_is_benjamini_hochberg(rng: np.random.Generator) -> None:
    p = rng.random(30)
    np.testing.assert_allclose(adjusted(p), stats.false_discovery_control(p))
    gaps = p.copy()
    gaps[[3, 7]] = np.nan
    known = ~np.isnan(gaps)
    np.testing.assert_allclose(adjusted(gaps)[known], stats.false_discovery_control(gaps[known]))
    assert np.isnan(adjusted(gaps)[~known]).all()
    assert np.isnan(adjusted(np.full(2, np.nan))).all()


def test_expression_bins() -> None:
    mean = np.random.default_rng(0).permutation(1000).astype(float)
    found = expression_bins(mean)
    assert np.bincount(found).tolist() == [40] * 25
    np.testing.assert_array_equal(found, mean // 40)
    assert np.bincount(expression_bins(mean[:64])).tolist() == [11, 11, 10, 11, 11, 10]
    assert expression_bins(mean[:6]).tolist() == [0] * 6


def test_stand_ins_match_the_expression(rng: np.random.Generator) -> None:
    bins = np.arange(100) // 10
    genes = np.array([3, 5, 7, 42, 99])
    seen = set()
    for _ in range(50):
        found = stand_ins(genes, bins, rng)
        assert bins[found].tolist() == bins[genes].tolist()
        assert len(set(found.tolist())) == 5
        assert not set(found.tolist()) & set(genes.tolist())
        seen |= set(found.tolist())
    assert len(seen) > 20
    # A bin without others: its genes stand for each other.
    found = stand_ins(np.arange(9), bins, rng)
    assert len(set(found.tolist())) == 9
    assert (bins[found] == 0).all()
