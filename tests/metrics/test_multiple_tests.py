"""Adjusted p-values against statsmodels' definitions, written out, and against scipy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from sensx_sc.metrics import adjusted


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.sampled_from(["bh", "by"]))
def test_adjusted_is_scipys(p: list[float], method: Any) -> None:
    np.testing.assert_allclose(
        adjusted(p, method), false_discovery_control(p, method=method), rtol=1e-12
    )


def test_nan_is_left_out() -> None:
    found = adjusted([0.01, np.nan, 0.5])
    np.testing.assert_allclose(found, [0.02, np.nan, 0.5])
    assert len(adjusted([])) == 0


def test_the_false_discovery_rate_is_held() -> None:
    """80 nulls and 20 effects, 500 repetitions: the mean share of false finds."""
    rng, false, power = np.random.default_rng(0), [], []
    for _ in range(500):
        p = rng.random(100)
        p[:20] = rng.random(20) ** 12
        found = adjusted(p, "bh") <= 0.1
        false.append(found[20:].sum() / max(1, found.sum()))
        power.append(found[:20].mean())
    assert np.mean(false) <= 0.1
    assert np.mean(power) > 0.3


@pytest.mark.parametrize(
    ("p", "method", "match"),
    [
        ([1.5], "bh", "`p` must be p-values"),
        ([-0.1], "bh", "`p` must be p-values"),
        ([[0.1]], "bh", "one dimension"),
        ([0.1], "holm", "`method` must be one of .*got 'holm'"),
    ],
)
def test_refused(p: Any, method: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        adjusted(p, method)
