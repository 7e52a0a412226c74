"""What a stage may be, and in which types it computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch import nn

import sensx_sc as sx
from sensx_sc.models.stages import OfModel, Transforms, as_stage, names_in, types_of

X = np.random.default_rng(0).normal(size=(60, 5))
Y = X[:, 0] - X[:, 1] > 0
F32, F64 = torch.float32, torch.float64


@pytest.mark.parametrize("transformer", [StandardScaler(), PCA(3), TruncatedSVD(2)])
def test_transformers_transform(transformer: Any) -> None:
    stage = as_stage(transformer.fit(X), "t", last=True)
    assert isinstance(stage, Transforms)
    found = stage(torch.as_tensor(X))
    np.testing.assert_allclose(found, transformer.transform(X))
    assert stage(torch.as_tensor(X).float()).dtype == F32


def test_what_it_returns_may_be_sparse_or_a_table() -> None:
    codes = np.array([[0.0], [1.0], [2.0]])
    sparse = as_stage(OneHotEncoder().fit(codes), "t", last=False)
    np.testing.assert_array_equal(sparse(torch.as_tensor(codes)), np.eye(3))
    genes = pd.DataFrame(X, columns=list("ABCDE"))
    scaler = StandardScaler().fit(genes).set_output(transform="pandas")
    named = as_stage(scaler, "t", last=False)
    assert names_in(named) == tuple("ABCDE")
    np.testing.assert_allclose(named(torch.as_tensor(X)), scaler.transform(genes).to_numpy())


def test_an_estimator_that_can_do_both_predicts_at_the_end() -> None:
    both = LinearDiscriminantAnalysis().fit(X, Y)
    rows = torch.as_tensor(X)
    np.testing.assert_allclose(as_stage(both, "t", last=False)(rows), both.transform(X))
    np.testing.assert_allclose(as_stage(both, "t", last=True)(rows), both.predict_proba(X))


def test_models_get_the_type_of_rows_that_they_take() -> None:
    seen = []

    def single(rows: np.ndarray) -> np.ndarray:
        seen.append(rows.dtype)
        if rows.dtype != np.float32:
            msg = "float32 only"
            raise TypeError(msg)
        return rows * 2

    stage = as_stage(sx.models.as_model(single, n_features=5), "t", last=True)
    assert isinstance(stage, OfModel)
    found = stage(torch.as_tensor(X).reshape(60, 5, 1))
    assert found.dtype == F64
    assert seen[-1] == np.float32
    np.testing.assert_allclose(found, X * 2, rtol=1e-6)


def test_types_that_all_compute_in() -> None:
    module, scaler = nn.Linear(5, 2).eval(), as_stage(StandardScaler().fit(X), "t", last=False)
    single = OfModel(sx.models.as_model(nn.Linear(5, 2).eval()))
    single.model.dtypes = (F32,)
    assert types_of([module, lambda z: z]) == (F32, F64)
    assert types_of([module, scaler]) == (F64,)
    assert types_of([module, single]) == (F32,)
    assert types_of([scaler, single]) == (F32,)  # no better than its coarsest part


@pytest.mark.parametrize(
    ("stage", "error", "match"),
    [
        (3, TypeError, "the stage 't' must be a module, a callable on tensors, a fitted .* got 3"),
        (None, TypeError, "the stage 't' must be"),
        (nn.Linear, TypeError, "the stage 't' must be"),
        (StandardScaler(), ValueError, r"StandardScaler is not fitted: call its fit\(\) first"),
        (LogisticRegression(), ValueError, "LogisticRegression is not fitted"),
        ("encoder.pkl", ValueError, "pickled models are never read"),
    ],
)
def test_what_is_no_stage(stage: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        as_stage(stage, "t", last=True)
