"""Group rankings while cells stream through: means over the cells of each explained target."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sensx_sc.core.statistics import ranking_score

if TYPE_CHECKING:
    from sensx_sc.core.arrays import Bools, Floats
    from sensx_sc.core.explanation import Explanation
    from sensx_sc.words import RankBy

_AVERAGED = ("value", "change", "mean", "shapley")


@dataclass
class GroupSums:
    """Sums over the attributed cells of one group, a gene each, shape (n,)."""

    n_features: int
    n_cells: int = 0
    sums: dict[str, Floats] = field(init=False)
    centre: Floats = field(init=False)
    squares: Floats = field(init=False)
    shifted: Floats = field(init=False)
    walk_se: Floats = field(init=False)
    present: Floats = field(init=False)

    def __post_init__(self) -> None:
        n = self.n_features
        self.sums = {name: np.zeros(n) for name in _AVERAGED}
        self.centre, self.squares, self.shifted = np.zeros(n), np.zeros(n), np.zeros(n)
        self.walk_se, self.present = np.zeros(n), np.zeros(n)

    def add(self, found: Explanation, rows: Bools, present: Bools) -> None:
        """Take in some cells of an explanation."""
        value = found.value[rows]
        if not self.n_cells:
            self.centre = value[0]  # sums of squares about a cell of the group do not cancel
        for name, total in self.sums.items():
            total += getattr(found, name)[rows].sum(axis=0)
        self.shifted += (value - self.centre).sum(axis=0)
        self.squares += ((value - self.centre) ** 2).sum(axis=0)
        self.walk_se += found.se[rows].sum(axis=0)
        self.present += present[rows].sum(axis=0)
        self.n_cells += len(value)

    @staticmethod
    def empty_table(rank_by: RankBy) -> pd.DataFrame:
        """The table of no group: its columns, and no rows."""
        none = GroupSums(0)
        none.n_cells = 1
        return none.table("", (), rank_by)

    def table(self, group: str, names: tuple[str, ...], rank_by: RankBy) -> pd.DataFrame:
        """The group's tested genes, best first."""
        n = self.n_cells
        means = {name: total / n for name, total in self.sums.items()}
        if n > 1:
            spread = np.maximum(self.squares - self.shifted**2 / n, 0.0)
            error = np.sqrt(spread / (n - 1) / n)
        else:
            error = self.walk_se
        score = ranking_score(means[rank_by], rank_by)
        tested = np.flatnonzero(~np.isnan(means["value"]))
        best = tested[np.argsort(-score[tested], kind="stable")]
        columns: dict[str, None] = dict.fromkeys(("value", "change", "mean", str(rank_by)))
        return pd.DataFrame(
            {
                "group": group,
                "names": np.asarray(names, dtype=object)[best],
                "rank": np.arange(1, len(best) + 1),
                "value": means["value"][best],
                "value_se": error[best],
                **{name: means[name][best] for name in columns if name != "value"},
                "presence": (self.present / n)[best],
                "n_cells": np.full(len(best), n),
            }
        )
