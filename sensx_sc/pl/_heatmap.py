"""``sx.pl.heatmap``: the first genes of each group in every explained cell."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from sensx_sc.get._columns import check_statistic, columns_of
from sensx_sc.get._rankings import rankings as get_rankings
from sensx_sc.get._stored import (
    check_count,
    check_stored,
    kept_only,
    quoted,
    read_values,
    row_blocks,
    source_key,
)
from sensx_sc.pl._marks import MISSING, group_colours, unit
from sensx_sc.pl._panels import figure_of, panels
from sensx_sc.words import RANK_BY

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes


def heatmap(
    adata: AnnData,
    *,
    groupby: str | None = None,
    rank_by: Literal["value", "change", "mean"] | None = None,
    n_genes: int = 10,
    within: bool = False,
    key: str = "sensx",
    ax: Axes | None = None,
) -> Axes:
    """Draw a statistic of the first genes of each group, genes by cells.

    A row is a gene: the first `n_genes` of each group, each gene once, in the group where it ranks
    best. A column is an analysed cell; the strip on top tells its group. Cells without
    attribution (insensitive, failed), and what ``keep="top:500"`` has not kept of a cell, are
    grey. Colours end at the 99th percentile of what is shown.

    Parameters
    ----------
    adata
        Data with the results of :func:`sensx_sc.tl.sensx` or :func:`sensx_sc.tl.rank_groups`.
    groupby
        Column of ``adata.obs``; its rankings are computed as :func:`sensx_sc.tl.rank_groups` does.
        None = the grouping of the results `key` (the explained target).
    rank_by
        ``"value"``, ``"change"`` or ``"mean"``: ranks the genes and is what the colours show.
        None = as stored, if that layer is, else ``"value"``.
    n_genes
        Genes a group.
    within
        Of results with ``groups``, whose sets are drawn in the place of genes, and ``within``:
        draw what the top sets were taken apart into.
    key
        ``key_added`` of the results.
    ax
        Axes to draw on; the colour bar takes its room from it.

    Returns
    -------
    The Axes.

    Raises
    ------
    KeyError
        No results under `key`, no such column, or a statistic that was not stored.
    ValueError
        An argument out of its range, or no attributed cell in any group.
    TypeError
        `ax` is no Axes.

    Examples
    --------
    >>> import anndata as ad, numpy as np, sensx_sc as sx
    >>> adata = ad.AnnData(np.random.default_rng(0).random((6, 3), dtype="float32"))
    >>> sx.tl.sensx(adata, lambda x: x @ np.array([3.0, -1.0, 0.0]), n_walks=20, n_samples=400)
    >>> ax = sx.pl.heatmap(adata, n_genes=2)
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['0', '1']

    References
    ----------
    Aggarwal, Cogan, Periwal (2026), SensX, TMLR, eq. 3.
    """
    statistic = _statistic(adata, rank_by, key, within=within)
    table = heatmap_table(
        adata, groupby, n_genes=n_genes, statistic=statistic, key=key, within=within
    )
    longest = max(len(str(name)) for _, name in table.index)
    groups = list(dict.fromkeys(table.columns.get_level_values("group")))
    (axes,), _ = panels(
        1,
        ax,
        width=max(5.5, 0.3 * len(groups)) + 0.07 * longest,
        height=1.2 + max(1.5, 0.16 * len(table)) + 0.07 * _crowded(groups) * max(map(len, groups)),
    )
    label = unit(statistic, check_stored(adata, key)["params"])
    bare = "no attribution (insensitive or failed)"
    if (k := kept_only(adata, source_key(adata, key))) is not None:
        bare = f"not among the {k} genes kept of the cell, or no attribution"
    elif within:
        bare = "not in a top group of the cell, or no attribution"
    draw_heatmap(axes, table, label, signed=statistic == "mean", bare=bare)
    return axes


def heatmap_table(
    adata: AnnData,
    groupby: str | None,
    *,
    n_genes: int,
    statistic: str,
    key: str,
    within: bool = False,
) -> pd.DataFrame:
    """Return what is drawn: rows (group, names), columns (group, cell), values or NaN."""
    from sensx_sc.tl._rank_groups import group_table

    check_count(n_genes, "n_genes")
    columns = columns_of(adata, key, within=within)
    prefix = columns.prefix
    stored = check_stored(adata, key)
    column = str(stored["params"]["groupby"]) if groupby is None else groupby
    if column not in adata.obs:
        msg = (
            f"groupby={column!r} is no column of adata.obs; it has the columns "
            f"{quoted(adata.obs.columns)}."
        )
        raise KeyError(msg)
    if groupby is None:
        ranked = get_rankings(adata, rank_by=statistic, within=within, key=key)  # type: ignore[arg-type]
    else:
        ranked = group_table(adata, groupby, statistic=statistic, key=prefix, within=within)
    ranked = ranked[ranked["names"].isin(columns.names)]  # covariates have a table of their own
    groups = list(dict.fromkeys(ranked["group"]))
    first = ranked[ranked["rank"] <= n_genes].sort_values("rank", kind="stable")
    first = first.drop_duplicates("names")
    place = {name: i for i, name in enumerate(groups)}
    first = first.iloc[np.lexsort((first["rank"], first["group"].map(place)))]
    genes = columns.names.get_indexer_for(first["names"])

    group = adata.obs[column].astype(object)
    code = group.where(group.notna(), "").astype(str).map(place)
    status = adata.obs[f"{prefix}_status"].astype(str).to_numpy()
    rows = np.flatnonzero(code.notna().to_numpy() & (status != "skipped"))
    bare = np.isin(status[rows], ["insensitive", "failed"])
    rows = rows[np.lexsort((rows, bare, code.to_numpy()[rows]))].astype(np.intp)
    if len(rows) == 0:
        msg = f"groupby={column!r}: no analysed cell in the groups {quoted(groups)}."
        raise ValueError(msg)
    array = columns.statistics(adata)[statistic]
    values = np.concatenate(
        [read_values(array, block)[:, genes] for block in row_blocks(rows, len(columns.names))]
    )
    cells = [code.to_numpy()[rows].astype(int), adata.obs_names.to_numpy()[rows]]
    cells[0] = np.asarray(groups, dtype=object)[cells[0]]
    return pd.DataFrame(
        values.T,
        index=pd.MultiIndex.from_arrays([first["group"], first["names"]], names=["group", "names"]),
        columns=pd.MultiIndex.from_arrays(cells, names=["group", "cell"]),
    )


def draw_heatmap(
    ax: Axes, table: pd.DataFrame, label: str, *, signed: bool, bare: str = "no value"
) -> None:
    """Draw the cells, the strip of groups above them and beside the genes, and the colour bar.

    `bare` says in the legend what a cell without a colour is.
    """
    import matplotlib as mpl
    from matplotlib.patches import Patch

    values = table.to_numpy(dtype=np.float64)
    there = values[np.isfinite(values)]
    top = float(np.quantile(np.abs(there), 0.99)) if there.size else 1.0
    top = top if top > 0 else 1.0
    cmap = mpl.colormaps["RdBu_r" if signed else "viridis"].with_extremes(bad=MISSING)
    image = ax.imshow(
        np.ma.masked_invalid(values),
        aspect="auto",
        interpolation="nearest",
        cmap=cmap,
        vmin=-top if signed else 0.0,
        vmax=top,
    )
    beyond = bool(there.size) and float(np.abs(there).max()) > top
    tall = _inches(ax)[1]
    shrink = min(1.0, 3.5 / tall)
    bar = ax.figure.colorbar(
        image,
        ax=ax,
        extend=("both" if signed else "max") if beyond else "neither",
        pad=0.02,
        shrink=shrink,
        aspect=max(8.0, shrink * tall / 0.14),
        fraction=0.05,
    )
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=8)
    bar.ax.ticklabel_format(axis="y", scilimits=(-3, 4))
    size = 8 if len(table) <= 150 else 6
    ax.set_yticks(range(len(table)), table.index.get_level_values("names"), fontsize=size)
    ax.set_xticks([])
    ax.tick_params(axis="y", length=0, pad=9)
    _strips(ax, table)
    ax.set_xlabel(f"{table.shape[1]} cells", fontsize=8, loc="left")
    if there.size < values.size:
        handle = Patch(facecolor=MISSING, label=bare)
        ax.legend(
            handles=[handle],
            loc="upper left",
            bbox_to_anchor=(0.0, -0.17 / _inches(ax)[1]),
            borderaxespad=0.2,
            borderpad=0.0,
            frameon=False,
            fontsize=8,
        )


def _strips(ax: Axes, table: pd.DataFrame) -> None:
    """Draw which group the cells (above) and the genes (left) belong to."""
    cells = table.columns.get_level_values("group").to_numpy()
    genes = table.index.get_level_values("group").to_numpy()
    names = list(dict.fromkeys(cells))
    colours = group_colours(names)
    inch_x, inch_y = 1 / np.asarray(_inches(ax))
    above = ax.get_xaxis_transform()
    for start, end in _runs(cells):
        name = cells[start]
        _block(
            ax, (start - 0.5, 1 + 0.04 * inch_y), (end - start, 0.1 * inch_y), colours[name], above
        )
        ax.text(
            (start + end - 1) / 2,
            1 + 0.18 * inch_y,
            name,
            transform=above,
            rotation=90 if _crowded(names) else 0,
            ha="center",
            va="bottom",
            fontsize=8,
        )
        if end < len(cells):
            ax.axvline(end - 0.5, color="white", linewidth=0.8)
    left = ax.get_yaxis_transform()
    for start, end in _runs(genes):
        colour = colours.get(genes[start], MISSING)
        _block(ax, (-0.1 * inch_x, start - 0.5), (0.06 * inch_x, end - start), colour, left)
        if end < len(genes):
            ax.axhline(end - 0.5, color="white", linewidth=0.8)


def _crowded(names: list[str]) -> bool:
    """Tell whether the groups' names fit above the cells only when turned."""
    return len(names) > 12 or len(names) * max(map(len, names)) > 68


