"""The evaluator for a model behind steps that treat each column alone: a choice, a scaling."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from sensx_sc.evaluators.dead import skip_dead

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from sensx_sc.evaluators.protocol import Evaluator, Floats, Ints
    from sensx_sc.evaluators.walk_set import WalkSet


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

    def _inside(self, walks: WalkSet) -> WalkSet:
        """The walks of the columns that are read, as the model sees them."""
        read, own = self._own(walks.free)
        live = walks.of(read)
        ends = live.endpoint if self._transform is None else self._transform(live.ends())[:, own]
        return replace(live, x=self._rows(walks.x), free=own, endpoint=ends)

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

    def walks(self, walks: WalkSet) -> Floats:
        def live_walks(live: WalkSet) -> Floats:
            return self.inner.walks(self._inside(live))

        return skip_dead(walks, self._read(walks.free), live_walks)

    def steps(self, walks: WalkSet, chosen: Ints) -> Floats:
        change = np.zeros((len(walks.order), len(chosen)))
        own = walks.numbers(self._own(walks.free)[0])[chosen]
        if (own >= 0).any():
            change[:, own >= 0] = self.inner.steps(self._inside(walks), own[own >= 0])
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
