"""``sx.pl.rankings``: the first genes of each group or cell, with size, sign and presence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from sensx_sc.get._rankings import PRESENT_FROM
from sensx_sc.get._rankings import rankings as get_rankings
from sensx_sc.get._stored import check_count, check_stored, source_key
from sensx_sc.pl._marks import LOWERS, RAISES, UNSIGNED, quantity, unit
from sensx_sc.pl._panels import one_or_all, panels, place_legend

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from anndata import AnnData
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes


def rankings(
    adata: AnnData,
    *,
    groups: str | Sequence[str] | None = None,
    cells: str | Sequence[str] | None = None,
    rank_by: Literal["value", "change", "mean"] | None = None,
    presence: Literal["present", "absent"] | None = None,
    n_genes: int = 20,
    within: bool = False,
    key: str = "sensx",
    ncols: int = 4,
    ax: Axes | Iterable[Axes] | None = None,
) -> Axes | np.ndarray[Any, Any]:
    """Draw the first genes of each group (or cell) as bars, one panel each.

    Length: the statistic that ranks (eq. 3 for ``value``), with a 95 % interval where its standard
    error is stored: ``value`` of groups, ``value`` and ``change`` of single cells (statistics
    ``"se"`` and ``"change_se"`` of :func:`sensx_sc.tl.sensx`). It is Student's, for as many cells,
    or blocks of walks of a cell, as the error is from. Colour: the sign of ``mean``, that
    is whether more expression raises or lowers q. Fill: filled = the gene is above its lower bound
    in at least half of the group's cells (in the cell), open = it is not.

    Parameters
    ----------
    adata
        Data with the results of :func:`sensx_sc.tl.sensx` or :func:`sensx_sc.tl.rank_groups`.
    groups
        Groups to draw, in that order; None = all.
    cells
        Names of cells, for one panel a cell; not together with `groups`.
    rank_by
        ``"value"``, ``"change"`` or ``"mean"``; None = as stored.
    presence
        ``"present"`` or ``"absent"``: rank only these genes; None = all.
    n_genes
        How many genes a panel shows.
    within
        Of results with ``groups``, whose sets are drawn in the place of genes, and ``within``:
        draw what the top sets were taken apart into.
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
        No results under `key`; an unknown group or cell; a statistic that was not stored.
    ValueError
        An argument out of its range, or another number of Axes than panels.
    TypeError
        `ax` is no Axes.

    Examples
    --------
    >>> import anndata as ad, numpy as np, sensx_sc as sx
    >>> adata = ad.AnnData(np.random.default_rng(0).random((6, 3), dtype="float32"))
    >>> sx.tl.sensx(adata, lambda x: x @ np.array([3.0, -1.0, 0.0]), n_walks=20, n_samples=400)
    >>> ax = sx.pl.rankings(adata)
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['0', '1', '2']

    References
    ----------
    Aggarwal, Cogan, Periwal (2026), SensX, TMLR, eq. 3.
    """
    check_count(n_genes, "n_genes")
    params = check_stored(adata, key)["params"]
    table = rankings_table(
        adata,
        groups=groups,
        cells=cells,
        n_genes=n_genes,
        rank_by=rank_by,
        presence=presence,
        within=within,
        key=key,
    )
    names = list(pd.unique(table["panel"]))
    longest = int(table["names"].astype(str).str.len().max())
    shown = int(table.groupby("panel", sort=False).size().max())
    axes, own = panels(
        len(names),
        ax,
        width=2.3 + 0.075 * longest + 2.0 * (len(names) == 1),
        height=1.3 + 0.165 * shown,
        ncols=ncols,
    )
    label = unit(str(table["statistic"].iloc[0]), params)
    for i, (panel, name) in enumerate(zip(axes, names, strict=True)):
        draw_rankings(panel, table[table["panel"] == name], name)
        if not own or i + ncols >= len(axes):
            panel.set_xlabel(label, fontsize=8)
    of_sets = params.get("n_groups") is not None and not within
    legend = rankings_legend(table, quantity(params), one_cell=cells is not None, of_sets=of_sets)
    place_legend(axes, legend, own=own, entry=2.6)
    return one_or_all(axes)


def rankings_table(
    adata: AnnData,
    *,
    groups: str | Sequence[str] | None,
    cells: str | Sequence[str] | None,
    n_genes: int,
    rank_by: Literal["value", "change", "mean"] | None,
    presence: Literal["present", "absent"] | None,
    key: str,
    within: bool = False,
) -> pd.DataFrame:
    """Return what is drawn: ``panel, names, rank, statistic, size, error, means, sign, present``.

    ``means`` is how many independent means the standard ``error`` is from.
    """
    table = get_rankings(
        adata,
        groups=groups,
        cells=cells,
        rank_by=rank_by,
        presence=presence,
        n_genes=n_genes,
        within=within,
        key=key,
    )
    if table.empty:
        msg = f"presence={presence!r} leaves no gene to draw; use another presence or None."
        raise ValueError(msg)
    by = rank_by or str(check_stored(adata, key)["params"].get("rank_by", "value"))
    by = by if by in table else "value"
    of_cells = {"value": "se", "change": "change_se"}
    error = (of_cells if cells is not None else {"value": "value_se"}).get(by, "")
    nothing = pd.Series(np.nan, index=table.index)
    return pd.DataFrame(
        {
            "panel": table["cell" if cells is not None else "group"].astype(str),
            "names": table["names"].astype(str),
            "rank": table["rank"],
            "statistic": by,
            "size": table[by],
            "error": table.get(error, nothing),
            "means": _means(adata, table, key),
            "sign": np.sign(table.get("mean", nothing)),
            "present": table["presence"] >= PRESENT_FROM,
        }
    )


def _means(adata: AnnData, table: pd.DataFrame, key: str) -> pd.Series[float]:
    """How many independent means each error is from: cells, or with one cell its blocks of walks.

    Where cells or genes got different numbers of walks it is the least that any got, but of single
    cells each one's own.
    """
    from sensx_sc.core.racing import looks

    stored = check_stored(adata, source_key(adata, key))
    params = stored["params"]
    blocks = pd.Series(float(params["n_blocks"]), index=table.index)
    if params["top_k"] is not None:
        blocks[:] = looks(params["n_blocks"], params["block"])[0]
    elif params["until_stable"]:
        made = stored["cells"]["n_walks"] / params["block"]
        blocks = (
            table["cell"].map(made) if "cell" in table else blocks.clip(upper=made[made > 0].min())
        )
    if "n_cells" not in table:
        return blocks
    return table["n_cells"].astype(float).where(table["n_cells"] > 1, blocks)


def draw_rankings(ax: Axes, table: pd.DataFrame, title: str) -> None:
    """Draw one panel: a bar a gene, the first on top, with a 95 % interval."""
    from sensx_sc.core.statistics import interval

    y = np.arange(len(table))
    colours = [_colour(sign) for sign in table["sign"]]
    faces = [c if there else "none" for c, there in zip(colours, table["present"], strict=True)]
    ax.barh(y, table["size"], height=0.72, color=faces, edgecolor=colours, linewidth=1.1)
    known = table["error"].notna().to_numpy()
    if known.any():
        size, error, means = (table[name].to_numpy()[known] for name in ("size", "error", "means"))
        ax.errorbar(
            size,
            y[known],
            xerr=interval(np.zeros(len(size)), error, means)[1],
            fmt="none",
            ecolor="black",
            elinewidth=0.9,
        )
    ax.set_yticks(y, table["names"], fontsize=8)
    ax.set_ylim(len(table) - 0.4, -0.6)
    ax.locator_params(axis="x", nbins=4)
    ax.ticklabel_format(axis="x", scilimits=(-3, 4))
    ax.xaxis.get_offset_text().set_fontsize(7)
    ax.tick_params(axis="x", labelsize=8)
    ax.tick_params(axis="y", length=0)
    ax.axvline(0, color="black", linewidth=0.8)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_title(title, fontsize=10)


def _colour(sign: float) -> str:
    """Return the colour of a sign."""
    return RAISES if sign > 0 else LOWERS if sign < 0 else UNSIGNED


def rankings_legend(
    table: pd.DataFrame, q: str, *, one_cell: bool, of_sets: bool = False
) -> list[Artist]:
    """Return the legend's entries for what the panels show.

    The genes of a set move up and down at once: its sign says what that does on average.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    moved = "moving it" if of_sets else "more expression"
    words = {
        RAISES: f"{moved}: {q} up",
        LOWERS: f"{moved}: {q} down",
        UNSIGNED: "sign unknown or zero",
    }
    used = {_colour(sign) for sign in table["sign"]}
    handles: list[Artist] = [
        Patch(facecolor=colour, edgecolor=colour, label=word)
        for colour, word in words.items()
        if colour in used
    ]
    where = "in the cell" if one_cell else "in half of the cells or more"
    if table["present"].any():
        handles.append(Patch(facecolor="0.35", edgecolor="0.35", label=f"present {where}"))
    if not table["present"].all():
        absent = "absent there" if table["present"].any() else f"not present {where}"
        handles.append(Patch(facecolor="none", edgecolor="0.35", label=absent))
    if table["error"].notna().any():
        handles.append(Line2D([], [], color="black", linewidth=0.9, label="95 % interval"))
    return handles
