"""The evaluator for a model that reads some of the columns: that of the model, on its own rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sensx_sc.evaluators.dead import skip_dead

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sensx_sc.evaluators.protocol import Evaluator, Floats, Ints


class ByNameEvaluator:
    """An evaluator behind a choice of columns; the other columns are dead.

    Parameters
    ----------
    inner
        Evaluator of the model.
    index
        Which column each of the model's features is, each once.
    n_features
        Columns of the rows.
    """

    def __init__(self, inner: Evaluator, index: Ints, n_features: int) -> None:
        self.inner = inner
        self.index = index
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
        return self.inner.complete_rows(self._own(free)[1], n_walks, n_points)

    def outputs(self, x: Floats) -> Floats:
        """The model's outputs (B, K) for rows (B, n)."""
        return self.inner.outputs(x[:, self.index])

    def at(self, x: Floats, target: Ints) -> Floats:
        return self.inner.at(x[:, self.index], target)

    def sweep(
        self, x: Floats, target: int, free: Ints, down: Floats, up: Floats, u: Floats
    ) -> Floats:
        read, own = self._own(free)
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
            position = np.argsort(read)
            rows = x[:, self.index]
            return self.inner.walks(rows, target, q_x, cell, own, end[:, read], position[steps])

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
        if wanted.any():
            read, own = self._own(free)
            position = np.full(len(free), -1)
            position[read] = np.arange(len(read))
            # The order in which the model's own features move.
            of_own = position[order]
            of_own = of_own[of_own >= 0].reshape(len(order), -1)
            change[:, wanted] = self.inner.steps(
                x[:, self.index], target, cell, own, endpoint[:, read], of_own,
                position[chosen[wanted]],
            )  # fmt: skip
        return change
