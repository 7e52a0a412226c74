"""Whether the gradients of a response add up to its changes.

A gradient that automatic differentiation returns need not be one: a threshold, a rounding or a
hook of the model's own gives a number that says nothing of how the response moves. What can be
asked is the fundamental theorem of calculus: along any segment, q(b) - q(a) is the integral of
the derivative in its direction. Where they differ the response jumps.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from sensx_sc.evaluators.dense import DenseEvaluator
from sensx_sc.evaluators.gradient.gradients import Gradients, NotDifferentiableError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sensx_sc.evaluators.protocol import Floats, Ints
    from sensx_sc.models.qoi import Response

    Bools = NDArray[np.bool_]

JUMPS = 0.05
"""Share of a segment's range of q that its jumps must exceed to be refused."""
_RESOLVED = 0.01  # refinement of a segment ends once this share is all that is not explained
_LEAST = 0.01  # a segment on which q hardly moves is held against this share of the whole range
_AT_FIRST = 4  # intervals of a segment
_ROUNDS = 14  # halvings, so that what rises within 1e-5 of a segment is a jump
_AT_ONCE = 32  # intervals of a segment that are halved in a round,
_BESIDE = 16  # if they miss at least this part of what the worst of them misses
_ROUNDINGS = 64
_AGREEMENT = {np.dtype(np.float64): 1e-9, np.dtype(np.float32): 1e-3}


def why_not_differentiable(
    response: Response, starts: Floats, ends: Floats, target: Ints, rows: int
) -> str | None:
    """Hold the gradients of a response against its changes along segments.

    Segments are halved where the two differ, until they agree or the difference sits in
    intervals so small that it is a jump. Kinks and steep slopes pass, as they get narrower. A
    jump counts from 5 % of what q varies along its segment: on short ones small jumps matter.

    Parameters
    ----------
    response
        Model and quantity of interest.
    starts, ends
        Segments, (S, n) each: short and long ones, inside the domain.
    target
        The explained output of each segment, (S,).
    rows
        Rows of one forward and backward pass.

    Returns
    -------
    None, or the end of a sentence on why gradients cannot be used.
    """
    dtype: np.dtype[np.floating] = np.dtype(
        "float64" if torch.float64 in response.model.dtypes else "float32"
    )
    try:
        gradients = Gradients(response, dtype, rows)
        path = _Path(gradients, starts, ends - starts, target)
        points = _first(path)
    except NotDifferentiableError as reason:
        return str(reason)
    except RuntimeError as error:
        return f"its backward pass fails ({str(error).strip().splitlines()[0]})"
    known = np.isfinite(points.q)
    whole = np.isfinite(points.q.sum(axis=1))
    if not whole.any():
        return "its response is not finite along any of the segments that were tried"
    bad = int(np.count_nonzero(known & ~np.isfinite(points.along)))
    if bad:
        return f"its gradient is not finite at {bad} of {known.sum()} points that were tried"
    size, spread = float(np.abs(points.q[known]).max()), float(np.ptp(points.q[known]))
    rounding = _ROUNDINGS * float(np.finfo(dtype).eps) * size
    exact = DenseEvaluator(response, dtype, rows).at(starts, target)
    off = np.abs(gradients.q(starts, target) - exact)
    if off[np.isfinite(off)].max(initial=0.0) > _AGREEMENT[dtype] * size:
        return "the torch module that was made of it does not give its outputs"
    jumps = _jumps(path, points.of(whole), _LEAST * spread, rounding)
    if jumps and not np.any(points.along[known]):
        return "it is made of steps: its gradient is zero wherever it was tried, yet it varies"
    return jumps


@dataclass(frozen=True)
class _Path:
    """Segments, along which q and its derivative are looked at."""

    gradients: Gradients
    starts: Floats
    way: Floats
    target: Ints

    def at(self, segment: Ints, fraction: Floats) -> tuple[Floats, Floats]:
        """Q and its derivative by the fraction, at points (B,) of segments (B,)."""
        q, along = np.empty(len(segment)), np.empty(len(segment))
        for first in range(0, len(segment), self.gradients.rows):
            part = slice(first, first + self.gradients.rows)
            way = self.way[segment[part]]
            x = self.starts[segment[part]] + fraction[part, None] * way
            q[part], gradient = self.gradients.at(x, self.target[segment[part]])
            # A feature that does not move counts for nothing, whatever its gradient.
            with np.errstate(invalid="ignore"):
                along[part] = np.where(way == 0, 0.0, gradient * way).sum(axis=1)
        return q, along


