"""Sums of the trees of an ensemble over the states of lines (see :mod:`.tree_courses`).

The states of a line go down a tree together, and part at a node that decides differently for some
of them. What comes out are the runs of states that end in one leaf: a state that does not change a
tree costs that tree nothing. Sums are then formed where any tree has changed, tree by tree in the
library's order and type, so that they are its own to the last bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sensx_sc.evaluators.protocol import Ints
    from sensx_sc.evaluators.trees.courses import Course
    from sensx_sc.evaluators.trees.ensemble import Sums, TreeEnsemble

_RUNS = 3 * 2**18  # of lines that are evaluated together, at most; some 60 bytes each
_NUMBERS = 2**21  # of their states and features, 8 bytes each
_FRONT = 2**15  # runs that go down the trees at a time: what a processor's cache holds


class Runs(NamedTuple):
    """Runs of states of a line that end in one leaf.

    Attributes
    ----------
    place
        (tree * W + line) * S + first state, ascending, for W lines of S states.
    leaf
        The node in which the run ends.
    """

    place: Ints
    leaf: Ints


def lines_together(ensemble: TreeEnsemble, n_states: int, splits: int) -> int:
    """How many lines can be evaluated together.

    Parameters
    ----------
    splits
        How often a feature can change its node's decision along a line.
    """
    most = np.minimum(ensemble.n_split * splits + 1, n_states)
    if splits == 1:
        most = np.minimum(most, ensemble.n_leaves)
    runs = int(most.sum())
    changed = min(n_states, runs)
    numbers = 4 * (n_states + len(ensemble.used)) + 3 * changed * len(ensemble.start)
    return max(1, min(_RUNS // runs, _NUMBERS // numbers))


def find_runs(ensemble: TreeEnsemble, course: Course) -> Runs:
    """Where the states of all lines end in all trees."""
    place, leaf = (np.concatenate(parts) for parts in zip(*_ends(ensemble, course), strict=True))
    order = np.argsort(place)
    return Runs(place[order], leaf[order])


class _Front(NamedTuple):
    """Runs on their way: states ``low`` to ``high - 1`` of lines have come to nodes."""

    node: Ints
    line: Ints
    low: Ints
    high: Ints

    def take(self, which: Ints | slice) -> _Front:
        return _Front(*(part[which] for part in self))


def _ends(ensemble: TreeEnsemble, course: Course) -> Iterator[tuple[Ints, Ints]]:
    """Place and leaf of all runs, some at a time."""
    n_trees = len(ensemble.root)
    node = np.repeat(ensemble.root, course.n_lines)
    line = np.tile(np.arange(course.n_lines), n_trees)
    waiting = [_Front(node, line, np.zeros_like(node), np.full_like(node, course.n_states))]
    while waiting:
        front = waiting.pop()
        if len(front.node) > _FRONT:
            half = len(front.node) // 2
            waiting += [front.take(slice(half, None)), front.take(slice(half))]
            continue
        leaf = ensemble.child.take(2 * front.node) < 0
        if leaf.any():
            ended = front.take(np.flatnonzero(leaf))
            of_tree = ensemble.tree.take(ended.node) * course.n_lines + ended.line
            yield of_tree * course.n_states + ended.low, ended.node
            front = front.take(np.flatnonzero(~leaf))
        if len(front.node):
            waiting.append(_children(ensemble.child, course, front))


def _children(child: Ints, course: Course, front: _Front) -> _Front:
    """Let runs pass their nodes, and part where these turn."""
    node, line, low, high = front
    right, run, state = course.turns(*front)
    # A node that turns in several states of a run sends its parts left and right in turn.
    again = np.zeros(len(run), dtype=bool)
    again[1:] = run[1:] == run[:-1]
    number = np.arange(len(run))
    number -= np.maximum.accumulate(np.where(again, 0, number))
    end = high.take(run)
    end[:-1][again[1:]] = state[1:][again[1:]]
    first = high.copy()
    first[run[~again]] = state[~again]
    turned = child.take(2 * node.take(run) + (right.take(run) ^ (number % 2 == 0)))
    return _Front(
        np.concatenate([child.take(2 * node + right), turned]),
        np.concatenate([line, line.take(run)]),
        np.concatenate([low, state]),
        np.concatenate([first, end]),
    )


def changed_sums(ensemble: TreeEnsemble, course: Course) -> tuple[Sums, Ints]:
    """Sums of the trees at the states in which any tree has changed.

    Returns
    -------
    Sums (M, K), and for each of the W S states the last one at which they changed, an index
    into M.
    """
    runs = find_runs(ensemble, course)
    n_trees, n_states = len(ensemble.root), course.n_lines * course.n_states
    tree, state = np.divmod(runs.place, n_states)
    changed = np.zeros(n_states, dtype=bool)
    changed[state] = True
    last = np.cumsum(changed) - 1
    n_changed = int(last[-1]) + 1
    length = np.diff(tree * n_changed + last[state], append=n_trees * n_changed)
    bounds = np.searchsorted(tree, np.arange(n_trees + 1))
    sums = np.repeat(ensemble.start[:, None], n_changed, axis=1)
    for t, column in enumerate(ensemble.column):
        part = slice(bounds[t], bounds[t + 1])
        for k, values in enumerate(ensemble.leaf[runs.leaf[part]].T):
            sums[column + k] += np.repeat(values, length[part])
    return np.ascontiguousarray(sums.T), last
