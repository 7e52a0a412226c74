"""What a trace says: how a response follows a property that is edited step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from sensx_sc.core.arrays import Floats, Ints

_STILL = 1e-9  # of a path's length: a step of the property that is none
_NEIGHBOURS = 2  # points on either side of the original that its slope is taken from


class TraceScores(NamedTuple):
    """Scores of traces, one entry each.

    Attributes
    ----------
    epgm
        Expected property gradient magnitude: sum |dq| / sum |dm|, per unit of the property.
    net
        (q_last - q_first) / (m_last - m_first), signed; NaN where the property returns.
    monotonicity
        |q_last - q_first| / sum |dq|, in [0, 1]: 1 = the response goes one way.
    max_slope, at
        The steepest step dq/dm, signed, and the property at its middle.
    local
        Slope at the original, by a parabola through its neighbours.
    """

    epgm: Floats
    net: Floats
    monotonicity: Floats
    max_slope: Floats
    at: Floats
    local: Floats


def trace_scores(m: Floats, q: Floats, origin: int | None = None) -> TraceScores:
    """Scores of responses along edits, by forward differences and the measured property.

    Central differences over the index of a step, as published (see :func:`paper_epgm`), do not
    see what rises and falls from one step to the next, and their unit is that of the editor.

    Parameters
    ----------
    m, q
        Measured property and response along the path, (..., S).
    origin
        Which step is the unedited input, if any.

    Returns
    -------
    Scores, (...) each; NaN where the property does not move.

    Examples
    --------
    >>> import numpy as np
    >>> from sensx_sc.companions.traces import trace_scores
    >>> found = trace_scores(np.array([0.0, 1, 2, 4]), np.array([0.0, 1, 0, 3]))
    >>> float(found.epgm), float(found.net), float(found.monotonicity), float(found.at)
    (1.25, 0.75, 0.6, 3.0)
    """
    dm, dq = np.diff(m, axis=-1), np.diff(q, axis=-1)
    length, variation = np.abs(dm).sum(axis=-1), np.abs(dq).sum(axis=-1)
    moves = np.abs(dm) > _STILL * np.maximum(length, np.finfo(float).tiny)[..., None]
    slope = np.where(moves, dq / np.where(moves, dm, 1.0), 0.0)
    steepest = np.abs(slope).argmax(axis=-1)[..., None]
    middle = (m[..., 1:] + m[..., :-1]) / 2
    still = ~moves.any(axis=-1)
    rise, run = q[..., -1] - q[..., 0], m[..., -1] - m[..., 0]
    returns = np.abs(run) <= _STILL * length
    found = (
        _ratio(variation, length, still),
        _ratio(rise, run, still | returns),
        _ratio(np.abs(rise), variation, still | (variation == 0)),
        _unless(still, np.take_along_axis(slope, steepest, axis=-1)[..., 0]),
        _unless(still, np.take_along_axis(middle, steepest, axis=-1)[..., 0]),
        _unless(still, _slope_at(m, q, origin)),
    )
    return TraceScores(*found)


def epgm(m: Floats, q: Floats) -> float:
    """Expected property gradient magnitude of one trace, sum |dq| / sum |dm|."""
    length = float(np.abs(np.diff(m)).sum())
    return float(np.abs(np.diff(q)).sum()) / length if length > 0 else float("nan")


def _unless(missing: np.ndarray, values: Floats) -> Floats:
    return np.where(missing, np.nan, values)


def _ratio(a: Floats, b: Floats, missing: np.ndarray) -> Floats:
    return np.where(missing, np.nan, a / np.where(missing, 1.0, b))


def _slope_at(m: Floats, q: Floats, origin: int | None) -> Floats:
    """Slope at one step of a path from a parabola through it and its neighbours."""
    if origin is None:
        return np.full(q.shape[:-1], np.nan)
    near = slice(max(origin - _NEIGHBOURS, 0), origin + _NEIGHBOURS + 1)
    off = m[..., near] - m[..., origin, None]
    size = np.abs(off).max(axis=-1, keepdims=True)
    off = off / np.where(size > 0, size, 1.0)
    columns = np.stack([np.ones_like(off), off, off**2], axis=-1)
    away = (q[..., near] - q[..., origin, None])[..., None]
    slope = (np.linalg.pinv(columns) @ away)[..., 1, 0] / np.where(size > 0, size, 1.0)[..., 0]
    return np.asarray(slope, dtype=np.float64)


def count_flips(classes: Ints) -> Ints:
    """How often the predicted class changes along paths (..., S)."""
    flips: Ints = (np.diff(classes, axis=-1) != 0).sum(axis=-1)
    return flips


def paper_epgm(q: Floats) -> Floats:
    """EPGM as published: mean |np.gradient(q)| over the index of the step, (...).

    Parameters
    ----------
    q
        Response of the original and then of every edit, (..., S + 1).

    References
    ----------
    Penzel, Denzler, WACV 2026, arXiv 2503.05424.
    """
    return np.asarray(np.abs(np.gradient(q, axis=-1)).mean(axis=-1), dtype=np.float64)


def shuffle_test(q: Floats, *, n_permutations: int = 10_000, seed: int = 0) -> float:
    """P-value of the published shuffle test: is the variation unlike that of shuffled steps.

    Two-sided around the mean of the permutations, with >= so that a constant trace gives 1. It
    detects smoothness, not influence: any smooth trace is significant, however flat.

    Parameters
    ----------
    q
        Response of the original and of every edit, (S + 1,).

    Examples
    --------
    >>> import numpy as np
    >>> from sensx_sc.companions.traces import shuffle_test
    >>> shuffle_test(np.zeros(20)), shuffle_test(1e-9 * np.arange(20.0))
    (1.0, 0.0)
    """
    rng = np.random.default_rng(seed)
    shuffled = rng.permuted(np.broadcast_to(q, (n_permutations, len(q))), axis=1)
    null = paper_epgm(shuffled)
    centre = null.mean()
    rounding = 1e-9 * np.abs(null).max(initial=0.0)
    return float(np.mean(np.abs(null - centre) >= np.abs(paper_epgm(q) - centre) - rounding))
