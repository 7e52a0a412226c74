from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import LogNorm

import sensx_sc as sx
from sensx_sc.pl._embedding import embedding_table
from sensx_sc.pl._marks import STATUS_COLOURS

if TYPE_CHECKING:
    from collections.abc import Callable

    from anndata import AnnData
    from matplotlib.axes import Axes


def legend_texts(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_table_of_a_gene(explained: AnnData) -> None:
    table = embedding_table(explained, "umap", color="GENE3", statistic="mean", key="sensx")
    assert table["cell"].tolist() == explained.obs_names.tolist()
    np.testing.assert_array_equal(table[["x", "y"]], explained.obsm["X_umap"])
    np.testing.assert_array_equal(table["color"], explained[:, "GENE3"].layers["sensx_mean"][:, 0])


@pytest.mark.parametrize("basis", ["umap", "X_umap"])
def test_gene(explained: AnnData, basis: str) -> None:
    ax = sx.pl.embedding(explained, basis, color="GENE3")
    without, cells = ax.collections
    n = int(explained.obs["sensx_status"].isin(["resolved", "left_censored", "unsaturated"]).sum())
    assert len(cells.get_offsets()) == n
    assert len(without.get_offsets()) == 300 - n
    assert legend_texts(ax) == [f"no value ({300 - n})"]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == ("UMAP1", "UMAP2", "GENE3")
    bar = ax.figure.axes[1]
    assert bar.get_ylabel() == "|change in probability|\nper unit of expression"
    shown = cells.get_array()
    assert (np.diff(np.abs(shown)) >= 0).all()  # the largest are on top


def test_signed_statistic_is_centred(explained: AnnData) -> None:
    cells = sx.pl.embedding(explained, "umap", color="GENE4", statistic="mean").collections[-1]
    assert cells.cmap.name == "RdBu_r"
    assert cells.norm.vmin == -cells.norm.vmax


def test_delta_star_is_logarithmic(explained: AnnData) -> None:
    ax = sx.pl.embedding(explained, "umap", color="delta_star")
    cells = ax.collections[-1]
    assert isinstance(cells.norm, LogNorm)
    assert "fraction" in ax.figure.axes[1].get_ylabel()
    assert len(cells.get_offsets()) == (explained.obs["sensx_delta_star"] > 0).sum()


def test_equal_values(make_explained: Callable[..., AnnData]) -> None:
    adata = make_explained(30, 10)
    adata.obs["sensx_delta_star"] = 0.1
    norm = sx.pl.embedding(adata, "umap", color="delta_star").collections[-1].norm
    assert norm.vmin < 0.1 < norm.vmax


def test_qoi(explained: AnnData) -> None:
    ax = sx.pl.embedding(explained, "umap", color="qoi")
    assert ax.figure.axes[1].get_ylabel() == "probability"
    assert ax.collections[-1].norm.vmin > 0.9


def test_status(explained: AnnData) -> None:
    ax = sx.pl.embedding(explained, "umap", color="status")
    counts = explained.obs["sensx_status"].value_counts()
    names = [name for name in STATUS_COLOURS if name != "skipped"]
    assert legend_texts(ax) == [
        f"not analysed ({counts['skipped']})",
        *(f"{name.replace('_', '-')} ({counts[name]})" for name in names),
    ]
    assert len(ax.figure.axes) == 1


def test_targets(make_explained: Callable[..., AnnData]) -> None:
    ax = sx.pl.embedding(make_explained(60, 10), "umap", color="target")
    assert len(ax.collections) == 4
    ax = sx.pl.embedding(make_explained(500, 10, 50), "umap", color="target")
    assert len(ax.texts) == 50  # named on the map, since colours repeat


def test_untested_gene(explained: AnnData) -> None:
    ax = sx.pl.embedding(explained, "umap", color="GENE59")
    assert legend_texts(ax) == ["no value (300)"]


def test_counts_of_steps(explained: AnnData) -> None:
    ax = sx.pl.embedding(explained, "umap", color="GENE0", statistic="n")
    assert ax.figure.axes[1].get_ylabel() == "valid steps"
    assert set(ax.collections[-1].get_array()) == {200}


def test_axes_of_the_caller(explained: AnnData) -> None:
    _, mine = plt.subplots()
    assert sx.pl.embedding(explained, "umap", color="status", ax=mine) is mine


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"key": "other"}, KeyError, "run sx.tl.sensx.*'sensx'"),
        ({"basis": "tsne"}, KeyError, "neither 'tsne' nor 'X_tsne'.*'X_umap'"),
        ({"basis": "sensx_envelope"}, ValueError, r"has the shape \(300, 25, 2\)"),
        ({"color": "gene3"}, KeyError, "color='gene3' is neither a gene nor one of 'delta_star'"),
        ({"statistic": "rank"}, ValueError, "statistic='rank' is not one of"),
        ({"ax": 0}, TypeError, "ax must be a matplotlib Axes"),
    ],
)
def test_bad_input(
    explained: AnnData, arguments: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        sx.pl.embedding(explained, **{"basis": "umap", "color": "GENE3", **arguments})


def test_statistic_that_is_not_stored(make_explained: Callable[..., AnnData]) -> None:
    with pytest.raises(KeyError, match="statistics=\\('value', 'std'\\)"):
        sx.pl.embedding(
            make_explained(30, 10, statistics=()), "umap", color="GENE0", statistic="std"
        )
