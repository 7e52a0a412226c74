"""Columns of the table of cells as columns of a model's rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from sensx_sc.models.held import HoldsCovariates, continuous, one_hot

OBS = pd.DataFrame(
    {"site": pd.Categorical(["b", "a", "b"]), "number": [1, 2, 3], "gap": [0.5, np.nan, 1.0]}
)


def test_one_column_a_category_in_the_models_order() -> None:
    site = one_hot("site", np.array(["c", "b", "a"], dtype=object))
    assert site.names == ("site=c", "site=b", "site=a")
    assert site.columns(OBS, "net").tolist() == [[0, 1, 0], [0, 0, 1], [0, 1, 0]]


def test_categories_are_compared_as_text() -> None:
    assert one_hot("number", [3, 2, 1]).columns(OBS, "net").argmax(axis=1).tolist() == [2, 1, 0]


def test_numbers_are_as_they_are() -> None:
    number = continuous("number")
    assert number.names == ("number",)
    assert number.columns(OBS, "net").tolist() == [[1], [2], [3]]


@pytest.mark.parametrize(
    ("covariate", "error", "match"),
    [
        (continuous("age"), KeyError, "net reads the covariate 'age', .* are: 'site', 'number'"),
        (one_hot("age", "ab"), KeyError, "net reads the covariate 'age'"),
        (continuous("gap"), ValueError, r"1 cells have no value in adata\.obs\['gap'\]"),
        (one_hot("site", ["a"]), ValueError, "holds 'b', which net has not seen; it knows 'a'"),
    ],
)
def test_what_is_not_there(covariate: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        covariate.columns(OBS, "net")


def test_not_every_object_holds() -> None:
    assert not isinstance(object(), HoldsCovariates)
