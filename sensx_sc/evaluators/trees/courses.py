"""Where the states of walks, and the scales of random points, change a node's decision.

A line is a walk, whose states are the input after 0, 1, 2... steps, or a random point of the
neighbourhoods, whose states are the scales. A course tells for lines at the nodes of a tree in
which of their states the nodes begin to decide differently.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import torch

if TYPE_CHECKING:
    from sensx_sc.evaluators.protocol import Floats, Ints
    from sensx_sc.evaluators.trees.ensemble import Bools, TreeEnsemble

_ON_LINE = 1e-9  # relative rounding of a reach that has not met its bound


class Turns(NamedTuple):
    """How nodes decide over runs of states.

    Attributes
    ----------
    right
        Decision in the first state of each run.
    run, state
        In which state of which run a node begins to decide the other way, in this order.
    """

    right: Bools
    run: Ints
    state: Ints


class Course(Protocol):
    """Lines and their states, as some ensemble sees them."""

    n_lines: int
    n_states: int

    def turns(self, node: Ints, line: Ints, low: Ints, high: Ints) -> Turns:
        """How nodes decide over the states ``low`` to ``high - 1`` of lines."""
        ...


class Walks:
    """The states of walks: a feature has one value before its step and another after it.

    Parameters
    ----------
    before, after
        Rounded values of the used features at both ends of each walk, (W, U).
    moved
        First state in which a feature has its value after, (W, U).
    n_states
        How many states a walk has; state 0 is its input.
    """

    def __init__(
        self, ensemble: TreeEnsemble, before: Floats, after: Floats, moved: Ints, n_states: int
    ) -> None:
        self.ensemble = ensemble
        self.n_lines, self.n_states = len(before), n_states
        self._before, self._after, self._moved = before.ravel(), after.ravel(), moved.ravel()

    def turns(self, node: Ints, line: Ints, low: Ints, high: Ints) -> Turns:
        at = line * len(self.ensemble.used) + self.ensemble.feature.take(node)
        right = self.ensemble.goes_right(node, self._before.take(at))
        run = np.flatnonzero(right != self.ensemble.goes_right(node, self._after.take(at)))
        state, first = self._moved.take(at.take(run)), low.take(run)
        right[run[state <= first]] ^= True
        inside = (state > first) & (state < high.take(run))
        return Turns(right, run[inside], state[inside])


class Scales:
    """Random points of the neighbourhoods of one input, over the scales.

    Along the scales a feature of a point moves in one direction up to the scale at which one of
    the two sides of the neighbourhood meets its bound, and in one direction from there.

    Parameters
    ----------
    x
        The input's used features, (U,).
    down, up
        Reach of each scale, (K, U); 0 for a feature that is not free.
    u
        Fractions of the points, (S, U).
    """

    def __init__(
        self, ensemble: TreeEnsemble, x: Floats, down: Floats, up: Floats, u: Floats
    ) -> None:
        self.ensemble = ensemble
        self.n_lines, self.n_states = len(u), len(down)
        self._base, self._width = (np.ravel(part, order="F") for part in (x - down, down + up))
        self._u = u.ravel()
        self._bend = bends(down, up)

    def turns(self, node: Ints, line: Ints, low: Ints, high: Ints) -> Turns:
        feature = self.ensemble.feature.take(node)
        u = self._u.take(line * len(self.ensemble.used) + feature)
        met = _Met(feature * self.n_states, u, self.ensemble.threshold.take(node))
        right, last = self._right(met, low), self._right(met, high - 1)
        bend = self._bend.take(feature)
        bent = (low < bend) & (bend < high)
        straight = np.flatnonzero((right != last) & ~bent)
        found = [self._crossing(met, straight, low, high - 1, right)]
        if bent.any():
            # In three parts: up to the bend, from the scale before it to it, and from it.
            at = np.flatnonzero(bent)
            before, after = right.copy(), right.copy()
            for side, scale in ((before, bend[at] - 1), (after, bend[at])):
                side[at] = self._right(met.take(at), scale)
            jump = at[before[at] != after[at]]
            found.append((jump, bend[jump]))
            found.append(self._crossing(met, at[(right != before)[at]], low, bend - 1, right))
            found.append(self._crossing(met, at[(after != last)[at]], bend, high - 1, after))
        run, state = (np.concatenate(parts) for parts in zip(*found, strict=True))
        order = np.argsort(run * self.n_states + state)
        return Turns(right, run[order], state[order])

    def _right(self, met: _Met, scale: Ints) -> Bools:
        at = met.first + scale
        # As dense evaluation computes it, to the last bit.
        parts = (self._base.take(at), met.u, self._width.take(at))
        value = torch.addcmul(*(torch.from_numpy(part) for part in parts)).numpy()
        right: Bools = self.ensemble.rounded(value) > met.threshold
        return right

    def _crossing(
        self, met: _Met, run: Ints, low: Ints, high: Ints, right: Bools
    ) -> tuple[Ints, Ints]:
        """First scale after ``low`` in which some runs decide as at ``high``, unlike at ``low``."""
        met, decided = met.take(run), right[run]
        same, other = low[run], high[run]
        while (other - same > 1).any():
            # Where the two are neighbours, the middle is ``same`` and stays it.
            middle = (same + other) // 2
            as_before = self._right(met, middle) == decided
            same, other = np.where(as_before, middle, same), np.where(as_before, other, middle)
        return run, other


class _Met(NamedTuple):
    """What nodes compare: first place of the feature's scales, the line's fraction, threshold."""

    first: Ints
    u: Floats
    threshold: Floats

    def take(self, which: Ints) -> _Met:
        return _Met(self.first.take(which), self.u.take(which), self.threshold.take(which))


def bends(down: Floats, up: Floats) -> Ints:
    """The scale from which on one side of each feature's neighbourhood is at its bound, (U,).

    0 where a feature moves in one direction over all scales.
    """
    on_line = np.abs(down * up[0] - up * down[0]) <= _ON_LINE * down * up[0]
    bend = np.minimum.accumulate(on_line, axis=0).sum(axis=0)
    return np.where((bend == len(down)) | (down[-1] == 0) | (up[-1] == 0), 0, bend)


def is_sweep(down: Floats, up: Floats) -> bool:
    """Whether reaches (K, U) are those of growing neighbourhoods, which :class:`Scales` needs."""
    bend = bends(down, up)
    growing = all((np.diff(reach, axis=0) >= 0).all() for reach in (down, up))
    before_bend = (bend == 0) | (np.arange(len(down))[:, None] < bend)
    return growing and bool((before_bend | (down == down[-1]) | (up == up[-1])).all())
