"""scikit-learn estimators and Pipelines."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    GradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from sensx_sc.core import explain
from sensx_sc.models import as_model

RNG = np.random.default_rng(0)
X = RNG.random((120, 4))
NOISE = RNG.random((120, 12))
SCORE = X @ [2.0, -1.0, 0.0, 0.5]
TWO = np.where(np.median(SCORE) < SCORE, "NK", "B")
THREE = np.digitize(SCORE, np.quantile(SCORE, [1 / 3, 2 / 3]))

MODELS: list[tuple[Any, Any, str, int]] = [
    (LogisticRegression(), TWO, "probability", 2),
    (LogisticRegression(), THREE, "probability", 3),
    (LinearSVC(), TWO, "value", 1),
    (LinearSVC(), THREE, "value", 3),
    (SVC(), TWO, "value", 1),
    (RandomForestClassifier(5, random_state=0), THREE, "probability", 3),
    (
        MLPRegressor(hidden_layer_sizes=(8,), random_state=0, solver="lbfgs", max_iter=3000),
        SCORE,
        "value",
        1,
    ),
    (LinearRegression(), SCORE, "value", 1),
    (make_pipeline(StandardScaler(), LogisticRegression()), TWO, "probability", 2),
]
IDS = [f"{type(m).__name__}-{k}" for m, _, _, k in MODELS]


@pytest.mark.parametrize(("estimator", "y", "kind", "width"), MODELS, ids=IDS)
@pytest.mark.parametrize("named", [False, True], ids=["array", "frame"])
def test_outputs_are_the_estimators(
    estimator: Any, y: Any, kind: str, width: int, named: bool
) -> None:
    genes = ["A", "B", "C", "D"]
    estimator = estimator.fit(pd.DataFrame(X, columns=genes) if named else X, y)
    model = as_model(estimator)
    assert model.kind == kind
    assert model.dtypes == (torch.float64,)
    assert model.feature_names == (tuple(genes) if named else None)
    out = model.outputs(torch.as_tensor(X[:7])).numpy()
    assert out.shape == (7, width)
    table = pd.DataFrame(X[:7], columns=genes) if named else X[:7]
    for name in ("predict_proba", "decision_function", "predict"):
        if hasattr(estimator, name):
            np.testing.assert_allclose(out, getattr(estimator, name)(table).reshape(7, -1))
            break
    # Warnings are errors here: none about feature names comes out of an explanation.
    r = explain(X[:2], estimator, lower=0, upper=1, n_walks=8, n_samples=50, deltas=[0.5, 1.0],
                tau=1e-6, target=width - 1)  # fmt: skip
    assert np.isfinite(r.value).all()
    assert r.precision == ("float64", "float64")


def test_classes_name_the_outputs() -> None:
    assert as_model(LogisticRegression().fit(X, TWO)).output_names == ("B", "NK")
    assert as_model(LogisticRegression().fit(X, THREE)).output_names == ("0", "1", "2")
    assert as_model(LinearSVC().fit(X, TWO)).output_names == ("NK",)  # one margin: the second
    assert as_model(LinearSVC().fit(X, THREE)).output_names == ("0", "1", "2")
    assert as_model(LinearRegression().fit(X, SCORE)).output_names is None


def test_the_explained_class_is_the_one_that_is_named() -> None:
    fitted = LogisticRegression().fit(X, TWO)
    arguments = {"lower": 0, "upper": 1, "n_walks": 8, "tau": 1e-3, "deltas": [1.0]}
    r = explain(X[:5], fitted, target="NK", **arguments)
    np.testing.assert_allclose(r.qoi, fitted.predict_proba(X[:5])[:, 1])
    # Probabilities of two classes are mirror images.
    other = explain(X[:5], fitted, target="B", **arguments)
    np.testing.assert_allclose(other.mean, -r.mean, rtol=1e-6)
    predicted = explain(X[:5], fitted, **arguments)
    assert [predicted.output_names[k] for k in predicted.target] == list(fitted.predict(X[:5]))


def test_logits_of_a_logistic_regression_are_linear() -> None:
    fitted = LogisticRegression().fit(X, TWO)
    r = explain(X[:3], fitted, target="NK", qoi="logit", lower=0, upper=1, n_walks=8)
    np.testing.assert_allclose(r.mean, np.repeat(fitted.coef_, 3, axis=0), rtol=1e-6)
    np.testing.assert_allclose(r.qoi, fitted.decision_function(X[:3]), rtol=1e-9)


BOTH = np.stack([TWO, np.where(X[:, 1] > 0.5, "cycling", "resting")], axis=1)
SEVERAL = {
    "forest": RandomForestClassifier(5, random_state=0),
    "one each": MultiOutputClassifier(LogisticRegression()),
    "neighbours": KNeighborsClassifier(),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_classes_of_several_things_stand_side_by_side(name: str) -> None:
    fitted = SEVERAL[name].fit(X, BOTH)
    model = as_model(fitted)
    assert model.output_names == ("0=B", "0=NK", "1=cycling", "1=resting")
    rows = torch.as_tensor(X[:6])
    np.testing.assert_allclose(model.outputs(rows), np.hstack(fitted.predict_proba(X[:6])))
    how = {"lower": 0, "upper": 1, "n_walks": 8, "n_samples": 50}
    with pytest.raises(ValueError, match="`target` must name one of the 4 outputs.*'1=cycling'"):
        explain(X[:2], fitted, **how)
    r = explain(X[:2], fitted, target="1=cycling", **how)
    np.testing.assert_allclose(r.qoi, fitted.predict_proba(X[:2])[1][:, 0])


def test_several_values_are_outputs_of_a_regressor() -> None:
    fitted = RandomForestRegressor(5, random_state=0).fit(X, np.stack([SCORE, X[:, 2]], axis=1))
    r = explain(X[:2], fitted, target=1, lower=0, upper=1, n_walks=20, n_samples=50)
    assert r.params["evaluator"] == "trees"
    np.testing.assert_allclose(r.qoi, fitted.predict(X[:2])[:, 1])


def test_a_search_answers_by_its_best_estimator() -> None:
    fitted = GridSearchCV(RandomForestClassifier(5, random_state=0), {"max_depth": [2, 3]}, cv=2)
    fitted.fit(X, TWO)
    model = as_model(fitted)
    assert model.source is fitted
    assert model.estimator is fitted.best_estimator_
    r = explain(X[:2], fitted, target="NK", lower=0, upper=1, n_walks=8, n_samples=50)
    assert r.params["evaluator"] == "trees"
    np.testing.assert_allclose(r.qoi, fitted.predict_proba(X[:2])[:, 1])


def boosted(name: str) -> Any:
    library = pytest.importorskip(name)
    if name == "xgboost":
        return library.XGBClassifier(n_estimators=5, max_depth=3, n_jobs=1)
    return library.LGBMClassifier(n_estimators=5, num_leaves=6, n_jobs=1, verbose=-1)


AGREEING: dict[str, tuple[Any, Any, str, str]] = {
    "logistic": (LogisticRegression(), THREE, "predict_proba", "stem"),
    "pipeline": (make_pipeline(StandardScaler(), LinearSVC()), THREE, "decision_function", "stem"),
    "calibrated": (CalibratedClassifierCV(LinearSVC(), cv=2), THREE, "predict_proba", "stem"),
    "regressor": (LinearRegression(), SCORE, "predict", "stem"),
    "several regressors": (
        MultiOutputRegressor(LinearRegression()), np.stack([SCORE, X[:, 2]], axis=1), "predict",
        "stem",
    ),
    "forest": (RandomForestClassifier(5, random_state=0), THREE, "predict_proba", "trees"),
    "boosting": (GradientBoostingRegressor(n_estimators=5), SCORE, "predict", "trees"),
    "neighbours": (KNeighborsClassifier(), THREE, "predict_proba", "dense"),
    "xgboost": ("xgboost", THREE, "predict_proba", "trees"),
    "lightgbm": ("lightgbm", THREE, "predict_proba", "trees"),
}  # fmt: skip


@pytest.mark.parametrize("name", AGREEING)
def test_explained_as_a_plain_function_around_it(name: str) -> None:
    """By the evaluator that is right for it."""
    estimator, y, method, evaluator = AGREEING[name]
    wide = np.concatenate([X, NOISE], axis=1)
    fitted = (boosted(estimator) if isinstance(estimator, str) else estimator).fit(wide, y)
    own = getattr(fitted, method)
    how = {"lower": 0, "upper": 1, "n_walks": 20, "n_samples": 50, "tau": 0.01}
    target = None if name in ("regressor", "boosting") else 1
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "X does not have valid feature names", UserWarning)
        found = explain(wide[:3], fitted, target=target, **how)
        expected = explain(wide[:3], own, target=target, **how)
    assert found.params["evaluator"] == evaluator
    assert expected.params["evaluator"] == "dense"
    np.testing.assert_allclose(found.qoi, expected.qoi, rtol=1e-6)
    np.testing.assert_allclose(found.value, expected.value, rtol=1e-6, atol=1e-9)
    assert np.nanmax(found.value) > 0


@pytest.mark.parametrize(
    "estimator",
    [LogisticRegression(), RandomForestClassifier(), make_pipeline(StandardScaler(), LinearSVC())],
)
def test_what_is_not_fitted_is_refused(estimator: Any) -> None:
    with pytest.raises(ValueError, match=r"is not fitted: call its fit\(\) first"):
        as_model(estimator)


def test_other_genes_than_fitted_are_refused() -> None:
    fitted = LogisticRegression().fit(pd.DataFrame(X, columns=list("ABCD")), TWO)
    with pytest.raises(ValueError, match="1 missing: D; 1 unknown to the model: E"):
        explain(X[:1], fitted, lower=0, upper=1, names=list("ABCE"))
    with pytest.raises(ValueError, match="position 0 holds 'D', the model expects 'A'"):
        explain(X[:1], fitted, lower=0, upper=1, names=list("DCBA"))
