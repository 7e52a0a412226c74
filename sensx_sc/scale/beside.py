"""Rows with columns beside them: what a model reads of a cell that is no feature of its matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from sensx_sc.core.arrays import UnreadRows, is_sparse, pick_rows

if TYPE_CHECKING:
    from sensx_sc.core.arrays import Floats, Ints, Rows


class Beside:
    """Rows, in memory or not, each followed by a few numbers of its own.

    A block of rows is put together when it is read: the matrix is never copied as a whole.

    Parameters
    ----------
    rows
        (C, n), checked before.
    columns
        (C, c), finite.
    """

    ndim = 2

    def __init__(self, rows: Rows, columns: Floats) -> None:
        self.rows = rows
        self.columns = columns
        self.dtype: np.dtype[Any] = np.result_type(rows.dtype, columns.dtype)

    @property
    def shape(self) -> tuple[int, int]:
        return int(self.rows.shape[0]), int(self.rows.shape[1]) + self.columns.shape[1]

    @property
    def in_memory(self) -> bool:
        """Whether the rows are there, and were looked at as a whole."""
        return not isinstance(self.rows, UnreadRows)

    def only(self, rows: Ints) -> Beside:
        """Some of these rows."""
        return Beside(pick_rows(self.rows, rows), self.columns[rows])

    def __getitem__(self, part: slice | Ints) -> Rows:
        """Put rows and columns together."""
        found, columns = self.rows[part], self.columns[part]
        if is_sparse(found):
            return sparse.hstack([found, sparse.csr_matrix(columns)], format="csr")
        return np.concatenate([np.asarray(found), columns], axis=1)
