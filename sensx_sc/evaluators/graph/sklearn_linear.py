"""Linear scikit-learn models and perceptrons as torch modules, so that their stem can be found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

    from sensx_sc.models.sklearn_estimator import SklearnModel


class Untranslatable(Exception):
    """An estimator that is not one of those below, exactly as it comes from scikit-learn."""


class Affine(nn.Module):
    """Rows times a scale plus a shift, column by column."""

    scale: Tensor
    shift: Tensor

    def __init__(self, scale: Any, shift: Any) -> None:
        super().__init__()
        self.register_buffer("scale", torch.as_tensor(np.array(scale, dtype=np.float64)))
        self.register_buffer("shift", torch.as_tensor(np.array(shift, dtype=np.float64)))

    def forward(self, rows: Tensor) -> Tensor:
        return rows * self.scale + self.shift


class BothClasses(nn.Module):
    """Probabilities of the two classes from the logit of the second."""

    def forward(self, logit: Tensor) -> Tensor:
        return torch.cat([torch.sigmoid(-logit), torch.sigmoid(logit)], dim=1)


def as_module(model: SklearnModel) -> nn.Module:
    """A float64 module with the outputs of a fitted estimator.

    Scalers, PCA and truncated SVD; logistic regression, linear support vector machines, ridge,
    lasso and SGD models; multilayer perceptrons; and Pipelines of them.

    Raises
    ------
    Untranslatable
        Anything else, subclasses included: they may do as they like.
    """
    estimator: Any = model.source
    steps = [estimator]
    if type(estimator).__name__ == "Pipeline" and _is_sklearns(estimator):
        steps = [step for _, step in estimator.steps if step is not None and step != "passthrough"]
    *before, last = steps
    for step in steps:
        if not _is_sklearns(step):
            raise Untranslatable(type(step).__name__)
    parts = [part for step in before for part in _transformer(step)]
    return nn.Sequential(*parts, *_predictor(last, model.kind)).double().eval()


def _is_sklearns(step: Any) -> bool:
    return type(step).__module__.startswith("sklearn.")


def _linear(weight: Any, bias: Any) -> nn.Linear:
    matrix = np.atleast_2d(np.asarray(weight, dtype=np.float64))
    layer = nn.Linear(matrix.shape[1], matrix.shape[0], dtype=torch.float64)
    offset = np.broadcast_to(np.asarray(bias, dtype=np.float64).ravel(), (matrix.shape[0],))
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(matrix))
        layer.bias.copy_(torch.tensor(offset))
    return layer


def _transformer(step: Any) -> list[nn.Module]:
    name = type(step).__name__
    if name == "StandardScaler":
        scale = 1.0 if step.scale_ is None else 1 / step.scale_
        mean = 0.0 if step.mean_ is None or not step.with_mean else step.mean_
        return [Affine(scale, -mean * scale)]
    if name == "MaxAbsScaler":
        return [Affine(1 / step.scale_, 0.0)]
    if name == "MinMaxScaler" and not step.clip:
        return [Affine(step.scale_, step.min_)]
    if name == "PCA":
        components = step.components_
        if step.whiten:
            components = components / np.sqrt(step.explained_variance_)[:, None]
        return [_linear(components, -components @ step.mean_)]
    if name == "TruncatedSVD":
        return [_linear(step.components_, 0.0)]
    raise Untranslatable(name)


_MARGINS = ("LinearSVC", "SGDClassifier", "RidgeClassifier", "LogisticRegression", "Perceptron")
_REGRESSORS = ("LinearRegression", "Ridge", "Lasso", "ElasticNet", "LinearSVR", "SGDRegressor")
_ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "logistic": nn.Sigmoid, "identity": nn.Identity}


def _predictor(step: Any, kind: str) -> list[nn.Module]:
    name = type(step).__name__
    if name in ("MLPClassifier", "MLPRegressor"):
        return _perceptron(step)
    if name in _REGRESSORS and np.ndim(step.coef_) <= 2:
        return [_linear(step.coef_, step.intercept_)]
    if name not in _MARGINS:
        raise Untranslatable(name)
    layer = _linear(step.coef_, step.intercept_)
    if kind != "probability":
        return [layer]
    if name == "SGDClassifier" and (step.loss != "log_loss" or layer.out_features > 1):
        raise Untranslatable(name)
    if layer.out_features == 1:
        return [layer, BothClasses()]
    if name != "LogisticRegression" or step.solver == "liblinear" or _one_vs_rest(step):
        raise Untranslatable(name)  # a softmax only where scikit-learn has one
    return [layer, nn.Softmax(dim=1)]


def _one_vs_rest(step: Any) -> bool:
    return getattr(step, "multi_class", "auto") == "ovr"


def _perceptron(step: Any) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for weight, bias in zip(step.coefs_, step.intercepts_, strict=True):
        layers += [_linear(weight.T, bias), _ACTIVATIONS[step.activation]()]
    layers.pop()
    if step.out_activation_ == "identity":
        return layers
    if step.out_activation_ == "softmax":
        return [*layers, nn.Softmax(dim=1)]
    if step.out_activation_ == "logistic" and len(step.classes_) == 2:
        return [*layers, BothClasses()]
    raise Untranslatable(type(step).__name__)
