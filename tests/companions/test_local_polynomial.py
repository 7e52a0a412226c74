"""The local polynomial: exact where it must be, unbiased errors, the right window."""

from __future__ import annotations

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from sensx_sc.companions.local_polynomial import (
    Slopes,
    choose_window,
    local_slopes,
    plug_in_width,
    roughness,
    weights_of,
)
from sensx_sc.companions.windows import LADDER, make_windows, place


def slopes(
    function: object,
    x: float,
    *,
    scale: float = 1.0,
    lower: float = -9.0,
    upper: float = 9.0,
    widths: tuple[float, ...] = LADDER,
    rule: str = "lepski",
    n_points: int = 8,
    repeats: int = 1,
) -> Slopes:
    """Slopes of a function of one feature, as if there were several such features."""
    windows = make_windows(widths, n_points)
    at, units = np.full(repeats, x), np.full(repeats, scale)
    placed = place(at, units, windows, np.full(repeats, lower), np.full(repeats, upper))
    q = function(placed.values)  # type: ignore[operator]
    q_x = np.full(repeats, np.ravel(function(np.array([[x]])))[0])  # type: ignore[operator]
    return local_slopes(q_x, q, placed, units, windows, rule, np.finfo(float).eps)


@hypothesis.given(
    x=st.floats(0, 2),
    scale=st.floats(1e-3, 1),
    width=st.sampled_from([*LADDER, 0.37]),
    a=st.floats(-5, 5),
    b=st.floats(-5, 5),
    c=st.floats(-5, 5),
)
def test_linear_and_quadratic_are_exact_for_any_window(
    x: float, scale: float, width: float, a: float, b: float, c: float
) -> None:
    """At the bounds and between them, slope, curvature and a standard error of nothing."""
    size = 1 + abs(a) + abs(b) + abs(c)
    found = slopes(
        lambda z: a + b * z + c * z**2, x, scale=scale, lower=0, upper=2, widths=(width,)
    )
    exact = 1e-12 * size / (width * scale)
    np.testing.assert_allclose(found.slope, b + 2 * c * x, atol=10 * exact)
    np.testing.assert_allclose(found.curvature, 2 * c, atol=100 * exact / (width * scale))
    assert found.se[0] < 10 * exact


@pytest.mark.parametrize("rule", ["lepski", "plug_in"])
@pytest.mark.parametrize("x", [0.0, 0.01, 0.7, 2.0])
def test_quadratic_is_exact_with_a_chosen_window(rule: str, x: float) -> None:
    found = slopes(lambda z: 1 - 3 * z + 2 * z**2, x, scale=0.5, lower=0, upper=2, rule=rule)
    np.testing.assert_allclose(found.slope, -3 + 4 * x, atol=1e-10)
    np.testing.assert_allclose(found.curve, -3 + 4 * x, atol=1e-10)


@pytest.mark.parametrize("width", [0.1, 0.5, 1.0])
def test_bias_of_a_cubic_is_the_ratio_of_moments(width: float) -> None:
    """Slope of z^3 at 0 is h^2 mu4 / mu2, of the points that are used."""
    u = np.array([-1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75, 1])
    expected = width**2 * np.sum(u**4) / np.sum(u**2)
    np.testing.assert_allclose(slopes(lambda z: z**3, 0.0, widths=(width,)).slope, expected)


def test_a_jump_counts_by_how_near_it_is() -> None:
    """A unit step at distance t in a window h: 3/4 (1 - (t/h)^2) / h for many points."""
    h, t = 0.8, 0.3
    found = slopes(lambda z: (z > t).astype(float), 0.0, widths=(h,), n_points=400)
    np.testing.assert_allclose(found.slope, 0.75 * (1 - (t / h) ** 2) / h, rtol=0.02)


def test_small_windows_approach_the_derivative() -> None:
    errors = [abs(slopes(np.sin, 0.4, widths=(h,)).slope[0] - np.cos(0.4)) for h in (0.4, 0.2, 0.1)]
    np.testing.assert_allclose(np.divide(errors[:-1], errors[1:]), 4, rtol=0.02)  # order h^2


WIDTHS = {"narrow": (0.03125, 0.0625, 0.125, 0.25), "wide": (0.125, 0.25, 0.5, 1.0)}


@pytest.mark.parametrize("x", [0.0, 1.0], ids=["at the bound", "inside"])
@pytest.mark.parametrize("widths", WIDTHS)
def test_standard_error_of_independent_noise(
    rng: np.random.Generator, x: float, widths: str
) -> None:
    """Intervals of two standard errors over 4000 draws of noise hold the slope often enough.

    Part of independent noise is taken for jumps, which cost more, so that intervals are too wide:
    the typical one by less than half. A coverage of .95 would be known to .004.
    """
    found = slopes(
        lambda z: 2 * z + (0.1 * rng.normal(size=z.shape) if z.size > 1 else 0.0),
        x, lower=0, upper=2, widths=WIDTHS[widths], rule="widest", repeats=4000,
    )  # fmt: skip
    assert np.mean(np.abs(found.slope - 2) < 1.96 * found.se) > 0.94
    true = found.slope.std(ddof=1)
    assert true < np.median(found.se) < (2.2 if x == 0 else 1.6) * true


