"""scikit-learn models as torch modules: the same outputs, and a stem."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import sensx_sc as sx
from sensx_sc.evaluators import DenseEvaluator
from sensx_sc.evaluators.choose import choose_evaluator
from sensx_sc.evaluators.graph.sklearn_linear import Untranslatable, as_module
from sensx_sc.evaluators.stem.evaluator import StemEvaluator
from sensx_sc.models.qoi import make_response

pytest.importorskip("sklearn")

from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.linear_model import (
    ElasticNet,
    LinearRegression,
    LogisticRegression,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MaxAbsScaler, MinMaxScaler, StandardScaler
from sklearn.svm import SVC, LinearSVC

N = 40
FEW: dict[str, Any] = {"max_iter": 30, "random_state": 0}

TWO = {
    "logistic": LogisticRegression(),
    "scaled logistic": make_pipeline(StandardScaler(), LogisticRegression()),
    "scaled without mean": make_pipeline(StandardScaler(with_mean=False), LogisticRegression()),
    "largest value": make_pipeline(MaxAbsScaler(), LogisticRegression()),
    "range": make_pipeline(MinMaxScaler(), LogisticRegression()),
    "components": make_pipeline(StandardScaler(), PCA(5, random_state=0), LogisticRegression()),
    "white components": make_pipeline(PCA(5, whiten=True, random_state=0), LogisticRegression()),
    "svd": make_pipeline(TruncatedSVD(5, random_state=0), "passthrough", LogisticRegression()),
    "support vectors": LinearSVC(random_state=0),
    "hinge": SGDClassifier(random_state=0),
    "log loss": SGDClassifier(loss="log_loss", random_state=0),
    "ridge": RidgeClassifier(),
    "perceptron": MLPClassifier((6, 4), **FEW),
}
MANY = {
    "logistic": LogisticRegression(),
    "support vectors": LinearSVC(random_state=0),
    "hinge": SGDClassifier(random_state=0),
    "perceptron": make_pipeline(StandardScaler(), MLPClassifier((6,), activation="tanh", **FEW)),
}
REGRESSION = {
    "linear": LinearRegression(),
    "ridge": make_pipeline(StandardScaler(), Ridge()),
    "elastic net": ElasticNet(0.01),
    "sgd": SGDRegressor(random_state=0),
    "perceptron": MLPRegressor(hidden_layer_sizes=(6,), activation="logistic", **FEW),
}
CASES = [
    *((f"two/{name}", model, "two") for name, model in TWO.items()),
    *((f"many/{name}", model, "many") for name, model in MANY.items()),
    *((f"regression/{name}", model, "regression") for name, model in REGRESSION.items()),
]


def fitted(estimator: Any, kind: str, rng: np.random.Generator) -> tuple[Any, np.ndarray]:
    X = rng.gamma(0.5, size=(150, N))
    score = X[:, 0] - X[:, 1] + 0.5 * X[:, 2] * X[:, 3]
    y: np.ndarray = {
        "two": np.where(score > 0, "T", "B"),
        "many": np.digitize(score, [-0.4, 0.4]),
        "regression": score,
    }[kind]
    return estimator.fit(X, y), X


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    ("estimator", "kind"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_outputs_are_the_estimators_and_there_is_a_stem(
    estimator: Any, kind: str, rng: np.random.Generator
) -> None:
    estimator, X = fitted(estimator, kind, rng)
    model = sx.models.as_model(estimator)
    rows = torch.as_tensor(X[:20])
    with torch.no_grad():
        translated = as_module(model)(rows)
    torch.testing.assert_close(translated, model.outputs(rows), rtol=1e-10, atol=1e-12)
    response = make_response(model, "auto")
    fast, why = choose_evaluator(response, np.dtype(np.float64), 64, X[:8])
    assert isinstance(fast, StemEvaluator), why
    r = sx.core.explain(X[:2], estimator, lower=0, upper=X.max(), target=0, n_walks=8, n_samples=50)
    assert r.params["evaluator"] == "stem"


@pytest.mark.parametrize(
    "estimator",
    [
        KNeighborsClassifier(),
        SVC(),
        LogisticRegression(solver="liblinear"),
        make_pipeline(FunctionTransformer(np.log1p), LogisticRegression()),
        make_pipeline(MinMaxScaler(clip=True), LogisticRegression()),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_other_estimators_stay_black_boxes(estimator: Any, rng: np.random.Generator) -> None:
    kind = "two"
    estimator, X = fitted(estimator, kind, rng)
    model = sx.models.as_model(estimator)
    slow, why = choose_evaluator(make_response(model, "auto"), np.dtype(np.float64), 64, X[:8])
    if type(estimator).__name__ == "LogisticRegression":  # two classes: the same sigmoid
        assert isinstance(slow, StemEvaluator)
    else:
        assert type(slow) is DenseEvaluator
        assert "no affine stem that is known" in why


def test_a_subclass_may_do_as_it_likes(rng: np.random.Generator) -> None:
    class Own(LogisticRegression):
        def predict_proba(self, X: Any) -> Any:
            return super().predict_proba(X) ** 2

    estimator, _ = fitted(Own(), "two", rng)
    with pytest.raises(Untranslatable):
        as_module(sx.models.as_model(estimator))
