"""Rows of inputs, dense or sparse: the little that the method needs to know about them."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]
Rows: TypeAlias = Any
"""A 2-d ndarray, or a scipy sparse matrix or array."""


_ROWS_AT_ONCE = 4096


def is_sparse(X: Any) -> bool:
    """Whether rows are a scipy sparse matrix or array."""
    return bool(sparse.issparse(X))


def as_rows(X: Any, *, name: str = "X") -> Rows:
    """Check that inputs are a finite numeric matrix; sparse comes back as CSR.

    Raises
    ------
    TypeError
        Not an array, or not numeric.
    ValueError
        Not two-dimensional, empty, or with NaN or infinite values.
    """
    try:
        rows: Rows = X.tocsr() if is_sparse(X) else np.asarray(X)
    except ValueError as error:
        msg = (
            f"`{name}` must be a numeric array or sparse matrix (inputs x features); got "
            f"{type(X).__name__}. For an AnnData there is sx.tl.sensx."
        )
        raise TypeError(msg) from error
    if rows.dtype.kind not in "fiub":
        msg = f"`{name}` must be numeric; got dtype {rows.dtype}."
        raise TypeError(msg)
    if rows.ndim != 2:
        msg = f"`{name}` must be two-dimensional (inputs x features); got shape {rows.shape}."
        raise ValueError(msg)
    if 0 in rows.shape:
        msg = f"`{name}` has no {'inputs' if rows.shape[0] == 0 else 'features'}: {rows.shape}."
        raise ValueError(msg)
    stored = rows.data if is_sparse(rows) else rows
    if rows.dtype.kind == "f" and not np.isfinite(stored).all():
        bad = np.count_nonzero(~np.isfinite(stored))
        row, column = _first_non_finite(rows)
        msg = (
            f"`{name}` has {bad} values that are NaN or infinite, the first in row {row}, "
            f"column {column}. Remove or impute them before explaining."
        )
        raise ValueError(msg)
    return rows


def _first_non_finite(rows: Rows) -> tuple[int, int]:
    if is_sparse(rows):
        entries = rows.tocoo()
        k = int(np.flatnonzero(~np.isfinite(entries.data))[0])
        return int(entries.row[k]), int(entries.col[k])
    row, column = np.argwhere(~np.isfinite(rows))[0]
    return int(row), int(column)


def dense(X: Rows) -> Floats:
    """The rows as a float64 array of their own."""
    values = X.toarray() if is_sparse(X) else X
    return np.array(values, dtype=np.float64)


def column_range(X: Rows) -> tuple[Floats, Floats]:
    """Smallest and largest value of each column, shapes (n,).

    A sparse matrix stays sparse, and only a block of rows of it is converted at a time.
    """
    low, high = np.full(X.shape[1], np.inf), np.full(X.shape[1], -np.inf)
    for start in range(0, X.shape[0], _ROWS_AT_ONCE):
        block = X[start : start + _ROWS_AT_ONCE]
        if is_sparse(X):
            block = block.tocsc()
            block_low, block_high = block.min(axis=0).toarray(), block.max(axis=0).toarray()
        else:
            block_low, block_high = block.min(axis=0), block.max(axis=0)
        low = np.minimum(low, np.ravel(block_low))
        high = np.maximum(high, np.ravel(block_high))
    return low, high
