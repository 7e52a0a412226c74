"""What the reader of scikit-learn's trees takes, and what it leaves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
)
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from sensx_sc.evaluators.trees.ensemble import TreeEnsemble, UnreadableError
from sensx_sc.evaluators.trees.sklearn import read_sklearn

N = 12


@pytest.fixture
def table(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    X = rng.random((200, N))
    X[:, 0] = rng.integers(0, 4, size=200)
    return X, X[:, 3] - X[:, 7] + (X[:, 0] == 2)


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        IsolationForest(n_estimators=3, random_state=0),
        GradientBoostingClassifier(n_estimators=3, init=LogisticRegression(), random_state=0),
    ],
    ids=lambda e: type(e).__name__,
)
def test_estimators_that_are_no_trees_or_not_only_trees(
    estimator: Any, table: tuple[np.ndarray, np.ndarray]
) -> None:
    X, y = table
    assert read_sklearn(estimator.fit(X, y > 0), "predict_proba") is None


def test_a_model_to_start_from_reads_the_input(table: tuple[np.ndarray, np.ndarray]) -> None:
    booster = GradientBoostingRegressor(n_estimators=3, init=LinearRegression()).fit(*table)
    assert read_sklearn(booster, "predict") is None


def test_categorical_features_are_not_read(table: tuple[np.ndarray, np.ndarray]) -> None:
    """scikit-learn puts them before the others: the features of the splits are other columns."""
    X, y = table
    X = X[:, ::-1]
    booster = HistGradientBoostingRegressor(categorical_features=[N - 1], max_iter=3).fit(X, y)
    with pytest.raises(UnreadableError, match="categorical features"):
        read_sklearn(booster, "predict")


@pytest.mark.parametrize(
    "estimator",
    [
        DecisionTreeClassifier(max_depth=2, random_state=0),
        RandomForestClassifier(n_estimators=9, max_depth=2, random_state=0),
        GradientBoostingClassifier(n_estimators=3, max_depth=2, random_state=0),
        HistGradientBoostingClassifier(max_iter=3, max_depth=2, random_state=0),
    ],
    ids=lambda e: type(e).__name__,
)
def test_labels_are_not_sums(estimator: Any, table: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = table
    found = read_sklearn(estimator.fit(X, y > 0), "predict")
    assert found is not None
    assert found.ensemble == "its outputs are class labels"
    assert {3, 7} <= set(found.used.tolist())
    assert len(found.used) < N
    whole = read_sklearn(estimator, "predict_proba")
    assert whole is not None
    assert isinstance(whole.ensemble, TreeEnsemble)
    np.testing.assert_array_equal(whole.used, found.used)


def test_several_outputs_of_a_classifier(table: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = table
    forest = RandomForestClassifier(n_estimators=2, random_state=0).fit(
        X, np.stack([y > 0, y > 1], axis=1)
    )
    found = read_sklearn(forest, "predict_proba")
    assert found is not None
    assert found.ensemble == "it has several outputs"
