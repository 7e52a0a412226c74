"""``sx.pl.spatial``: one value a spot, on the slide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sensx_sc.get._stored import quoted
from sensx_sc.pl._maps import SIGNED, as_picture, bare, colour_bar, label_of
from sensx_sc.pl._marks import MISSING, STATUS_COLOURS, group_colours
from sensx_sc.pl._panels import panels

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes


def spatial(
    result: xr.Dataset,
    *,
    color: str = "delta_star",
    image: xr.DataArray | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw spots where they lie, coloured by a result.

    Parameters
    ----------
    result
        What :func:`sensx_sc.im.sensx` returned for tiles.
    color
        ``"delta_star"``, ``"status"``, ``"target"``, ``"qoi"`` or any other value of each spot;
        or a statistic such as ``"change"``, summed over the features of the spot.
    image
        The slide to draw below.
    ax
        Axes to draw on.

    Returns
    -------
    The Axes, in full-resolution units.

    Raises
    ------
    KeyError
        No such result.
    TypeError, ValueError
        No results of tiles, which know where they were cut.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> adata = sx.datasets.tissue(n_rows=3, n_columns=3)
    >>> tiles = sx.im.spot_tiles(sx.im.from_adata(adata), adata)
    >>> found = sx.im.sensx(
    ...     tiles,
    ...     lambda z: z[:, 4].mean(axis=(1, 2, 3)) / 255,
    ...     features="tile",
    ...     n_walks=20,
    ...     n_samples=40,
    ...     progress=False,
    ... )
    >>> sx.pl.spatial(found, color="qoi").get_title()
    'qoi'
    """
    table = spot_table(result, color)
    (axes,), _ = panels(1, ax, width=5.6, height=4.6)
    if image is not None:
        from sensx_sc.im._grid import grid_of

        axes.imshow(as_picture(image), extent=grid_of(image).extent, alpha=0.5)
    missing = table["color"].isna()
    _spots(axes, table[missing], facecolors=MISSING, label=f"no value ({missing.sum()})")
    there = table[~missing]
    named = not pd.api.types.is_numeric_dtype(table["color"])  # pandas 3 has a type of text
    if named:
        names = sorted(there["color"].unique())
        palette = STATUS_COLOURS if color == "status" else group_colours(names)
        for name in names:
            part = there[there["color"] == name]
            words = f"{name.replace('_', '-') if color == 'status' else name} ({len(part)})"
            _spots(axes, part, facecolors=palette[name], label=words)
    elif len(there):
        values = there["color"].to_numpy(dtype=np.float64)
        norm = _norm(values, color)
        signed = color in SIGNED
        drawn = _spots(axes, there, array=values, cmap="RdBu_r" if signed else "viridis", norm=norm)
        colour_bar(axes, drawn, _label(color, result))
    if missing.any() or named:
        axes.legend(
            handles=_handles(axes), loc="upper center", bbox_to_anchor=(0.5, 0.0), frameon=False,
            fontsize=8, ncols=3,
        )  # fmt: skip
    axes.set_aspect("equal")
    axes.autoscale_view()
    if image is None and not axes.yaxis_inverted():
        axes.invert_yaxis()
    axes.set_title(color.replace("_star", "*"), fontsize=10)
    bare(axes)
    return axes


def _spots(ax: Axes, table: pd.DataFrame, **how: Any) -> Any:
    """Circles of the size of a spot."""
    from matplotlib.collections import EllipseCollection

    size = table["size"].to_numpy()
    drawn = EllipseCollection(
        size, size, np.zeros(len(table)), units="xy", offsets=table[["x", "y"]].to_numpy(),
        offset_transform=ax.transData, linewidths=0, **how,
    )  # fmt: skip
    ax.add_collection(drawn)
    centres = table[["x", "y"]].to_numpy()
    ax.update_datalim(np.concatenate([centres - size[:, None] / 2, centres + size[:, None] / 2]))
    return drawn


def _handles(ax: Axes) -> list[Any]:
    """Dots for the legend, of what has spots."""
    from matplotlib.lines import Line2D

    handles = []
    for drawn in ax.collections:
        label, shown = str(drawn.get_label()), np.asarray(drawn.get_offsets())
        if len(shown) and not label.startswith("_"):
            colour: Any = drawn.get_facecolor()
            handles.append(
                Line2D([], [], linestyle="", marker="o", color=tuple(colour[0]), label=label)
            )
    return handles


def _norm(values: np.ndarray, color: str) -> Any:
    from matplotlib.colors import LogNorm, Normalize

    low, high = float(values.min()), float(values.max())
    if color == "delta_star" and low > 0:
        return LogNorm(low, high) if low < high else LogNorm(low / 2, high * 2)
    if color in SIGNED:
        top = max(abs(low), abs(high)) or 1.0
        return Normalize(-top, top)
    return Normalize(low if color == "qoi" else min(0.0, low), high)


def _label(color: str, result: xr.Dataset) -> str:
    if color == "delta_star":
        return "delta* (fraction of the range of values)"
    return label_of(color, result[color].attrs or result.attrs.get("params", {}))


def spot_table(result: Any, color: str) -> pd.DataFrame:
    """Return ``obs, x, y, size, color`` of each spot: where its own tile is, and its value."""
    import xarray as xr

    if not isinstance(result, xr.Dataset):
        msg = f"`result` must be the xarray.Dataset of sx.im.sensx; got {type(result).__name__}."
        raise TypeError(msg)
    if not {"y0", "x0"} <= set(result.coords) or "grid" not in result.attrs:
        msg = "`result` must be of tiles (sx.im.spot_tiles), which know where they were cut."
        raise ValueError(msg)
    if color not in result:
        msg = f"`color` {color!r} is not in the results; there are {quoted(result.data_vars)}."
        raise KeyError(msg)
    place = {}
    size = np.broadcast_to(result.attrs["tile_px"], 2)
    for k, (axis, first) in enumerate((("y", "y0"), ("x", "x0"))):
        told = result.attrs["grid"][axis]
        corner = result.coords[first]
        own = "C" in corner.coords["tile"].values
        corner = corner.sel(tile="C") if own else corner.mean("tile")
        place[axis] = (corner.values + told["offset"] + size[k] / 2) * told["step"]
    values = result[color]
    others = [dim for dim in values.dims if dim != "obs"]
    if others:
        values = values.sum(others, min_count=1)
    column: Any = values.values
    if column.dtype.kind in "USO":
        words = pd.Series(column.astype(str), dtype=object)
        column = words.where(words != "", None).to_numpy()
    elif color == "delta_star":
        column = np.where(column > 0, column, np.nan)
    elif column.dtype.kind in "biu":
        column = column.astype(np.float64)
    names = result.coords["obs"].values
    step = result.attrs["grid"]["y"]["step"]
    return pd.DataFrame(
        {"obs": names, "x": place["x"], "y": place["y"], "size": 0.9 * size[0] * step}
    ).assign(color=column)
