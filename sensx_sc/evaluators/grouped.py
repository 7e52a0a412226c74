"""The evaluator for features that change in groups: a step of a walk moves a whole group."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sensx_sc.evaluators.dense import inverse

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sensx_sc.evaluators.dense import DenseEvaluator
    from sensx_sc.evaluators.protocol import Evaluator, Floats, Ints


class GroupedEvaluator:
    """Walks whose steps move groups of features, by complete rows; all else as without groups.

    In the arguments of :meth:`walks` and :meth:`steps` an order is one of groups: positions into
    the groups that hold any of the features ``free``, ascending.

    Parameters
    ----------
    dense
        Evaluates walks.
    inner
        Evaluates everything else: neighbourhoods do not know groups.
    label
        Group of each feature, (n,); -1 for features that never change.
    """

    parallel = False

    def __init__(self, dense: DenseEvaluator, inner: Evaluator, label: Ints) -> None:
        self.dense, self.inner, self.label = dense, inner, label
        self.dtype = dense.dtype
        self.rows = dense.rows
        self.name = "dense" if inner.name == "dense" else f"{inner.name}/dense"

    def regrouped(self, label: Ints) -> GroupedEvaluator:
        """The same for other groups of the features."""
        return GroupedEvaluator(self.dense, self.inner, label)

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
        n_steps = len(np.unique(self.label[free]))
        return n_walks * (n_steps + 1) + self.inner.complete_rows(free, 0, n_points)

    def walks_together(self, n_steps: int) -> int:
        return self.dense.walks_together(n_steps)

    def walks(
        self,
        x: Floats,
        target: Ints,
        q_x: Floats,
        cell: Ints,
        free: Ints,
        endpoint: Floats,
        order: Ints,
    ) -> Floats:
        """Q after each group of the order has changed, (W, G)."""
        taken = np.broadcast_to(np.arange(1, order.shape[1] + 1), order.shape)
        position = inverse(order)[:, self._member(free)]
        return self.dense.after(taken, x, target, cell, free, endpoint, position)

    def steps(
        self,
        x: Floats,
        target: Ints,
        cell: Ints,
        free: Ints,
        endpoint: Floats,
        order: Ints,
        chosen: Ints,
    ) -> Floats:
        """Change of q at the steps of some groups, (W, U)."""
        turn = inverse(order)
        position = turn[:, self._member(free)]
        return self.dense.change(turn[:, chosen], x, target, cell, free, endpoint, position)

    def one_at_a_time(
        self, x: Floats, target: Ints, cell: Ints, features: Ints, values: Floats
    ) -> Floats:
        return self.inner.one_at_a_time(x, target, cell, features, values)
