"""Transformers of scikit-learn as torch modules, and which of them treat each column alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from sensx_sc.evaluators.graph.sklearn_parts import (
    Affine,
    Clamp,
    Columns,
    Elementwise,
    Untranslatable,
    linear,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_SELECTORS = (
    "VarianceThreshold",
    "SelectKBest",
    "SelectPercentile",
    "SelectFpr",
    "SelectFdr",
    "SelectFwe",
    "SelectFromModel",
    "RFE",
    "RFECV",
    "GenericUnivariateSelect",
)
_SCALERS = ("StandardScaler", "MaxAbsScaler", "MinMaxScaler", "RobustScaler")
_FUNCTIONS: dict[Any, Callable[[torch.Tensor], torch.Tensor]] = {
    np.log1p: torch.log1p,
    np.expm1: torch.expm1,
    np.sqrt: torch.sqrt,
    np.arcsinh: torch.asinh,
}


def transformer(step: Any) -> list[nn.Module]:
    """The parts that do what a fitted transformer does.

    Raises
    ------
    Untranslatable
        It is none of those that are known.
    """
    name = type(step).__name__
    if name in _SCALERS:
        return _scaler(step, name)
    if name in _SELECTORS:
        return [Columns(step.get_support(indices=True))]
    if name == "FunctionTransformer" and step.kw_args in (None, {}):
        if step.func is None:
            return []
        if step.func in _FUNCTIONS:
            return [Elementwise(_FUNCTIONS[step.func])]
    if name == "PCA":
        components = step.components_
        if step.whiten:
            components = components / np.sqrt(step.explained_variance_)[:, None]
        return [linear(components, -components @ step.mean_)]
    if name == "TruncatedSVD":
        return [linear(step.components_, 0.0)]
    raise Untranslatable(name)


def column_of_each(step: Any, n_features: int) -> np.ndarray | None:
    """Which column each column of a transformer's result is made of, it alone; None if of more."""
    name = type(step).__name__
    if not type(step).__module__.startswith("sklearn."):
        return None
    if name in _SCALERS:
        return np.arange(n_features)
    if name in _SELECTORS:
        return np.asarray(step.get_support(indices=True), dtype=np.int64)
    if name == "FunctionTransformer" and step.kw_args in (None, {}):
        return np.arange(n_features) if step.func is None or step.func in _FUNCTIONS else None
    return None


def _scaler(step: Any, name: str) -> list[nn.Module]:
    if name == "StandardScaler":
        scale = 1.0 if step.scale_ is None else 1 / step.scale_
        mean = 0.0 if step.mean_ is None or not step.with_mean else step.mean_
        return [Affine(scale, -mean * scale)]
    if name == "RobustScaler":
        scale = 1 / step.scale_ if step.with_scaling else 1.0
        centre = step.center_ if step.with_centering else 0.0
        return [Affine(scale, -centre * scale)]
    if name == "MaxAbsScaler":
        made: list[nn.Module] = [Affine(1 / step.scale_, 0.0)]
        return [*made, Clamp(-1.0, 1.0)] if getattr(step, "clip", False) else made
    return [Affine(step.scale_, step.min_), *([Clamp(*step.feature_range)] if step.clip else [])]
