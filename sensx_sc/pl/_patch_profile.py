"""``sx.pl.patch_profile``: attribution against the distance from the centre of a patch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sensx_sc.get._stored import quoted
from sensx_sc.pl._marks import group_colours
from sensx_sc.pl._panels import panels

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_COLUMNS = ("distance", "mean", "sd", "n_patches")
_CHANNELS = {"r": "#D55E00", "g": "#009E73", "b": "#0072B2"}


def patch_profile(table: pd.DataFrame, *, by: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw what :func:`sensx_sc.im.patch_profile` returned: means, and one sd around (figure D8).

    Parameters
    ----------
    table
        That table.
    by
        Column to draw a line for each entry of; None: the first that is not of the profile.
    ax
        Axes to draw on.

    Returns
    -------
    The Axes.

    Raises
    ------
    KeyError
        A table that is not such a table, or no such column.

    Examples
    --------
    >>> import numpy as np, xarray as xr, sensx_sc as sx
    >>> values = xr.DataArray(np.random.default_rng(0).random((16, 16)), dims=("y", "x"))
    >>> sx.pl.patch_profile(sx.im.patch_profile(values, 8)).get_xlabel()
    'Chebyshev distance from the centre of the patch (pixels)'
    """
    missing = [name for name in _COLUMNS if name not in getattr(table, "columns", ())]
    if missing:
        msg = f"`table` must come from sx.im.patch_profile; it has no column {missing[0]!r}."
        raise KeyError(msg)
    others = [str(name) for name in table.columns if name not in _COLUMNS]
    if by is not None and by not in others:
        msg = f"`by` {by!r} is no column of the table; there are {quoted(others)}."
        raise KeyError(msg)
    by = by or (others[0] if others else None)
    (axes,), _ = panels(1, ax, width=4.6, height=3.4)
    groups = [("", table)] if by is None else [(str(n), t) for n, t in table.groupby(by)]
    palette = group_colours([name for name, _ in groups]) | _CHANNELS
    for name, part in groups:
        line = part.groupby("distance")[["mean", "sd"]].mean()
        colour = palette[name]
        axes.plot(line.index, line["mean"], color=colour, marker="o", markersize=3, label=name)
        low, high = line["mean"] - line["sd"], line["mean"] + line["sd"]
        axes.fill_between(line.index, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.axhline(1.0, color="#7f7f7f", linewidth=0.8, linestyle=":")
    axes.set_xlabel("Chebyshev distance from the centre of the patch (pixels)", fontsize=9)
    axes.set_ylabel("value / median of the patch", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    if by is not None and len(groups) <= 12:
        axes.legend(title=by, frameon=False, fontsize=8, title_fontsize=8)
    return axes
