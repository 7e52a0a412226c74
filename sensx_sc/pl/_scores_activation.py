"""``sx.pl.scores_activation``: genes ranked in training, with every net and the top's stability."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sensx_sc.get._stored import check_count
from sensx_sc.pl._marks import GROUP_COLOURS
from sensx_sc.pl._panels import panels, place_legend
from sensx_sc.pl._tool_tables import tool_results

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

_DOT = GROUP_COLOURS[1]


def scores_activation(
    adata: AnnData, *, n_genes: int = 20, key: str = "scores", ax: Axes | None = None
) -> Axes:
    """Draw the first genes of a ranking made in training, one bar a gene.

    Bar: effective score, mean over the nets; dots: each net; at the right: in how many nets the
    gene is among the first `top_k`. Pale bars: in fewer than half of them.

    Parameters
    ----------
    adata
        Data with the results of :func:`sensx_sc.nn.fit_scores`.
    n_genes
        How many genes to show.
    key
        ``key_added`` of the results.
    ax
        Axes to draw on.

    Returns
    -------
    The Axes.

    Raises
    ------
    KeyError
        No results under `key`.
    ValueError
        ``n_genes`` is no whole number of at least 1.
    TypeError
        `ax` is no Axes.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> adata = sx.datasets.toy()
    >>> net = sx.nn.fit_scores(adata, "cell_type", n_seeds=2, progress=False)
    >>> len(sx.pl.scores_activation(adata, n_genes=5).get_yticklabels())
    5
    """
    check_count(n_genes, "n_genes")
    params = tool_results(adata, key, ["fit_scores"], room="nn")["params"]
    table, seeds = scores_table(adata, n_genes=n_genes, key=key)
    longest = int(table["names"].str.len().max())
    width, height = 3.6 + 0.075 * longest, 1.3 + 0.165 * len(table)
    (axes,), own = panels(1, ax, width=width, height=height)
    draw_scores(axes, table, seeds, int(params["n_seeds"]))
    place_legend([axes], _legend(int(params["top_k"])), own=own, entry=2.4)
    return axes


def scores_table(adata: AnnData, *, n_genes: int, key: str) -> tuple[pd.DataFrame, np.ndarray]:
    """Return what is drawn: names, rank, effective, stability; and each net's scores (n, seeds)."""
    rank = adata.var[f"{key}_rank"].to_numpy()
    shown = np.flatnonzero((rank > 0) & (rank <= n_genes))
    shown = shown[np.argsort(rank[shown])]
    table = pd.DataFrame(
        {
            "names": adata.var_names[shown].astype(str),
            "rank": rank[shown],
            "effective": adata.var[f"{key}_effective"].to_numpy()[shown],
            "stability": adata.var[f"{key}_stability"].to_numpy()[shown],
        }
    )
    return table, np.asarray(adata.varm[f"{key}_seeds"])[shown]


def draw_scores(ax: Axes, table: pd.DataFrame, seeds: np.ndarray, n_seeds: int) -> None:
    """Draw the bars, the first gene on top."""
    y = np.arange(len(table))
    stable = table["stability"].to_numpy() >= 0.5
    colours = [GROUP_COLOURS[0] if sure else "#a6cee3" for sure in stable]
    ax.barh(y, table["effective"], height=0.72, color=colours)
    ax.plot(
        seeds.ravel(), np.repeat(y, seeds.shape[1]), "o", ms=3, color=_DOT, mec="white", mew=0.3
    )
    right = max(float(seeds.max()), float(table["effective"].max())) * 1.03
    for place, share in zip(y, table["stability"], strict=True):
        ax.text(right, float(place), f"{round(share * n_seeds)}/{n_seeds}", va="center", fontsize=7)
    ax.set_xlim(0, right * 1.12)
    ax.set_yticks(y, table["names"], fontsize=8)
    ax.set_ylim(len(table) - 0.4, -0.6)
    ax.set_xlabel("effective score", fontsize=8)
    ax.tick_params(axis="x", labelsize=8)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right"]].set_visible(False)


def _legend(top_k: int) -> list[Artist]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    return [
        Patch(facecolor=GROUP_COLOURS[0], label=f"among the first {top_k} in half of the nets"),
        Patch(facecolor="#a6cee3", label="in fewer"),
        Line2D([], [], linestyle="", marker="o", ms=4, color=_DOT, label="each net"),
    ]
