"""The evaluator for independent outputs: each input goes to the evaluator of its own output."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from sensx_sc.evaluators.dense import DenseEvaluator
    from sensx_sc.evaluators.protocol import Evaluator, Floats, Ints


class RoutedEvaluator:
    """Binary classifiers in a mapping, each with the fastest evaluator that is exact for it.

    Parameters
    ----------
    whole
        Evaluator of all outputs together.
    members
        Evaluator of each output.
    """

    def __init__(self, whole: DenseEvaluator, members: list[Evaluator]) -> None:
        self.whole = whole
        self.members = members
        self.dtype = whole.dtype
        self.rows = max(member.rows for member in members)
        names = dict.fromkeys(member.name for member in members)
        self.name = "/".join(names)
        self.parallel = all(member.parallel for member in members)

    def outputs(self, x: Floats) -> Floats:
        """The model's outputs (B, K) for rows (B, n)."""
        return self.whole.outputs(x)

    def _routes(self, target: Ints) -> Iterator[tuple[Evaluator, Ints]]:
        """Each member that is needed, and the entries of ``target`` that need it."""
        for k in np.unique(target):
            yield self.members[k], np.flatnonzero(target == k)

    def at(self, x: Floats, target: Ints) -> Floats:
        q = np.empty(len(x))
        for member, rows in self._routes(target):
            q[rows] = member.at(x[rows], target[rows])
        return q

    def alive(self, free: Ints) -> NDArray[np.bool_]:
        some: NDArray[np.bool_] = np.any([member.alive(free) for member in self.members], axis=0)
        return some

    def complete_rows(self, free: Ints, n_walks: int, n_points: int) -> int:
        return max(member.complete_rows(free, n_walks, n_points) for member in self.members)

    def walks_together(self, n_steps: int) -> int:
        return min(member.walks_together(n_steps) for member in self.members)

    def sweep(
        self, x: Floats, target: int, free: Ints, down: Floats, up: Floats, u: Floats
    ) -> Floats:
        return self.members[target].sweep(x, target, free, down, up, u)

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
        q = np.empty(order.shape)
        for member, walks in self._routes(target[cell]):
            q[walks] = member.walks(
                x, target, q_x, cell[walks], free, endpoint[walks], order[walks]
            )
        return q

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
        change = np.empty((len(order), len(chosen)))
        for member, walks in self._routes(target[cell]):
            change[walks] = member.steps(
                x, target, cell[walks], free, endpoint[walks], order[walks], chosen
            )
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
        q = np.empty(order.shape)
        for one, walks in self._routes(target[cell]):
            q[walks] = one.group_walks(
                x, target, q_x, cell[walks], free, endpoint[walks], order[walks], member
            )
        return q

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
        change = np.empty((len(order), len(chosen)))
        for one, walks in self._routes(target[cell]):
            change[walks] = one.group_steps(
                x, target, cell[walks], free, endpoint[walks], order[walks], member, chosen
            )
        return change

    def one_at_a_time(
        self, x: Floats, target: Ints, cell: Ints, features: Ints, values: Floats
    ) -> Floats:
        q = np.empty(values.shape)
        for member, lines in self._routes(target[cell]):
            q[lines] = member.one_at_a_time(x, target, cell[lines], features[lines], values[lines])
        return q
