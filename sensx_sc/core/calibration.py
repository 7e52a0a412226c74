"""The characteristic perturbation scale delta* (equation 2 of the paper) and how sure it is.

The envelope of an input is the 1st and 99th percentile of its response q at each scale of a grid.
C(d) is the range of the envelope over all grid points above d, and delta* the smallest grid point
with C < tau. The ends of the grid, where the paper is silent, have statuses of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import binom

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

    from sensx_sc.core.arrays import Floats
    from sensx_sc.words import Status

    Sweep = Callable[[Floats], Floats]
    """q at the samples of each of K scales, (K,) -> (K, n_samples)."""

PERCENTILES = (0.01, 0.99)
COVERAGE = 0.95
N_DELTAS = 50
SMALLEST_DELTA = 1e-8  # how far down "auto" extends the grid
_POINTS_A_STEP = 12  # scales tried at once while extending: about one decade
_AUTO = np.geomspace(1e-4, 1.0, N_DELTAS)


def delta_grid(deltas: ArrayLike | str) -> tuple[Floats, bool]:
    """The scales to sweep, and whether the grid may be extended downwards.

    Parameters
    ----------
    deltas
        ``"auto"``: 50 log-spaced scales from 1e-4 to 1, extended downwards for inputs that need
        it; ``"linear"``: 50 equally spaced from 0.02 to 1; or increasing scales in (0, 1], used
        as given.

    Examples
    --------
    >>> from sensx_sc.core import delta_grid
    >>> grid, extend = delta_grid("linear")
    >>> float(grid[0]), float(grid[-1]), len(grid), extend
    (0.02, 1.0, 50, False)
    """
    if isinstance(deltas, str):
        if deltas == "auto":
            return _AUTO.copy(), True
        if deltas == "linear":
            return np.linspace(0.02, 1.0, N_DELTAS), False
        msg = f"`deltas` must be 'auto', 'linear' or an array of scales in (0, 1]; got {deltas!r}."
        raise ValueError(msg)
    try:
        grid = np.asarray(deltas, dtype=np.float64)
    except (TypeError, ValueError) as error:
        msg = f"`deltas` must be 'auto', 'linear' or an array of scales in (0, 1]; got {deltas!r}."
        raise TypeError(msg) from error
    if grid.ndim != 1 or grid.size == 0:
        msg = f"`deltas` must be a one-dimensional array of scales; got shape {grid.shape}."
        raise ValueError(msg)
    if not (np.all(np.diff(grid) > 0) and grid[0] > 0 and grid[-1] <= 1):
        msg = f"`deltas` must increase strictly and lie in (0, 1]; got {grid[:5]} ... {grid[-1]}."
        raise ValueError(msg)
    return grid, False


def extension(deltas: Floats, step: int) -> Floats:
    """The ``step``-th run of scales that continue a grid downwards, ascending; empty at the end."""
    ratio = deltas[0] / deltas[1]
    n_below = np.ceil(np.log(SMALLEST_DELTA / deltas[0]) / np.log(ratio))
    below = deltas[0] * ratio ** np.arange(1, 1 + n_below)
    below = below[below >= SMALLEST_DELTA * (1 - 1e-9)]
    wanted: Floats = below[step * _POINTS_A_STEP : (step + 1) * _POINTS_A_STEP][::-1]
    return wanted.copy()


@lru_cache
def order_statistics(n_samples: int, level: float, coverage: float = COVERAGE) -> tuple[int, int]:
    """Ranks (from 1) of the samples that bracket a quantile whatever the distribution.

    Rank 0 or ``n_samples + 1`` stands for minus or plus infinity: the samples are too few.
    """
    tail = (1 - coverage) / 2
    low, high = (binom.ppf(end, n_samples, level) for end in (tail, 1 - tail))
    return int(low), int(high) + 1


@dataclass(frozen=True)
class Envelope:
    """Percentiles of q at each scale, with distribution-free bounds.

    Attributes
    ----------
    deltas
        Scales, ascending, shape (K,).
    low, high
        1st and 99th percentile of q, shape (K,).
    low_bounds, high_bounds
        Lower and upper confidence bound of each percentile, shape (K, 2).
    """

    deltas: Floats
    low: Floats
    high: Floats
    low_bounds: Floats
    high_bounds: Floats

    def merged(self, other: Envelope) -> Envelope:
        """Both envelopes' scales, ascending."""
        order = np.argsort(np.concatenate([self.deltas, other.deltas]), kind="stable")
        return Envelope(
            *(
                np.concatenate([getattr(self, name), getattr(other, name)])[order]
                for name in ("deltas", "low", "high", "low_bounds", "high_bounds")
            )
        )


