"""What the reader of LightGBM's trees takes, and what it leaves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier, LGBMRanker, LGBMRegressor

import sensx_sc as sx
from sensx_sc.evaluators import DenseEvaluator
from sensx_sc.evaluators.choose import choose_evaluator
from sensx_sc.evaluators.trees.evaluator import TreeEvaluator, UsedFeaturesEvaluator
from sensx_sc.evaluators.trees.lightgbm import read_lightgbm
from sensx_sc.evaluators.walk_set import WalkSet
from sensx_sc.models.qoi import make_response

N = 12
FEW: dict[str, Any] = {
    "n_estimators": 5, "num_leaves": 6, "min_child_samples": 5, "n_jobs": 1, "verbose": -1
}  # fmt: skip


@pytest.fixture
def table(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    X = rng.random((200, N))
    X[:, 0] = rng.integers(0, 4, size=200)
    X[:, 9:] = 1.0  # never split on
    return X, 1 + X[:, 3] - X[:, 7] + (X[:, 0] == 2)


def squared(y: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return score - y, np.ones_like(y)


def chosen(model: Any, X: np.ndarray, **how: Any) -> tuple[Any, str]:
    response = make_response(sx.models.as_model(model, **how))
    return choose_evaluator(response, np.dtype(np.float64), 512, X[:4])


NEAR_MISSES: dict[str, tuple[dict[str, Any], str]] = {
    "categories": ({"min_data_per_group": 5}, "it has categorical features"),
    "linear leaves": ({"linear_tree": True}, "its leaves are linear models"),
    "square root": ({"reg_sqrt": True}, "its objective is a square root's"),
    "cross entropy": ({"objective": "cross_entropy"}, "its objective is 'cross_entropy'"),
    "own objective": ({"objective": squared}, "its objective is 'custom'"),
    "stops early": ({"pred_early_stop": True}, "its predictions stop early"),
}


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_near_misses_are_evaluated_row_by_row(
    name: str, table: tuple[np.ndarray, np.ndarray], rng: np.random.Generator
) -> None:
    X, y = table
    how, reason = NEAR_MISSES[name]
    model = LGBMRegressor(**FEW, **how)
    more: dict[str, Any] = {"categorical_feature": [0]} if name == "categories" else {}
    model.fit(X, (y > 1) * 1.0 if name == "cross entropy" else y, **more)
    fast, why = chosen(model, X)
    assert type(fast) is UsedFeaturesEvaluator
    assert why.endswith(f"because {reason}")
    assert {0, 3, 7} <= set(fast.used.tolist()) <= set(range(9))
    slow = DenseEvaluator(fast.response, fast.dtype, 512)
    order, zero = np.argsort(rng.random((10, N)), axis=1), np.zeros(10, dtype=np.int64)
    q_x = slow.at(X[:1], zero[:1])
    walks = WalkSet(X[:1], zero[:1], q_x, zero, np.arange(N), X[10:20], order)
    np.testing.assert_array_equal(fast.walks(walks), slow.walks(walks))


def test_other_estimators_are_not_read(table: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = table
    ranker = LGBMRanker(**FEW).fit(X, (y > 1).astype(int), group=[len(X)])
    assert read_lightgbm(ranker, "predict") is None


def test_labels_are_not_sums(table: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = table
    found = read_lightgbm(LGBMClassifier(**FEW).fit(X, y > 1), "predict")
    assert found is not None
    assert found.ensemble == "its outputs are class labels"


def test_sums_of_an_averaged_forest_are_left(table: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = table
    forest = LGBMClassifier(**FEW, boosting_type="rf", subsample=0.5, subsample_freq=1)
    fast, why = chosen(forest.fit(X, y > 1), X, outputs="logit")
    assert type(fast) is UsedFeaturesEvaluator
    assert why.endswith("because its trees are averaged")


def test_models_of_tables_with_names(table: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = table
    names = [f"gene_{j}" for j in range(N)]
    fast, _ = chosen(LGBMClassifier(**FEW).fit(pd.DataFrame(X, columns=names), y > 1), X)
    assert type(fast) is TreeEvaluator


@pytest.mark.parametrize("zero_as_missing", [False, True])
def test_tiny_values_are_zero(rng: np.random.Generator, zero_as_missing: bool) -> None:
    X = np.where(rng.random((200, 3)) < 0.5, 0.0, rng.normal(size=(200, 3)))
    y = (X[:, 0] != 0) + 0.1 * X[:, 1]
    model = LGBMRegressor(**FEW, zero_as_missing=zero_as_missing).fit(X, y)
    fast, _ = chosen(model, X)
    assert type(fast) is TreeEvaluator
    slow = DenseEvaluator(fast.response, fast.dtype, 512)
    values = np.array([0.0, 1e-36, -1e-36, 1e-34, -1e-34, 1.1e-35, -1.1e-35, 0.5, -0.5])
    end = rng.choice(values, size=(60, 3))
    order, zero = np.argsort(rng.random((60, 3)), axis=1), np.zeros(60, dtype=np.int64)
    q_x = slow.at(X[:1], zero[:1])
    walks = WalkSet(X[:1], zero[:1], q_x, zero, np.arange(3), end, order)
    np.testing.assert_allclose(fast.walks(walks), slow.walks(walks), rtol=1e-14)
