"""What the pictures of maps share: colours with a scale, images as matplotlib wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.get._stored import quoted
from sensx_sc.pl._marks import MISSING, quantity

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from numpy.typing import NDArray

SIGNED = ("mean", "shapley")


def pick_map(
    result: xr.Dataset | xr.DataArray, name: str, *, obs: str | None, tile: str | None
) -> xr.DataArray:
    """One map (y, x) or (c, y, x) of results, at pixels.

    Raises
    ------
    KeyError
        No such statistic, input or tile.
    ValueError
        Several inputs or tiles, and none is named.
    TypeError
        No results.
    """
    import xarray as xr

    from sensx_sc.im._to_pixels import spread, to_pixels

    if isinstance(result, xr.Dataset):
        values = to_pixels(result, name)
    elif isinstance(result, xr.DataArray):
        values = spread(result)
    else:
        msg = f"the map must be an xarray Dataset or DataArray; got {type(result).__name__}."
        raise TypeError(msg)
    for dim, wanted in (("obs", obs), ("tile", tile)):
        if dim not in values.dims:
            continue
        there = [str(each) for each in values.coords[dim].values]
        if wanted is None and len(there) > 1:
            wanted = "C" if dim == "tile" and "C" in there else None
            if wanted is None:
                msg = f"`{dim}` must name one of {quoted(there)}."
                raise ValueError(msg)
        if wanted is not None and wanted not in there:
            msg = f"`{dim}` {wanted!r} is not there; there are {quoted(there)}."
            raise KeyError(msg)
        values = values.isel({dim: 0 if wanted is None else there.index(wanted)})
    if set(values.dims) not in ({"y", "x"}, {"c", "y", "x"}):
        msg = f"a map has the dimensions (y, x) or (c, y, x); got {tuple(values.dims)}."
        raise ValueError(msg)
    return values.transpose(..., "y", "x")


def colours(
    values: NDArray[Any], *, signed: bool, quantile: float, cmap: str | None = None
) -> tuple[Any, Normalize]:
    """A colour map, with missing values in grey, and its scale: up to a quantile of the values."""
    from matplotlib import colormaps
    from matplotlib.colors import Normalize

    if not 0 < quantile <= 1:
        msg = f"`quantile` must be above 0 and at most 1; got {quantile!r}."
        raise ValueError(msg)
    size = np.abs(values[np.isfinite(values)])
    top = float(np.quantile(size, quantile)) if size.size else 1.0
    top = top if top > 0 else float(size.max(initial=0.0)) or 1.0
    palette = colormaps[cmap or ("RdBu_r" if signed else "viridis")].with_extremes(bad=MISSING)
    return palette, Normalize(-top if signed else 0.0, top)


def as_picture(image: xr.DataArray) -> NDArray[np.float64]:
    """An image (c, y, x) as colours (y, x, 3) between 0 and 1; other channels as greys."""
    data = np.asarray(image.transpose("c", "y", "x").data, dtype=np.float64)
    whole = np.dtype(image.dtype).kind in "ui"
    scale = float(np.iinfo(image.dtype).max) if whole else float(np.nanmax(data, initial=1.0))
    if "r" in image.coords["c"].values and len(data) >= 3:
        shown = np.moveaxis(data[:3], 0, -1)
    else:
        grey = data[0]
        low, high = np.nanmin(grey), np.nanmax(grey)
        shown = np.repeat(
            ((grey - low) / (high - low if high > low else 1.0))[..., None], 3, axis=2
        )
        scale = 1.0
    return np.clip(np.nan_to_num(shown / scale), 0, 1)


def label_of(name: str, attrs: Mapping[Any, Any]) -> str:
    """What a colour bar says, given the attributes of what is drawn."""
    q = quantity(attrs)
    base = name.removesuffix("_coarse")
    words = {
        "value": f"|change in {q}| per unit",
        "change": f"|change in {q}|",
        "mean": f"change in {q} per unit",
        "shapley": f"Shapley value ({q})",
        "rank": "rank",
    }
    return words.get(base, base)


def colour_bar(ax: Axes, drawn: Any, label: str) -> None:
    """A small colour bar beside the Axes."""
    from matplotlib.colors import LogNorm

    bar: Any = ax.figure.colorbar(drawn, ax=ax, pad=0.02, fraction=0.046)
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=7)
    if not isinstance(drawn.norm, LogNorm):
        bar.ax.ticklabel_format(axis="y", scilimits=(-3, 4))
    bar.ax.yaxis.get_offset_text().set_fontsize(7)


def bare(ax: Axes) -> None:
    """No ticks and no frame around a picture."""
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)
