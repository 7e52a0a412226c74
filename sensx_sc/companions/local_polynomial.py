"""The slope of a response along one feature, by a local polynomial through several points.

A parabola is fitted to the response itself in a window around the input, and its slope at the
input is taken (Fan and Gijbels 1996). What is estimated is a kernel-averaged derivative: for a
model that moves in jumps it is the sum of the jumps nearby, weighted by how near they are; for a
smooth one it becomes the derivative as the window shrinks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sensx_sc.companions.windows import Placed, Windows
    from sensx_sc.core.arrays import Floats, Ints

Rule = Literal["lepski", "plug_in", "widest"]
_SMOOTH = 4  # degree of the polynomial whose residuals count as roughness
_CURVED = 0.02  # of what noise and jumps leave unexplained a curve may leave
_AGREE = 3.0  # standard errors within which windows must agree


class Slopes(NamedTuple):
    """Local slopes of some features, (F,) each; ``curve`` is the slope in each window, (F, L)."""

    slope: Floats
    se: Floats
    width: Floats
    curvature: Floats
    curve: Floats


@dataclass(frozen=True)
class Weights:
    """What turns the responses at the points of one window into numbers.

    Attributes
    ----------
    slope, curvature
        Weights of the points, the input's first, (m + 1,): first and second derivative at 0.
    variance
        Of the slope: for independent noise of variance 1, and for a random walk whose variance
        grows by 1 a unit, (2,).
    rough
        From responses to what a polynomial of degree 4 leaves of them, (m + 1, m + 1).
    expected
        Sum of squares of what is left, for both kinds of roughness at variance 1 and for a curve
        of one degree more, (3,).
    """

    slope: Floats
    curvature: Floats
    variance: Floats
    rough: Floats
    expected: Floats


def window_weights(offsets: Floats) -> Weights:
    """Weights for points at some offsets from the input, (m,)."""
    at = np.concatenate([[0.0], offsets])
    width = np.abs(at).max()
    parabola = np.linalg.pinv(np.vander(at / width, 3, increasing=True))
    slope, curvature = parabola[1] / width, 2 * parabola[2] / width**2
    order = np.argsort(at)
    # A jump between two points moves all points beyond it.
    beyond = np.cumsum(slope[order][::-1])[::-1][1:]
    variance = np.array([(slope**2).sum(), (beyond**2 * np.diff(at[order])).sum()])
    quartic = np.vander(at / width, _SMOOTH + 1, increasing=True)
    rough = np.eye(len(at)) - quartic @ np.linalg.pinv(quartic)
    walk = np.minimum.outer(at - at.min(), at - at.min())
    bent = rough @ (at ** (_SMOOTH + 1))
    expected = np.array([np.trace(rough @ rough.T), np.trace(rough @ walk @ rough.T), bent @ bent])
    return Weights(slope, curvature, variance, rough, expected)


@lru_cache(maxsize=256)
def weights_of(windows: Windows, n_beyond: int) -> tuple[Weights, ...]:
    """Weights of each window once some of the points were reflected."""
    offsets = windows.reflected(n_beyond)
    return tuple(window_weights(offsets[list(members)]) for members in windows.members)


def roughness(y: Sequence[Floats], weights: Sequence[Weights], widths: Floats) -> Floats:
    """Variance of independent noise, and of a random walk a unit, in a response, (F, 2).

    A model's own noise (rounding, sampling) does not depend on the width of a window; the jumps
    of trees add up in it like a random walk; what a curve leaves grows much faster. All three are
    fitted to what polynomials leave of the responses in all windows.

    Parameters
    ----------
    y
        Responses at the input and at the points of each window, (F, m + 1) each.
    """
    pairs = zip(y, weights, strict=True)
    sums = np.stack([((part @ each.rough.T) ** 2).sum(axis=1) for part, each in pairs], axis=1)
    expected = np.array([each.expected for each in weights])
    importance = 1 / np.sqrt(widths)
    sums, expected = sums * importance, expected * importance[:, None]
    fitted, left = not_negative(sums, expected[:, :2])
    curved, left_by_curve = not_negative(sums, expected)
    # Jumps in a few windows look curved by chance, too: only a curve that explains it all is one.
    is_curve = left_by_curve < _CURVED * left
    return np.where(is_curve[:, None], curved[:, :2], fitted)


def not_negative(sums: Floats, expected: Floats) -> tuple[Floats, Floats]:
    """Least squares without negative coefficients of sums (F, L) on columns (L, K).

    Returns
    -------
    Coefficients (F, K), and the sum of squares that they leave, (F,).

    Examples
    --------
    >>> import numpy as np
    >>> from sensx_sc.companions.local_polynomial import not_negative
    >>> not_negative(np.array([[1.0, 3.0], [1.0, -2.0]]), np.eye(2))
    (array([[1., 3.],
           [1., 0.]]), array([0., 4.]))
    """
    size = np.abs(expected).max(axis=0)
    columns = expected / size
    best, fitted = (sums**2).sum(axis=1), np.zeros((len(sums), len(size)))
    # The solution is that of the columns whose coefficients are not zero in it.
    for some in _subsets(len(size)):
        found = sums @ np.linalg.pinv(columns[:, some]).T
        left = ((sums - found @ columns[:, some].T) ** 2).sum(axis=1)
        better = np.flatnonzero((found >= 0).all(axis=1) & (left < best))
        best[better], fitted[better] = left[better], 0.0
        fitted[better[:, None], some] = found[better]
    return fitted / size, best


def _subsets(n: int) -> list[list[int]]:
    return [list(some) for size in range(1, n + 1) for some in combinations(range(n), size)]


def choose_window(curve: Floats, se: Floats) -> Ints:
    """The widest window whose slope agrees with those of all narrower ones (Lepski's rule), (F,).

    Parameters
    ----------
    curve, se
        Slope and its standard error in each window, narrowest first, (F, L).
    """
    low = np.maximum.accumulate(curve - _AGREE * se, axis=1)
    high = np.minimum.accumulate(curve + _AGREE * se, axis=1)
    agree = np.logical_and.accumulate(low <= high, axis=1)
    chosen: Ints = agree.sum(axis=1) - 1
    return chosen


def plug_in_width(white: Floats, third: Floats, n_points: int) -> Floats:
    """Half-width of least mean squared error for independent noise on a cubic.

    h^6 = 18 mu2 v / (m mu4^2 f'''^2), with the variance v of the noise, m points, the third
    derivative and the moments 1/3 and 1/5 of a uniform window.

    Examples
    --------
    >>> import numpy as np
    >>> from sensx_sc.companions.local_polynomial import plug_in_width
    >>> plug_in_width(np.array([0.01]), np.array([2.0]), 10).round(4)
    array([0.5785])
    """
    second, fourth = 1 / 3, 1 / 5
    bias = n_points * fourth**2 * third**2
    sixth = np.full(len(white), np.inf)  # of a parabola: the wider the better
    np.divide(18 * second * white, bias, out=sixth, where=bias > 0)
    return np.asarray(np.cbrt(np.sqrt(sixth)), dtype=np.float64)


def local_slopes(
    q_x: Floats, q: Floats, placed: Placed, scale: Floats, windows: Windows, rule: Rule, eps: float
) -> Slopes:
    """Slopes of a response along features, with standard errors, from its values at the points.

    Parameters
    ----------
    q_x, q
        Response at the input of each feature, (F,), and at its points, (F, M).
    placed, scale, windows
        Where the points are; scales of the features, (F,).
    rule
        How the window is chosen: ``"lepski"``, ``"plug_in"``, or ``"widest"``.
    eps
        Relative rounding of the response.
    """
    n, levels, widths = len(q), len(windows.widths), np.array(windows.widths)
    curve, second, se = (np.empty((n, levels)) for _ in range(3))
    best = np.full(n, widths[-1])
    rounding = (eps * np.maximum(np.abs(q).max(axis=1, initial=0.0), np.abs(q_x))) ** 2
    for n_beyond in np.unique(placed.n_beyond).tolist():
        some = np.flatnonzero(placed.n_beyond == n_beyond)
        weights = weights_of(windows, n_beyond)
        y = np.concatenate([np.zeros((len(some), 1)), q[some] - q_x[some, None]], axis=1)
        parts = [y[:, [0, *(place + 1 for place in members)]] for members in windows.members]
        rough = roughness(parts, weights, widths)
        rough[:, 0] = np.maximum(rough[:, 0], rounding[some])
        for k, (part, each) in enumerate(zip(parts, weights, strict=True)):
            curve[some, k], second[some, k] = part @ each.slope, part @ each.curvature
            se[some, k] = np.sqrt(rough @ each.variance)
        if rule == "plug_in":
            third = _third(parts[-1], windows, n_beyond)
            best[some] = plug_in_width(rough[:, 0], third, windows.n_points)
    if rule == "lepski":
        chosen = choose_window(curve, se)
    else:
        off = np.abs(np.log(np.clip(best, widths[0], widths[-1]))[:, None] - np.log(widths))
        chosen = off.argmin(axis=1)
    rows = np.arange(n)
    per_unit = placed.side / scale
    return Slopes(
        curve[rows, chosen] * per_unit,
        se[rows, chosen] / scale,
        widths[chosen] * scale,
        second[rows, chosen] / scale**2,
        curve * per_unit[:, None],
    )


def _third(y: Floats, windows: Windows, n_beyond: int) -> Floats:
    """Third derivative at the input from a cubic in the widest window, (F,)."""
    at = np.concatenate([[0.0], windows.reflected(n_beyond)[list(windows.members[-1])]])
    cubic = np.linalg.pinv(np.vander(at, 4, increasing=True))
    return np.asarray(y @ (6 * cubic[3]), dtype=np.float64)
