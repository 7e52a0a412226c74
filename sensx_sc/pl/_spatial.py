"""``sx.pl.spatial``: one value a spot, on the slide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sensx_sc.get._stored import quoted
from sensx_sc.pl._embedding import draw_categories, draw_numbers
from sensx_sc.pl._maps import SIGNED, as_picture, bare, label_of
from sensx_sc.pl._marks import STATUS_COLOURS
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
    if table["color"].dtype == object:
        draw_categories(axes, table, STATUS_COLOURS if color == "status" else None)
    else:
        label = "delta* (fraction of the range of values)" if color == "delta_star" else (
            label_of(color, result.attrs.get("params"))
        )  # fmt: skip
        log = color == "delta_star" and bool((table["color"] > 0).any())
        draw_numbers(axes, table, label, log=log, signed=color in SIGNED)
    axes.set_aspect("equal")
    if image is None and not axes.yaxis_inverted():
        axes.invert_yaxis()
    axes.set_title(color.replace("_star", "*"), fontsize=10)
    bare(axes)
    return axes


def spot_table(result: Any, color: str) -> pd.DataFrame:
    """Return ``cell, x, y, color`` of each spot: the centre of its own tile and its value."""
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
    return pd.DataFrame({"cell": names, "x": place["x"], "y": place["y"], "color": column})
