"""Walks whose steps move groups of features, against rows written out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from sensx_sc.core import explain
from sensx_sc.evaluators.choose import choose_evaluator
from sensx_sc.evaluators.dense import DenseEvaluator
from sensx_sc.evaluators.grouped import GroupedEvaluator
from sensx_sc.evaluators.walk_set import WalkSet
from sensx_sc.models import as_model
from sensx_sc.models.qoi import make_response

N = 7
LABEL = np.array([4, 1, -1, 4, 1, 9, 9])


def model(z: np.ndarray) -> np.ndarray:
    return np.stack([np.sin(z).sum(axis=1) ** 2, z.prod(axis=1)], axis=1)


def make(rows: int, label: np.ndarray = LABEL) -> GroupedEvaluator:
    response = make_response(as_model(model, n_features=N), "value")
    dense = DenseEvaluator(response, np.dtype(np.float64), rows)
    return GroupedEvaluator(dense, label)


@pytest.mark.parametrize("rows", [1, 5, 1000])
def test_walks_and_steps(rows: int) -> None:
    rng = np.random.default_rng(0)
    x, target, cell = rng.normal(size=(2, N)), np.array([0, 1]), np.array([0, 1, 1, 0])
    free = np.array([0, 1, 3, 4, 6])  # the groups 1, 4 and 9, the last without feature 5
    groups, member = [[1, 4], [0, 3], [6]], np.array([1, 0, 1, 0, 2])
    end = rng.normal(size=(4, len(free)))
    order = np.array([[0, 1, 2], [2, 1, 0], [1, 0, 2], [2, 0, 1]])
    q_x = model(x)[[0, 1], target]
    evaluator = make(rows)
    walks = WalkSet(x, target, q_x, cell, free, end, order, member)
    q, change = evaluator.walks(walks), evaluator.steps(walks, np.array([2, 0]))
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


# ---- every evaluator gives the numbers of rows written out


def _nets() -> dict[str, Any]:
    torch.manual_seed(3)
    half = nn.Linear(M, 12)
    with torch.no_grad():
        half.weight[:, ::2] = 0  # features that are never read
    return {
        "stem": nn.Sequential(nn.Linear(M, 12), nn.ReLU(), nn.Linear(12, 3)).eval(),
        "dead features": nn.Sequential(half, nn.Tanh(), nn.Linear(12, 3)).eval(),
        "curved": _Logs().eval(),
    }


class _Logs(nn.Module):
    """A stem of two branches, one of them behind a logarithm."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.last = nn.Linear(M, 5), nn.Linear(M, 4), nn.Linear(9, 3)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        parts = [self.a(rows), self.b(torch.log1p(rows))]
        return self.last(torch.tanh(torch.cat(parts, dim=1)))


def _estimators() -> dict[str, Any]:
    rng = np.random.default_rng(4)
    z, y = rng.random((150, M)), rng.integers(0, 3, 150)
    z[:, 5] += y

    def forest() -> RandomForestClassifier:
        return RandomForestClassifier(6, max_depth=3, random_state=0)

    return {
        "forest": forest().fit(z, y),
        "scaled forest": make_pipeline(StandardScaler(), forest()).fit(z, y),
        "logistic": make_pipeline(StandardScaler(), LogisticRegression(C=0.3)).fit(z, y),
        "boosted": HistGradientBoostingClassifier(max_iter=5, random_state=0).fit(z, y),
        "chosen": make_pipeline(SelectKBest(k=6), forest()).fit(z, y),
    }


M = 24
MODELS = _nets() | _estimators()
KNOWN = {"stem": "stem", "dead features": "stem", "curved": "stem", "forest": "trees",
         "scaled forest": "trees", "logistic": "stem"}  # fmt: skip


