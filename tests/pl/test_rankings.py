from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgba
from scipy.stats import t as student

import sensx_sc as sx
from sensx_sc.pl._marks import LOWERS, RAISES, UNSIGNED
from sensx_sc.pl._rankings import rankings_table

if TYPE_CHECKING:
    from collections.abc import Callable

ALL = {"groups": None, "cells": None, "rank_by": None, "presence": None, "key": "sensx"}


def gene_labels(ax: Axes) -> list[str]:
    return [label.get_text() for label in ax.get_yticklabels()]


def legend_texts(ax: Axes) -> list[str]:
    legends = ax.figure.legends or [ax.get_legend()]
    return [text.get_text() for text in legends[0].get_texts()]


def stored_cells(adata: AnnData, group: str) -> int:
    table = adata.uns["sensx"]["rankings"]
    return int(table.loc[table["group"] == group, "n_cells"].iloc[0])


def test_table(explained: AnnData) -> None:
    table = rankings_table(explained, **{**ALL, "groups": "NK"}, n_genes=3)
    assert table["names"].tolist() == ["GENE3", "GENE5", "GENE4"]
    assert table["sign"].tolist() == [1, -1, -1]
    assert table["present"].tolist() == [True, False, True]
    stored = explained.uns["sensx"]["rankings"].query("group == 'NK'").head(3)
    np.testing.assert_array_equal(table["size"], stored["value"])
    np.testing.assert_array_equal(table["error"], stored["value_se"])


def test_bars_show_size_sign_and_presence(explained: AnnData) -> None:
    ax = sx.pl.rankings(explained, groups="NK", n_genes=3)
    assert isinstance(ax, Axes)
    assert gene_labels(ax) == ["GENE3", "GENE5", "GENE4"]
    assert all(label.get_rotation() == 0 for label in ax.get_yticklabels())
    assert ax.yaxis_inverted()  # the first gene is on top
    assert [to_hex(bar.get_edgecolor()) for bar in ax.patches] == [RAISES, LOWERS, LOWERS]
    assert [bar.get_facecolor()[3] for bar in ax.patches] == [1, 0, 1]
    table = rankings_table(explained, **{**ALL, "groups": "NK"}, n_genes=3)
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], table["size"])
    (bars,) = ax.collections
    ends = np.array(bars.get_segments())[:, :, 0]
    cells = stored_cells(explained, "NK")  # each an independent mean
    assert cells > 2
    half = student.ppf(0.975, cells - 1) * table["error"]
    np.testing.assert_allclose(np.diff(ends)[:, 0], 2 * half)
    assert ax.get_title() == "NK"
    assert ax.get_xlabel() == "|change in probability|\nper unit of expression"
    assert legend_texts(ax) == [
        "more expression: probability up",
        "more expression: probability down",
        "present in half of the cells or more",
        "absent there",
        "95 % interval",
    ]


@pytest.mark.parametrize(
    ("rank_by", "label", "first"),
    [
        ("change", "|change in probability|", "GENE4"),
        ("mean", "change in probability\nper unit of expression", "GENE3"),
    ],
)
def test_other_statistics_have_no_interval(
    explained: AnnData, rank_by: str, label: str, first: str
) -> None:
    ax = sx.pl.rankings(explained, groups="NK", rank_by=rank_by)
    assert ax.get_xlabel() == label
    assert gene_labels(ax)[0] == first
    assert not ax.collections
    assert "95 % interval" not in legend_texts(ax)


@pytest.mark.parametrize("n_groups", [3, 50])
def test_one_panel_a_group(make_explained: Callable[..., AnnData], n_groups: int) -> None:
    adata = make_explained(6 * n_groups, 30, n_groups)
    axes = sx.pl.rankings(adata, n_genes=3, ncols=7)
    groups = adata.uns["sensx"]["rankings"]["group"].unique()
    assert axes.shape == (len(groups),)
    assert [ax.get_title() for ax in axes] == list(groups)
    assert len(axes[0].figure.axes) == len(groups)
    assert all(len(ax.patches) == 3 for ax in axes)


