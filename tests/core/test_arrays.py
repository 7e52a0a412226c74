"""Rows of inputs: what is taken, what is refused and with which sentence."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

import sensx_sc as sx
from sensx_sc.core import arrays
from sensx_sc.core.arrays import as_rows, column_range, dense, is_sparse, pick_rows, stored_sample

SPARSE = [
    sparse.csr_matrix,
    sparse.csc_matrix,
    sparse.coo_matrix,
    sparse.csr_array,
    sparse.csc_array,
    sparse.coo_array,
]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int8", "int64", "u2", "bool"])
def test_numeric_types_become_float64(dtype: str) -> None:
    values = np.array([[0, 1], [1, 0], [1, 1]], dtype=dtype)
    got = dense(as_rows(values))
    assert got.dtype == np.float64
    np.testing.assert_array_equal(got, values.astype(float))


def test_lists_and_frames_are_rows() -> None:
    np.testing.assert_array_equal(as_rows([[1, 2.5]]), [[1, 2.5]])
    np.testing.assert_array_equal(as_rows(pd.DataFrame({"a": [1.0], "b": [2.0]})), [[1, 2]])


@pytest.mark.parametrize("kind", SPARSE)
def test_sparse_stays_sparse_until_read(kind: type) -> None:
    values = np.array([[0.0, 2.0, 0.0], [1.0, 0.0, 0.0]])
    rows = as_rows(kind(values))
    assert is_sparse(rows)
    np.testing.assert_array_equal(dense(rows), values)
    np.testing.assert_array_equal(dense(rows[1:]), values[1:])


def test_dense_is_a_copy() -> None:
    values = np.zeros((2, 2))
    dense(values)[0, 0] = 1
    assert values[0, 0] == 0


def with_value(value: float) -> np.ndarray:
    x = np.ones((3, 4))
    x[1, 2] = value
    return x


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", [np.asarray, *SPARSE])
def test_non_finite_values_are_located(value: float, kind: type) -> None:
    with pytest.raises(ValueError, match=r"1 values that are NaN or infinite.*row 1, column 2"):
        as_rows(kind(with_value(value)))


@pytest.mark.parametrize(
    ("X", "error", "match"),
    [
        ([["a", "b"]], TypeError, r"`X` must be numeric; got dtype <U1"),
        (np.array([[None, 1.0]]), TypeError, r"`X` must be numeric; got dtype object"),
        (np.array([[1j]]), TypeError, r"`X` must be numeric; got dtype complex"),
        (np.zeros(3), ValueError, r"`X` must be two-dimensional.*got shape \(3,\)"),
        (np.zeros((1, 2, 3)), ValueError, r"two-dimensional.*\(1, 2, 3\)"),
        (np.zeros((0, 3)), ValueError, r"`X` has no inputs: \(0, 3\)"),
        (np.zeros((3, 0)), ValueError, r"`X` has no features: \(3, 0\)"),
        (sparse.csr_matrix((0, 3)), ValueError, r"`X` has no inputs"),
    ],
)
def test_what_is_refused(X: object, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        as_rows(X)


def test_the_message_names_the_argument() -> None:
    with pytest.raises(ValueError, match="`layer` must be two-dimensional"):
        as_rows(np.zeros(3), name="layer")


@given(
    st.lists(
        st.lists(st.sampled_from([0.0, 0.0, 1.5, -2.0, 7.0]), min_size=3, max_size=3),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from(SPARSE),
)
def test_column_range_counts_the_zeros_that_are_not_stored(
    values: list[list[float]], kind: type
) -> None:
    table = np.array(values)
    for rows in (table, as_rows(kind(table))):
        low, high = column_range(rows)
        np.testing.assert_array_equal(low, [min(column) for column in table.T])
        np.testing.assert_array_equal(high, [max(column) for column in table.T])
        assert low.dtype == high.dtype == np.float64


def test_an_anndata_is_sent_to_its_own_door() -> None:
    with pytest.raises(TypeError, match="got AnnData. For an AnnData there is sx.tl.sensx"):
        as_rows(sx.datasets.toy())


class Unread:
    """Rows that are not in memory, and how many were read at a time."""

    def __init__(self, values: np.ndarray, *, as_csr: bool = False) -> None:
        self.values, self.as_csr = values, as_csr
        self.shape, self.ndim, self.dtype = values.shape, 2, values.dtype
        self.read: list[int] = []

    def only(self, rows: np.ndarray) -> Unread:
        return Unread(self.values[rows], as_csr=self.as_csr)

    def __getitem__(self, part: slice | np.ndarray) -> object:
        block = self.values[part]
        self.read.append(len(block))
        return sparse.csr_matrix(block) if self.as_csr else block


@pytest.mark.parametrize("as_csr", [False, True])
def test_rows_that_are_not_in_memory_are_read_in_parts(
    as_csr: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "_BYTES_AT_ONCE", 8 * 2 * 3 + 7)  # three rows of two numbers
    values = np.arange(14.0).reshape(7, 2) * [1, -1]
    rows = as_rows(Unread(values, as_csr=as_csr))
    assert rows.read == []
    low, high = column_range(rows)
    assert rows.read == [3, 3, 1]
    np.testing.assert_array_equal(low, values.min(axis=0))
    np.testing.assert_array_equal(high, values.max(axis=0))
    some = pick_rows(rows, np.array([5, 2]))
    assert isinstance(some, Unread)
    np.testing.assert_array_equal(dense(some[:]), values[[5, 2]])
    values[4, 1] = np.nan
    with pytest.raises(ValueError, match="1 values that are NaN or infinite, the first in row 4"):
        column_range(rows)


def test_a_sample_of_what_is_stored() -> None:
    values = np.tile([0.0, 3.0], (200, 1))
    assert stored_sample(values).shape == (100, 2)
    assert stored_sample(sparse.csr_matrix(values)).tolist() == [3.0] * 100
