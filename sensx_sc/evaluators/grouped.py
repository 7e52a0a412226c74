"""The evaluator for features that change in groups: a step of a walk moves a whole group."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sensx_sc.evaluators.protocol import Evaluator, Floats, Ints
    from sensx_sc.evaluators.walk_set import WalkSet

_WALK_BYTES = 2**25  # endpoints of the walks of a batch


class GroupedEvaluator:
    """What walks that move groups of features need; all else as without groups.

    Parameters
    ----------
    inner
        Evaluates the model.
    label
        Group of each feature, (n,); -1 for features that never change.
    """

    def __init__(self, inner: Evaluator, label: Ints) -> None:
        self.inner, self.label = inner, label
        self.dtype = inner.dtype
        self.parallel = inner.parallel
        self.name = inner.name

    @property
    def rows(self) -> int:
        """Rows of one call: an evaluator makes them fewer where memory runs out."""
        return self.inner.rows

    def regrouped(self, label: Ints) -> GroupedEvaluator:
        """The same for other groups of the features."""
        return GroupedEvaluator(self.inner, label)

    def _member(self, free: Ints) -> Ints:
        """Which of the groups that are met each feature is in, (F,)."""
        member: Ints = np.unique(self.label[free], return_inverse=True)[1]
        return member

    def outputs(self, x: Floats) -> Floats:
        return self.inner.outputs(x)

    def at(self, x: Floats, target: Ints) -> Floats:
        return self.inner.at(x, target)

    def sweep(
        self, x: Floats, target: int, free: Ints, down: Floats, up: Floats, u: Floats
    ) -> Floats:
        return self.inner.sweep(x, target, free, down, up, u)

    def alive(self, free: Ints) -> NDArray[np.bool_]:
        """Which groups hold a feature that the model may read."""
        read = self.inner.alive(free)
        return np.bincount(self._member(free), weights=read) > 0

    def complete_rows(self, free: Ints, n_walks: int, n_points: int) -> int:
        # A feature stands for its group: one that is read, if any is.
        by_group = np.lexsort((~self.inner.alive(free), self.label[free]))
        _, first = np.unique(self.label[free][by_group], return_index=True)
        return self.inner.complete_rows(np.sort(free[by_group[first]]), n_walks, n_points)

    def walks_together(self, n_steps: int) -> int:
        n_moved = max(int(np.count_nonzero(self.label >= 0)), 1)
        return max(1, min(self.inner.walks_together(n_steps), _WALK_BYTES // (8 * n_moved)))

    def walks(self, walks: WalkSet) -> Floats:
        alone = _alone(walks)
        return self.inner.walks(walks if alone is None else _of_features(walks, alone))

    def steps(self, walks: WalkSet, chosen: Ints) -> Floats:
        alone = _alone(walks)
        if alone is None:
            return self.inner.steps(walks, chosen)
        return self.inner.steps(_of_features(walks, alone), alone[chosen])

    def one_at_a_time(
        self, x: Floats, target: Ints, cell: Ints, features: Ints, values: Floats
    ) -> Floats:
        return self.inner.one_at_a_time(x, target, cell, features, values)


def _alone(walks: WalkSet) -> Ints | None:
    """The feature of each group, (S,), where each group has but one."""
    if walks.member is None or walks.n_steps < len(walks.free):
        return None
    return np.argsort(walks.member)


def _of_features(walks: WalkSet, alone: Ints) -> WalkSet:
    """Walks of groups of one feature as what they are."""
    return replace(walks, order=alone[walks.order], member=None)