def test_cells(explained: AnnData) -> None:
    axes = sx.pl.rankings(explained, cells=["cell0", "cell3"], n_genes=4, presence="present")
    assert [ax.get_title() for ax in axes] == ["cell0", "cell3"]
    assert gene_labels(axes[0])[:2] == ["GENE0", "GENE1"]
    assert "present in the cell" in legend_texts(axes[0])
    se = explained["cell0"].layers["sensx_se"][0, 0]
    (bars,) = axes[0].collections
    half = student.ppf(0.975, 10 - 1) * se  # ten blocks of walks
    np.testing.assert_allclose(np.ptp(bars.get_segments()[0][:, 0]), 2 * half, rtol=1e-6)


def test_cells_by_change_have_the_interval_of_change(explained: AnnData) -> None:
    how = {**ALL, "cells": "cell0", "rank_by": "change"}
    assert rankings_table(explained, **how, n_genes=3)["error"].isna().all()  # none is stored
    adata = explained.copy()
    adata.layers["sensx_change_se"] = 0.1 * adata.layers["sensx_change"]
    table = rankings_table(adata, **how, n_genes=3)
    np.testing.assert_allclose(table["error"], 0.1 * table["size"], rtol=1e-6)
    ax = sx.pl.rankings(adata, cells="cell0", rank_by="change", n_genes=3)
    (bars,) = ax.collections
    widths = np.ptp(np.array(bars.get_segments())[:, :, 0], axis=1)
    half = student.ppf(0.975, 10 - 1) * table["error"]
    np.testing.assert_allclose(widths, 2 * half, rtol=1e-6)
    assert ax.get_xlabel() == "|change in probability|"
    assert "95 % interval" in legend_texts(ax)


@pytest.mark.parametrize(
    ("params", "blocks"),
    [
        ({}, 10),
        ({"n_blocks": 4}, 4),
        ({"n_blocks": 20, "top_k": 5}, 4),  # a race may have decided genes at its first look
        ({"n_blocks": 100, "until_stable": True}, 6),
    ],
)
def test_few_blocks_of_walks_make_wide_intervals(
    make_explained: Callable[..., AnnData], params: dict[str, object], blocks: int
) -> None:
    adata = make_explained(30, 10)
    adata.uns["sensx"]["params"] |= params
    adata.uns["sensx"]["cells"] = pd.DataFrame(
        {"n_walks": [0, 120, 200]}, index=["cell1", "cell0", "cell3"]
    )
    table = rankings_table(adata, **{**ALL, "cells": "cell0"}, n_genes=3)
    assert table["means"].tolist() == [blocks] * 3
    ranked = adata.obs["sensx_status"] == "resolved"
    first = adata.obs_names[ranked & (adata.obs["cell_type"] == "NK")][0]
    alone = adata[(adata.obs["cell_type"] != "NK") | (adata.obs_names == first)].copy()
    sx.tl.rank_groups(alone, "cell_type")
    table = rankings_table(alone, **{**ALL, "key": "sensx_cell_type"}, n_genes=3)
    assert set(table.loc[table["panel"] == "NK", "means"]) == {blocks}  # one cell: its walks
    assert table.loc[table["panel"] != "NK", "means"].min() > 4  # several: the cells


def test_unknown_sign_is_grey(make_explained: Callable[..., AnnData]) -> None:
    adata = make_explained(30, 10, statistics=())
    ax = sx.pl.rankings(adata, cells="cell0", n_genes=2)
    assert {to_hex(bar.get_edgecolor()) for bar in ax.patches} == {UNSIGNED}
    assert "sign unknown or zero" in legend_texts(ax)


def test_other_quantities(make_explained: Callable[..., AnnData]) -> None:
    adata = make_explained(30, 10)
    adata.uns["sensx"]["params"]["qoi"] = "<function>"
    ax = sx.pl.rankings(adata, groups="NK", rank_by="change")
    assert ax.get_xlabel() == "|change in q|"
    assert "more expression: q up" in legend_texts(ax)


def test_rankings_by_a_statistic_of_rank_groups(make_explained: Callable[..., AnnData]) -> None:
    adata = make_explained(60, 20)
    sx.tl.rank_groups(adata, "cell_type", statistic="std")
    ax = sx.pl.rankings(adata, groups="NK", n_genes=2, key="sensx_cell_type")
    assert ax.get_xlabel().startswith("sd of change")