def make_envelope(deltas: Floats, q: Floats) -> Envelope:
    """Summarise the samples of q, shape (K, n_samples), of each scale."""
    low, high = np.quantile(q, PERCENTILES, axis=1)
    padded = np.pad(np.sort(q, axis=1), ((0, 0), (1, 1)))
    padded[:, 0], padded[:, -1] = -np.inf, np.inf
    n = q.shape[1]
    low_bounds = padded[:, order_statistics(n, PERCENTILES[0])]
    high_bounds = padded[:, order_statistics(n, PERCENTILES[1])]
    return Envelope(deltas, low, high, low_bounds, high_bounds)


def criterion(low: Floats, high: Floats) -> Floats:
    """C at each scale: the range of the envelope strictly above it (equation 2).

    Nothing lies above the last scale: its C is infinite, an empty tail is no saturation.
    """
    top = np.maximum.accumulate(high[::-1])[::-1]
    bottom = np.minimum.accumulate(low[::-1])[::-1]
    return np.append((top - bottom)[1:], np.inf)


@dataclass(frozen=True)
class Calibration:
    """What the sweep says about one input.

    Attributes
    ----------
    status
        One of :data:`sensx_sc.words.STATUSES`.
    delta_star
        0 for an insensitive input, NaN for a failed one.
    bracket
        Grid scales (before, delta*]: C is at least tau at the first and below tau at the second.
        After refinement the two swept scales [delta*, after) that enclose the transition.
    certified
        The confidence bounds of the percentiles, too, put C on its two sides of tau.
    envelope
        The envelope, with the points that extension added; None for a failed input.
    at_star
        1st and 99th percentile of q at delta*.
    message
        Why a failed input failed, else empty.
    """

    status: Status
    delta_star: float
    bracket: tuple[float, float]
    certified: bool
    envelope: Envelope | None
    at_star: tuple[float, float] = (np.nan, np.nan)
    message: str = ""


def calibrate(
    sweep: Sweep,
    q_x: float,
    deltas: Floats,
    tau: float,
    *,
    extend: bool = False,
    refine_tol: float | None = None,
) -> Calibration:
    """Find delta* of one input.

    Parameters
    ----------
    sweep
        q at random points of the neighbourhoods of given scales, (K,) -> (K, n_samples).
    q_x
        q at the input itself.
    deltas
        Increasing scales in (0, 1].
    tau
        Change of q that counts as none, in units of q.
    extend
        Continue the grid downwards, by its first ratio, while the transition lies below it.
    refine_tol
        Narrow the bracket to this width by sweeping scales of its own between the grid's.

    Examples
    --------
    >>> import numpy as np
    >>> from sensx_sc.core import calibrate
    >>> u = np.linspace(0, 1, 1000)
    >>> found = calibrate(
    ...     lambda d: np.tanh(5 * np.outer(d, u + 1)), 0.0, np.linspace(0.1, 1, 10), 0.1
    ... )
    >>> found.status, round(found.delta_star, 3)
    ('resolved', 0.2)
    """
    if not np.isfinite(q_x):
        return failed(f"q(x) is {q_x}")
    try:
        envelope = _evaluate(sweep, deltas)
        status = _status(envelope, q_x, tau)
        step = 0
        while (
            extend
            and len(deltas) > 1
            and status == "left_censored"
            and (lower := extension(deltas, step)).size
        ):
            envelope = envelope.merged(_evaluate(sweep, lower))
            status = _status(envelope, q_x, tau)
            step += 1
        if status == "resolved" and refine_tol is not None:
            return _refined(sweep, envelope, q_x, tau, refine_tol)
    except _NonFiniteError as error:
        return failed(str(error))
    return _conclude(envelope, status, q_x, tau)


