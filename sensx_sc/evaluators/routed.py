"""The evaluator for independent outputs: each input goes to the evaluator of its own output."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from sensx_sc.evaluators.dense import DenseEvaluator
    from sensx_sc.evaluators.protocol import Evaluator, Floats, Ints
    from sensx_sc.evaluators.walk_set import WalkSet


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

    def walks(self, walks: WalkSet) -> Floats:
        q = np.empty(walks.order.shape)
        for member, some in self._routes(walks.targets):
            q[some] = member.walks(walks.some(some))
        return q

    def steps(self, walks: WalkSet, chosen: Ints) -> Floats:
        change = np.empty((len(walks.order), len(chosen)))
        for member, some in self._routes(walks.targets):
            change[some] = member.steps(walks.some(some), chosen)
        return change

    def one_at_a_time(
        self, x: Floats, target: Ints, cell: Ints, features: Ints, values: Floats
    ) -> Floats:
        q = np.empty(values.shape)
        for member, lines in self._routes(target[cell]):
            q[lines] = member.one_at_a_time(x, target, cell[lines], features[lines], values[lines])
        return q
