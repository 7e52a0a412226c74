"""``sx.pl.differences``: genes that matter more in one group of cells than in another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.get._stored import check_count, check_stored, stored_rankings
from sensx_sc.pl._marks import LOWERS, RAISES, UNSIGNED
from sensx_sc.pl._panels import one_or_all, panels
from sensx_sc.pl._tool_tables import chosen

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd
    from anndata import AnnData
    from matplotlib.axes import Axes

_LEAST_P = 1e-300
_APART = 0.035  # of the axis: labels closer than this cover each other


def differences(
    adata: AnnData,
    *,
    groups: str | Sequence[str] | None = None,
    n_genes: int = 8,
    alpha: float = 0.05,
    key: str,
    ncols: int = 3,
    ax: Axes | Iterable[Axes] | None = None,
) -> Axes | np.ndarray[Any, Any]:
    """Draw effect against adjusted p-value of every gene, a panel a group (a volcano).

    Right: genes that matter more in the group than in the reference; left: less. Genes with
    an adjusted p-value above `alpha` are grey; the first of each side are named.

    Parameters
    ----------
    adata
        Data with the results of :func:`sensx_sc.tl.rank_groups` with a ``reference``.
    groups
        Groups to draw, in that order; None = all.
    n_genes
        Genes to name on each side.
    alpha
        Level of the adjusted p-values.
    key
        ``key_added`` of the results.
    ncols
        Panels a row.
    ax
        Axes to draw on: one, or one for each group.

    Returns
    -------
    The Axes; for several groups a 1-d array of them.

    Raises
    ------
    KeyError
        No results under `key`, or an unknown group.
    ValueError
        Results without a comparison, an argument out of its range, or another number of Axes than
        groups.
    TypeError
        `ax` is no Axes.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> adata = sx.datasets.toy()
    >>> net = sx.models.fit_mlp(adata, "cell_type", "A", hidden=(16,), epochs=20, progress=False)
    >>> sx.tl.sensx(adata, net, n_walks=20, n_samples=400, progress=False)
    >>> sx.tl.rank_groups(adata, "cell_type", reference="rest")
    >>> sx.pl.differences(adata, groups="A", key="sensx_cell_type").get_title()
    'A against rest'
    """
    check_count(n_genes, "n_genes")
    if not 0 < alpha < 1:
        msg = f"alpha={alpha!r} must lie between 0 and 1."
        raise ValueError(msg)
    params = check_stored(adata, key)["params"]
    table = stored_rankings(adata, key)
    if "pval_adj" not in table:
        msg = (
            f"key={key!r} holds no comparison; run sx.tl.rank_groups(..., reference='rest') or "
            "with a group as the reference."
        )
        raise ValueError(msg)
    names = chosen(groups, table["group"], "groups", "group")
    axes, own = panels(len(names), ax, width=3.6, height=3.1, ncols=ncols)
    for i, (panel, name) in enumerate(zip(axes, names, strict=True)):
        title = f"{name} against {params['reference']}"
        draw_differences(panel, table[table["group"] == name], n_genes, alpha, title)
        if not own or i % ncols == 0:
            panel.set_ylabel("- log10 adjusted p", fontsize=8)
        if not own or i + ncols >= len(names):
            panel.set_xlabel(f"effect on {params['rank_by']} (rank-biserial)", fontsize=8)
    return one_or_all(axes)


def draw_differences(ax: Axes, table: pd.DataFrame, n_genes: int, alpha: float, title: str) -> None:
    """Draw one group's genes."""
    table = table[table["pval_adj"].notna()]
    effect = table["effect"].to_numpy()
    height = -np.log10(np.maximum(table["pval_adj"].to_numpy(), _LEAST_P))
    found = (table["pval_adj"] <= alpha).to_numpy()
    colour = np.where(found, np.where(effect > 0, RAISES, LOWERS), UNSIGNED)
    ax.scatter(effect, height, s=9, c=colour, alpha=0.6, linewidths=0, rasterized=True)
    ax.axhline(-np.log10(alpha), color="0.5", linestyle=":", linewidth=1)
    ax.axvline(0, color="0.8", linewidth=0.8, zorder=0)
    top = max(float(height.max(initial=0.0)) * 1.06, -2 * np.log10(alpha))
    ax.set_ylim(-0.02 * top, top)
    ax.set_xlim(-1.6, 1.6)  # room for names
    ax.set_xticks([-1, -0.5, 0, 0.5, 1])
    for side in (1, -1):
        mine = np.flatnonzero(found & (np.sign(effect) == side))
        first = mine[np.lexsort((-np.abs(effect[mine]), -height[mine]))][:n_genes]
        _name(ax, table["names"].to_numpy(), effect, height, first, side, top)
    ax.set_title(title, fontsize=9)
    ax.tick_params(labelsize=8)
    ax.spines[["top", "right"]].set_visible(False)


def _name(
    ax: Axes,
    names: np.ndarray,
    effect: np.ndarray,
    height: np.ndarray,
    which: np.ndarray,
    side: int,
    top: float,
) -> None:
    """Write names beside their points, below each other where they would cover each other."""
    last = np.inf
    for j in which[np.argsort(-height[which], kind="stable")]:
        y = min(float(height[j]), last - _APART * top)
        last = y
        ax.annotate(
            str(names[j]), (effect[j], height[j]), xytext=(effect[j] + 0.05 * side, y),
            textcoords="data", fontsize=6.5, va="center", ha="left" if side > 0 else "right",
        )  # fmt: skip
