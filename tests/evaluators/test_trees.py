"""Tree ensembles: the numbers of dense evaluation, and nothing for features no tree splits on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import sensx_sc as sx
from sensx_sc.evaluators import choose
from sensx_sc.evaluators.trees import used_features

pytest.importorskip("sklearn")

from sklearn.ensemble import (
    AdaBoostClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier, ExtraTreeRegressor

N = 30
FEW: dict[str, Any] = {"n_estimators": 5, "max_depth": 3, "random_state": 0}
ESTIMATORS = [
    DecisionTreeClassifier(max_depth=3, random_state=0),
    ExtraTreeRegressor(max_depth=3, random_state=0),
    RandomForestClassifier(**FEW),
    RandomForestRegressor(**FEW),
    ExtraTreesClassifier(**FEW),
    GradientBoostingClassifier(**FEW),
    GradientBoostingRegressor(**FEW, init="zero"),
    HistGradientBoostingClassifier(max_iter=4, max_leaf_nodes=4, random_state=0),
    HistGradientBoostingRegressor(max_iter=4, max_leaf_nodes=4, random_state=0),
]


def data(rng: np.random.Generator, *, classes: bool = True) -> tuple[np.ndarray, np.ndarray]:
    X = rng.gamma(0.5, size=(200, N))
    score = X[:, 0] - X[:, 1] + 0.5 * X[:, 2] * X[:, 3]
    return X, np.digitize(score, [-0.4, 0.4]) if classes else score


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_numbers_are_those_of_dense_evaluation(
    estimator: Any, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = data(rng, classes=hasattr(estimator, "predict_proba"))
    estimator.fit(X, y)
    used = used_features(estimator, N)
    assert used is not None
    assert 0 < used.sum() < N
    # An independent look: a feature that is not used can be anything.
    spoiled = np.where(used, X, 1e6 * rng.normal(size=X.shape))
    np.testing.assert_array_equal(estimator.predict(spoiled), estimator.predict(X))
    arguments: dict[str, Any] = {
        "lower": 0, "upper": X.max(axis=0), "n_walks": 24, "n_samples": 60, "tau": 1e-6,
        "deltas": [0.1, 0.4, 1.0], "target": 0,
    }  # fmt: skip
    fast = sx.core.explain(X[:3], estimator, **arguments)
    assert fast.params["evaluator"] == "trees"
    monkeypatch.setattr(choose, "used_features", lambda *_: None)
    slow = sx.core.explain(X[:3], estimator, **arguments)
    assert slow.params["evaluator"] == "dense"
    assert fast.status == slow.status
    for name in ("value", "rank", "mean", "std", "change", "shapley", "se", "envelope"):
        np.testing.assert_allclose(
            getattr(fast, name), getattr(slow, name), rtol=1e-9, atol=1e-12, err_msg=name
        )
    for name in ("value", "mean", "change", "shapley"):
        assert (getattr(fast, name)[:, ~used] == 0).all()


def test_only_rows_of_used_features_are_evaluated(rng: np.random.Generator) -> None:
    X, y = data(rng)
    forest = RandomForestClassifier(**FEW).fit(X, y)
    seen: list[int] = []
    inner = forest.predict_proba
    forest.predict_proba = lambda rows: (seen.append(len(rows)), inner(rows))[1]
    sx.core.explain(
        X[:1], forest, lower=0, upper=9, deltas=[1.0], n_samples=50, n_walks=80, tau=1e-6
    )
    used = used_features(forest, N)
    assert used is not None
    assert sum(seen) < 80 * (used.sum() + 1) + 300 < 80 * N


class Own(RandomForestClassifier):
    """May read what it likes."""


@pytest.mark.parametrize(
    "estimator",
    [
        AdaBoostClassifier(random_state=0),
        Own(**FEW),
        GradientBoostingClassifier(**FEW, init=LogisticRegression()),
    ],
    ids=lambda e: type(e).__name__,
)
def test_near_misses_are_not_claimed(estimator: Any, rng: np.random.Generator) -> None:
    X, y = data(rng)
    estimator.fit(X, (y > 0).astype(int))
    assert used_features(estimator, N) is None
