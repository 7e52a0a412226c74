"""``sx.im.stitch``: maps of tiles back on one grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sensx_sc.get._stored import quoted
from sensx_sc.im._grid import Axis, Grid, grid_of
from sensx_sc.im._to_pixels import spread

if TYPE_CHECKING:
    import xarray as xr

REDUCE = ("mean", "sum", "max")


def stitch(
    values: xr.DataArray,
    *,
    like: xr.DataArray | None = None,
    reduce: Literal["mean", "sum", "max"] = "mean",
) -> xr.DataArray:
    """Put the maps of tiles back where they were cut.

    Parameters
    ----------
    values
        Values of tiles (obs, tile), or of their pixels, (obs, tile, y, x) or (obs, tile, c, y, x),
        or of patches of them, with the coordinates ``y0`` and ``x0`` that
        :func:`sensx_sc.im.spot_tiles` gave; NaN = no value.
    like
        The image whose grid the result has, a part of it, say; by default the whole image that
        the tiles were cut from.
    reduce
        What becomes of a pixel that several tiles cover: their ``"mean"``, ``"sum"`` or ``"max"``.

    Returns
    -------
    DataArray (y, x) or (c, y, x), float64, NaN where no tile has a value. The coordinate ``count``
    (y, x) says how many tiles have one; with channels, in any of them.

    Raises
    ------
    ValueError
        Values that do not know where they were cut, or another resolution of ``like``.

    Examples
    --------
    >>> import numpy as np, pandas as pd, sensx_sc as sx
    >>> image = sx.im.from_array(np.zeros((4, 6)), dims="yx")
    >>> spots = pd.DataFrame({"x": [2.0, 3.0], "y": [2.0, 2.0]}, index=["a", "b"])
    >>> tiles = sx.im.spot_tiles(image, spots, tile_px=2, grid=(1, 1))
    >>> values = tiles.sum("c") + np.array([1.0, 5.0])[:, None, None, None]
    >>> sx.im.stitch(values).values[1].tolist()
    [nan, 1.0, 3.0, 5.0, nan, nan]
    """
    import xarray as xr

    if reduce not in REDUCE:
        msg = f"`reduce` must be one of {quoted(REDUCE)}; got {reduce!r}."
        raise ValueError(msg)
    pixels = spread(_checked(values))
    if not {"y0", "x0"} <= set(pixels.coords):
        msg = (
            "`values` must have the coordinates 'y0' and 'x0', which say where tiles were cut; "
            f"there are {quoted(pixels.coords)}."
        )
        raise ValueError(msg)
    source = _source(pixels)
    target = source if like is None else grid_of(like)
    down, right = _shift(source.y, target.y, "y"), _shift(source.x, target.x, "x")
    channels = pixels.sizes["c"] if "c" in pixels.dims else None
    canvas = _Canvas((target.y.size, target.x.size), channels or 1, reduce)
    order = ("obs", "tile", "c", "y", "x") if channels else ("obs", "tile", "y", "x")
    pixels = pixels.transpose(*order)
    y0, x0 = pixels.coords["y0"].values + down, pixels.coords["x0"].values + right
    for some in _blocks(pixels):
        block = np.asarray(pixels.data[some], dtype=np.float64)
        block = block if channels else block[:, :, None]
        for spot, place in zip(block, range(some.start, some.stop), strict=True):
            for tile, y, x in zip(spot, y0[place], x0[place], strict=True):
                canvas.add(tile, int(y), int(x))
    made, count = canvas.result()
    coords: dict[str, Any] = {
        "y": target.y.centres if like is None else like.coords["y"].values,
        "x": target.x.centres if like is None else like.coords["x"].values,
        "count": (("y", "x"), count),
    }
    if channels:
        coords["c"] = pixels.coords["c"].values
    attrs = {k: v for k, v in pixels.attrs.items() if k not in ("grid", "tile_px", "patch")}
    return xr.DataArray(
        made if channels else made[0],
        dims=("c", "y", "x") if channels else ("y", "x"),
        coords=coords,
        name=values.name,
        attrs=attrs,
    )


def _checked(values: Any) -> xr.DataArray:
    import xarray as xr

    if not isinstance(values, xr.DataArray):
        msg = f"`values` must be an xarray.DataArray; got {type(values).__name__}."
        raise TypeError(msg)
    if not {"obs", "tile"} <= set(values.dims):
        msg = (
            "`values` must have the dimensions obs and tile (those of labels go through "
            f"sx.im.to_pixels first); got {tuple(values.dims)}."
        )
        raise ValueError(msg)
    return values


def _source(values: xr.DataArray) -> Grid:
    """The grid that the tiles were cut from."""
    told = values.attrs.get("grid")
    if told is None:
        msg = "`values` has lost the attribute 'grid' of the tiles; copy it from them."
        raise ValueError(msg)
    return Grid(y=Axis(**told["y"]), x=Axis(**told["x"]))


def _shift(source: Axis, target: Axis, name: str) -> int:
    """Pixels to add to a place on the source to have that on the target."""
    shift = source.offset - target.offset
    if abs(source.step / target.step - 1) > 1e-6 or abs(shift - np.rint(shift)) > 1e-3:
        msg = (
            f"`like` must be the image that the tiles were cut from, or a part of it: along {name} "
            f"its pixels are {target.step:g} wide from {target.origin:g}, those of the tiles "
            f"{source.step:g} from {source.origin:g}."
        )
        raise ValueError(msg)
    return int(np.rint(shift))


def _blocks(values: xr.DataArray) -> list[slice]:
    """Spots that are read together: those of a chunk."""
    lengths = values.chunks[0] if values.chunks is not None else (values.sizes["obs"],)
    stops = np.cumsum(lengths).tolist()
    return [slice(stop - length, stop) for stop, length in zip(stops, lengths, strict=True)]


class _Canvas:
    """What tiles are put on."""

    def __init__(self, shape: tuple[int, int], channels: int, reduce: str) -> None:
        self.reduce = reduce
        self.total = np.full((channels, *shape), -np.inf if reduce == "max" else 0.0)
        self.each = np.zeros((channels, *shape), dtype=np.int64)
        self.count = np.zeros(shape, dtype=np.int64)

    def add(self, tile: np.ndarray, y: int, x: int) -> None:
        """Put a tile (c, y, x) with its first pixel at (y, x), which may lie outside."""
        height, width = self.count.shape
        top, left = max(y, 0), max(x, 0)
        bottom, right = min(y + tile.shape[1], height), min(x + tile.shape[2], width)
        if bottom <= top or right <= left:
            return
        part = tile[:, top - y : bottom - y, left - x : right - x]
        there = ~np.isnan(part)
        at = (slice(None), slice(top, bottom), slice(left, right))
        if self.reduce == "max":
            self.total[at] = np.maximum(self.total[at], np.where(there, part, -np.inf))
        else:
            self.total[at] += np.where(there, part, 0.0)
        self.each[at] += there
        self.count[at[1:]] += there.any(axis=0)

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        made = self.total / np.maximum(self.each, 1) if self.reduce == "mean" else self.total
        return np.where(self.each > 0, made, np.nan), self.count
