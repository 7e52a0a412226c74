"""Some walks: where they start, where they end and in which order their features change."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


@dataclass(frozen=True)
class WalkSet:
    """W walks of S steps from C inputs.

    Attributes
    ----------
    x, target, q_x
        Inputs (C, n), their targets (C,) and their responses (C,).
    cell
        Which input each walk starts from, (W,).
    free
        The F features that change, indices into n.
    endpoint
        Values of those features at the end of each walk, (W, F).
    order
        What changes, step by step, (W, S): positions into ``free``, or groups of features.
    member
        The group of each of the features ``free``, (F,), from 0 to S - 1; each group has one.
        None: a step moves a single feature, and S is F.

    Examples
    --------
    >>> import numpy as np
    >>> from sensx_sc.evaluators import WalkSet
    >>> ends, order = np.array([[5.0, 6, 7]]), np.array([[2, 0, 1]])
    >>> zero = np.zeros(1, dtype=int)
    >>> walks = WalkSet(np.zeros((1, 4)), zero, np.zeros(1), zero, np.array([0, 1, 3]), ends, order)
    >>> walks.ends().tolist(), walks.of(np.array([1, 2])).order.tolist()
    ([[5.0, 6.0, 0.0, 7.0]], [[1, 0]])
    """

    x: Floats
    target: Ints
    q_x: Floats
    cell: Ints
    free: Ints
    endpoint: Floats
    order: Ints
    member: Ints | None = None

    @property
    def n_steps(self) -> int:
        return int(self.order.shape[1])

    @property
    def groups(self) -> Ints:
        """What moves each feature, (F,): its group, or itself."""
        return np.arange(len(self.free)) if self.member is None else self.member

    @property
    def targets(self) -> Ints:
        """The target of each walk, (W,)."""
        return self.target[self.cell]

    def ends(self) -> Floats:
        """The rows at which the walks end, (W, n)."""
        rows = self.x[self.cell]
        rows[:, self.free] = self.endpoint
        return rows

    def turn(self) -> Ints:
        """The step, from 0, at which each feature, or each group, changes, (W, S)."""
        turn = np.empty_like(self.order)
        np.put_along_axis(turn, self.order, np.arange(self.n_steps)[None], axis=1)
        return turn

    def some(self, which: Ints | slice) -> WalkSet:
        """Some of the walks."""
        cell, endpoint, order = self.cell[which], self.endpoint[which], self.order[which]
        return replace(self, cell=cell, endpoint=endpoint, order=order)

    def of(self, features: Ints) -> WalkSet:
        """The same walks of some features alone, positions into ``free``; others stay."""
        if np.array_equal(features, np.arange(len(self.free))):
            return self
        number = self.numbers(features)
        met = (number >= 0)[self.order]
        return replace(
            self,
            free=self.free[features],
            endpoint=self.endpoint[:, features],
            order=number[self.order[met]].reshape(len(met), -1),
            member=None if self.member is None else number[self.member[features]],
        )

    def numbers(self, features: Ints) -> Ints:
        """What :meth:`of` calls each feature, or each group, (S,); -1: it would not change."""
        kept = features if self.member is None else np.unique(self.member[features])
        number = np.full(self.n_steps, -1)
        number[kept] = np.arange(len(kept))
        return number
