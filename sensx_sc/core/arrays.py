"""Rows of inputs, dense or sparse: the little that the method needs to know about them."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]
Rows: TypeAlias = Any
"""A 2-d ndarray, a scipy sparse matrix or array, or :class:`UnreadRows`."""

_ROWS_AT_ONCE = 4096
_BYTES_AT_ONCE = 2**26  # of rows that are not in memory, as if they were dense


@runtime_checkable
class UnreadRows(Protocol):
    """Rows that are not in memory: indexing reads some of them, as an ndarray or CSR."""

    dtype: np.dtype[Any]
    ndim: int

    @property
    def shape(self) -> tuple[int, int]: ...

    def only(self, rows: Ints) -> UnreadRows:
        """Some of these rows, still unread."""
        ...

    def __getitem__(self, part: slice | Ints) -> Rows: ...


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
        rows: Rows = X if isinstance(X, UnreadRows) else _in_memory(X)
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
    if not isinstance(rows, UnreadRows):  # those are looked at when they are read
        _check_finite(rows, name)
    return rows


def _in_memory(X: Any) -> Rows:
    return X.tocsr() if is_sparse(X) else np.asarray(X)


def _check_finite(rows: Rows, name: str, first: int = 0) -> None:
    stored = rows.data if is_sparse(rows) else rows
    if rows.dtype.kind == "f" and not np.isfinite(stored).all():
        bad = np.count_nonzero(~np.isfinite(stored))
        row, column = _first_non_finite(rows)
        msg = (
            f"`{name}` has {bad} values that are NaN or infinite, the first in row {first + row}, "
            f"column {column}. Remove or impute them before explaining."
        )
        raise ValueError(msg)


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


def pick_rows(X: Rows, rows: Ints) -> Rows:
    """Some of the rows, unread if the others are."""
    return X.only(rows) if isinstance(X, UnreadRows) else X[rows]


def stored_sample(X: Rows) -> np.ndarray:
    """What is stored of the first hundred rows: of sparse ones the entries that are not zero."""
    sample = X[:100]
    return np.asarray(sample.tocsr().data if is_sparse(sample) else sample)


def column_range(X: Rows) -> tuple[Floats, Floats]:
    """Smallest and largest value of each column, shapes (n,).

    A sparse matrix stays sparse, and only a block of rows of it is converted, or read, at a time.

    Raises
    ------
    ValueError
        Rows that had not been read before have NaN or infinite values.
    """
    low, high = np.full(X.shape[1], np.inf), np.full(X.shape[1], -np.inf)
    unread = isinstance(X, UnreadRows)
    together = max(1, _BYTES_AT_ONCE // (8 * X.shape[1])) if unread else _ROWS_AT_ONCE
    for start in range(0, X.shape[0], together):
        block = X[start : start + together]
        if unread:
            _check_finite(block, "X", start)
        if is_sparse(block):
            block = block.tocsc()
            block_low, block_high = block.min(axis=0).toarray(), block.max(axis=0).toarray()
        else:
            block_low, block_high = block.min(axis=0), block.max(axis=0)
        low = np.minimum(low, np.ravel(block_low))
        high = np.maximum(high, np.ravel(block_high))
    return low, high
