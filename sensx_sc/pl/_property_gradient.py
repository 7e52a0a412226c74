"""``sx.pl.property_gradient``: response curves along properties, with the band of placebos."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sensx_sc.get._stored import check_names
from sensx_sc.pl._marks import GROUP_COLOURS, quantity
from sensx_sc.pl._panels import one_or_all, panels, place_legend
from sensx_sc.pl._tool_tables import tool_results

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from anndata import AnnData
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

_BAND = "#bdbdbd"


def property_gradient(
    adata: AnnData,
    *,
    properties: str | Sequence[str] | None = None,
    groups: str | Sequence[str] | None = None,
    key: str = "property_gradient",
    ncols: int = 3,
    ax: Axes | Iterable[Axes] | None = None,
) -> Axes | np.ndarray[Any, Any]:
    """Draw how the response follows each property, one panel a property and explained output.

    Line: mean response over the cells; colour band: their quartiles; grey band: where the mean
    responses of 90 % of the placebos lie (the same edit of other genes of like expression). Dotted:
    the cells as they are. In the corner: EPGM per standard deviation of the property (or per unit,
    where it has none), and its p-value against the placebos.

    Parameters
    ----------
    adata
        Data with the results of :func:`sensx_sc.tl.property_gradient`.
    properties, groups
        Properties and explained outputs to draw, in that order; None = all.
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
        No results under `key`; an unknown property or output.
    ValueError
        Another number of Axes than panels.
    TypeError
        `ax` is no Axes.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> adata = sx.datasets.toy()
    >>> net = sx.models.fit_mlp(adata, "cell_type", "A", hidden=(8,), progress=False)
    >>> editors = {"library size": sx.companions.LibrarySize()}
    >>> sx.tl.property_gradient(adata, net, editors, progress=False)
    >>> sx.pl.property_gradient(adata).get_title()
    'library size'
    """
    stored = tool_results(adata, key, ["property_gradient"])
    table = curves_table(stored, properties=properties, groups=groups)
    labels = table[["group", "property"]].drop_duplicates()
    width = 3.1 + 1.5 * (len(labels) == 1)
    axes, own = panels(len(labels), ax, width=width, height=2.7, ncols=ncols)
    several = labels["group"].nunique() > 1
    for panel, (group, prop) in zip(axes, labels.itertuples(index=False), strict=True):
        part = table[(table["group"] == group) & (table["property"] == prop)]
        about = stored["params"]["properties"][prop]
        draw_curve(panel, part, about, quantity(stored["params"]))
        panel.set_ylim(*_limits(table))
        panel.set_title(f"{prop}\n{group}" if several else prop, fontsize=9)
        row = stored["table"].query("group == @group and property == @prop").iloc[0]
        _note(panel, row)
    has_band = bool(table["placebo_low"].notna().any())
    place_legend(axes, _legend(band=has_band), own=own, entry=1.6)
    return one_or_all(axes)


def curves_table(
    stored: Mapping[str, Any],
    *,
    properties: str | Sequence[str] | None,
    groups: str | Sequence[str] | None,
) -> pd.DataFrame:
    """Return what is drawn: the stored curves, in the order asked for."""
    table: pd.DataFrame = stored["curves"]
    wanted = []
    for argument, asked, column in (
        ("groups", groups, "group"),
        ("properties", properties, "property"),
    ):
        there = list(pd.unique(table[column]))
        wanted.append(there if asked is None else check_names(asked, there, argument, column))
    parts = [
        table[(table["group"] == group) & (table["property"] == prop)]
        for prop in wanted[1]
        for group in wanted[0]
    ]
    return pd.concat(parts, ignore_index=True)


def draw_curve(ax: Axes, table: pd.DataFrame, about: Mapping[str, Any], q: str) -> None:
    """Draw one panel."""
    x = table["strength"].to_numpy()
    if table["placebo_low"].notna().all():
        band = table["placebo_low"], table["placebo_high"]
        ax.fill_between(x, *band, color=_BAND, linewidth=0, alpha=0.8)
    colour = GROUP_COLOURS[0]
    ax.fill_between(x, table["q_low"], table["q_high"], color=colour, alpha=0.22, linewidth=0)
    ax.plot(x, table["q"], color=colour, linewidth=1.6)
    origin = about.get("origin")
    if origin is not None:
        ax.axvline(x[int(origin)], color="0.3", linewidth=0.8, linestyle=":")
    ax.set_xlim(x.min(), x.max())
    if x[0] > x[-1]:
        ax.invert_xaxis()
    ax.set_xlabel(str(about["axis"]), fontsize=8)
    ax.set_ylabel(q, fontsize=8)
    ax.tick_params(labelsize=8)
    ax.spines[["top", "right"]].set_visible(False)


def _limits(table: pd.DataFrame) -> tuple[float, float]:
    """Limits that all panels share: what is flat beside the others looks flat."""
    drawn = table[["q", "q_low", "q_high", "placebo_low", "placebo_high"]].to_numpy()
    low, high = float(np.nanmin(drawn)), float(np.nanmax(drawn))
    room = 0.15 * (high - low) or 0.1
    return low - room, high + room


def _note(ax: Axes, row: pd.Series[Any]) -> None:
    """Write the score and its p-value where the curve leaves room."""
    per_sd = np.isfinite(row["epgm_per_sd"])
    score = f"EPGM {row['epgm_per_sd']:.2g} / SD" if per_sd else f"EPGM {row['epgm']:.2g} / unit"
    p = row["p_placebo"]
    text = score if not np.isfinite(p) else f"{score}\np = {p:.2g}"
    low, high = ax.get_ylim()
    lines = ax.get_lines()[0].get_ydata()
    above = (float(np.asarray(lines)[:10].mean()) - low) / (high - low) < 0.5
    ax.text(
        0.03,
        0.97 if above else 0.03,
        text,
        transform=ax.transAxes,
        ha="left",
        va="top" if above else "bottom",
        fontsize=7,
    )


def _legend(*, band: bool) -> list[Artist]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Artist] = [
        Line2D([], [], color=GROUP_COLOURS[0], linewidth=1.6, label="mean over cells"),
        Patch(facecolor=GROUP_COLOURS[0], alpha=0.22, label="quartiles"),
        Line2D([], [], color="0.3", linewidth=0.8, linestyle=":", label="as it is"),
    ]
    if band:
        handles.insert(2, Patch(facecolor=_BAND, label="placebos (90 %)"))
    return handles
