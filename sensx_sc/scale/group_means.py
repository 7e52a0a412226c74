"""Means over the cells of a group, built up a block of cells at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from sensx_sc.core.arrays import Bools, Floats


class Moments:
    """Count, mean and sum of squared deviations of each column, (n,); NaN is left out.

    Rows are taken in one by one (Welford 1962) and blocks merged by their means (Chan, Golub and
    LeVeque 1983), which cancels nothing.
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

    def merge(self, other: Moments) -> None:
        """Take in what other rows have yielded."""
        total = np.maximum(self.count + other.count, 1)
        off = other.mean - self.mean
        self.spread += other.spread + off**2 * self.count * other.count / total
        self.mean += off * other.count / total
        self.count += other.count


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

    def merge(self, other: GroupMeans) -> None:
        """Take in what other cells have yielded."""
        self.n_cells += other.n_cells
        self._above += other._above
        for name, moments in other._moments.items():
            self._moments.setdefault(name, Moments(self.n)).merge(moments)

    def part(self, columns: slice) -> GroupMeans:
        """The means of some consecutive features."""
        flat = {
            name: array[columns] if array.ndim else array
            for name, array in self.to_arrays().items()
        }
        return GroupMeans.from_arrays(flat)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Everything, as named arrays."""
        flat: dict[str, NDArray[Any]] = {"n_cells": np.array(self.n_cells), "above": self._above}
        for name, moments in self._moments.items():
            for part in ("count", "mean", "spread"):
                flat[f"{name}/{part}"] = getattr(moments, part)
        return flat

    @classmethod
    def from_arrays(cls, flat: Mapping[str, NDArray[Any]]) -> GroupMeans:
        """What :meth:`to_arrays` took apart."""
        made = cls(len(flat["above"]))
        made.n_cells, made._above = int(flat["n_cells"]), flat["above"]
        for key, array in flat.items():
            if "/" in key:
                name, part = key.split("/")
                setattr(made._moments.setdefault(name, Moments(made.n)), part, array)
        return made

    @property
    def presence(self) -> Floats:
        """Share of the cells in which each feature is above its bound, (n,)."""
        share: Floats = self._above / max(self.n_cells, 1)
        return share

    @property
    def count(self) -> NDArray[np.int64]:
        """Cells with a value, (n,)."""
        found = self._moments.get("value")
        return np.zeros(self.n, dtype=np.int64) if found is None else found.count

    def mean_of(self, name: str) -> Floats:
        found = self._moments.get(name)
        if found is None:
            return np.full(self.n, np.nan)
        return np.where(found.count > 0, found.mean, np.nan)

    def error(self) -> Floats:
        """Standard error of the mean value over cells; with one cell that of its walks."""
        if self.n_cells == 1:
            return self.mean_of("se")
        value = self._moments.get("value", Moments(self.n))
        error = np.full(self.n, np.nan)
        several = value.count > 1
        count = value.count[several]
        error[several] = np.sqrt(value.spread[several] / (count - 1) / count)
        return error
