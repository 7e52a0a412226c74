"""Linear scikit-learn models and perceptrons as torch modules, so that their stem can be found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from sensx_sc.evaluators.graph.sklearn_parts import (
    Affine,
    BothClasses,
    Elementwise,
    Mean,
    OneEach,
    Shares,
    Untranslatable,
    linear,
)
from sensx_sc.evaluators.graph.sklearn_transformers import transformer

if TYPE_CHECKING:
    from collections.abc import Callable

    from sensx_sc.models.sklearn_estimator import SklearnModel


def as_module(model: SklearnModel) -> nn.Module:
    """A float64 module with the outputs of a fitted estimator.

    Scalers, selections of columns, PCA and truncated SVD; logistic regression, linear
    discriminants, linear support vector machines, ridge, lasso, SGD and generalised linear
    models; multilayer perceptrons; Pipelines of them; and calibrated, one-vs-rest, voting and
    multi-output models of them.

    Raises
    ------
    Untranslatable
        Anything else, subclasses included: they may do as they like.
    """
    kind = "probability" if model.kind == "probability" else "value"
    return nn.Sequential(*_parts(model.estimator, kind)).double().eval()


def pipeline_steps(estimator: Any) -> list[Any]:
    """The steps of a Pipeline, nested ones opened; of another estimator, itself."""
    if type(estimator).__name__ == "FrozenEstimator" and _is_sklearns(estimator):
        return pipeline_steps(estimator.estimator)
    if type(estimator).__name__ != "Pipeline" or not _is_sklearns(estimator):
        return [estimator]
    steps = [step for _, step in estimator.steps if step is not None and step != "passthrough"]
    return [part for step in steps for part in pipeline_steps(step)]


def _parts(estimator: Any, kind: str) -> list[nn.Module]:
    *before, last = pipeline_steps(estimator)
    for step in (*before, last):
        if not _is_sklearns(step):
            raise Untranslatable(type(step).__name__)
    parts = [part for step in before for part in transformer(step)]
    return [*parts, *_predictor(last, kind)]


def _is_sklearns(step: Any) -> bool:
    return type(step).__module__.startswith("sklearn.")


_MARGINS = (
    "LinearSVC",
    "SGDClassifier",
    "RidgeClassifier",
    "RidgeClassifierCV",
    "LogisticRegression",
    "LogisticRegressionCV",
    "LinearDiscriminantAnalysis",
    "Perceptron",
)
_SOFT = ("LogisticRegression", "LogisticRegressionCV", "LinearDiscriminantAnalysis")
_REGRESSORS = (
    "LinearRegression",
    "Ridge",
    "RidgeCV",
    "Lasso",
    "LassoCV",
    "LassoLars",
    "ElasticNet",
    "ElasticNetCV",
    "MultiTaskLasso",
    "MultiTaskElasticNet",
    "BayesianRidge",
    "HuberRegressor",
    "QuantileRegressor",
    "LinearSVR",
    "SGDRegressor",
)
_EXPONENTIAL = ("PoissonRegressor", "GammaRegressor")
_ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "logistic": nn.Sigmoid, "identity": nn.Identity}


def _predictor(step: Any, kind: str) -> list[nn.Module]:
    name = type(step).__name__
    if name in ("MLPClassifier", "MLPRegressor"):
        return _perceptron(step)
    if name in _META:
        return _META[name](step, kind)
    if name in (*_REGRESSORS, *_EXPONENTIAL) and np.ndim(step.coef_) <= 2:
        layer = linear(step.coef_, step.intercept_)
        return [layer, Elementwise(torch.exp)] if name in _EXPONENTIAL else [layer]
    if name not in _MARGINS:
        raise Untranslatable(name)
    layer = linear(step.coef_, step.intercept_)
    if kind != "probability":
        return [layer]
    if name == "SGDClassifier" and step.loss != "log_loss":
        raise Untranslatable(name)
    if layer.out_features == 1:
        return [layer, BothClasses()]
    if name == "SGDClassifier":
        return [layer, nn.Sigmoid(), Shares()]
    if name not in _SOFT or _one_vs_rest(step):
        raise Untranslatable(name)  # a softmax only where scikit-learn has one
    return [layer, nn.Softmax(dim=1)]


def _one_vs_rest(step: Any) -> bool:
    by_solver = getattr(step, "solver", None) == "liblinear"
    return by_solver or getattr(step, "multi_class", "auto") == "ovr"


def _perceptron(step: Any) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for weight, bias in zip(step.coefs_, step.intercepts_, strict=True):
        layers += [linear(weight.T, bias), _ACTIVATIONS[step.activation]()]
    layers.pop()
    if step.out_activation_ == "identity":
        return layers
    if step.out_activation_ == "softmax":
        return [*layers, nn.Softmax(dim=1)]
    if step.out_activation_ == "logistic":
        two = len(step.classes_) == 2 and layers[-1].out_features == 1
        return [*layers, BothClasses() if two else nn.Sigmoid()]
    raise Untranslatable(type(step).__name__)


def _calibrated(step: Any, kind: str) -> list[nn.Module]:
    """The mean over folds of sigmoids of margins, each fold's divided by its sum."""
    name = type(step).__name__
    folds = []
    for fold in step.calibrated_classifiers_:
        same = list(fold.estimator.classes_) == list(step.classes_)
        margins = hasattr(fold.estimator, "decision_function")
        if kind != "probability" or fold.method != "sigmoid" or not (same and margins):
            raise Untranslatable(name)
        slope, offset = (
            np.array([getattr(each, part) for each in fold.calibrators]) for part in ("a_", "b_")
        )
        ends = [BothClasses()] if len(slope) == 1 else [nn.Sigmoid(), Shares()]
        parts = _parts(fold.estimator, "value")
        folds.append(nn.Sequential(*parts, Affine(-slope, -offset), *ends))
    return [Mean(folds, None)]


def _one_against_others(step: Any, kind: str) -> list[nn.Module]:
    """A binary classifier for each class, divided by their sum unless labels may go together."""
    members = [nn.Sequential(*_parts(member, kind)) for member in step.estimators_]
    if len(members) == 1:
        return [members[0]]
    made: list[nn.Module] = [OneEach(members)]
    return [*made, Shares()] if kind == "probability" and not step.multilabel_ else made


def _voting(step: Any, kind: str) -> list[nn.Module]:
    soft = getattr(step, "voting", "soft") == "soft"
    if hasattr(step, "classes_") and (kind != "probability" or not soft):
        raise Untranslatable(type(step).__name__)
    members = [nn.Sequential(*_parts(member, kind)) for member in step.estimators_]
    return [Mean(members, step._weights_not_none)]


def _several(step: Any, kind: str) -> list[nn.Module]:
    """A regressor for each output; of classifiers scikit-learn makes a list."""
    if hasattr(step, "classes_") or kind == "probability":
        raise Untranslatable(type(step).__name__)
    return [OneEach([nn.Sequential(*_parts(member, kind)) for member in step.estimators_])]


_META: dict[str, Callable[[Any, str], list[nn.Module]]] = {
    "CalibratedClassifierCV": _calibrated,
    "OneVsRestClassifier": _one_against_others,
    "VotingClassifier": _voting,
    "VotingRegressor": _voting,
    "MultiOutputRegressor": _several,
}
