"""Intervals of bounded means: by formula, by coverage, at every time at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sensx_sc.core import bounded_interval, confidence_sequence


def test_hoeffding_and_bernstein_by_formula() -> None:
    mean, se, n = np.array([0.3, 0.9]), np.array([0.01, 0.02]), 50
    low, high = bounded_interval(mean, se, n, method="hoeffding", span=2.0, coverage=0.9)
    half = 2.0 * np.sqrt(np.log(2 / 0.1) / (2 * n))
    np.testing.assert_allclose(low, np.maximum(mean - half, 0), rtol=1e-12)
    np.testing.assert_allclose(high, mean + half, rtol=1e-12)
    low, high = bounded_interval(mean, se, n, span=2.0, coverage=0.9)
    variance = se**2 * n
    half = np.sqrt(2 * variance * np.log(4 / 0.1) / n) + 7 * 2.0 * np.log(4 / 0.1) / (3 * (n - 1))
    np.testing.assert_allclose(high, np.minimum(mean + half, 2.0), rtol=1e-12)
    assert (low >= 0).all()


def test_bernstein_is_narrower_where_the_spread_is_small() -> None:
    mean, se, n = np.array([0.2]), np.array([0.001 / np.sqrt(5000)]), 5000
    widths = {
        method: np.subtract(*bounded_interval(mean, se, n, method=method)[::-1])[0]  # type: ignore[arg-type]
        for method in ("hoeffding", "bernstein")
    }
    assert widths["bernstein"] < 0.2 * widths["hoeffding"]


def test_an_unknown_spread_has_no_bernstein_interval() -> None:
    low, high = bounded_interval(np.array([0.2, 0.4]), np.array([np.nan, 0.1]), 9)
    assert np.isnan([low[0], high[0]]).all()
    assert np.isfinite([low[1], high[1]]).all()


LAWS = {
    "rare": lambda rng, size: (rng.random(size) < 0.03).astype(float),
    "uniform": lambda rng, size: rng.uniform(0, 0.4, size),
    "skewed": lambda rng, size: rng.beta(0.2, 4.0, size),
}
MEANS = {"rare": 0.03, "uniform": 0.2, "skewed": 0.2 / 4.2}


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("n", [4, 60])
@pytest.mark.parametrize("method", ["hoeffding", "bernstein"])
def test_bounds_hold_for_few_blocks_of_any_law(law: str, n: int, method: Any) -> None:
    """At least 95 % of 4000 repetitions; Student's interval fails for the rare law."""
    x = LAWS[law](np.random.default_rng(1), (n, 4000))
    se = x.std(axis=0, ddof=1) / np.sqrt(n)
    low, high = bounded_interval(x.mean(axis=0), se, n, method=method)
    assert np.mean((low <= MEANS[law]) & (MEANS[law] <= high)) >= 0.95


@pytest.mark.parametrize("law", LAWS)
def test_the_sequence_holds_at_every_time_at_once(law: str) -> None:
    """Missed by no more than 5 % of 1000 repetitions anywhere among 1000 looks."""
    x = LAWS[law](np.random.default_rng(2), (1000, 1000))
    low, high = confidence_sequence(x)
    assert low.shape == high.shape == x.shape
    missed = ((low > MEANS[law]) | (high < MEANS[law])).any(axis=0)
    assert missed.mean() <= 0.05
    assert np.median(high[-1] - low[-1]) < 0.1  # and it says something
    assert (np.diff(low, axis=0) >= 0).all()
    assert (np.diff(high, axis=0) <= 0).all()


def test_the_sequence_step_by_step() -> None:
    """The published recursion, written as a loop."""
    rng, span, alpha = np.random.default_rng(3), 2.0, 0.1
    units = rng.uniform(0, span, 40)
    mean, spread, total, weighted, lost = 0.5, 0.25, 0.0, 0.0, 0.0
    low, high, sum_x, sum_squares = 0.0, 1.0, 0.0, 0.0
    found = confidence_sequence(units, span=span, coverage=1 - alpha)
    for t, unit in enumerate(units, start=1):
        x = unit / span
        bet = min(np.sqrt(2 * np.log(2 / alpha) / (spread * t * np.log(1 + t))), 0.5)
        total, weighted = total + bet, weighted + bet * x
        lost += 4 * (x - mean) ** 2 * (-np.log(1 - bet) - bet) / 4
        half = (np.log(2 / alpha) + lost) / total
        low, high = max(low, weighted / total - half), min(high, weighted / total + half)
        sum_x += x
        mean = (0.5 + sum_x) / (t + 1)
        sum_squares += (x - mean) ** 2
        spread = (0.25 + sum_squares) / (t + 1)
        assert found[0][t - 1] == pytest.approx(span * low, abs=1e-12)
        assert found[1][t - 1] == pytest.approx(span * high, abs=1e-12)


@pytest.mark.parametrize(
    ("how", "match"),
    [
        ({"n_blocks": 1}, "at least two blocks of walks; there are 1"),
        ({"coverage": 1.0}, "`coverage` must lie between 0 and 1; got 1.0"),
        ({"span": 0.0}, "`span` must be positive, the range of q; got 0.0"),
        ({"span": np.inf}, "`span` must be positive"),
        ({"method": "student"}, "`method` must be one of .*hoeffding.*got 'student'"),
        ({"mean": np.array([1.2])}, "between 0 and `span` = 1; got 1.2 to 1.2"),
        ({"mean": np.array([-0.2])}, "between 0 and `span`"),
    ],
)
def test_intervals_that_are_refused(how: dict[str, Any], match: str) -> None:
    arguments = {"mean": np.array([0.5]), "se": np.array([0.1]), "n_blocks": 5, **how}
    with pytest.raises(ValueError, match=match):
        bounded_interval(**arguments)


@pytest.mark.parametrize(
    ("units", "how", "match"),
    [
        ([0.5, 1.5], {}, "between 0 and `span` = 1; got 0.5 to 1.5"),
        ([0.5], {"span": -1.0}, "`span` must be positive"),
        ([0.5], {"coverage": 0.0}, "`coverage` must lie between 0 and 1"),
    ],
)
def test_sequences_that_are_refused(units: list[float], how: dict[str, float], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        confidence_sequence(np.array(units), **how)
