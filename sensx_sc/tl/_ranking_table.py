"""The ranking table of a group of cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sensx_sc.scale.group_means import GroupMeans

SHOWN = ("value", "change", "mean")
"""Statistics that every ranking table has; NaN where they are not known."""


def ranking_table(
    group: GroupMeans, names: Sequence[str] | NDArray[Any], rank_by: str
) -> pd.DataFrame:
    """The tested features, best first by the size of ``rank_by``."""
    means = {name: group.mean_of(name) for name in dict.fromkeys((*SHOWN, rank_by))}
    tested = np.flatnonzero(~np.isnan(means["value"]))
    order = tested[np.argsort(-np.abs(means[rank_by][tested]), kind="stable")]
    columns = {
        "value": means.pop("value"),
        "value_se": group.error(),
        **{name: means.pop(name) for name in SHOWN[1:]},
        "presence": group.presence,
        "n_cells": group.count,
        **means,
    }
    table = pd.DataFrame({"names": np.asarray(names, dtype=object)[order]})
    table["rank"] = np.arange(1, len(order) + 1)
    for name, column in columns.items():
        table[name] = column[order]
    return table