@dataclass(frozen=True)
class _Points:
    """Equally spaced points of segments: q and its derivative along each, (S, P)."""

    segment: Ints
    q: Floats
    along: Floats

    def of(self, chosen: Bools) -> _Points:
        return _Points(self.segment[chosen], self.q[chosen], self.along[chosen])


def _first(path: _Path) -> _Points:
    n, fractions = len(path.starts), np.linspace(0, 1, 2 * _AT_FIRST + 1)
    segment = np.arange(n)
    q, along = path.at(np.repeat(segment, len(fractions)), np.tile(fractions, n))
    return _Points(segment, q.reshape(n, -1), along.reshape(n, -1))


@dataclass(frozen=True)
class _Intervals:
    """Parts of segments: q and its derivative at both ends and in the middle, (I, 3) each."""

    segment: Ints
    low: Floats
    width: Floats
    q: Floats
    along: Floats

    def differences(self) -> Floats:
        """By how much Simpson's integral of the derivative misses the change of q."""
        change = self.q[:, 2] - self.q[:, 0]
        integral = self.width / 6 * (self.along @ np.array([1.0, 4.0, 1.0]))
        difference: Floats = np.abs(change - integral)
        return difference

    def of(self, chosen: Bools) -> _Intervals:
        return replace(self, **{f.name: getattr(self, f.name)[chosen] for f in fields(self)})

    def halves(self, path: _Path) -> _Intervals:
        """Both halves of every interval."""
        quarters = self.low[:, None] + self.width[:, None] * np.array([0.25, 0.75])
        q, along = path.at(np.repeat(self.segment, 2), quarters.ravel())
        return _Intervals(
            np.tile(self.segment, 2),
            np.concatenate([self.low, self.low + self.width / 2]),
            np.tile(self.width / 2, 2),
            _split(self.q, q.reshape(-1, 2)),
            _split(self.along, along.reshape(-1, 2)),
        )

    def joined(self, other: _Intervals) -> _Intervals:
        return _Intervals(
            *(np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self))
        )


def _split(whole: Floats, quarters: Floats) -> Floats:
    left = np.column_stack([whole[:, 0], quarters[:, 0], whole[:, 1]])
    right = np.column_stack([whole[:, 1], quarters[:, 1], whole[:, 2]])
    return np.concatenate([left, right])


def _jumps(path: _Path, points: _Points, least: float, rounding: float) -> str | None:
    """Halve the intervals that differ most; a sentence's end, if a segment never agrees."""
    scale = np.full(len(path.starts), np.inf)
    scale[points.segment] = np.maximum(np.ptp(points.q, axis=1), least)
    rounding *= 2 * _AT_FIRST
    intervals = _Intervals(
        np.repeat(points.segment, _AT_FIRST),
        np.tile(np.arange(_AT_FIRST) / _AT_FIRST, len(points.segment)),
        np.full(len(points.segment) * _AT_FIRST, 1 / _AT_FIRST),
        *(_threes(values) for values in (points.q, points.along)),
    )
    for _ in range(_ROUNDS):
        missed = intervals.differences()
        total = _sums(intervals.segment, missed, len(scale))
        open_segments = total > _RESOLVED * scale + rounding
        chosen = open_segments[intervals.segment] & _largest(intervals.segment, missed)
        if not chosen.any():
            break
        intervals = intervals.of(~chosen).joined(intervals.of(chosen).halves(path))
        known = np.isfinite((intervals.q + intervals.along).sum(axis=1))
        intervals = intervals.of(known)
    total = _sums(intervals.segment, intervals.differences(), len(scale))
    worst = int(np.argmax(total - JUMPS * scale))
    if total[worst] <= JUMPS * scale[worst] + rounding:
        return None
    share = min(total[worst] / scale[worst], 1.0)
    return (
        f"its response jumps: along one of {len(points.segment)} segments its gradients do not "
        f"account for {share:.0%} of the {scale[worst]:.3g} by which it varies"
    )


def _threes(values: Floats) -> Floats:
    """From points (S, 2 I + 1) to both ends and the middle of each interval, (S I, 3)."""
    return np.stack([values[:, :-2:2], values[:, 1::2], values[:, 2::2]], axis=2).reshape(-1, 3)


def _sums(segment: Ints, values: Floats, n: int) -> Floats:
    return np.bincount(segment, weights=values, minlength=n).astype(np.float64)


def _largest(segment: Ints, missed: Floats) -> Bools:
    """The intervals of each segment that miss most, a limited number of each."""
    order = np.lexsort((-missed, segment))
    first = np.searchsorted(segment[order], segment[order], side="left")
    chosen = np.empty(len(segment), dtype=bool)
    place, most = np.arange(len(segment)) - first, missed[order][first]
    chosen[order] = (place < _AT_ONCE) & (missed[order] > most / _BESIDE)
    return chosen