def _inches(ax: Axes) -> tuple[float, float]:
    """Return about how wide and tall the Axes is."""
    box, (width, height) = ax.get_position(), figure_of(ax).get_size_inches()
    return box.width * float(width), box.height * float(height)


def _runs(labels: np.ndarray) -> list[tuple[int, int]]:
    """Return the start and end of each run of equal labels."""
    edges = [0, *(np.flatnonzero(labels[1:] != labels[:-1]) + 1).tolist(), len(labels)]
    return list(pairwise(edges))


def _block(
    ax: Axes,
    corner: tuple[float, float],
    size: tuple[float, float],
    colour: str,
    transform: object,
) -> None:
    """Draw a coloured rectangle outside of the image."""
    from matplotlib.patches import Rectangle

    ax.add_patch(
        Rectangle(corner, *size, color=colour, linewidth=0, transform=transform, clip_on=False)
    )


def _statistic(adata: AnnData, rank_by: str | None, key: str, *, within: bool) -> str:
    """Return what to show: as asked, else as stored, if its values are."""
    columns = columns_of(adata, key, within=within)
    if rank_by is not None:
        check_statistic(adata, columns, rank_by, argument="rank_by", allowed=RANK_BY)
        return rank_by
    by = str(check_stored(adata, key)["params"].get("rank_by", "value"))
    return by if by in RANK_BY and by in columns.statistics(adata) else "value"
