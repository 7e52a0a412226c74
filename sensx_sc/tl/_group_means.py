"""The ranking table of a group of cells, from means built up a block of cells at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from sensx_sc.core.arrays import Bools, Floats

SHOWN = ("value", "change", "mean")
"""Statistics that every ranking table has; NaN where they are not known."""


class Moments:
    """Count, mean and sum of squared deviations of each column, (n,); NaN is left out.

    Rows are taken in one by one (Welford 1962): nothing cancels, and the result does not depend on
    how they are cut into blocks, to the last bit.
    """

    def __init__(self, n: int) -> None:
        self.count = np.zeros(n, dtype=np.int64)
        self.mean, self.spread = np.zeros(n), np.zeros(n)

    def add(self, block: NDArray[Any]) -> None:
        """Take in rows (cells, n)."""
        for row in np.asarray(block, dtype=np.float64):
            there = np.isfinite(row)
            self.count += there
            off = np.where(there, row - self.mean, 0.0)
            self.mean += off / np.maximum(self.count, 1)
            self.spread += off * np.where(there, row - self.mean, 0.0)


class GroupMeans:
    """Means over the attributed cells of one group, of each of ``n`` features."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.n_cells = 0
        self._above = np.zeros(n, dtype=np.int64)
        self._moments: dict[str, Moments] = {}

    def add(self, statistics: Mapping[str, NDArray[Any]], present: Bools) -> None:
        """Take in some cells: statistics and whether features are above their bound, (cells, n)."""
        self.n_cells += len(present)
        self._above += present.sum(axis=0)
        for name, block in statistics.items():
            self._moments.setdefault(name, Moments(self.n)).add(block)

    def _mean(self, name: str) -> Floats:
        found = self._moments.get(name)
        if found is None:
            return np.full(self.n, np.nan)
        return np.where(found.count > 0, found.mean, np.nan)

    def _error(self) -> Floats:
        """Standard error of the mean value over cells; with one cell that of its walks."""
        if self.n_cells == 1:
            return self._mean("se")
        value = self._moments["value"]
        error = np.full(self.n, np.nan)
        several = value.count > 1
        count = value.count[several]
        error[several] = np.sqrt(value.spread[several] / (count - 1) / count)
        return error

    def table(self, names: Sequence[str] | NDArray[Any], rank_by: str) -> pd.DataFrame:
        """The tested features, best first by the size of ``rank_by``."""
        means = {name: self._mean(name) for name in dict.fromkeys((*SHOWN, rank_by))}
        tested = np.flatnonzero(~np.isnan(means["value"]))
        order = tested[np.argsort(-np.abs(means[rank_by][tested]), kind="stable")]
        count = self._moments["value"].count if self._moments else np.zeros(self.n, np.int64)
        columns = {
            "value": means.pop("value"),
            "value_se": self._error() if self._moments else np.full(self.n, np.nan),
            **{name: means.pop(name) for name in SHOWN[1:]},
            "presence": self._above / max(self.n_cells, 1),
            "n_cells": count,
            **means,
        }
        table = pd.DataFrame({"names": np.asarray(names, dtype=object)[order]})
        table["rank"] = np.arange(1, len(order) + 1)
        for name, column in columns.items():
            table[name] = column[order]
        return table