@pytest.mark.parametrize("free_all", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_groups_are_moved_as_rows_written_out(name: str, free_all: bool) -> None:
    rng = np.random.default_rng(5)
    x, target = rng.random((3, M)), np.array([0, 2, 1])
    free = np.arange(M) if free_all else np.sort(rng.choice(M, 15, replace=False))
    label = np.array([0, 0, 1, 2, 2, 2, 7, 8, 9, 9, 9, 9, 9, 9, 3, 4, 5, 5, 6, 6, 6, 0, 0, 0])
    groups, member = np.unique(label[free], return_inverse=True)
    n_groups = len(groups)
    cell = np.repeat([0, 1, 2, 1], 6)
    order = np.stack([rng.permutation(n_groups) for _ in cell])
    end = rng.random((len(cell), len(free)))
    response = make_response(as_model(MODELS[name], n_features=M), "auto")
    dtype = np.dtype(np.float64)
    found, _ = choose_evaluator(response, dtype, 64, x)
    assert found.name == KNOWN.get(name, found.name)
    dense = GroupedEvaluator(DenseEvaluator(response, dtype, 64), label)
    grouped = GroupedEvaluator(found, label)
    assert grouped.name == found.name
    assert grouped.parallel == found.parallel
    q_x = dense.at(x, target)
    walks = WalkSet(x, target, q_x, cell, free, end, order, member)
    expected = dense.walks(walks)
    np.testing.assert_allclose(grouped.walks(walks), expected, rtol=1e-9, atol=1e-13)
    chosen = np.array([3, 0, n_groups - 1])
    stepped = [each.steps(walks, chosen) for each in (grouped, dense)]
    np.testing.assert_allclose(*stepped, rtol=1e-7, atol=1e-12)
    # The numbers of a walk do not depend on those beside it.
    some = np.array([7, 2, 20])
    alone = grouped.walks(walks.some(some))
    np.testing.assert_allclose(alone, expected[some], rtol=1e-9, atol=1e-13)
    assert grouped.alive(free).shape == (n_groups,)
    # A group that is never read changes nothing, to the last bit.
    dead = ~grouped.alive(free)
    walked = np.concatenate([q_x[cell][:, None], grouped.walks(walks)], axis=1)
    for g in np.flatnonzero(dead):
        at = np.argmax(order == g, axis=1)
        rows = np.arange(len(cell))
        np.testing.assert_array_equal(walked[rows, at + 1], walked[rows, at])


@pytest.mark.parametrize("name", ["stem", "forest", "logistic"])
def test_single_features_are_walked_as_without_groups(name: str) -> None:
    rng = np.random.default_rng(6)
    response = make_response(as_model(MODELS[name], n_features=M), "auto")
    x, target, cell = rng.random((1, M)), np.zeros(1, int), np.zeros(8, int)
    found, _ = choose_evaluator(response, np.dtype(np.float64), 64, x)
    label = rng.permutation(M)
    free, end = np.arange(M), rng.random((8, M))
    order = np.stack([rng.permutation(M) for _ in cell])
    own = np.argsort(label)
    walks = WalkSet(x, target, found.at(x, target), cell, free, end, own[order])
    in_groups, grouped = replace(walks, order=order, member=label), GroupedEvaluator(found, label)
    np.testing.assert_array_equal(grouped.walks(in_groups), found.walks(walks))
    chosen = np.array([5, 0, 17])
    np.testing.assert_array_equal(grouped.steps(in_groups, chosen), found.steps(walks, own[chosen]))


def test_classifiers_in_a_mapping_move_groups_each_by_its_own() -> None:
    torch.manual_seed(1)
    members = {
        "stem": nn.Sequential(nn.Linear(M, 6), nn.ReLU(), nn.Linear(6, 1)).eval(),
        "dense": nn.Sequential(nn.LayerNorm(M), nn.Linear(M, 1)).eval(),
    }
    rng = np.random.default_rng(7)
    x = rng.random((2, M))
    how: dict[str, Any] = {"lower": 0, "upper": 3, "tau": 0.01, "n_walks": 40,
                           "precision": "float64", "groups": np.arange(M) // 4}  # fmt: skip
    both = explain(x, members, target=["stem", "dense"], **how)
    for i, name in enumerate(members):
        alone = explain(x[i : i + 1], members[name], keys=[i], **how)
        np.testing.assert_allclose(both.value[i], alone.value[0], rtol=1e-9)
