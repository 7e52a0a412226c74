"""Rows that stay where they are, on disk or in a Dask graph, until a block of them is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from sensx_sc.core.arrays import is_sparse
from sensx_sc.settings import settings

if TYPE_CHECKING:
    from sensx_sc.core.arrays import Ints, Rows

_FEW_RUNS = 64  # stretches of consecutive rows that are read one by one


class Blocks:
    """Some rows of a matrix that is not in memory.

    ``blocks[part]``, with a slice or indices, reads rows into memory: an ndarray or a CSR matrix.

    Parameters
    ----------
    source
        A backed matrix of an AnnData (h5ad or zarr, dense or sparse) or a Dask array with dense
        or sparse chunks, (n_obs, n).
    rows
        Which of its rows these are, in order; all by default.
    """

    def __init__(self, source: Any, rows: Ints | None = None) -> None:
        self.source = source
        self.rows = np.arange(source.shape[0]) if rows is None else np.asarray(rows)
        self.dtype: np.dtype[Any] = np.dtype(source.dtype)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.rows), int(self.source.shape[1])

    ndim = 2

    def only(self, rows: Ints) -> Blocks:
        """Some of these rows, still unread."""
        return Blocks(self.source, self.rows[rows])

    def __getitem__(self, part: slice | Ints) -> Rows:
        """Read rows."""
        wanted = self.rows[part]
        # Sources are read in ascending order; the rows come back in the order asked for.
        ascending, back = np.unique(wanted, return_inverse=True)
        found = _read(self.source, ascending)
        in_memory = found.tocsr() if is_sparse(found) else np.asarray(found)
        return in_memory if np.array_equal(ascending, wanted) else in_memory[back]


def _read(source: Any, rows: Ints) -> Rows:
    """Distinct rows in ascending order."""
    if hasattr(source, "dask"):
        found = (source[_stretch(rows)] if _is_run(rows) else source[rows]).compute()
        return found
    if not len(rows) or _is_run(rows):
        return source[_stretch(rows)]
    starts = np.flatnonzero(np.diff(rows, prepend=rows[0] - 2) > 1)
    if len(starts) > _FEW_RUNS:
        return source[rows]
    stops = [*starts[1:], len(rows)]
    runs = [source[_stretch(rows[a:b])] for a, b in zip(starts, stops, strict=True)]
    return sparse.vstack(runs, format="csr") if is_sparse(runs[0]) else np.concatenate(runs)


def _is_run(rows: Ints) -> bool:
    return bool(len(rows) and rows[-1] - rows[0] == len(rows) - 1)


def _stretch(rows: Ints) -> slice:
    return slice(int(rows[0]), int(rows[-1]) + 1) if len(rows) else slice(0, 0)


def in_reach(matrix: Any, label: str) -> Rows | Blocks:
    """A matrix as rows that the method can read: itself if it is in memory, else its blocks.

    Raises
    ------
    ValueError
        Columns are stored together on disk, and the whole does not fit.
    TypeError
        Not a matrix that is known.
    """
    if isinstance(matrix, np.ndarray) or is_sparse(matrix):
        return matrix
    if hasattr(matrix, "dask") and getattr(matrix, "ndim", 0) == 2:
        return Blocks(matrix)
    if getattr(matrix, "format", None) == "csc":
        if _stored_bytes(matrix) > settings.memory_budget / 2:
            msg = (
                f"{label} is stored by columns (CSC), so that reading a cell reads everything, and "
                f"it is larger than half of settings.memory_budget. Store it by rows (CSR) once, "
                "or raise settings.memory_budget."
            )
            raise ValueError(msg)
        return matrix.to_memory().tocsr()
    if hasattr(matrix, "shape") and hasattr(matrix, "dtype") and hasattr(matrix, "__getitem__"):
        return Blocks(matrix)
    msg = (
        f"{label} must be a numpy array, a scipy sparse matrix, a backed matrix or a Dask array; "
        f"got {type(matrix).__name__}."
    )
    raise TypeError(msg)


def _stored_bytes(matrix: Any) -> int:
    group = getattr(matrix, "group", None)
    parts = (group[name] for name in ("data", "indices")) if group is not None else ()
    return sum(int(part.size) * part.dtype.itemsize for part in parts)
