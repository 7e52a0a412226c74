from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import sensx_sc as sx
from sensx_sc.pl._delta_star import _density, delta_star_table, group_labels

if TYPE_CHECKING:
    from collections.abc import Callable

    from anndata import AnnData
    from matplotlib.axes import Axes


def labels(ax: Axes) -> list[str]:
    return [label.get_text() for label in ax.get_yticklabels()]


def violins(ax: Axes) -> int:
    return sum(type(artist).__name__ == "FillBetweenPolyCollection" for artist in ax.collections)


def points(ax: Axes) -> int:
    return sum(
        len(artist.get_offsets())
        for artist in ax.collections
        if type(artist).__name__ == "PathCollection"
    )


def test_table(explained: AnnData) -> None:
    table = delta_star_table(explained, "cell_type", key="sensx")
    obs = explained.obs[explained.obs["sensx_status"] != "skipped"]
    assert sorted(table["cell"]) == sorted(obs.index)
    one = table.set_index("cell").loc[obs.index]
    np.testing.assert_array_equal(one["delta_star"], obs["sensx_delta_star"])
    medians = table[table["delta_star"] > 0].groupby("group", observed=True)["delta_star"].median()
    assert medians.is_monotonic_increasing


def test_every_cell_is_drawn_or_counted(explained: AnnData) -> None:
    ax = sx.pl.delta_star(explained, "cell_type")
    assert ax.get_xscale() == "log"
    assert "fraction" in ax.get_xlabel()
    counts = explained.obs["sensx_status"].value_counts()
    assert violins(ax) == 3
    assert points(ax) == counts[["resolved", "left_censored", "unsaturated"]].sum()
    for label in labels(ax):
        name = label.split(" ")[0]
        status = explained.obs.loc[explained.obs["cell_type"] == name, "sensx_status"]
        status = status[status != "skipped"].value_counts()
        assert label.startswith(f"{name} (n={status.sum()})\n{status['resolved']} resolved, ")
        assert f"{status['insensitive']} insensitive, {status['failed']} failed" in label


def test_one_violin_without_groups(explained: AnnData) -> None:
    ax = sx.pl.delta_star(explained)
    assert violins(ax) == 1
    assert labels(ax)[0].startswith("all cells (n=")


def test_few_or_equal_values_are_points_only(make_explained: Callable[..., AnnData]) -> None:
    adata = make_explained(40, 10, 2)
    status = np.full(40, "skipped", dtype=object)
    status[:6], status[6:26:2] = "resolved", "resolved"
    adata.obs["sensx_status"] = status
    adata.obs["sensx_delta_star"] = 0.05
    assert violins(sx.pl.delta_star(adata, "cell_type")) == 0
    adata.obs["sensx_delta_star"] = np.linspace(0.01, 0.9, 40)
    ax = sx.pl.delta_star(adata, "cell_type")
    assert violins(ax) == 1  # three cells of the one, thirteen of the other type
    assert points(ax) == 16


def test_groups_without_a_place_on_the_axis(make_explained: Callable[..., AnnData]) -> None:
    adata = make_explained(40, 10, 2)
    adata.obs["group"] = adata.obs["sensx_status"].astype(str)
    adata.obs.loc[adata.obs["group"] == "unsaturated", "group"] = None
    ax = sx.pl.delta_star(adata, "group")
    texts = labels(ax)
    assert {text.split(" (")[0] for text in texts[-2:]} == {"insensitive", "failed"}
    assert any(text.startswith("(no group) (n=") and "unsaturated" in text for text in texts)
    assert len(texts) == 5


def test_many_cells_are_thinned_not_their_counts(make_explained: Callable[..., AnnData]) -> None:
    adata = make_explained(3000, 5, 2)
    ax = sx.pl.delta_star(adata)
    assert points(ax) == 500
    assert sum(adata.obs["sensx_status"] != "skipped") == int(labels(ax)[0].split("n=")[1][:4])


def test_fifty_groups(make_explained: Callable[..., AnnData]) -> None:
    ax = sx.pl.delta_star(make_explained(600, 5, 50), "cell_type")
    assert len(labels(ax)) == 50
    assert ax.figure.get_figheight() > 15


def test_violin_stays_within_the_data() -> None:
    star = np.sort(np.r_[np.geomspace(0.01, 0.1, 40), 1.0, 1.0])
    grid, half = _density(star)
    np.testing.assert_allclose(grid[[0, -1]], star[[0, -1]])
    assert half.max() == pytest.approx(0.4)
    assert 0.01 < grid[half.argmax()] < 0.1


def test_label_of_a_simple_group() -> None:
    table = pd.DataFrame({"group": pd.Categorical(["NK"] * 20), "status": "resolved"})
    table.loc[3, "status"] = "unsaturated"
    assert group_labels(table) == {"NK": "NK (n=20)\n19 resolved, 1 unsaturated"}


def test_axes_of_the_caller(explained: AnnData) -> None:
    _, mine = plt.subplots()
    assert sx.pl.delta_star(explained, ax=mine) is mine
    with pytest.raises(TypeError, match=r"ax must be a matplotlib Axes.*got Figure"):
        sx.pl.delta_star(explained, ax=mine.figure)


def test_bad_input(make_explained: Callable[..., AnnData]) -> None:
    adata = make_explained(30, 10)
    with pytest.raises(KeyError, match=r"run sx.tl.sensx.*'sensx'"):
        sx.pl.delta_star(adata, key="other")
    with pytest.raises(KeyError, match=r"groupby='type' is no column.*'cell_type'"):
        sx.pl.delta_star(adata, "type")
    adata.obs["sensx_status"] = "skipped"
    with pytest.raises(ValueError, match="no cell was analysed"):
        sx.pl.delta_star(adata)