def test_axes_of_the_caller(explained: AnnData) -> None:
    figure, mine = plt.subplots(1, 3)
    assert sx.pl.rankings(explained, groups="NK", n_genes=3, ax=mine[0]) is mine[0]
    assert mine[0].get_legend() is not None
    assert not figure.legends
    axes = sx.pl.rankings(explained, n_genes=3, ax=mine)
    assert list(axes) == list(mine)
    assert len(plt.get_fignums()) == 1


def test_open_bars_have_no_fill(explained: AnnData) -> None:
    ax = sx.pl.rankings(explained, groups="NK", presence="absent", n_genes=4)
    assert {bar.get_facecolor() for bar in ax.patches} == {to_rgba("none")}


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"key": "other"}, KeyError, "run sx.tl.sensx.*'sensx'"),
        ({"groups": "T"}, KeyError, "no group is named 'T'"),
        ({"cells": "x"}, KeyError, "no cell is named 'x'"),
        ({"n_genes": 0}, ValueError, "n_genes=0"),
        ({"n_genes": None, "ncols": 0}, ValueError, "ncols=0"),
        ({"presence": "yes"}, ValueError, "presence='yes'"),
        ({"rank_by": "rank"}, ValueError, "rank_by='rank'"),
        ({"ax": "axes"}, TypeError, "ax must be a matplotlib Axes.*got str"),
        ({"ax": 1}, TypeError, "got int"),
        ({"ax": []}, ValueError, "ax holds 0 Axes for 3 panels"),
    ],
)
def test_bad_input(
    explained: AnnData, arguments: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        sx.pl.rankings(explained, **arguments)


def test_a_filter_that_leaves_nothing(make_explained: Callable[..., AnnData]) -> None:
    adata = make_explained(30, 10)
    adata.uns["sensx"]["rankings"]["presence"] = 1.0
    with pytest.raises(ValueError, match="presence='absent' leaves no gene"):
        sx.pl.rankings(adata, presence="absent")


# ---- sets of genes


def _with_sets(n_sets: int, **how: object) -> AnnData:
    rng = np.random.default_rng(0)
    adata = AnnData(rng.random((8, 100)).astype(np.float32))
    adata.obs["kind"] = ["a", "b"] * 4
    w = rng.normal(size=100)
    sx.tl.sensx(
        adata, lambda z: z @ w, groups=np.arange(100) % n_sets, group_norm="none", n_walks=20,
        n_samples=20, deltas=[1.0], statistics=("value", "rank", "change", "mean"), **how,
    )  # fmt: skip
    return adata


@pytest.mark.parametrize("n_sets", [1, 50])
def test_sets_are_drawn_like_genes(n_sets: int) -> None:
    adata = _with_sets(n_sets)
    ax = sx.pl.rankings(adata)
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert len(names) == min(n_sets, 20)
    assert set(names) <= set(adata.obsm["sensx_groups"].columns)
    widths = [bar.get_width() for bar in ax.patches]
    table = sx.get.rankings(adata, n_genes=20)
    np.testing.assert_allclose(widths, table["value"])
    words = legend_texts(ax)
    assert any(word.startswith("moving it: ") for word in words)
    assert not any(word.startswith("more expression") for word in words)


def test_what_sets_hold_is_drawn_on_request() -> None:
    adata = _with_sets(10, within="genes", within_top=2)
    ax = sx.pl.rankings(adata, within=True, n_genes=5)
    assert {label.get_text() for label in ax.get_yticklabels()} <= set(adata.var_names)
    words = legend_texts(ax)
    assert any(word.startswith("more expression") for word in words)
    ax = sx.pl.rankings(adata, cells=str(adata.obs_names[0]), within=True)
    assert len(ax.get_yticklabels()) == 20
    with pytest.raises(KeyError, match="no rankings within groups: run sx.tl.sensx with `groups`"):
        sx.pl.rankings(_with_sets(10), within=True)
    with pytest.raises(KeyError, match="has nothing within groups"):
        sx.pl.rankings(_with_sets(10), cells="0", within=True)
