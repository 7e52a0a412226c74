"""The evaluator for a model behind steps that treat each column alone: a choice, a scaling."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sensx_sc.evaluators.dead import skip_dead, skip_dead_groups

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from sensx_sc.evaluators.protocol import Evaluator, Floats, Ints


class ColumnwiseEvaluator:
    """An evaluator on rows of its own, each column of which is made of one column of the rows.

    A step changes one column of either, so it is evaluated there; columns that are not read are
    dead.

    Parameters
    ----------
    inner
        Evaluator of the model.
    index
        Which column each of the model's features is made of, each once.
    n_features
        Columns of the rows.
    transform
        From rows (B, n_features) to the model's; None takes columns as they are.
    whole
        Evaluator of rows in full: with a ``transform`` it sweeps, as points of a neighbourhood
        lie on lines of the rows only.
    """

    def __init__(
        self,
        inner: Evaluator,
        index: Ints,
        n_features: int,
        transform: Callable[[Floats], Floats] | None = None,
        whole: Evaluator | None = None,
    ) -> None:
        self.inner = inner
        self.index = index
        self._transform = transform
        self._whole = whole
        # Where in the model's rows a column is; -1 where it is not read.
        self._place = np.full(n_features, -1)
        self._place[index] = np.arange(len(index))
        self.name = inner.name
        self.dtype = inner.dtype
        self.parallel = inner.parallel

    @property
    def rows(self) -> int:
        """Rows of one call: an evaluator makes them fewer where memory runs out."""
        return self.inner.rows

    def _rows(self, x: Floats) -> Floats:
        """The model's rows."""
        return x[:, self.index] if self._transform is None else self._transform(x)

    def _ends(self, x: Floats, cell: Ints, free: Ints, read: Ints, endpoint: Floats) -> Floats:
        """Values of the columns that are read, as the model's, at the ends of walks."""
        if self._transform is None:
            return endpoint[:, read]
        ends = x[cell]
        ends[:, free] = endpoint
        return self._transform(ends)[:, self._place[free[read]]]

    def _read(self, free: Ints) -> NDArray[np.bool_]:
        read: NDArray[np.bool_] = self._place[free] >= 0
        return read

    def _own(self, free: Ints) -> tuple[Ints, Ints]:
        """The columns that are read, as positions into ``free``, and the model's features there.

        In the model's order: evaluators take features in ascending order.
        """
        read = np.flatnonzero(self._read(free))
        read = read[np.argsort(self._place[free[read]])]
        return read, self._place[free[read]]

    def walks_together(self, n_steps: int) -> int:
        return self.inner.walks_together(n_steps)

    def alive(self, free: Ints) -> NDArray[np.bool_]:
        read, own = self._own(free)
        alive = np.zeros(len(free), dtype=bool)
        alive[read] = self.inner.alive(own)
        return alive

    def complete_rows(self, free: Ints, n_walks: int, n_points: int) -> int:
        if self._whole is None:
            return self.inner.complete_rows(self._own(free)[1], n_walks, n_points)
        return self.inner.complete_rows(self._own(free)[1], n_walks, 0) + n_points

    def outputs(self, x: Floats) -> Floats:
        """The model's outputs (B, K) for rows (B, n)."""
        return self.inner.outputs(self._rows(x))

    def at(self, x: Floats, target: Ints) -> Floats:
        return self.inner.at(self._rows(x), target)

    def sweep(
        self, x: Floats, target: int, free: Ints, down: Floats, up: Floats, u: Floats
    ) -> Floats:
        read, own = self._own(free)
        if self._whole is not None:
            return self._whole.sweep(x, target, free, down, up, u)
        if not len(read):
            q = self.at(x[None], np.array([target]))
            return np.broadcast_to(q, (len(down), len(u))).copy()
        return self.inner.sweep(x[self.index], target, own, down[:, read], up[:, read], u[:, read])

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
        def live_walks(features: Ints, end: Floats, steps: Ints) -> Floats:
            read, own = self._own(features)
            ends = self._ends(x, cell, features, read, end)
            position = np.argsort(read)
            return self.inner.walks(self._rows(x), target, q_x, cell, own, ends, position[steps])

        return skip_dead(self._read(free), q_x, cell, free, endpoint, order, live_walks)

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
        change = np.zeros((len(order), len(chosen)))
        wanted = self._read(free)[chosen]
        if not wanted.any():
            return change
        read, own = self._own(free)
        position = np.full(len(free), -1)
        position[read] = np.arange(len(read))
        # The order in which the model's own features move.
        of_own = position[order]
        of_own = of_own[of_own >= 0].reshape(len(order), -1)
        ends = self._ends(x, cell, free, read, endpoint)
        at = position[chosen[wanted]]
        change[:, wanted] = self.inner.steps(self._rows(x), target, cell, own, ends, of_own, at)
        return change

    def group_walks(
        self,
        x: Floats,
        target: Ints,
        q_x: Floats,
        cell: Ints,
        free: Ints,
        endpoint: Floats,
        order: Ints,
        member: Ints,
    ) -> Floats:
        def live_walks(features: Ints, end: Floats, steps: Ints, group: Ints) -> Floats:
            read, own = self._own(features)
            ends = self._ends(x, cell, features, read, end)
            rows = self._rows(x)
            return self.inner.group_walks(rows, target, q_x, cell, own, ends, steps, group[read])

        read = self._read(free)
        return skip_dead_groups(read, q_x, cell, free, endpoint, order, member, live_walks)

    def group_steps(
        self,
        x: Floats,
        target: Ints,
        cell: Ints,
        free: Ints,
        endpoint: Floats,
        order: Ints,
        member: Ints,
        chosen: Ints,
    ) -> Floats:
        change = np.zeros((len(order), len(chosen)))
        read, own = self._own(free)
        of_group = np.bincount(member[read], minlength=order.shape[1]) > 0
        wanted = of_group[chosen]
        if not wanted.any():
            return change
        number = np.cumsum(of_group) - 1
        of_own = number[order[of_group[order]]].reshape(len(order), -1)
        ends = self._ends(x, cell, free, read, endpoint)
        groups = (number[member[read]], number[chosen[wanted]])
        rows = self._rows(x)
        change[:, wanted] = self.inner.group_steps(rows, target, cell, own, ends, of_own, *groups)
        return change

    def one_at_a_time(
        self, x: Floats, target: Ints, cell: Ints, features: Ints, values: Floats
    ) -> Floats:
        q = np.empty(values.shape)
        read = self._read(features)
        if not read.all():
            some, of = np.unique(cell[~read], return_inverse=True)
            q[~read] = self.at(x[some], target[some])[of, None]
        live = np.flatnonzero(read)
        own, moved = self._place[features[live]], values[live]
        if self._transform is not None:
            for c in np.unique(cell[live]):  # the columns that move are different ones
                lines = np.flatnonzero(cell[live] == c)
                rows = np.repeat(x[c][None], values.shape[1], axis=0)
                rows[:, features[live[lines]]] = moved[lines].T
                moved[lines] = self._transform(rows)[:, own[lines]].T
        q[live] = self.inner.one_at_a_time(self._rows(x), target, cell[live], own, moved)
        return q
