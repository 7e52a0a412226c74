from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import pytest

import sensx_sc as sx
from sensx_sc.pl._envelope import envelope_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from anndata import AnnData


def test_table(explained: AnnData) -> None:
    table = envelope_table(explained, ["cell3", "cell0"], key="sensx")
    assert table["cell"].drop_duplicates().tolist() == ["cell3", "cell0"]
    one = table[table["cell"] == "cell0"]
    np.testing.assert_array_equal(one["delta"], explained.uns["sensx"]["deltas"])
    np.testing.assert_array_equal(one[["low", "high"]], explained.obsm["sensx_envelope"][0])
    assert one["q"].unique() == explained.obs["sensx_qoi"]["cell0"]


def test_band_delta_star_q_and_tau(explained: AnnData) -> None:
    ax = sx.pl.envelope(explained, "cell0")
    assert ax.get_xscale() == "log"
    assert len(ax.collections) == 1
    lines = {(line.get_linestyle(), line.get_color()): line for line in ax.lines}
    assert len(ax.lines) == 6  # two edges, q(x), delta*, two ends of tau
    q, star = explained.obs.loc["cell0", ["sensx_qoi", "sensx_delta_star"]]
    assert lines["--", "black"].get_ydata() == [q, q]
    assert any(list(line.get_xdata()) == [star, star] for line in ax.lines)
    dotted = [line.get_ydata()[0] for line in ax.lines if line.get_linestyle() == ":"]
    assert np.diff(dotted) == pytest.approx(0.1)
    band = explained.obsm["sensx_envelope"][0][explained.uns["sensx"]["deltas"] > star]
    assert dotted[0] < band.min() < band.max() < dotted[1]
    assert ax.get_title() == f"cell0\ndelta* = {star:.3g}, resolved"
    (legend,) = ax.figure.legends
    assert "span of tau = 0.1" in [text.get_text() for text in legend.get_texts()]


@pytest.mark.parametrize(
    ("cell", "title", "n_lines"),
    [
        ("cell1", "delta* = 0, insensitive", 5),
        ("cell2", "delta* = 0.0001, left-censored", 6),
        ("cell3", "delta* = 1, unsaturated", 6),
    ],
)
def test_statuses(explained: AnnData, cell: str, title: str, n_lines: int) -> None:
    ax = sx.pl.envelope(explained, cell)
    assert ax.get_title() == f"{cell}\n{title}"
    assert len(ax.lines) == n_lines


def test_grids(make_explained: Callable[..., AnnData]) -> None:
    """A linear grid gets a linear axis; points that were not evaluated are left out."""
    adata = make_explained(30, 10)
    adata.obsm["sensx_envelope"][0, :5] = np.nan
    ax = sx.pl.envelope(adata, "cell0")
    assert len(ax.lines[0].get_xdata()) == 20
    adata.uns["sensx"]["deltas"] = np.linspace(0.02, 1, 25)
    assert sx.pl.envelope(adata, "cell0").get_xscale() == "linear"
    adata.obsm["sensx_envelope"][0, 2:] = np.nan
    adata.obsm["sensx_envelope"][0, :2] = 0.5
    assert sx.pl.envelope(adata, "cell0").get_xscale() == "linear"


def test_one_panel_a_cell(explained: AnnData) -> None:
    cells = [f"cell{i}" for i in (0, 1, 2, 3, 6)]
    axes = sx.pl.envelope(explained, cells, ncols=2)
    assert [ax.get_title().split("\n")[0] for ax in axes] == cells
    _, mine = plt.subplots(1, 2)
    assert list(sx.pl.envelope(explained, cells[:2], ax=mine)) == list(mine)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"cells": "cell0", "key": "other"}, KeyError, "run sx.tl.sensx.*'sensx'"),
        ({"cells": "x"}, KeyError, "no cell is named 'x'"),
        ({"cells": []}, ValueError, "cells is empty"),
        ({"cells": "cell4"}, ValueError, "'cell4' has no envelope, its status is 'failed'"),
        ({"cells": "cell5"}, ValueError, "'skipped'"),
        ({"cells": "cell0", "ax": 3}, TypeError, "got int"),
        ({"cells": "cell0", "ax": []}, ValueError, "ax holds 0 Axes for 1 panels"),
        ({"cells": "cell0", "ncols": -1}, ValueError, "ncols=-1"),
    ],
)
def test_bad_input(
    explained: AnnData, arguments: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        sx.pl.envelope(explained, **arguments)


def test_no_envelopes(make_explained: Callable[..., AnnData]) -> None:
    adata = make_explained(30, 10)
    del adata.obsm["sensx_envelope"]
    with pytest.raises(KeyError, match=r"adata\.obsm\['sensx_envelope'\].*'X_umap'"):
        sx.pl.envelope(adata, "cell0")
