"""Transformers in torch, and which of them treat each column alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_selection import RFE, SelectFromModel, SelectPercentile, VarianceThreshold
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
)
from torch import nn

from sensx_sc.evaluators.graph.sklearn_parts import Untranslatable
from sensx_sc.evaluators.graph.sklearn_transformers import column_of_each, transformer

N = 8
X = np.random.default_rng(0).gamma(0.5, size=(60, N))
Y = X[:, 1] > X[:, 5]
WIDER = np.random.default_rng(1).gamma(2.0, size=(30, N))  # beyond what they were fitted on

ALONE: dict[str, Any] = {
    "standard": StandardScaler(),
    "standard without mean": StandardScaler(with_mean=False),
    "mean only": StandardScaler(with_std=False),
    "largest": MaxAbsScaler(),
    "range": MinMaxScaler((-1, 2)),
    "clipped range": MinMaxScaler(clip=True),
    "quartiles": RobustScaler(),
    "medians only": RobustScaler(with_scaling=False),
    "quartiles only": RobustScaler(with_centering=False),
    "log": FunctionTransformer(np.log1p),
    "exponential": FunctionTransformer(np.expm1),
    "root": FunctionTransformer(np.sqrt),
    "arcsinh": FunctionTransformer(np.arcsinh),
    "nothing": FunctionTransformer(),
    "varying": VarianceThreshold(0.4),
    "best": SelectPercentile(percentile=40),
    "by weight": SelectFromModel(LogisticRegression()),
    "eliminated": RFE(LogisticRegression(), n_features_to_select=3),
}
MIXED: dict[str, Any] = {
    "components": PCA(3, random_state=0),
    "white components": PCA(3, whiten=True, random_state=0),
    "svd": TruncatedSVD(3, random_state=0),
}
OTHERS: dict[str, Any] = {
    "row by row": Normalizer(),
    "products": PolynomialFeatures(2),
    "cumulative": FunctionTransformer(np.cumsum, kw_args={"axis": 1}),
    "another function": FunctionTransformer(np.tanh),
}


@pytest.mark.parametrize("name", [*ALONE, *MIXED])
def test_the_same_numbers_in_torch(name: str) -> None:
    step = (ALONE | MIXED)[name].fit(X, Y)
    module = nn.Sequential(*transformer(step)).double()
    with torch.no_grad():
        found = module(torch.as_tensor(WIDER)).numpy()
    np.testing.assert_allclose(found, step.transform(WIDER), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ALONE)
def test_each_column_is_made_of_the_one_that_is_named(name: str) -> None:
    step = ALONE[name].fit(X, Y)
    index = column_of_each(step, N)
    assert index is not None
    before = step.transform(WIDER)
    assert before.shape[1] == len(index)
    for j in range(N):
        moved = WIDER.copy()
        moved[:, j] *= 0.9  # downwards: what was clipped above may stay, so any change counts
        moved[0, j] = 0.3
        changed = (step.transform(moved) != before).any(axis=0)
        np.testing.assert_array_equal(changed, index == j)


@pytest.mark.parametrize("name", [*MIXED, *OTHERS])
def test_others_have_columns_of_several(name: str) -> None:
    assert column_of_each((MIXED | OTHERS)[name].fit(X, Y), N) is None


@pytest.mark.parametrize("name", OTHERS)
def test_others_have_no_module(name: str) -> None:
    with pytest.raises(Untranslatable, match=type(OTHERS[name]).__name__):
        transformer(OTHERS[name].fit(X, Y))


def test_a_class_of_another_library_is_not_known() -> None:
    class StandardScaler(MaxAbsScaler):
        def transform(self, X: Any) -> Any:
            return np.cumsum(X, axis=1)

    assert column_of_each(StandardScaler().fit(X), N) is None
