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
    rows: Rows = X.tocsr() if is_sparse(X) else np.asarray(X)
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
    """Smallest and largest value of each column, shapes (n,); a sparse matrix stays sparse."""
    if is_sparse(X):
        low = np.asarray(X.min(axis=0).todense(), dtype=np.float64).ravel()
        high = np.asarray(X.max(axis=0).todense(), dtype=np.float64).ravel()
        return low, high
    return X.min(axis=0).astype(np.float64), X.max(axis=0).astype(np.float64)
