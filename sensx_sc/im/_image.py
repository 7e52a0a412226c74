"""The one form in which this room keeps images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.im._grid import scaled

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr

    from sensx_sc.im._grid import Grid

_COLOURS = {1: ("grey",), 3: ("r", "g", "b"), 4: ("r", "g", "b", "a")}


def make_image(
    data: Any, c: Sequence[str] | None, grid: Grid, attrs: dict[str, Any]
) -> xr.DataArray:
    """An image (c, y, x) with named channels and pixel centres in full-resolution units."""
    import xarray as xr

    n_channels = data.shape[0]
    names = channel_names(n_channels) if c is None else [str(name) for name in c]
    if len(names) != n_channels or len(set(names)) < len(names):
        msg = f"`c` must hold {n_channels} different names of channels; got {list(c or ())}."
        raise ValueError(msg)
    scalef = (1 / grid.y.step, 1 / grid.x.step)
    return xr.DataArray(
        data,
        dims=("c", "y", "x"),
        coords={"c": list(names), "y": grid.y.centres, "x": grid.x.centres},
        name="image",
        attrs={"scalef": scalef[0] if scalef[0] == scalef[1] else list(scalef), **attrs},
    )


def channel_names(n: int) -> list[str]:
    """r, g, b for three channels, with a for four, else c0, c1, ..."""
    return list(_COLOURS.get(n, tuple(f"c{k}" for k in range(n))))


def image_from(
    data: Any,
    dims: str,
    *,
    c: Sequence[str] | None = None,
    scalef: float = 1.0,
    attrs: dict[str, Any] | None = None,
) -> xr.DataArray:
    """An image from an array whose axes are spelt by ``dims``."""
    letters = str(dims).lower().replace("s", "c")  # samples, as files of colour images have it
    if sorted(letters) not in (sorted("cyx"), sorted("yx")):
        msg = f"`dims` must spell the axes with the letters y, x and (once) c; got {dims!r}."
        raise ValueError(msg)
    if data.ndim != len(letters):
        msg = (
            f"the array has {data.ndim} axes, shape {tuple(data.shape)}, and `dims` {dims!r} "
            f"spells {len(letters)}."
        )
        raise ValueError(msg)
    if 0 in data.shape:
        msg = f"the image is empty: shape {tuple(data.shape)}."
        raise ValueError(msg)
    if np.dtype(data.dtype).kind not in "uifb":
        msg = f"the image must hold numbers; got dtype {data.dtype}."
        raise TypeError(msg)
    if "c" not in letters:
        data, letters = data[None], "c" + letters
    data = data.transpose([letters.index(axis) for axis in "cyx"])
    grid = scaled(data.shape[1:], check_scalef(scalef))
    return make_image(data, c, grid, attrs or {})


def check_scalef(scalef: Any, name: str = "scalef") -> float:
    """A scale factor: pixels of this level for each pixel of the full resolution."""
    try:
        value = float(scalef)
    except (TypeError, ValueError) as error:
        msg = f"`{name}` must be a positive number; got {scalef!r}."
        raise TypeError(msg) from error
    if not (np.isfinite(value) and value > 0):
        msg = f"`{name}` must be a positive number; got {scalef!r}."
        raise ValueError(msg)
    return value


def check_image(image: Any, name: str = "image") -> xr.DataArray:
    """Refuse what is not in this room's form.

    Raises
    ------
    TypeError, ValueError
        No DataArray, or other dimensions than c, y, x.
    """
    import xarray as xr

    if not isinstance(image, xr.DataArray):
        msg = (
            f"`{name}` must be an xarray.DataArray (c, y, x), as sx.im.from_array, from_file, "
            f"from_adata and from_sdata make it; got {type(image).__name__}."
        )
        raise TypeError(msg)
    if tuple(image.dims) != ("c", "y", "x"):
        msg = f"`{name}` must have the dimensions c, y, x in this order; got {tuple(image.dims)}."
        raise ValueError(msg)
    return image
