"""Covariates of cells as numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from sensx_sc.pp._obs_columns import obs_columns

OBS = pd.DataFrame({
    "batch": pd.Categorical(["b", "a", "b", "c"], categories=["a", "b", "c", "d"]),
    "site": ["x", "y", "x", "x"],
    "stage": pd.Categorical(["I", "III", "I", "II"], categories=["I", "II", "III"], ordered=True),
    "age": [30, 40.5, 22, 70],
    "flag": [True, False, True, True],
    "score": [1, 5, 5, 2],
})  # fmt: skip


def test_each_kind_of_column() -> None:
    found = obs_columns(OBS, ["batch", "site", "stage", "age", "flag"])
    assert found.names == ("batch=a", "batch=b", "batch=c", "batch=d", "site=x", "site=y", "stage",
                           "age", "flag=False", "flag=True")  # fmt: skip
    assert found.of.tolist() == [0, 0, 0, 0, 1, 1, 2, 3, 4, 4]
    assert found.keys == ("batch", "site", "stage", "age", "flag")
    expected = [[0, 1, 0, 0, 1, 0, 0, 30, 0, 1], [1, 0, 0, 0, 0, 1, 2, 40.5, 1, 0]]
    np.testing.assert_array_equal(found.values[:2], expected)
    assert {name: at.tolist() for name, at in found.kinds.blocks.items()} == {
        "batch": [0, 1, 2, 3], "site": [4, 5], "flag": [8, 9],
    }  # fmt: skip
    assert found.kinds.levels[6].tolist() == [0, 1, 2]
    assert (found.low[7], found.high[7]) == (22, 70)


def test_kinds_that_are_told() -> None:
    how = {"score": "ordinal", "flag": "binary", "age": None, "site": "categorical"}
    found = obs_columns(OBS, how)
    assert found.names == ("score", "flag", "age", "site=x", "site=y")
    assert found.kinds.levels[0].tolist() == [1, 2, 5]
    assert found.kinds.levels[1].tolist() == [0, 1]
    assert obs_columns(OBS, {"score": "count"}).kinds.counted() == {"count": 1}
    assert obs_columns(OBS, "age").kinds.counted() == {}


WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "missing": ("x", KeyError, "`covariates` 'x' is not a column of adata.obs; there are: 'batch'"),
    "nothing": ([], ValueError, "must name at least one column"),
    "kind": ({"age": "number"}, ValueError, "'age': the kind must be one of .*; got 'number'"),
    "binary": ({"score": "binary"}, ValueError, "is to be binary, and has 3 different values"),
    "count": ({"age": "count"}, ValueError, "is a count"),
    "text": ({"site": "ordinal"}, TypeError, "is to be ordinal, and .* holds no numbers"),
}


@pytest.mark.parametrize(("covariates", "error", "words"), WRONG.values(), ids=WRONG.keys())
def test_wrong_input(covariates: Any, error: type[Exception], words: str) -> None:
    if covariates == {"age": "count"}:  # seen when the values are held against it
        from sensx_sc.core.declared_kinds import check_kinds

        found = obs_columns(OBS, covariates)
        with pytest.raises(error, match=words):
            check_kinds(found.values, found.kinds, np.ones(1, dtype=bool))
        return
    with pytest.raises(error, match=words):
        obs_columns(OBS, covariates)


def test_values_that_cannot_walk() -> None:
    obs = OBS.assign(one="x", gap=[1, np.nan, 2, 3], far=[1, np.inf, 2, 3])
    for key, words in (
        ("one", "has a single category, 'x': nothing to walk"),
        ("gap", "1 cells have no value in adata.obs"),
        ("far", "has values that are not finite"),
    ):
        with pytest.raises(ValueError, match=words):
            obs_columns(obs, key)
    single = obs.assign(stage=pd.Categorical(["I"] * 4, ordered=True))
    with pytest.raises(ValueError, match="has a single level: nothing to walk"):
        obs_columns(single, "stage")
