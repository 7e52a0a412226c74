"""What values features take: declared in tables, inferred from data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from sensx_sc.pp._feature_kinds import inferred_kinds, parse_levels, pick_kinds

NAMES = ("a", "b", "c", "d")
LOW, HIGH = np.zeros(4), np.array([1.0, 9.0, 1.0, 1.0])
ROWS = np.array([[0.0, 3.0, 1.0, 0.0], [0.25, 9.0, 0.0, 1.0]])


def pick(kinds: Any, table: pd.DataFrame | None = None) -> Any:
    return pick_kinds(kinds, table, NAMES, ROWS, LOW, HIGH)


@pytest.mark.parametrize("value", ["0, 1, 5", "0,1,5 "])
def test_levels_as_text(value: str) -> None:
    assert parse_levels(value) == [0.0, 1.0, 5.0]


@pytest.mark.parametrize("value", [3, 3.0, "3", np.float64(3)])
def test_levels_as_a_number_of_them(value: Any) -> None:
    assert parse_levels(value) == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("value", ["a, b", "0; 1", 1, 2.5, [0, 1]])
def test_what_is_no_level(value: Any) -> None:
    with pytest.raises(ValueError, match=r"levels must be text such as '0, 1, 5'"):
        parse_levels(value)


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix, sparse.csr_array])
def test_inferred_from_values(form: Any) -> None:
    rows = np.array([[0, 0, 0.5, -1], [1, 7, 0, 3], [1, 0, 0, 0]], dtype=np.float32)
    assert inferred_kinds(form(rows)) == ["binary", "count", "continuous", "continuous"]


def test_nothing_is_guessed() -> None:
    assert pick(None) is None
    assert pick(None, pd.DataFrame(index=NAMES)) is None
    found = pick("infer", pd.DataFrame({"sensx_kind": "ordinal"}, index=NAMES))
    assert found.counted() == {"count": 1, "binary": 2}


def test_tables_and_columns() -> None:
    table = pd.DataFrame(
        {"sensx_kind": [None, "count", "categorical", "categorical"],
         "sensx_block": [None, np.nan, "x", "x"]}, index=NAMES
    )  # fmt: skip
    found = pick(None, table)
    assert found.counted() == {"count": 1, "categorical": 1}
    assert found.blocks["x"].tolist() == [2, 3]
    other = pick(table.iloc[::-1])
    np.testing.assert_array_equal(other.fingerprint(4), found.fingerprint(4))
    named = pick("kind", table.rename(columns={"sensx_kind": "kind"}))
    np.testing.assert_array_equal(named.fingerprint(4), found.fingerprint(4))
    mapped = pick({"b": "count"}, table[["sensx_block"]])
    np.testing.assert_array_equal(mapped.fingerprint(4), found.fingerprint(4))
    categories = table.astype({"sensx_kind": "category", "sensx_block": "category"})
    np.testing.assert_array_equal(pick(None, categories).fingerprint(4), found.fingerprint(4))


def test_a_name_that_is_nothing() -> None:
    with pytest.raises(KeyError, match=r"`kinds` 'kind' is neither 'infer', one of .*are: none"):
        pick("kind")
