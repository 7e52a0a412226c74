"""``sx.pl.landscape``: what is left of the call over scales and numbers of perturbed genes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sensx_sc.get._stored import check_names
from sensx_sc.pl._marks import MISSING
from sensx_sc.pl._panels import figure_of, one_or_all, panels
from sensx_sc.pl._tool_tables import chosen, tool_results

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd
    from anndata import AnnData
    from matplotlib.axes import Axes

EDGE, STAR_LINE = "#D55E00", "#ffffff"


def landscape(
    adata: AnnData,
    *,
    direction: Literal["top", "bottom"] = "top",
    percentile: Literal["low", "median", "high"] = "median",
    groups: str | Sequence[str] | None = None,
    cells: str | Sequence[str] | None = None,
    key: str = "sensx_landscape",
    ncols: int = 3,
    ax: Axes | Iterable[Axes] | None = None,
) -> Axes | np.ndarray[Any, Any]:
    """Draw landscapes: q / q(x) over the scale and the number of perturbed genes, a panel a group.

    Colours are means over the cells of the group. The dashed line is the (median) delta*, circles
    the Pareto set of a single cell: the smallest scales and numbers of genes that take q below the
    threshold. For a group the contour is drawn at which the mean falls below it.

    Parameters
    ----------
    adata
        Data with the results of :func:`sensx_sc.tl.landscape`.
    direction
        The ``"top"`` or the ``"bottom"`` genes of the ranking are perturbed.
    percentile
        Of q over the random points: ``"low"`` (1st), ``"median"`` or ``"high"`` (99th).
    groups
        Explained outputs to draw, in that order; None = all.
    cells
        Names of cells, for one panel a cell; not together with `groups`.
    key
        Key of the results.
    ncols
        Panels a row.
    ax
        Axes to draw on: one, or one for each panel; colour bars take their room from them.

    Returns
    -------
    The Axes; for several panels a 1-d array of them.

    Raises
    ------
    KeyError
        No results under `key`, or an unknown group or cell.
    ValueError
        Both `groups` and `cells`, an unknown direction or percentile, or another number of Axes
        than panels.
    TypeError
        `ax` is no Axes.

    Examples
    --------
    >>> import anndata as ad, numpy as np, sensx_sc as sx
    >>> adata = ad.AnnData(1 + np.random.default_rng(0).random((2, 3), dtype="float32"))
    >>> model = lambda x: x @ np.array([8.0, 1.0, 0.0])
    >>> sx.tl.sensx(adata, model, lower=0, upper=2, n_walks=20, n_samples=400)
    >>> sx.tl.landscape(adata, model)
    >>> sx.pl.landscape(adata, cells="0").get_xscale()
    'log'

    References
    ----------
    Aggarwal, Cogan, Periwal (2026), SensX, TMLR, appendix A.7.
    """
    if groups is not None and cells is not None:
        msg = "groups and cells cannot be given together: choose panels per group or per cell."
        raise ValueError(msg)
    for argument, got, allowed in (
        ("direction", direction, ("top", "bottom")),
        ("percentile", percentile, ("low", "median", "high")),
    ):
        if got not in allowed:
            msg = f"{argument}={got!r} is not one of {', '.join(map(repr, allowed))}."
            raise ValueError(msg)
    results = tool_results(adata, key, ("landscape",))
    members = _members(results["cells"], groups, cells)
    axes, own = panels(len(members), ax, width=3.7, height=2.9, ncols=ncols)
    for i, (panel, (name, some)) in enumerate(zip(axes, members.items(), strict=True)):
        table = landscape_table(results, some, direction, percentile)
        edge = results["pareto"].query("cell in @some") if len(some) == 1 else None
        about = results["cells"].query("cell in @some")
        draw_landscape(panel, table, about, edge if direction == "top" else None, name)
        if not own or i % ncols == 0:
            panel.set_ylabel(f"{direction}-ranked genes perturbed", fontsize=8)
        if not own or i + ncols >= len(axes):
            panel.set_xlabel("delta (fraction of each gene's range)", fontsize=8)
    return one_or_all(axes)


def _members(
    table: pd.DataFrame, groups: str | Sequence[str] | None, cells: str | Sequence[str] | None
) -> dict[str, list[str]]:
    """The cells of each panel."""
    if cells is not None:
        names = check_names(cells, list(table["cell"]), "cells", "cell")
        return {name: [name] for name in names}
    which = chosen(groups, table["group"], "groups", "group")
    return {name: table.loc[table["group"] == name, "cell"].tolist() for name in which}


def landscape_table(
    results: Any, cells: Sequence[str], direction: str, percentile: str
) -> pd.DataFrame:
    """Return the mean of q / q(x) over cells, numbers of genes by scales."""
    grid = results["grid"]
    grid = grid[grid["cell"].isin(cells) & (grid["direction"] == direction)]
    q_x = results["cells"].set_index("cell")["qoi"]
    ratio = grid[percentile] / grid["cell"].map(q_x)
    return grid.assign(ratio=ratio).pivot_table(index="k", columns="delta", values="ratio")


def draw_landscape(
    ax: Axes, table: pd.DataFrame, about: pd.DataFrame, edge: pd.DataFrame | None, title: str
) -> None:
    """Draw one panel: colours, contour or Pareto set, delta*."""
    deltas, ks = table.columns.to_numpy(dtype=float), table.index.to_numpy(dtype=float)
    mesh = ax.pcolormesh(
        _edges(deltas),
        _edges(ks),
        table.to_numpy(),
        cmap="viridis",
        vmin=0,
        vmax=1,
        rasterized=True,
    )
    ax.set_facecolor(MISSING)
    ax.set_xscale("log")
    ax.set_yscale("log")
    if len(deltas) == 1:
        ax.set_xticks(deltas, [f"{deltas[0]:g}"])
        ax.minorticks_off()
    share = float((about["threshold"] / about["qoi"]).mean())
    if edge is not None and len(edge):
        ax.plot(edge["delta"], edge["k"], color=EDGE, linewidth=1, alpha=0.9)
        ax.scatter(edge["delta"], edge["k"], s=22, facecolors="white", edgecolors=EDGE, zorder=3)
    elif min(table.shape) > 1 and table.min(axis=None) < share < table.max(axis=None):
        ax.contour(deltas, ks, table.to_numpy(), levels=[share], colors=EDGE, linewidths=1.4)
    star = float(about["delta_star"].median())
    ax.axvline(star, color=STAR_LINE, linestyle="--", linewidth=1.2)
    n = len(about)
    many = f" ({n} cells)" if n > 1 else ""
    ax.set_title(f"{title}{many}\ndelta* = {star:.3g}", fontsize=9)
    ax.tick_params(labelsize=8)
    bar = figure_of(ax).colorbar(mesh, ax=ax, shrink=0.85)
    bar.set_label("q / q(x)", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    bar.ax.axhline(share, color=EDGE, linewidth=1.4)


def _edges(values: np.ndarray) -> np.ndarray:
    """Borders of cells around values, half-way in the logarithm."""
    if len(values) == 1:
        return values[0] * np.array([0.8, 1.25])
    logs = np.log(values)
    middle = (logs[1:] + logs[:-1]) / 2
    return np.exp(np.concatenate([[2 * logs[0] - middle[0]], middle, [2 * logs[-1] - middle[-1]]]))
