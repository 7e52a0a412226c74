"""What the reader of XGBoost's trees takes, and what it leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from xgboost import XGBClassifier, XGBRanker, XGBRegressor

import sensx_sc as sx
from sensx_sc.evaluators import DenseEvaluator
from sensx_sc.evaluators.choose import choose_evaluator
from sensx_sc.evaluators.trees.evaluator import TreeEvaluator, UsedFeaturesEvaluator
from sensx_sc.evaluators.trees.xgboost import read_xgboost
from sensx_sc.evaluators.walk_set import WalkSet
from sensx_sc.models.qoi import make_response

if TYPE_CHECKING:
    from sensx_sc.evaluators.trees.ensemble import TreeEnsemble

N = 12
FEW: dict[str, Any] = {"n_estimators": 5, "max_depth": 3, "n_jobs": 1}


@pytest.fixture
def table(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    X = rng.random((200, N)).astype(np.float32).astype(np.float64)
    X[:, 0] = rng.integers(0, 4, size=200)
    X[:, 9:] = 1.0  # never split on
    return X, X[:, 3] - X[:, 7] + (X[:, 0] == 2)


def chosen(model: Any, X: np.ndarray) -> tuple[Any, str]:
    response = make_response(sx.models.as_model(model))
    return choose_evaluator(response, np.dtype(np.float64), 512, X[:4])


NEAR_MISSES: dict[str, tuple[Any, str]] = {
    "dart": (XGBRegressor(**FEW, booster="dart", rate_drop=0.5), "its trees are weighted (dart)"),
    "categories": (
        XGBRegressor(**FEW, enable_categorical=True, feature_types=["c"] + ["q"] * (N - 1)),
        "it has categorical features",
    ),
    "vector leaves": (
        XGBRegressor(**FEW, multi_strategy="multi_output_tree"), "its leaves have several values"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_near_misses_are_evaluated_row_by_row(
    name: str, table: tuple[np.ndarray, np.ndarray], rng: np.random.Generator
) -> None:
    X, y = table
    model, reason = NEAR_MISSES[name]
    model.fit(X, np.stack([y, -y], axis=1) if name == "vector leaves" else y)
    fast, why = chosen(model, X)
    assert type(fast) is UsedFeaturesEvaluator
    assert why.endswith(f"because {reason}")
    assert {0, 3, 7} <= set(fast.used.tolist()) <= set(range(9))
    slow = DenseEvaluator(fast.response, fast.dtype, 512)
    order, zero = np.argsort(rng.random((10, N)), axis=1), np.zeros(10, dtype=np.int64)
    q_x = slow.at(X[:1], zero[:1])
    walks = WalkSet(X[:1], zero[:1], q_x, zero, np.arange(N), X[10:20], order)
    np.testing.assert_array_equal(fast.walks(walks), slow.walks(walks))


def test_a_linear_booster_has_no_trees(table: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = table
    fast, why = chosen(XGBRegressor(n_estimators=3, booster="gblinear").fit(X, y), X)
    assert type(fast) is DenseEvaluator
    assert why == "row by row, because its booster is 'gblinear'"


def test_other_estimators_are_not_read(table: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = table
    ranker = XGBRanker(**FEW).fit(X, (y > 0).astype(int), qid=np.zeros(len(X), dtype=int))
    assert read_xgboost(ranker, "predict") is None


def test_an_own_objective_keeps_its_link(table: tuple[np.ndarray, np.ndarray]) -> None:
    """The link is the library's own, whatever it is."""

    def squared(y: np.ndarray, margin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return margin - y, np.ones_like(y)

    X, y = table
    fast, _ = chosen(XGBRegressor(**FEW, objective=squared).fit(X, y), X)
    assert type(fast) is TreeEvaluator


def test_margins_and_probabilities_are_those_of_the_library_to_the_last_bit(
    table: tuple[np.ndarray, np.ndarray],
) -> None:
    X, y = table
    model = XGBClassifier(n_estimators=200, max_depth=5, n_jobs=1).fit(X, np.digitize(y, [0, 0.8]))
    found = read_xgboost(model, "predict_proba")
    assert found is not None
    ensemble: Any = found.ensemble
    assert ensemble.start.dtype == np.float32
    margins = model.predict(X, output_margin=True)
    np.testing.assert_array_equal(ensemble.link(margins), model.predict_proba(X))
    assert (np.ptp(ensemble.link(margins), axis=0) > 0.5).all()


def test_a_split_sends_its_threshold_to_the_right(table: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = table
    model = XGBRegressor(n_estimators=1, max_depth=1, n_jobs=1).fit(X, y)
    found = read_xgboost(model, "predict")
    assert found is not None
    ensemble: TreeEnsemble | Any = found.ensemble
    threshold = model.get_booster().trees_to_dataframe()["Split"].iloc[0]
    node = np.zeros(1, dtype=np.int64)
    before = np.nextafter(np.float32(threshold), np.float32(-1))
    assert ensemble.goes_right(node, np.array([threshold])).tolist() == [True]
    assert ensemble.goes_right(node, np.array([float(before)])).tolist() == [False]


def test_models_of_tables_with_names(table: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = table
    names = [f"gene {j}" for j in range(N)]
    fast, _ = chosen(XGBClassifier(**FEW).fit(pd.DataFrame(X, columns=names), y > 0), X)
    assert type(fast) is TreeEvaluator
