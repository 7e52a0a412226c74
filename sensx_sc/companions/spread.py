"""How far a feature's values spread: the unit in which windows are measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sensx_sc.core.arrays import UnreadRows, column_range, is_sparse

if TYPE_CHECKING:
    from sensx_sc.core.arrays import Floats, Ints, Rows

SPARSE = 0.5
"""A feature that is zero in more of the inputs than this share is measured where it is not."""
_BYTES_AT_ONCE = 2**26


@dataclass
class Spread:
    """Count, mean and sum of squared deviations of the entries of each column that are not zero.

    Blocks of rows are merged by their means (Chan, Golub and LeVeque 1983), which cancels nothing
    where a mean is large beside the spread.
    """

    n_rows: int
    count: Ints
    mean: Floats
    squares: Floats

    def add(self, block: Rows) -> None:
        """Take in rows, dense or sparse."""
        row, column, values = _entries(block)
        n = len(self.mean)
        count = np.bincount(column, minlength=n)
        mean = np.bincount(column, values, minlength=n) / np.maximum(count, 1)
        squares = np.bincount(column, (values - mean[column]) ** 2, minlength=n)
        total = np.maximum(self.count + count, 1)
        off = mean - self.mean
        self.squares += squares + off**2 * self.count * count / total
        self.mean += off * count / total
        self.count += count
        self.n_rows += int(row)

    def all(self) -> Floats:
        """Standard deviation of all entries, (n,)."""
        mean = self.mean * self.count / self.n_rows
        zeros = self.n_rows - self.count
        squares = self.squares + self.count * (self.mean - mean) ** 2 + zeros * mean**2
        return _beyond_rounding(np.sqrt(squares / self.n_rows), mean)

    def present(self) -> Floats:
        """Standard deviation of the entries that are not zero, (n,)."""
        return _beyond_rounding(np.sqrt(self.squares / np.maximum(self.count, 1)), self.mean)


def _beyond_rounding(deviation: Floats, mean: Floats) -> Floats:
    """What rounding leaves of a constant is no spread."""
    return np.where(deviation > 1e-12 * np.abs(mean), deviation, 0.0)


def _entries(block: Rows) -> tuple[int, Ints, Floats]:
    """Number of rows, and column and value of what is not zero."""
    if is_sparse(block):
        found = block.tocoo()
        column, values = found.col, found.data
        there = values != 0
        return block.shape[0], column[there], values[there].astype(np.float64)
    dense = np.asarray(block, dtype=np.float64)
    row, column = np.nonzero(dense)
    return len(dense), column, dense[row, column]


def column_spread(rows: Rows) -> Spread:
    """Spread of each column, a block of rows at a time."""
    n = rows.shape[1]
    if isinstance(rows, UnreadRows):
        column_range(rows)  # rows that were not read before may hold NaN
    spread = Spread(0, np.zeros(n, dtype=np.int64), np.zeros(n), np.zeros(n))
    together = max(1, _BYTES_AT_ONCE // (8 * n))
    for start in range(0, rows.shape[0], together):
        spread.add(rows[start : start + together])
    return spread


def feature_scale(rows: Rows) -> Floats:
    """Standard deviation of each feature, (n,); of mostly zero ones that of the rest.

    Where the entries that are not zero are all the same, that of all entries; 0 for a constant.

    Examples
    --------
    >>> import numpy as np
    >>> from sensx_sc.companions.spread import feature_scale
    >>> feature_scale(np.array([[1.0, 0.0], [3.0, 0.0], [1.0, 0.0], [3.0, 0.0], [2.0, 5.0]]))
    array([0.89442719, 2.        ])
    """
    spread = column_spread(rows)
    every, present = spread.all(), spread.present()
    rare = (spread.count < (1 - SPARSE) * spread.n_rows) & (present > 0)
    return np.where(rare, present, every)
