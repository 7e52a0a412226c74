from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import pytest
from anndata import AnnData

import sensx_sc as sx
from sensx_sc.pl._heatmap import heatmap_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes


def table_of(adata: AnnData, groupby: str | None = None, n_genes: int = 3, **kw: str):
    return heatmap_table(
        adata, groupby, n_genes=n_genes, **{"statistic": "value", "key": "sensx", **kw}
    )


def strip_texts(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts]


@pytest.mark.parametrize("groupby", [None, "cell_type"])
def test_table(explained: AnnData, groupby: str | None) -> None:
    table = table_of(explained, groupby)
    genes = [f"GENE{j}" for j in (0, 2, 1, 3, 5, 4, 6, 8, 7)]
    assert table.index.get_level_values("names").tolist() == genes
    assert table.index.get_level_values("group").tolist() == sorted(
        ["CD4", "NK", "B"] * 3, key=["CD4", "NK", "B"].index
    )
    cells = table.columns.get_level_values("cell")
    assert sorted(cells) == sorted(explained.obs_names[explained.obs["sensx_status"] != "skipped"])
    groups = explained.obs["cell_type"].astype(str)[cells]
    assert table.columns.get_level_values("group").tolist() == groups.tolist()
    np.testing.assert_array_equal(table, explained[cells, genes].layers["sensx"].T)
    status = explained.obs["sensx_status"].astype(str)[cells].isin(["insensitive", "failed"])
    np.testing.assert_array_equal(table.isna().all(), status)


def test_a_gene_of_many_groups_is_shown_once(explained: AnnData) -> None:
    names = table_of(explained, n_genes=60).index.get_level_values("names")
    assert names.is_unique
    assert len(names) == 59


def test_drawn(explained: AnnData) -> None:
    ax = sx.pl.heatmap(explained, n_genes=3)
    (image,) = ax.images
    assert image.get_array().shape == (9, 287)
    assert image.get_array().mask.any()
    assert image.cmap.name == "viridis"
    assert image.cmap.get_bad()[3] == 1
    assert [label.get_text() for label in ax.get_yticklabels()][:2] == ["GENE0", "GENE2"]
    assert all(label.get_rotation() == 0 for label in ax.get_yticklabels())
    assert strip_texts(ax) == ["CD4", "NK", "B"]
    assert len(ax.patches) == 6  # the strips above and to the left
    assert ax.get_xlabel() == "287 cells"
    (text,) = ax.get_legend().get_texts()
    assert "no attribution" in text.get_text()
    bar = ax.figure.axes[1]
    assert bar.get_ylabel() == "|change in probability|\nper unit of expression"


def test_signed_colours_are_centred(explained: AnnData) -> None:
    (image,) = sx.pl.heatmap(explained, rank_by="mean").images
    assert image.cmap.name == "RdBu_r"
    assert image.norm.vmin == -image.norm.vmax


def test_nothing_missing(make_explained: Callable[..., AnnData]) -> None:
    adata = make_explained(60, 20)
    adata = adata[adata.obs["sensx_status"] == "resolved"].copy()
    assert sx.pl.heatmap(adata, n_genes=2).get_legend() is None


def test_default_statistic_needs_its_layer(make_explained: Callable[..., AnnData]) -> None:
    adata = make_explained(60, 20)
    adata.uns["sensx"]["params"]["rank_by"] = "change"
    assert sx.pl.heatmap(adata, n_genes=2).figure.axes[1].get_ylabel() == "|change in probability|"
    del adata.layers["sensx_change"]
    assert "per unit" in sx.pl.heatmap(adata, n_genes=2).figure.axes[1].get_ylabel()
    with pytest.raises(KeyError, match="rank_by='change' needs the layer 'sensx_change'"):
        sx.pl.heatmap(adata, rank_by="change")


def test_results_of_rank_groups(make_explained: Callable[..., AnnData]) -> None:
    adata = make_explained(60, 20)
    adata.obs["half"] = np.resize(["x", "y"], 60)
    sx.tl.rank_groups(adata, "half")
    assert strip_texts(sx.pl.heatmap(adata, key="sensx_half", n_genes=2)) == ["x", "y"]


@pytest.mark.parametrize(("n_groups", "rotation"), [(1, 0), (50, 90)])
def test_group_labels(
    make_explained: Callable[..., AnnData], n_groups: int, rotation: float
) -> None:
    ax = sx.pl.heatmap(make_explained(6 * n_groups, 30, n_groups), n_genes=1)
    assert len(ax.texts) == n_groups
    assert {text.get_rotation() for text in ax.texts} == {rotation}


def test_axes_of_the_caller(explained: AnnData) -> None:
    _, mine = plt.subplots()
    assert sx.pl.heatmap(explained, n_genes=2, ax=mine) is mine
    with pytest.raises(TypeError, match="ax must be a matplotlib Axes"):
        sx.pl.heatmap(explained, ax="mine")


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"key": "other"}, KeyError, "run sx.tl.sensx.*'sensx'"),
        ({"groupby": "type"}, KeyError, "groupby='type' is no column.*'cell_type'"),
        ({"groupby": "sensx_qoi"}, ValueError, "has the dtype float64"),
        ({"n_genes": 0}, ValueError, "n_genes=0"),
        ({"rank_by": "std"}, ValueError, "rank_by='std' is not one of"),
    ],
)
def test_bad_input(
    explained: AnnData, arguments: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        sx.pl.heatmap(explained, **arguments)


@pytest.mark.parametrize("n_sets", [1, 50])
def test_sets_are_drawn_like_genes(n_sets: int) -> None:
    rng = np.random.default_rng(0)
    adata = AnnData(rng.random((8, 100)).astype(np.float32))
    adata.obs["kind"] = ["a", "b"] * 4
    w = rng.normal(size=100)
    sx.tl.sensx(
        adata, lambda z: z @ w, groups=np.arange(100) % n_sets, group_norm="none", within="genes",
        within_top=1, n_walks=20, n_samples=20, deltas=[1.0], rank_by="change",
        statistics=("value", "rank", "change"),
    )  # fmt: skip
    table = heatmap_table(adata, "kind", n_genes=50, statistic="change", key="sensx")
    assert len(table) == n_sets
    for (_, name), row in table.iterrows():
        for (_, cell), value in row.items():
            assert value == adata.obsm["sensx_groups_change"].loc[cell, name]
    ax = sx.pl.heatmap(adata, groupby="kind", n_genes=10)
    names = set(table.index.get_level_values("names"))
    assert {label.get_text() for label in ax.get_yticklabels()} <= names
    inside = heatmap_table(adata, None, n_genes=5, statistic="change", key="sensx", within=True)
    assert set(inside.index.get_level_values(1)) <= set(adata.var_names)
    ax = sx.pl.heatmap(adata, n_genes=5, within=True)
    assert np.isnan(inside.to_numpy()).any() == (n_sets > 1)
    if n_sets > 1:
        words = [text.get_text() for text in ax.get_legend().get_texts()]
        assert words == ["not in a top group of the cell, or no attribution"]
