"""METHOD section 9: closed forms, each by both designs.

Anchored walks with endpoints uniform on the whole box (delta = 1). A value may differ from its
closed form by 4 of the standard errors that the run itself reports (plus 2e-6 for the six digits
of the table): a correct estimate fails once in 16,000 comparisons, and with W walks a wrong one is
seen from 4 standard errors on, between .1 and 2 % of the values here. Where the standard error is
zero the value is exact.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.integrate import quad

from sensx_sc.core import Explanation, explain
from sensx_sc.core.calibration import criterion

Function = Callable[[np.ndarray], np.ndarray]
W = 4000
designs = pytest.mark.parametrize("design", ["balanced", "uniform"])


def walk(function: Function, x: Any, lower: float, upper: float, **arguments: Any) -> Explanation:
    return explain(
        np.atleast_2d(np.asarray(x, dtype=float)), function, lower=lower, upper=upper,
        **{"deltas": [1.0], "tau": 1e-12, "n_walks": W, "n_samples": 10, "seed": 4, **arguments},
    )  # fmt: skip


def near(got: np.ndarray, expected: Any, se: np.ndarray) -> None:
    error = np.abs(got - np.asarray(expected))
    allowed = 2e-6 + 4 * np.nan_to_num(se)
    assert (error <= allowed).all(), f"{got} is not {expected}: {error / allowed * 4} se"


def linear(z: np.ndarray) -> np.ndarray:
    return z @ np.array([2.0, -0.5, 0.0, 7.0]) + 3


@designs
@pytest.mark.parametrize("delta", [1e-3, 0.3, 1.0])
@pytest.mark.parametrize("x", [[0, 0, 0, 0], [0.2, 1, 0.5, 0.9]])
def test_linear_is_exact_from_one_walk(design: str, delta: float, x: list[float]) -> None:
    one = walk(linear, x, 0, 1, deltas=[delta], n_walks=1, design=design)
    assert one.params["n_walks"] == 1
    np.testing.assert_allclose(one.value, [[2, 0.5, 0, 7]], rtol=1e-9)
    np.testing.assert_allclose(one.mean, [[2, -0.5, 0, 7]], rtol=1e-9)
    assert one.value[0, 2] == 0
    many = walk(linear, x, 0, 1, deltas=[delta], n_walks=8, design=design)
    assert many.std.max() < 1e-9
    assert many.se.max() < 1e-9
    assert many.std[0, 2] == many.se[0, 2] == 0


@designs
def test_sum_of_squares(design: str) -> None:
    x = np.array([-1.0, -0.3, 0.0, 0.5, 1.0])
    r = walk(lambda z: (z**2).sum(axis=1), x, -1, 1, design=design)
    near(r.value[0], (1 + x**2) / 2, r.se[0])


@designs
def test_bilinear(design: str) -> None:
    r = walk(lambda z: z[:, 0] * z[:, 1], [0.3, -0.4], -1, 1, design=design)
    near(r.value[0], [0.45, 0.40], r.se[0])
    # Balanced walks are no less accurate than independent ones, whose error this is.
    near(r.mean[0], [-0.20, 0.15], r.std[0] / np.sqrt(W))
    # sd of a standard deviation is below sd / sqrt(n) for these bounded effects.
    near(r.std[0], [0.454606, 0.434933], r.std[0] / np.sqrt(W))


@designs
def test_step(design: str) -> None:
    r = walk(lambda z: 1.0 * (z[:, 0] > 0.5), [0.2], 0, 1, design=design)
    near(r.value[0], [0.980829], r.se[0])
    near(r.value[0], [np.log(0.8 / 0.3)], r.se[0])


def ishigami(z: np.ndarray) -> np.ndarray:
    return np.sin(z[:, 0]) * (1 + 0.1 * z[:, 2] ** 4) + 7 * np.sin(z[:, 1]) ** 2


@designs
@pytest.mark.parametrize(
    ("x", "value"),
    [
        ([0, 0, 0], [1.163707, 2.715752, 0.246740]),
        ([1, 0.5, 2], [1.447802, 2.584774, 1.256794]),
    ],
)
def test_ishigami(design: str, x: list[float], value: list[float]) -> None:
    r = walk(ishigami, x, -np.pi, np.pi, design=design)
    near(r.value[0], value, r.se[0])
    if not any(x):
        near(r.mean[0], [1.163707, 0, 0], r.std[0] / np.sqrt(W))


def sobol_g(z: np.ndarray) -> np.ndarray:
    a = np.array([0, 1, 4.5, 9, 99, 99, 99, 99])
    return ((np.abs(4 * z - 2) + a) / (1 + a)).prod(axis=1)


@designs
@pytest.mark.parametrize(
    ("x", "value"),
    [
        (0.5, [2.595420, 0.897647, 0.290497, 0.155758, *[0.015170] * 4]),
        (0.2, [2.791214, 1.462734, 0.549095, 0.304564, *[0.030745] * 4]),
    ],
)
def test_sobol_g(design: str, x: float, value: list[float]) -> None:
    r = walk(sobol_g, np.full(8, x), 0, 1, design=design)
    near(r.value[0], value, r.se[0])


def friedman(z: np.ndarray) -> np.ndarray:
    return (
        10 * np.sin(np.pi * z[:, 0] * z[:, 1]) + 20 * (z[:, 2] - 0.5) ** 2
        + 10 * z[:, 3] + 5 * z[:, 4]
    )  # fmt: skip


@designs
def test_friedman(design: str) -> None:
    x = [0, 0, 0.5, 0.1, 0.9, 0.2, 0.3, 0.4, 0.5, 0.6]
    r = walk(friedman, x, 0, 1, design=design)
    near(r.value[0], [6.076586, 6.076586, 5, 10, 5, 0, 0, 0, 0, 0], r.se[0])
    # The summands' rounding, divided by a step, is all that is left for linear parts.
    np.testing.assert_allclose(r.value[0, 3:5], [10, 5], rtol=1e-8)
    for statistic in (r.value, r.mean, r.std, r.change, r.shapley, r.se):
        assert (statistic[0, 5:] == 0).all()
    assert r.below_noise[0, 5:].all()
    assert not r.below_noise[0, :5].any()


def morris(z: np.ndarray) -> np.ndarray:
    w = 2 * (z - 0.5)
    bent = [2, 4, 6]
    w[:, bent] = 2 * (1.1 * z[:, bent] / (z[:, bent] + 0.1) - 0.5)
    e1, e2, e3, e4 = (elementary(w[:, :k], order) for order, k in ((1, 10), (2, 6), (3, 5), (4, 4)))
    return 20 * e1 - 15 * e2 - 10 * e3 + 5 * e4


def elementary(w: np.ndarray, order: int) -> np.ndarray:
    """Elementary symmetric polynomial of the columns."""
    sums = [np.ones(len(w)), *np.zeros((order, len(w)))]
    for column in w.T:
        for k in range(order, 0, -1):
            sums[k] = sums[k] + column * sums[k - 1]
    return sums[order]


@designs
def test_morris_20(design: str) -> None:
    r = walk(morris, np.full(20, 0.5), 0, 1, design=design)
    expected = np.zeros(20)
    expected[[0, 1, 3]] = -16.55414
    expected[[2, 4]] = 7.65502
    expected[5] = -5.17389
    expected[6] = 17.58457
    expected[7:10] = 40
    error = np.abs(r.mean[0] - expected)
    assert (error[:7] <= 1e-5 + 4 * r.std[0, :7] / np.sqrt(W)).all()
    np.testing.assert_allclose(r.mean[0, 7:10], 40, rtol=1e-7)
    np.testing.assert_allclose(r.value[0, 7:10], 40, rtol=1e-7)
    assert (r.value[0, 10:] == 0).all()


G: list[tuple[Function, float]] = [
    (lambda z: 2 + z, -1.0),
    (lambda z: np.exp(-z), 0.4),
    (lambda z: z**2 - 0.5, 0.1),
    (np.sin, 1.5),
]


@designs
@pytest.mark.parametrize("delta", [0.3, 1.0])
def test_product(design: str, delta: float) -> None:
    """q = prod g_i: E|secant_j| times an integral over how far the walk has come, by quadrature."""
    lower, upper = -1.0, 2.0
    reach = delta * (upper - lower)

    def mean(f: Callable[[float], float], x: float, corners: list[float]) -> float:
        low, high = max(lower, x - reach), min(upper, x + reach)
        inside = [c for c in [*corners, x] if low < c < high]
        return quad(f, low, high, points=inside, limit=200)[0] / (high - low)

    corners = [-np.sqrt(0.5), 0.0, np.sqrt(0.5)]
    at_x = [abs(g(x)) for g, x in G]
    at_e = [mean(lambda z, g=g: abs(g(z)), x, corners) for g, x in G]
    expected = []
    for j, (g, x) in enumerate(G):
        others = [i for i in range(len(G)) if i != j]
        turn = [c for c in (-x, np.pi - x) if lower < c < upper]  # where secants change sign
        secant = mean(lambda z, g=g, x=x: abs((g(z) - g(x)) / (z - x)) if z != x else 0.0, x, turn)
        along = quad(
            lambda t, others=others: np.prod([(1 - t) * at_x[i] + t * at_e[i] for i in others]),
            0,
            1,
        )[0]
        expected.append(secant * along)

    def product(z: np.ndarray) -> np.ndarray:
        return np.prod([g(z[:, i]) for i, (g, _) in enumerate(G)], axis=0)

    r = walk(product, [x for _, x in G], lower, upper, deltas=[delta], design=design)
    near(r.value[0], expected, r.se[0])


@pytest.mark.parametrize(
    ("corner", "delta_star", "limits"),
    [(True, 0.35, {5: 0.1178, 6: 0.0866}), (False, 0.30, {})],
    ids=["corner", "centre"],
)
def test_delta_star(corner: bool, delta_star: float, limits: dict[int, float]) -> None:
    x = np.zeros((1, 50)) if corner else np.full((1, 50), 0.5)

    def response(z: np.ndarray) -> np.ndarray:
        return np.exp(-np.abs(z - x).max(axis=1) / 0.15)

    for seed in range(3):
        r = explain(x, response, lower=0, upper=1, deltas=np.linspace(0.05, 1, 20), tau=0.1,
                    n_samples=1000, n_walks=8, seed=seed)  # fmt: skip
        assert r.status == ("resolved",)
        assert r.delta_star[0] == pytest.approx(delta_star)
        np.testing.assert_allclose(r.bracket[0], [delta_star - 0.05, delta_star])
        found = criterion(*r.envelope[0].T)
        for k, c in limits.items():
            # The 1st percentile of max u has standard error .0057, so C has .0016: 4 of them.
            # tau lies 8 and 11 away.
            assert abs(found[k] - c) < 0.0064


def test_delta_star_refined_to_the_continuous_transition() -> None:
    # exp(-d .01^(1/50) / .15) - exp(-.99^(1/50) / .15) = .1 at d = .3766; the percentile's
    # standard error of .0057 moves it by .0023: 4 of them, and the tolerance.
    x = np.zeros((1, 50))

    def response(z: np.ndarray) -> np.ndarray:
        return np.exp(-np.abs(z - x).max(axis=1) / 0.15)

    low = np.exp(-(0.99**0.02) / 0.15)
    exact = -0.15 * np.log(0.1 + low) / 0.01**0.02
    assert exact == pytest.approx(0.3766, abs=5e-5)
    r = explain(x, response, lower=0, upper=1, deltas=np.linspace(0.05, 1, 20), tau=0.1,
                n_samples=1000, n_walks=8, refine_tol=1e-3)  # fmt: skip
    assert abs(r.delta_star[0] - exact) < 4 * 0.0023 + 1e-3
    assert r.bracket[0, 1] - r.bracket[0, 0] <= 1e-3
    assert r.bracket[0, 0] == r.delta_star[0]


def test_enough_samples_find_the_scale_of_the_population() -> None:
    """Appendix A.10: with n_s >= 2 log(4 |grid| / alpha) / (gamma f_min)^2 samples delta* is that
    of the population in 1 - alpha of the runs. The bound is wide: none of four may differ, while
    of runs with 50 samples some do."""
    n, scale, grid, tau, alpha = 50, 0.15, np.array([0.1, 0.2, 0.4, 0.6, 0.8, 1.0]), 0.08, 0.05
    level = np.array([0.01, 0.99])
    furthest = grid[:, None] * level ** (1 / n)  # quantiles of the largest of n uniform steps
    q = np.exp(-furthest / scale)
    density = n * level / furthest / (q / scale)  # of q, there
    exact = criterion(q[:, 1], q[:, 0])
    gap = np.abs(exact[:-1] - tau).min()
    enough = int(np.ceil(2 * np.log(4 * len(grid) / alpha) / (gap * density.min()) ** 2))
    wanted = grid[np.flatnonzero(exact < tau)[0]]

    def found(n_samples: int, runs: int) -> np.ndarray:
        return explain(
            np.zeros((runs, n)), lambda z: np.exp(-z.max(axis=1) / scale), lower=0, upper=1,
            deltas=grid, tau=tau, n_samples=n_samples, n_walks=1, design="uniform",
        ).delta_star  # fmt: skip

    assert enough == 148_019
    assert (found(enough, 4) == wanted).all()
    assert (found(50, 60) != wanted).any()
