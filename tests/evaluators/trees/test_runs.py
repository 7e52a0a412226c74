"""Sums of trees over states: against rows that go down every tree."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensx_sc.evaluators.trees.courses import Walks
from sensx_sc.evaluators.trees.ensemble import Tree, TreeEnsemble, make_ensemble, single
from sensx_sc.evaluators.trees.runs import changed_sums, find_runs, lines_together

N = 6


def grow(rng: np.random.Generator, n_splits: int, dtype: type, width: int, column: int) -> Tree:
    """A random tree that grows at random leaves, on few thresholds."""
    left, right = [-1], [-1]
    for _ in range(n_splits):
        leaf = rng.choice([i for i, child in enumerate(left) if child < 0])
        left[leaf], right[leaf] = len(left), len(left) + 1
        left += [-1, -1]
        right += [-1, -1]
    m = len(left)
    shape = (m, width) if width > 1 else m
    leaves = rng.normal(size=shape).astype(dtype)
    feature, threshold = rng.integers(0, N, size=m), rng.integers(0, 4, size=m) / 2
    return Tree(np.array(left), np.array(right), feature, threshold, leaves, column)


def sums_of_row(trees: list[Tree], row: np.ndarray, start: np.ndarray) -> np.ndarray:
    sums = start.copy()
    for tree in trees:
        node = 0
        while tree.left[node] >= 0:
            side = tree.left if row[tree.feature[node]] <= tree.threshold[node] else tree.right
            node = side[node]
        added = np.atleast_1d(tree.leaf[node])
        sums[tree.column : tree.column + len(added)] += added
    return sums


def make(trees: list[Tree], start: np.ndarray) -> TreeEnsemble:
    return make_ensemble(trees, start, lambda sums: sums, single)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("vector", [False, True])
@given(seed=st.integers(0, 2**32 - 1))
def test_sums_are_those_of_rows_to_the_last_bit(seed: int, dtype: type, vector: bool) -> None:
    rng = np.random.default_rng(seed)
    trees = [
        grow(rng, int(rng.integers(0, 9)), dtype, 3 if vector else 1, 0 if vector else t % 3)
        for t in range(7)
    ]
    start = rng.normal(size=3).astype(dtype)
    ensemble = make(trees, start)
    used = ensemble.used
    values = rng.integers(0, 5, size=(2, 4, N)) / 2
    moved = np.argsort(rng.random((4, N)), axis=1) + 1
    course = Walks(ensemble, values[0][:, used], values[1][:, used], moved[:, used], N + 1)
    sums, last = changed_sums(ensemble, course)
    assert sums.dtype == dtype
    found = sums[last].reshape(4, N + 1, 3)
    for w in range(4):
        for state in range(N + 1):
            row = np.where(moved[w] <= state, values[1, w], values[0, w])
            np.testing.assert_array_equal(found[w, state], sums_of_row(trees, row, start))
    # Nothing is summed where nothing has changed.
    leaves = find_runs(ensemble, course)
    places = np.unique(leaves.place % (4 * (N + 1)))
    assert len(sums) == len(places)


def test_a_walk_that_changes_no_decision_is_one_run_a_tree(rng: np.random.Generator) -> None:
    ensemble = make([grow(rng, 8, np.float64, 1, 0) for _ in range(5)], np.zeros(1))
    values = rng.random((3, len(ensemble.used)))
    moved = np.tile(np.arange(1, len(ensemble.used) + 1), (3, 1))
    runs = find_runs(ensemble, Walks(ensemble, values, values, moved, 50))
    assert len(runs.leaf) == 15


def test_lines_are_grouped_by_what_they_may_need(rng: np.random.Generator) -> None:
    few = make([grow(rng, 3, np.float64, 1, 0)], np.zeros(1))
    many = make([grow(rng, 40, np.float64, 1, 0) for _ in range(2000)], np.zeros(1))
    assert lines_together(few, 100, 1) > 1000
    assert 1 <= lines_together(many, 100, 1) < 200
    assert lines_together(many, 10**7, 1) == 1
