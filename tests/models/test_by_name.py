"""A model that takes its own features out of wider rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

import sensx_sc as sx
from sensx_sc.evaluators.reduced_precision import reduced_precision
from sensx_sc.models import Model
from sensx_sc.models.by_name import ByName

RNG = np.random.default_rng(7)
COLUMNS = ["D", "B", "X", "A", "Y", "C"]


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(4, 2).eval()


def test_columns_are_taken_by_name() -> None:
    inner = sx.models.as_model(net(), feature_names=list("ABCD"), output_names=["u", "v"])
    wide = sx.models.as_model(inner, columns=COLUMNS)
    assert isinstance(wide, ByName)
    assert isinstance(wide, Model)
    assert wide.feature_names == tuple(COLUMNS)
    assert (wide.output_names, wide.kind, wide.dtypes) == (("u", "v"), "logit", inner.dtypes)
    rows = torch.arange(12.0).reshape(2, 6)
    torch.testing.assert_close(wide.outputs(rows), inner.outputs(rows[:, [3, 1, 5, 0]]))


def test_in_one_call_with_an_estimator_that_knows_its_names() -> None:
    table = pd.DataFrame(np.random.default_rng(0).random((20, 4)), columns=list("ABCD"))
    fitted = LinearRegression().fit(table, table["A"] - 2 * table["C"])
    r = sx.core.explain(
        np.full((1, 6), 0.5), sx.models.as_model(fitted, columns=COLUMNS), lower=0, upper=1,
        names=COLUMNS, n_walks=8, deltas=[1.0], tau=1e-6,
    )  # fmt: skip
    np.testing.assert_allclose(r.mean[0], [0, 0, 0, 1, 0, -2], atol=1e-9)
    assert (r.value[0, [2, 4]] == 0).all()


@pytest.mark.parametrize(
    ("columns", "names", "match"),
    [
        (COLUMNS, None, "`columns` needs a model that knows the names of its features; Linear"),
        (["A", "B", "C"], "ABCD", r"1 of the 4 features of Linear are not among the 3 .*: D\. A m"),
        ([*COLUMNS, "X"], "ABCD", "`columns` must be unique; 'X' occurs more than once"),
        (
            ["ENSG1"],
            "AB",
            r"2 of the 2 .* None is there: are these names of two kinds, symbols and",
        ),
        ([], "ABCD", "4 of the 4 features of Linear are not among the 0 `columns`: A, B, C, D"),
        (["X"], "ABCDEFG", r"7 of the 7 .*: A, B, C, D, E, \.\.\."),
    ],
)
def test_what_cannot_be_matched_is_refused(columns: Any, names: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        sx.models.as_model(net(), feature_names=names, columns=columns)


class Held:
    """A model whose last column is held."""

    name, kind, output_names, input_range, source = "net", "value", None, None, None
    dtypes = (torch.float64,)
    held_names = ("batch",)
    feature_names = ("A", "B", "batch")

    def device(self, dtype: torch.dtype) -> torch.device:
        return torch.device("cpu")

    def outputs(self, rows: torch.Tensor) -> torch.Tensor:
        return rows[:, :1] - 2 * rows[:, 1:2] + rows[:, 2:]

    def held_values(self, obs: pd.DataFrame) -> np.ndarray:
        return obs[["batch"]].to_numpy(dtype=float)


def test_what_is_held_follows_the_columns() -> None:
    adata = sx.datasets.toy()[:, :3].copy()
    adata.var_names = ["X", "B", "A"]
    adata.obs["batch"] = 5.0
    model = sx.models.as_model(Held(), columns=adata.var_names)
    assert model.feature_names == ("X", "B", "A", "batch")
    sx.tl.sensx(adata, model, lower=0, upper=10, n_walks=4, n_samples=50, statistics=["mean"])
    np.testing.assert_allclose(
        adata.layers["sensx_mean"], np.tile([0, -2, 1.0], (60, 1)), atol=1e-6
    )
    assert (adata.obs["sensx_qoi"] > -15).all()


def test_what_the_model_says_is_said_for_it() -> None:
    """Costs are announced, and several things stand side by side, also where genes are by name."""

    class Costly(Held):
        held_names = ()
        feature_names = ("A", "B", "C")
        announced = 0

        def announce(self, n_rows: int) -> None:
            self.announced = n_rows

    inner = Costly()
    how = {"lower": 0, "upper": 1, "n_walks": 8, "n_samples": 50, "deltas": [0.5, 1.0]}
    sx.core.explain(
        np.full((2, 6), 0.5), sx.models.as_model(inner, columns=COLUMNS), names=COLUMNS, **how
    )
    assert inner.announced == 2 * (8 * (6 + 1) + 2 * 50)
    table = pd.DataFrame(np.random.default_rng(0).random((40, 4)), columns=list("ABCD"))
    labels = (table[["A", "B"]] > 0.5).to_numpy().astype(int)
    fitted = KNeighborsClassifier().fit(table, labels)
    with pytest.raises(ValueError, match="`target` must name one of the 4 outputs"):
        sx.core.explain(np.full((1, 6), 0.5), sx.models.as_model(fitted, columns=COLUMNS), **how)


def test_a_half_module_is_converted_before_its_precision_is_looked_at() -> None:
    net = nn.Linear(4, 2).eval().half()
    wide = sx.models.as_model(net, feature_names=list("ABCD"), columns=COLUMNS)
    assert reduced_precision(wide, np.full((1, 6), 0.5), RNG.random((9, 2))) is None
