"""The table of slopes of groups of cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sensx_sc.scale.group_means import Moments

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sensx_sc.core.arrays import Bools, Floats


class GroupSlopes:
    """Means over the cells of one group of the slopes of ``n`` genes, in ``levels`` windows."""

    def __init__(self, n: int, levels: int) -> None:
        names = ("slope", "size", "up", "down", "se", "bandwidth", "curvature", "present")
        self._moments = {name: Moments(n) for name in names}
        self._curve = [Moments(n) for _ in range(levels)]

    def add(self, found: Mapping[str, Floats], present: Bools, rows: Bools) -> None:
        """Take in some cells: arrays (cells, n) by name, of which ``rows`` belong here."""
        slope = found["slope"][rows]
        missing = np.isnan(slope)
        more = {
            "size": np.abs(slope),
            "up": np.where(missing, np.nan, slope > 0),
            "down": np.where(missing, np.nan, slope < 0),
            "present": np.where(missing, np.nan, present[rows]),
        }
        for name, moments in self._moments.items():
            moments.add(more[name] if name in more else found[name][rows])
        for level, moments in enumerate(self._curve):
            moments.add(found["curve"][rows][:, :, level])

    @property
    def curve(self) -> Floats:
        """Mean slope in each window, (n, levels)."""
        return np.stack([_mean(moments) for moments in self._curve], axis=1)

    def columns(self) -> dict[str, Any]:
        """Columns of the table, (n,) each."""
        slope = self._moments["slope"]
        count = slope.count
        over_cells = np.sqrt(slope.spread / np.maximum(count - 1, 1) / np.maximum(count, 1))
        means = {name: _mean(moments) for name, moments in self._moments.items()}
        return {
            "slope": means["slope"],
            # One cell says nothing of others: its own error is what is known.
            "slope_se": np.where(count > 1, over_cells, means["se"]),
            "size": means["size"],
            "agreement": np.where(means["slope"] >= 0, means["up"], means["down"]),
            "bandwidth": means["bandwidth"],
            "curvature": means["curvature"],
            "presence": means["present"],
            "n_cells": count,
        }


def _mean(moments: Moments) -> Floats:
    return np.where(moments.count > 0, moments.mean, np.nan)


def slope_table(groups: Mapping[str, GroupSlopes], names: pd.Index[Any]) -> pd.DataFrame:
    """The tidy table of all groups, tested genes only, ranked by the size of the slope.

    Where each cell has tested genes of its own, a cell without a slope adds 0 to what is ranked by:
    a gene that one cell has tested does not lead the others.
    """
    parts = []
    for group, slopes in groups.items():
        part = pd.DataFrame({"group": group, "names": names.to_numpy(), **slopes.columns()})
        part = part[part["n_cells"] > 0]
        size = np.abs(part["slope"].to_numpy()) * part["n_cells"].to_numpy()
        order = np.argsort(-size, kind="stable")
        part = part.iloc[order]
        part.insert(2, "rank", np.arange(1, len(part) + 1))
        parts.append(part)
    return pd.concat(parts, ignore_index=True)
