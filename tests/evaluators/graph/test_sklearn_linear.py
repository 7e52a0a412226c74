"""scikit-learn models as torch modules: the same outputs, and a stem."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import sensx_sc as sx
from sensx_sc.evaluators import DenseEvaluator
from sensx_sc.evaluators.choose import choose_evaluator
from sensx_sc.evaluators.graph.sklearn_linear import as_module
from sensx_sc.evaluators.graph.sklearn_parts import Untranslatable
from sensx_sc.evaluators.stem.evaluator import StemEvaluator
from sensx_sc.models.qoi import make_response

pytest.importorskip("sklearn")

from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import VotingClassifier, VotingRegressor
from sklearn.feature_selection import SelectKBest, VarianceThreshold
from sklearn.linear_model import (
    BayesianRidge,
    ElasticNet,
    GammaRegressor,
    LinearRegression,
    LogisticRegression,
    MultiTaskLasso,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    RidgeCV,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputRegressor
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    RobustScaler,
    StandardScaler,
)
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
    "discriminant": LinearDiscriminantAnalysis(),
    "median and quartiles": make_pipeline(RobustScaler(), LogisticRegression()),
    "clipped range": make_pipeline(MinMaxScaler(clip=True), LogisticRegression()),
    "log": make_pipeline(FunctionTransformer(np.log1p), StandardScaler(), LogisticRegression()),
    "nothing": make_pipeline(FunctionTransformer(), LogisticRegression()),
    "best genes": make_pipeline(SelectKBest(k=12), StandardScaler(), LogisticRegression()),
    "genes that vary": make_pipeline(VarianceThreshold(0.3), LinearSVC(random_state=0)),
    "nested": make_pipeline(make_pipeline(StandardScaler(), PCA(4)), LogisticRegression()),
    "calibrated": CalibratedClassifierCV(LinearSVC(random_state=0), cv=3),
    "calibrated pipelines": CalibratedClassifierCV(
        make_pipeline(StandardScaler(), RidgeClassifier()), cv=2
    ),
    "chosen": GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2),
    "chosen pipeline": GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression()),
        {"logisticregression__C": [0.1, 1.0]},
        cv=2,
    ),
    "moved threshold": FixedThresholdClassifier(LogisticRegression(), threshold=0.3),
    "vote": VotingClassifier(
        [("a", LogisticRegression()), ("b", LinearDiscriminantAnalysis())],
        voting="soft",
        weights=[1, 3],
    ),
}
MANY = {
    "logistic": LogisticRegression(),
    "support vectors": LinearSVC(random_state=0),
    "hinge": SGDClassifier(random_state=0),
    "perceptron": make_pipeline(StandardScaler(), MLPClassifier((6,), activation="tanh", **FEW)),
    "log loss": SGDClassifier(loss="log_loss", random_state=0),
    "discriminant": LinearDiscriminantAnalysis(),
    "calibrated": CalibratedClassifierCV(LinearSVC(random_state=0), cv=2),
    "one against others": OneVsRestClassifier(LogisticRegression()),
    "margins of one against others": OneVsRestClassifier(LinearSVC(random_state=0)),
    "vote": VotingClassifier(
        [("a", LogisticRegression()), ("b", SGDClassifier(loss="log_loss", random_state=0))],
        voting="soft",
    ),
}
REGRESSION = {
    "linear": LinearRegression(),
    "ridge": make_pipeline(StandardScaler(), Ridge()),
    "elastic net": ElasticNet(0.01),
    "sgd": SGDRegressor(random_state=0),
    "perceptron": MLPRegressor(hidden_layer_sizes=(6,), activation="logistic", **FEW),
    "chosen ridge": RidgeCV(),
    "bayes": BayesianRidge(),
    "counts": PoissonRegressor(),
    "gamma": make_pipeline(StandardScaler(), GammaRegressor()),
    "vote": VotingRegressor([("a", Ridge()), ("b", LinearRegression())], weights=[0.2, 0.8]),
}
SEVERAL = {
    "linear": LinearRegression(),
    "lasso": MultiTaskLasso(0.01),
    "perceptron": MLPRegressor(hidden_layer_sizes=(6,), **FEW),
    "one each": MultiOutputRegressor(Ridge()),
}
LABELS = {
    "perceptron": MLPClassifier((6,), **FEW),
    "one against others": OneVsRestClassifier(LogisticRegression()),
}
CASES = [
    *((f"two/{name}", model, "two") for name, model in TWO.items()),
    *((f"many/{name}", model, "many") for name, model in MANY.items()),
    *((f"regression/{name}", model, "regression") for name, model in REGRESSION.items()),
    *((f"several/{name}", model, "several") for name, model in SEVERAL.items()),
    *((f"labels/{name}", model, "labels") for name, model in LABELS.items()),
]


def fitted(estimator: Any, kind: str, rng: np.random.Generator) -> tuple[Any, np.ndarray]:
    X = rng.gamma(0.5, size=(150, N))
    score = X[:, 0] - X[:, 1] + 0.5 * X[:, 2] * X[:, 3]
    y: np.ndarray = {
        "two": np.where(score > 0, "T", "B"),
        "many": np.digitize(score, [-0.4, 0.4]),
        "regression": score - score.min() + 0.1,
        "several": np.stack([score, X[:, 4] - X[:, 5]], axis=1),
        "labels": np.stack([score > 0, X[:, 4] > 0.5, X[:, 5] > 0.5], axis=1).astype(int),
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


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    "estimator",
    [
        KNeighborsClassifier(),
        SVC(),
        LogisticRegression(solver="liblinear"),
        make_pipeline(FunctionTransformer(np.cumsum, kw_args={"axis": 1}), LogisticRegression()),
        make_pipeline(FunctionTransformer(np.tanh), LogisticRegression()),
        make_pipeline(Normalizer(), LogisticRegression()),
        CalibratedClassifierCV(LinearSVC(random_state=0), method="isotonic", cv=2),
        CalibratedClassifierCV(MLPClassifier((4,), **FEW), cv=2),
        SGDClassifier(loss="modified_huber", random_state=0),
        VotingClassifier([("a", LogisticRegression()), ("b", SVC())]),
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
