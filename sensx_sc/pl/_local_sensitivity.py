"""``sx.pl.local_sensitivity``: signed slopes of the first genes of each group or cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sensx_sc.get._rankings import PRESENT_FROM
from sensx_sc.get._stored import check_count, check_names, lower_bounds, read_rows
from sensx_sc.pl._marks import quantity, unit
from sensx_sc.pl._panels import one_or_all, panels, place_legend
from sensx_sc.pl._rankings import draw_rankings, rankings_legend
from sensx_sc.pl._tool_tables import tool_results

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from anndata import AnnData
    from matplotlib.axes import Axes


def local_sensitivity(
    adata: AnnData,
    *,
    groups: str | Sequence[str] | None = None,
    cells: str | Sequence[str] | None = None,
    n_genes: int = 20,
    key: str = "local_sensitivity",
    ncols: int = 4,
    ax: Axes | Iterable[Axes] | None = None,
) -> Axes | np.ndarray[Any, Any]:
    """Draw the steepest genes of each group (or cell) as signed bars, one panel each.

    A bar to the right: more expression raises q; to the left: it lowers it. Intervals of 95 %: of
    a group, of the mean slope over its cells; of a cell, from the roughness of the response.
    Filled: the gene is above its lower bound in at least half of the group's cells (in the cell).

    Parameters
    ----------
    adata
        Data with the results of :func:`sensx_sc.tl.local_sensitivity`.
    groups
        Explained outputs to draw, in that order; None = all.
    cells
        Names of cells, for one panel a cell; not together with `groups`.
    n_genes
        How many genes a panel shows.
    key
        ``key_added`` of the results.
    ncols
        Panels a row.
    ax
        Axes to draw on: one, or one for each panel.

    Returns
    -------
    The Axes; for several panels a 1-d array of them.

    Raises
    ------
    KeyError
        No results under `key`; an unknown group or cell.
    ValueError
        Both `groups` and `cells`, a cell without slopes, another number of Axes than panels.
    TypeError
        `ax` is no Axes.

    Examples
    --------
    >>> import numpy as np, sensx_sc as sx
    >>> adata = sx.datasets.toy()
    >>> weights = np.linspace(-1, 1, adata.n_vars)
    >>> sx.tl.local_sensitivity(adata, lambda x: x @ weights, progress=False)
    >>> ax = sx.pl.local_sensitivity(adata, n_genes=2)
    >>> sorted(label.get_text() for label in ax.get_yticklabels())
    ['gene_0', 'gene_19']
    """
    check_count(n_genes, "n_genes")
    table = slopes_table(adata, groups=groups, cells=cells, n_genes=n_genes, key=key)
    params = tool_results(adata, key, ["local_sensitivity"])["params"]
    names = list(pd.unique(table["panel"]))
    longest = int(table["names"].str.len().max())
    shown = int(table.groupby("panel", sort=False).size().max())
    axes, own = panels(
        len(names),
        ax,
        width=2.3 + 0.075 * longest + 2.0 * (len(names) == 1),
        height=1.3 + 0.165 * shown,
        ncols=ncols,
    )
    for i, (panel, name) in enumerate(zip(axes, names, strict=True)):
        draw_rankings(panel, table[table["panel"] == name], name)
        panel.margins(x=0.08)
        if not own or i + ncols >= len(axes):
            panel.set_xlabel(unit("mean", params), fontsize=8)
    legend = rankings_legend(table, quantity(params), one_cell=cells is not None)
    place_legend(axes, legend, own=own, entry=2.6)
    return one_or_all(axes)


def slopes_table(
    adata: AnnData,
    *,
    groups: str | Sequence[str] | None,
    cells: str | Sequence[str] | None,
    n_genes: int,
    key: str,
) -> pd.DataFrame:
    """Return what is drawn: ``panel, names, rank, size, error, means, sign, present``."""
    stored = tool_results(adata, key, ["local_sensitivity"])
    if groups is not None and cells is not None:
        msg = "groups and cells cannot be given together: choose panels per group or per cell."
        raise ValueError(msg)
    if cells is not None:
        return _cells_table(adata, cells, n_genes, key)
    table: pd.DataFrame = stored["slopes"]
    there = list(pd.unique(table["group"]))
    wanted = there if groups is None else check_names(groups, there, "groups", "group")
    parts = [table[(table["group"] == name) & (table["rank"] <= n_genes)] for name in wanted]
    table = pd.concat(parts, ignore_index=True)
    return pd.DataFrame(
        {
            "panel": table["group"].astype(str),
            "names": table["names"].astype(str),
            "rank": table["rank"],
            "size": table["slope"],
            "error": table["slope_se"],
            "means": table["n_cells"].astype(float).where(table["n_cells"] > 1, np.inf),
            "sign": np.sign(table["slope"]),
            "present": table["presence"] >= PRESENT_FROM,
        }
    )


def _cells_table(
    adata: AnnData, cells: str | Sequence[str], n_genes: int, key: str
) -> pd.DataFrame:
    names = check_names(cells, adata.obs_names, "cells", "cell")
    rows = adata.obs_names.get_indexer(names)
    slope = read_rows(adata.layers[key], rows).astype(np.float64)
    error = np.full(slope.shape, np.nan)
    if f"{key}_se" in adata.layers:
        error = read_rows(adata.layers[f"{key}_se"], rows).astype(np.float64)
    layer = tool_results(adata, key, ["local_sensitivity"])["params"]["layer"]
    x = read_rows(adata.X if layer is None else adata.layers[layer], rows)
    present = x > lower_bounds(adata, key)
    parts = []
    for i, name in enumerate(names):
        tested = np.flatnonzero(~np.isnan(slope[i]))
        if not len(tested):
            msg = f"cells: {name!r} has no slopes in adata.layers[{key!r}]."
            raise ValueError(msg)
        first = tested[np.argsort(-np.abs(slope[i, tested]), kind="stable")][:n_genes]
        part = pd.DataFrame({"panel": name, "names": adata.var_names[first].astype(str)})
        part["rank"] = np.arange(1, len(first) + 1)
        part["size"], part["error"] = slope[i, first], error[i, first]
        part["means"] = np.inf  # this error is no spread of means
        part["sign"] = np.sign(part["size"])
        part["present"] = present[i, first]
        parts.append(part)
    return pd.concat(parts, ignore_index=True)
