"""Walks whose steps move groups of features, against rows written out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from sensx_sc.evaluators.dense import DenseEvaluator
from sensx_sc.evaluators.grouped import GroupedEvaluator
from sensx_sc.models import as_model
from sensx_sc.models.qoi import make_response

N = 7
LABEL = np.array([4, 1, -1, 4, 1, 9, 9])


def model(z: np.ndarray) -> np.ndarray:
    return np.stack([np.sin(z).sum(axis=1) ** 2, z.prod(axis=1)], axis=1)


def make(rows: int, label: np.ndarray = LABEL) -> GroupedEvaluator:
    response = make_response(as_model(model, n_features=N), "value")
    dense = DenseEvaluator(response, np.dtype(np.float64), rows)
    return GroupedEvaluator(dense, dense, label)


@pytest.mark.parametrize("rows", [1, 5, 1000])
def test_walks_and_steps(rows: int) -> None:
    rng = np.random.default_rng(0)
    x, target, cell = rng.normal(size=(2, N)), np.array([0, 1]), np.array([0, 1, 1, 0])
    free = np.array([0, 1, 3, 4, 6])  # the groups 1, 4 and 9, the last without feature 5
    groups = [[1, 4], [0, 3], [6]]
    end = rng.normal(size=(4, len(free)))
    order = np.array([[0, 1, 2], [2, 1, 0], [1, 0, 2], [2, 0, 1]])
    q_x = model(x)[[0, 1], target]
    evaluator = make(rows)
    q = evaluator.walks(x, target, q_x, cell, free, end, order)
    change = evaluator.steps(x, target, cell, free, end, order, np.array([2, 0]))
    assert q.shape == (4, 3)
    for w in range(4):
        t, before = x[cell[w]].copy(), q_x[cell[w]]
        for k, g in enumerate(order[w]):
            for j in groups[g]:
                t[j] = end[w, free.tolist().index(j)]
            now = model(t[None])[0, target[cell[w]]]
            assert q[w, k] == pytest.approx(now, rel=1e-12)
            if g != 1:
                assert change[w, {2: 0, 0: 1}[g]] == pytest.approx(now - before, rel=1e-9)
            before = now


def test_the_rest_is_that_of_the_evaluator_within() -> None:
    evaluator, free = make(64), np.array([0, 1, 3, 4, 6])
    assert evaluator.alive(free).tolist() == [True, True, True]
    assert evaluator.complete_rows(free, 10, 5) == 10 * 4 + 5
    assert evaluator.walks_together(4) == 16
    x = np.random.default_rng(0).normal(size=(3, N))
    np.testing.assert_array_equal(evaluator.outputs(x), model(x))
    np.testing.assert_allclose(evaluator.at(x, np.array([1, 0, 1])), model(x)[range(3), [1, 0, 1]])
    other = evaluator.regrouped(np.zeros(N, int))
    assert other.complete_rows(free, 10, 5) == 10 * 2 + 5
