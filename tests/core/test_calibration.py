"""delta* (equation 2), its statuses, brackets, refinement and certificate."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sensx_sc.core.calibration import (
    calibrate,
    criterion,
    delta_grid,
    extension,
    make_envelope,
    order_statistics,
)

GRID = np.array([0.125, 0.25, 0.5, 1.0])
Sweep = Callable[[np.ndarray], np.ndarray]


def sweep_of(low: Callable, high: Callable, n_samples: int = 1001) -> Sweep:
    """Samples whose 1st and 99th percentile at scale d are exactly low(d) and high(d)."""

    def sweep(deltas: np.ndarray) -> np.ndarray:
        # linspace(a, b, 1001) has its percentiles at a + .01 (b - a) and a + .99 (b - a).
        lows, highs = (np.array([f(d) for d in deltas], dtype=float) for f in (low, high))
        u = (np.linspace(0, 1, n_samples) - 0.01) / 0.98
        return lows[:, None] + u * (highs - lows)[:, None]

    return sweep


def points(values: dict[float, float], n_samples: int = 500) -> Sweep:
    """The response is one number at each scale."""
    return lambda deltas: np.repeat([[values[float(d)]] for d in deltas], n_samples, axis=1)


# ---- grids


def test_named_grids() -> None:
    grid, extend = delta_grid("auto")
    assert extend
    assert len(grid) == 50
    np.testing.assert_allclose(grid[[0, -1]], [1e-4, 1])
    np.testing.assert_allclose(np.diff(np.log(grid)), np.log(1e4) / 49)
    grid, extend = delta_grid("linear")
    assert not extend
    np.testing.assert_allclose(grid, np.arange(1, 51) / 50)


def test_a_given_grid_is_used_as_it_is() -> None:
    grid, extend = delta_grid([0.03, 0.5])
    assert not extend
    np.testing.assert_array_equal(grid, [0.03, 0.5])


@pytest.mark.parametrize(
    ("deltas", "match"),
    [
        ("log", "`deltas` must be 'auto', 'linear' or an array of scales.*got 'log'"),
        ([], r"one-dimensional array of scales; got shape \(0,\)"),
        ([[0.1, 0.2]], r"got shape \(1, 2\)"),
        (0.5, r"got shape \(\)"),
        ([0.2, 0.1], r"`deltas` must increase strictly and lie in \(0, 1\]"),
        ([0.1, 0.1], "must increase strictly"),
        ([0.0, 0.1], "must increase strictly"),
        ([0.5, 1.5], "must increase strictly"),
        ([0.5, np.nan], "must increase strictly"),
    ],
)
def test_grids_that_are_refused(deltas: object, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        delta_grid(deltas)


# ---- C

envelopes = st.lists(st.tuples(st.integers(-9, 9), st.integers(0, 9)), min_size=1, max_size=12)


@given(envelopes)
def test_c_is_the_range_of_the_envelope_strictly_above(pairs: list[tuple[int, int]]) -> None:
    low = np.array([p[0] for p in pairs], dtype=float)
    high = low + np.array([p[1] for p in pairs])
    got = criterion(low, high)
    for i in range(len(pairs) - 1):
        above = range(i + 1, len(pairs))
        assert got[i] == max(high[k] for k in above) - min(low[k] for k in above)
    assert got[-1] == np.inf  # the empty tail is no saturation
    assert (np.diff(got[:-1]) <= 0).all()  # proposition 4


@given(envelopes, st.integers(1, 12), st.integers(-9, 9))
def test_status_and_delta_star_are_those_of_the_table(
    pairs: list[tuple[int, int]], tau: int, q_x: int
) -> None:
    grid = np.arange(1, len(pairs) + 1) / len(pairs)
    low = {d: p[0] for d, p in zip(grid, pairs, strict=True)}
    high = {d: sum(p) for d, p in zip(grid, pairs, strict=True)}
    level = tau - 0.5  # between the integers, away from rounding
    found = calibrate(sweep_of(low.__getitem__, high.__getitem__), q_x, grid, level)

    def c(i: int) -> float:
        above = grid[i + 1 :]
        return max(high[d] for d in above) - min(low[d] for d in above)

    below = [i for i in range(len(grid) - 1) if c(i) < level]
    if max([*high.values(), q_x]) - min([*low.values(), q_x]) < level:
        expected = ("insensitive", 0.0, (0.0, 0.0))
    elif not below:
        last = grid[-2] if len(grid) > 1 else 0.0
        expected = ("unsaturated", grid[-1], (last, grid[-1]))
    elif below[0] == 0:
        expected = ("left_censored", grid[0], (0.0, grid[0]))
    else:
        i = below[0]
        expected = ("resolved", grid[i], (grid[i - 1], grid[i]))
    assert (found.status, found.delta_star, found.bracket) == expected


def test_equal_to_tau_is_not_saturated() -> None:
    values = {0.125: 0.0, 0.25: 1.0, 0.5: 0.75, 1.0: 1.0}  # C(.125) = C(.25) = .25, C(.5) = 0
    equal = calibrate(points(values), 0.0, GRID, 0.25)
    assert (equal.status, equal.delta_star, equal.bracket) == ("resolved", 0.5, (0.25, 0.5))
    assert calibrate(points(values), 0.0, GRID, 0.25 + 1e-9).status == "left_censored"


def test_insensitive_counts_q_of_x() -> None:
    flat = dict.fromkeys(map(float, GRID), 0.0)
    inside = calibrate(points(flat), 0.05, GRID, 0.1)
    assert (inside.status, inside.delta_star) == ("insensitive", 0.0)
    assert inside.certified
    # The response leaves x below the first scale: that is a transition, not insensitivity.
    assert calibrate(points(flat), 0.5, GRID, 0.1).status == "left_censored"
    assert calibrate(points(flat), 0.1, GRID, 0.1).status == "left_censored"  # strictly


@pytest.mark.parametrize(("q_x", "status"), [(0.0, "insensitive"), (5.0, "unsaturated")])
def test_a_single_scale_never_saturates(q_x: float, status: str) -> None:
    found = calibrate(points({1.0: 0.0}), q_x, np.array([1.0]), 0.1)
    assert found.status == status


# ---- failures


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_non_finite_response_at_x_fails(bad: float) -> None:
    found = calibrate(points(dict.fromkeys(map(float, GRID), 0.0)), bad, GRID, 0.1)
    assert found.status == "failed"
    assert np.isnan(found.delta_star)
    assert np.isnan(found.bracket).all()
    assert str(bad) in found.message
    assert not found.certified


def test_non_finite_samples_fail_with_their_count_and_the_first() -> None:
    def sweep(deltas: np.ndarray) -> np.ndarray:
        q = np.zeros((len(deltas), 100))
        q[1, 7], q[3, 2], q[3, 5] = np.nan, np.inf, np.nan
        return q

    found = calibrate(sweep, 0.0, GRID, 0.1)
    assert found.status == "failed"
    assert "3 of 400 samples" in found.message
    assert "scale 0.25, sample 7" in found.message


# ---- the automatic grid goes down


def transition(at: float) -> Sweep:
    return sweep_of(lambda d: min(d / at, 1.0), lambda d: min(d / at, 1.0))


@pytest.mark.parametrize("at", [3e-5, 4e-7, 2e-8])
def test_auto_extends_down_until_it_resolves(at: float) -> None:
    grid, extend = delta_grid("auto")
    found = calibrate(transition(at), 0.0, grid, 0.1, extend=extend)
    assert found.status == "resolved"
    # C(d) counts the scales above d: it is below .1 once the next scale has q > .9.
    ratio = grid[1] / grid[0]
    assert 0.9 * at / ratio <= found.delta_star <= 0.9 * at * ratio
    deltas = found.envelope.deltas
    np.testing.assert_allclose(np.diff(np.log(deltas)), np.log(ratio), rtol=1e-9)  # geometric
    np.testing.assert_allclose(deltas[-50:], grid)


def test_auto_ends_at_1e_8() -> None:
    grid, extend = delta_grid("auto")
    found = calibrate(transition(1e-12), 0.0, grid, 0.1, extend=extend)
    assert found.status == "left_censored"
    assert 1e-8 * (1 - 1e-6) <= found.delta_star <= 1e-8 * grid[1] / grid[0]
    assert found.envelope.deltas.min() >= 1e-8 * (1 - 1e-6)


def test_only_left_censored_inputs_are_extended() -> None:
    grid, extend = delta_grid("auto")
    for q_x, sweep in ((0.0, transition(0.1)), (0.0, sweep_of(lambda d: d, lambda d: d))):
        assert len(calibrate(sweep, q_x, grid, 0.1, extend=extend).envelope.deltas) == 50
    assert len(calibrate(transition(1e-6), 0.0, grid, 0.1, extend=False).envelope.deltas) == 50


# ---- order statistics and the certificate


@pytest.mark.parametrize(
    ("n", "level", "ranks"),
    [(1000, 0.01, (4, 18)), (1000, 0.99, (983, 997)), (368, 0.99, (360, 368))],
)
def test_order_statistics(n: int, level: float, ranks: tuple[int, int]) -> None:
    got = order_statistics(n, level)
    assert got[1] == ranks[1]
    if n == 1000:
        assert got == ranks


def test_ranks_cover_at_least_the_level_they_claim() -> None:
    # P(X_(a) <= quantile < X_(b)) = P(a <= B < b), B ~ Bin(n, level), whatever the distribution.
    for n in (400, 1000, 5000):
        for level in (0.01, 0.5, 0.99):
            a, b = order_statistics(n, level)
            at_most = stats.binom.cdf([a - 1, b - 1], n, level)
            assert at_most[1] - at_most[0] >= 0.95
    assert np.diff(stats.binom.cdf([3, 17], 1000, 0.01))[0] == pytest.approx(0.976, abs=5e-4)


@pytest.mark.parametrize(("coverage", "threshold"), [(0.95, 368), (1 - 0.05 / 100, 826)])
def test_smallest_number_of_samples_with_a_finite_bound(coverage: float, threshold: int) -> None:
    # .99 ** n must not exceed half of 1 - coverage; 826: Bonferroni over 2 x 50 percentiles.
    assert 0.99**threshold <= (1 - coverage) / 2 < 0.99 ** (threshold - 1)
    assert order_statistics(threshold, 0.99, coverage)[1] == threshold
    assert order_statistics(threshold - 1, 0.99, coverage)[1] == threshold  # one too many
    assert order_statistics(threshold, 0.01, coverage)[0] == 1
    assert order_statistics(threshold - 1, 0.01, coverage)[0] == 0


def test_envelope_bounds_are_those_order_statistics(rng: np.random.Generator) -> None:
    q = rng.normal(size=(2, 1000))
    found = make_envelope(np.array([0.5, 1.0]), q)
    for k in range(2):
        ordered = np.sort(q[k])
        np.testing.assert_array_equal(found.low_bounds[k], ordered[[3, 17]])
        np.testing.assert_array_equal(found.high_bounds[k], ordered[[982, 996]])
        assert found.low[k] == pytest.approx(np.percentile(q[k], 1))
        assert found.high[k] == pytest.approx(np.percentile(q[k], 99))


def test_too_few_samples_certify_nothing(rng: np.random.Generator) -> None:
    values = {0.125: 0.0, 0.25: 0.0, 0.5: 1.0, 1.0: 1.0}
    assert calibrate(points(values, 368), 0.0, GRID, 0.1).certified
    assert not calibrate(points(values, 367), 0.0, GRID, 0.1).certified


def test_certified_needs_both_sides_clear() -> None:
    # The plateau's C is .999 or .9; the confidence bounds of its percentiles are .015 wider.
    def sweep(width: float) -> Sweep:
        return sweep_of(lambda d: 0 if d < 0.5 else 9, lambda d: 0.1 if d < 0.5 else 9 + width)

    wide = calibrate(sweep(0.999), 0.0, GRID, 1.0)
    clear = calibrate(sweep(0.9), 0.0, GRID, 1.0)
    assert wide.delta_star == clear.delta_star == 0.25
    assert (wide.status, clear.status) == ("resolved", "resolved")
    assert clear.certified
    assert not wide.certified

    # And below delta*: at .25 the envelope is wider than tau, for certain or by its estimate only.
    def broken(width: float) -> Sweep:
        return sweep_of(lambda d: 0, lambda d: width if d == 0.25 else 0)

    assert calibrate(broken(1.5), 9.0, GRID, 1.0).certified
    doubtful = calibrate(broken(1.0005), 9.0, GRID, 1.0)
    assert (doubtful.status, doubtful.delta_star) == ("resolved", 0.25)
    assert not doubtful.certified


def test_certified_needs_both_sides_clear_below_the_first_scale_too() -> None:
    # q leaves x by .1001 > tau, but a confidence bound of the 1st percentile leaves .0997.
    found = calibrate(lambda d: np.repeat([np.linspace(0, 0.05, 1000)], len(d), axis=0), 0.1006,
                      GRID, 0.1)  # fmt: skip
    assert found.status == "left_censored"
    assert not found.certified


# ---- refinement


def test_refinement_finds_the_continuous_transition() -> None:
    def fall(d: float) -> float:
        return float(np.exp(-d * 0.01 ** (1 / 50) / 0.15))

    def rise(d: float) -> float:
        return float(np.exp(-d * 0.99 ** (1 / 50) / 0.15))

    # q = exp(-max_j d u_j / .15): max u has quantile p at p ** (1 / 50); C(d) is the range of
    # [rise, fall] over (d, 1], so exp(-d .01^(1/50) / .15) - exp(-.99^(1/50) / .15) = tau.
    from scipy.optimize import brentq

    exact = brentq(lambda d: fall(d) - rise(1.0) - 0.1, 0.05, 0.9)
    grid = np.linspace(0.05, 1, 20)
    coarse = calibrate(sweep_of(rise, fall), 1.0, grid, 0.1)
    assert coarse.delta_star == pytest.approx(0.35)
    for tolerance in (0.01, 1e-4):
        fine = calibrate(sweep_of(rise, fall), 1.0, grid, 0.1, refine_tol=tolerance)
        assert fine.status == "resolved"
        assert abs(fine.delta_star - exact) <= tolerance
        assert fine.bracket[1] - fine.bracket[0] <= tolerance
        assert fine.delta_star == fine.bracket[0] <= exact < fine.bracket[1]


@pytest.mark.parametrize("tolerance", [0.3, None])
def test_a_bracket_that_is_narrow_enough_is_left(tolerance: float | None) -> None:
    seen: list[float] = []

    def sweep(deltas: np.ndarray) -> np.ndarray:
        seen.extend(deltas)
        return points({0.125: 0.0, 0.25: 0.0, 0.5: 1.0, 0.75: 1.0, 1.0: 1.0})(deltas)

    found = calibrate(
        sweep, 0.0, np.array([0.125, 0.25, 0.5, 0.75, 1.0]), 0.1, refine_tol=tolerance
    )
    assert found.delta_star == 0.25
    assert seen == [0.125, 0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize(
    ("grid", "middles"),
    [
        # In the ratio of the ends while they are more than a factor of four apart, then halves.
        ([0.001, 0.004, 0.0729, 1.0], [0.01707630, 0.00826469, 0.00613234]),
        ([0.001, 0.1, 0.4, 1.0], [0.25, 0.175, 0.1375]),
    ],
)
def test_where_refinement_looks(grid: list[float], middles: list[float]) -> None:
    seen: list[float] = []

    def sweep(deltas: np.ndarray) -> np.ndarray:
        seen.extend(deltas)
        return transition(1.5 * grid[1])(deltas)

    found = calibrate(sweep, 1.0, np.array(grid), 0.1, refine_tol=(middles[2] - grid[1]) * 1.01)
    np.testing.assert_allclose(seen[len(grid) :], middles, rtol=1e-5)
    assert found.bracket == (grid[1], pytest.approx(middles[2], rel=1e-5))
    assert found.delta_star == grid[1]


def test_refined_results_are_certified_and_have_the_envelope_of_the_grid() -> None:
    coarse = calibrate(transition(0.53), 1.0, GRID, 0.1)
    fine = calibrate(transition(0.53), 1.0, GRID, 0.1, refine_tol=0.01)
    assert coarse.envelope is not None
    assert fine.envelope is not None
    np.testing.assert_array_equal(fine.envelope.deltas, GRID)
    np.testing.assert_array_equal(fine.envelope.high, coarse.envelope.high)
    assert fine.certified
    assert fine.status == "resolved"
    # The range from a scale on counts as moved where it is tau exactly, as on the grid.
    step = calibrate(
        lambda d: np.repeat(np.where(d <= 0.5, 0.5, 0.25)[:, None], 50, axis=1), 0.5,
        np.array([0.25, 0.4, 1.0]), 0.25, refine_tol=0.2,
    )  # fmt: skip
    assert step.bracket == (0.4, 0.55)


def test_refinement_ends_where_no_number_is_between() -> None:
    grid = np.array([0.2, 0.4, 0.6, 0.8, 1.0])
    found = calibrate(transition(0.53), 1.0, grid, 0.1, refine_tol=1e-300)
    low, high = found.bracket
    assert 0.4 <= low < high <= 0.6
    assert high == np.nextafter(low, 1)


def test_an_extension_ascends_to_the_grid_by_its_first_ratio() -> None:
    grid, _ = delta_grid("auto")
    ratio = grid[1] / grid[0]
    first, second = extension(grid, 0), extension(grid, 1)
    for upper, lower in ((grid, first), (first, second)):
        whole = np.concatenate([lower, upper[:2]])
        np.testing.assert_allclose(whole[1:] / whole[:-1], ratio)