def failed(message: str) -> Calibration:
    """The calibration of an input whose response is not finite."""
    return Calibration(
        "failed", np.nan, (np.nan, np.nan), certified=False, envelope=None, message=message
    )


class _NonFiniteError(ValueError):
    """The sweep met a response that is NaN or infinite."""


def _evaluate(sweep: Sweep, deltas: Floats) -> Envelope:
    q = sweep(deltas)
    bad = ~np.isfinite(q)
    if bad.any():
        k, s = np.argwhere(bad)[0]
        msg = (
            f"q is not finite in {np.count_nonzero(bad)} of {q.size} samples, "
            f"the first at scale {deltas[k]:g}, sample {s}"
        )
        raise _NonFiniteError(msg)
    return make_envelope(deltas, q)


def _status(envelope: Envelope, q_x: float, tau: float) -> Status:
    if max(envelope.high.max(), q_x) - min(envelope.low.min(), q_x) < tau:
        return "insensitive"
    below = criterion(envelope.low, envelope.high) < tau
    if below[0]:
        return "left_censored"
    return "resolved" if below.any() else "unsaturated"


def _star(envelope: Envelope, status: Status, tau: float) -> int:
    """Index of delta* on the envelope's grid."""
    if status == "unsaturated":
        return len(envelope.deltas) - 1
    return int(np.argmax(criterion(envelope.low, envelope.high) < tau))


def _conclude(envelope: Envelope, status: Status, q_x: float, tau: float) -> Calibration:
    # C at its largest and at its smallest that the bounds of the percentiles allow.
    wide = criterion(envelope.low_bounds[:, 0], envelope.high_bounds[:, 1])
    narrow = criterion(envelope.low_bounds[:, 1], envelope.high_bounds[:, 0])
    if status == "insensitive":
        widest = max(envelope.high_bounds.max(), q_x) - min(envelope.low_bounds.min(), q_x)
        return Calibration(status, 0.0, (0.0, 0.0), bool(widest < tau), envelope, (q_x, q_x))
    i = _star(envelope, status, tau)
    star = float(envelope.deltas[i])
    before = float(envelope.deltas[i - 1]) if i else 0.0
    saturated = status == "unsaturated" or bool(wide[i] < tau)
    if i:
        moves = bool(narrow[i - 1] >= tau)
    else:  # the response left its plateau somewhere below: the input is not insensitive
        highest = max(envelope.high_bounds[:, 0].max(), q_x)
        moves = bool(highest - min(envelope.low_bounds[:, 1].min(), q_x) >= tau)
    at_star = (float(envelope.low[i]), float(envelope.high[i]))
    return Calibration(status, star, (before, star), saturated and moves, envelope, at_star)


def _refined(
    sweep: Sweep, envelope: Envelope, q_x: float, tau: float, tolerance: float
) -> Calibration:
    """Bisect to the last scale whose own envelope breaks the plateau above it.

    C(d) looks strictly above d, so points added below delta* cannot move it: C there already
    counts the envelope at delta*. What the grid leaves open lies between delta* and the next grid
    point, where the envelope has not been looked at. Those points are swept; C at grid points from
    the next one upwards does not change. The bracket is then the two swept scales that enclose the
    transition, and delta* the lower one.
    """
    i = _star(envelope, "resolved", tau)
    low, high = float(envelope.deltas[i]), float(envelope.deltas[i + 1])
    refined = envelope
    while high - low > tolerance:
        middle = np.sqrt(low * high) if high > 4 * low else (low + high) / 2
        if not low < middle < high:
            break
        refined = refined.merged(_evaluate(sweep, np.array([middle])))
        at = int(np.searchsorted(refined.deltas, middle))
        tail = refined.high[at:].max() - refined.low[at:].min()
        low, high = (middle, high) if tail >= tau else (low, middle)
    found = _conclude(refined, "resolved", q_x, tau)
    return Calibration(
        "resolved", found.delta_star, (low, high), found.certified, envelope, found.at_star
    )