@pytest.mark.parametrize("x", [0.0, 1.0], ids=["at the bound", "inside"])
@pytest.mark.parametrize("widths", WIDTHS)
def test_standard_error_of_jumps(rng: np.random.Generator, x: float, widths: str) -> None:
    """A random walk of 1000 small jumps a unit: what a forest looks like from nearby.

    Its variance, of 1500 walks, is known to 4 %; some is lost to the curve that is taken off.
    """
    jumps, n = 1000, 1500
    walks = np.cumsum(rng.normal(size=(n, 2 * jumps)) / np.sqrt(jumps), axis=1)

    def forest(z: np.ndarray) -> np.ndarray:
        if len(z) == 1:
            return np.zeros(1)
        at, here = (np.clip(np.asarray(v) * jumps, 0, 2 * jumps - 1).astype(int) for v in (z, x))
        rows = np.arange(n)[:, None]
        return walks[rows, at] - walks[:, [int(here)]]  # each feature has a walk of its own

    found = slopes(forest, x, lower=0, upper=2, widths=WIDTHS[widths], rule="widest", repeats=n)
    true = found.slope.var(ddof=1)
    assert 0.7 * true < np.mean(found.se**2) < 1.2 * true


def test_noise_and_jumps_are_told_apart(rng: np.random.Generator) -> None:
    """Mean of both variances over many responses: each kind is found, and little of the other."""
    windows = make_windows()
    weights = weights_of(windows, 0)
    at = np.append(0.0, windows.offsets)
    order = np.argsort(at)
    n, widths = 4000, np.array(windows.widths)
    white = rng.normal(size=(n, len(at)))
    walk = np.zeros((n, len(at)))
    steps = rng.normal(size=(n, len(at) - 1)) * np.sqrt(np.diff(at[order]))
    walk[:, order[1:]] = np.cumsum(steps, axis=1)
    for y, kind in ((3 * white, 0), (3 * walk, 1)):
        parts = [y[:, [0, *(place + 1 for place in members)]] for members in windows.members]
        found = roughness(parts, weights, widths)
        assert (found >= 0).all()
        assert 0.8 < found.mean(axis=0)[kind] / 9 < 1.1
        # Alone, the other kind explains what is left in few of them.
        assert np.mean(found[:, kind] == 0) < 0.35


def test_choose_window() -> None:
    curve = np.array([[1.0, 1.1, 1.2, 9.0], [5.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    se = np.array([[0.1, 0.1, 0.1, 0.1], [0.1, 0.1, 0.1, 0.1], [0.0, 0.0, 0.0, 0.0]])
    assert choose_window(curve, se).tolist() == [2, 0, 3]


@pytest.mark.parametrize("rate", [2, 4])
def test_a_curve_is_no_noise(rate: int) -> None:
    """The widest window for a line; a narrow one where the response bends away."""
    assert slopes(lambda z: rate * z, 0.0).width[0] == 1
    for curve in (lambda z: np.exp(rate * z), lambda z: np.sin(rate * z)):
        found = slopes(curve, 0.0)
        assert found.width[0] <= 0.25
        np.testing.assert_allclose(found.slope, rate, rtol=0.15)


def test_flat_next_to_a_single_jump_is_no_certainty() -> None:
    """Near a tree's jump the narrow windows see nothing; their zero is not believed."""
    found = slopes(lambda z: (z > 0.3).astype(float), 0.0)
    assert found.curve[0, 0] == 0
    assert found.width[0] == 1
    assert found.slope[0] > 0
    assert found.se[0] > 0.1


def test_plug_in_width_has_the_least_error(rng: np.random.Generator) -> None:
    """Mean squared error of noisy cubics over a grid of widths: the formula's is the least."""
    third, noise, n_points = 6.0, 0.05, 40
    best = float(plug_in_width(np.array([noise**2]), np.array([third]), n_points)[0])
    widths = best * np.array([0.6, 0.8, 1.0, 1.25, 1.6])

    def cubic(z: np.ndarray) -> np.ndarray:
        return third / 6 * z**3 + (noise * rng.normal(size=z.shape) if z.size > 1 else 0.0)

    errors = [
        np.mean(slopes(cubic, 0.0, widths=(h,), n_points=n_points, repeats=4000).slope ** 2)
        for h in widths
    ]
    assert int(np.argmin(errors)) == 2
    assert plug_in_width(np.array([1.0]), np.array([0.0]), 8)[0] == np.inf


def test_plug_in_rule_takes_the_nearest_window(rng: np.random.Generator) -> None:
    def cubic(z: np.ndarray) -> np.ndarray:
        return z**3 + (0.02 * rng.normal(size=z.shape) if z.size > 1 else 0.0)

    best = float(plug_in_width(np.array([0.02**2]), np.array([6.0]), 8)[0])
    found = slopes(cubic, 0.0, rule="plug_in", repeats=500)
    # A third derivative and a variance that are estimated move it by a window.
    assert 0.2 < best < 0.3
    assert np.mean(found.width == 0.25) > 0.5
    assert np.mean((found.width >= 0.125) & (found.width <= 0.5)) > 0.99
