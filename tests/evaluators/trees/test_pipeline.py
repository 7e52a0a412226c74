"""Trees behind scalers and selections of columns: the numbers of full evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_selection import SelectKBest
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer, StandardScaler
from xgboost import XGBClassifier

import sensx_sc as sx
from sensx_sc.evaluators.choose import choose_evaluator
from sensx_sc.evaluators.columnwise import ColumnwiseEvaluator
from sensx_sc.evaluators.dense import DenseEvaluator
from sensx_sc.evaluators.walk_set import WalkSet
from sensx_sc.models.qoi import make_response

N = 15
FEW: dict[str, Any] = {"n_estimators": 8, "max_depth": 3, "random_state": 0}
PIPELINES: dict[str, Any] = {
    "scaled forest": make_pipeline(StandardScaler(), RandomForestClassifier(**FEW)),
    "in place": make_pipeline(StandardScaler(copy=False), RandomForestClassifier(**FEW)),
    "selected": make_pipeline(
        StandardScaler(), SelectKBest(k=6), FunctionTransformer(np.arcsinh),
        RandomForestClassifier(**FEW),
    ),
    "log and boosting": make_pipeline(FunctionTransformer(np.log1p),
                                      GradientBoostingClassifier(**FEW)),
    "xgboost": make_pipeline(StandardScaler(), XGBClassifier(**FEW, n_jobs=1)),
    "lightgbm": make_pipeline(StandardScaler(), LGBMClassifier(**FEW, n_jobs=1, verbose=-1)),
    "regression": make_pipeline(StandardScaler(), RandomForestRegressor(**FEW)),
    "histograms": make_pipeline(StandardScaler(), HistGradientBoostingRegressor(max_iter=8)),
    "nothing before": make_pipeline("passthrough", RandomForestClassifier(**FEW)),
    "chosen": GridSearchCV(
        make_pipeline(StandardScaler(), RandomForestClassifier(**FEW)),
        {"randomforestclassifier__max_depth": [2, 3]}, cv=2,
    ),
}  # fmt: skip


def fitted(name: str) -> tuple[Any, np.ndarray]:
    X = np.random.default_rng(0).gamma(1.0, size=(150, N))
    return PIPELINES[name].fit(X, np.digitize(X[:, 2] - X[:, 7] * X[:, 11], [-0.5, 0.5])), X


@pytest.mark.parametrize("name", PIPELINES)
def test_numbers_are_those_of_full_evaluation(name: str) -> None:
    pipeline, X = fitted(name)
    response = make_response(sx.models.as_model(pipeline))
    fast, why = choose_evaluator(response, np.dtype(np.float64), 256, X[:4])
    assert isinstance(fast, ColumnwiseEvaluator), why
    assert fast.name == "trees"
    assert "8 trees" in why or "24 trees" in why
    slow = DenseEvaluator(response, np.dtype(np.float64), 256)
    rng = np.random.default_rng(1)
    x, target, cell = X[:3].copy(), np.array([0, 0, 0]), np.repeat([0, 1, 2], 6)
    if response.model.kind == "probability":
        target = np.array([0, 1, 2])
    for free in (np.arange(N), np.array([1, 2, 3, 7, 11, 12])):
        endpoint = rng.gamma(1.0, size=(18, len(free)))
        order = np.argsort(rng.random((18, len(free))), axis=1)
        q_x = slow.at(x, target)
        walks = WalkSet(x, target, q_x, cell, free, endpoint, order)
        np.testing.assert_allclose(fast.walks(walks), slow.walks(walks), rtol=1e-9, atol=1e-12)
        chosen = np.arange(0, len(free), 2)
        stepped = [each.steps(walks, chosen) for each in (fast, slow)]
        np.testing.assert_allclose(*stepped, rtol=1e-9, atol=1e-12)
        down, up = x[0, free] * np.array([[0.1], [0.9]]), np.full((2, len(free)), 0.5)
        u = rng.random((40, len(free)))
        swept = (x[0], 0, free, down, up, u)
        np.testing.assert_allclose(fast.sweep(*swept), slow.sweep(*swept), rtol=1e-12)
    np.testing.assert_array_equal(x, X[:3])  # a scaler that works in place did so on a copy
    dead = ~fast.alive(np.arange(N))
    assert dead.any()


def test_pipelines_of_tables_with_names() -> None:
    X = np.random.default_rng(0).gamma(1.0, size=(150, N))
    table = pd.DataFrame(X, columns=[f"g{j}" for j in range(N)])
    pipeline = make_pipeline(StandardScaler(), RandomForestClassifier(**FEW))
    pipeline.set_output(transform="pandas").fit(table, X[:, 2] > X[:, 7])
    r = sx.core.explain(
        X[:2], pipeline, lower=0, upper=X.max(), n_walks=20, n_samples=50, names=table.columns
    )
    assert r.params["evaluator"] == "trees"
    expected = sx.core.explain(
        X[:2], lambda rows: pipeline.predict_proba(pd.DataFrame(rows, columns=table.columns)),
        lower=0, upper=X.max(), n_walks=20, n_samples=50, target=r.target,
    )  # fmt: skip
    np.testing.assert_allclose(r.value, expected.value, rtol=1e-6, atol=1e-12)


def test_columns_that_are_mixed_leave_a_black_box() -> None:
    X = np.random.default_rng(0).gamma(1.0, size=(80, N))
    pipeline = make_pipeline(Normalizer(), RandomForestClassifier(**FEW))
    pipeline.fit(X, X[:, 2] > X[:, 7])
    response = make_response(sx.models.as_model(pipeline))
    chosen, _ = choose_evaluator(response, np.dtype(np.float64), 64, X[:4])
    assert type(chosen) is DenseEvaluator
