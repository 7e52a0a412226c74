"""``sx.im.spot_tiles``: the square around each spot, and its eight neighbours."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.get._stored import quoted
from sensx_sc.im._from_adata import find_library
from sensx_sc.im._grid import Axis, Grid, grid_of
from sensx_sc.im._image import check_image
from sensx_sc.logger import logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    import xarray as xr
    from anndata import AnnData

    from sensx_sc.im._grid import Ints

TILES = ("NW", "N", "NE", "W", "C", "E", "SW", "S", "SE")
"""Names of the tiles of a 3 x 3 grid, row by row; C is the spot's own."""

_CHUNK_BYTES = 2**25


def spot_tiles(
    image: xr.DataArray,
    spots: AnnData | pd.DataFrame,
    *,
    tile_px: int | None = None,
    spot_scale: float = 1.0,
    grid: tuple[int, int] = (3, 3),
    spatial_key: str = "spatial",
    library_id: str | None = None,
    library_key: str | None = None,
    obs_names: Sequence[str] | None = None,
    fill_value: float = 0,
) -> xr.DataArray:
    """Cut square tiles around spots out of an image, with their neighbours.

    All tiles have one size. Neighbours touch: the nine tiles of a spot are one square of three
    times the size. What lies outside the image is filled, and counted.

    Parameters
    ----------
    image
        (c, y, x), in the units of the spots; may be lazy.
    spots
        AnnData with ``.obsm[spatial_key]`` = (x, y) in full-resolution pixels, or a DataFrame with
        columns ``x`` and ``y`` (and ``diameter``), such as :func:`sensx_sc.im.spots` returns.
    tile_px
        Size of a tile in pixels of ``image``; by default the diameter of a spot.
    spot_scale
        Factor on that diameter.
    grid
        ``(3, 3)``: a spot's tile and its eight neighbours; ``(1, 1)``: its own alone.
    spatial_key, library_id
        Where AnnData keeps coordinates and images; None = the only library.
    library_key
        Column of ``adata.obs`` that says which library a spot is of: only those of the image's
        (or of ``library_id``) are cut.
    obs_names
        Only these spots, in this order.
    fill_value
        Value of what lies outside the image.

    Returns
    -------
    Lazy DataArray (obs, tile, c, y, x). ``obs``: names of the spots; ``tile``: NW N NE W C E SW S
    SE, or C; ``y``, ``x``: centres of the pixels from the tile's edge, in full-resolution units. By
    spot and tile: ``y0`` and ``x0``, row and column in the image of the first pixel, which may lie
    outside; ``valid_fraction``, the share of the tile that lies inside.

    Raises
    ------
    KeyError
        No such coordinates, library or spots.
    ValueError
        A size, grid or coordinates that make no tiles; no spot on the image.

    Examples
    --------
    >>> import numpy as np, pandas as pd, sensx_sc as sx
    >>> image = sx.im.from_array(np.arange(100).reshape(10, 10), dims="yx")
    >>> spots = pd.DataFrame({"x": [5.0], "y": [2.0]}, index=["spot"])
    >>> tiles = sx.im.spot_tiles(image, spots, tile_px=2)
    >>> tiles.sel(obs="spot", tile="C", c="grey").values.tolist()
    [[14, 15], [24, 25]]
    >>> tiles["valid_fraction"].sel(obs="spot", tile=["N", "S"]).values.tolist()
    [0.5, 1.0]
    """
    import xarray as xr

    check_image(image)
    pixels = grid_of(image)
    found, diameter = _coordinates(
        image, spots, spatial_key=spatial_key, library_id=library_id, library_key=library_key
    )
    names, yx = _chosen(found, obs_names)
    size = _size(tile_px, spot_scale, diameter, pixels)
    names_of_tiles = _names(grid)
    across = int(np.sqrt(len(names_of_tiles)))
    corner = np.stack(
        [
            np.floor(axis.position(yx[:, k]) - across * size / 2 + 0.5)
            for k, axis in enumerate((pixels.y, pixels.x))
        ],
        axis=1,
    ).astype(np.int64)
    row, column = np.divmod(np.arange(len(names_of_tiles)), across)
    y0, x0 = corner[:, :1] + row * size, corner[:, 1:] + column * size
    valid = _inside(y0, pixels.y.size, size) * _inside(x0, pixels.x.size, size) / size**2
    _check_on_image(valid, yx, pixels)
    data = _cut(image.data, corner, across, size, fill_value)
    attrs = {name: value for name, value in image.attrs.items() if name != "long_name"}
    attrs |= {"tile_px": size, "grid": asdict(pixels)}
    return xr.DataArray(
        data,
        dims=("obs", "tile", "c", "y", "x"),
        coords={
            "obs": names,
            "tile": list(names_of_tiles),
            "c": image.coords["c"].values,
            "y": Axis(0.0, pixels.y.step, size).centres,
            "x": Axis(0.0, pixels.x.step, size).centres,
            "y0": (("obs", "tile"), y0),
            "x0": (("obs", "tile"), x0),
            "valid_fraction": (("obs", "tile"), valid),
        },
        name="tiles",
        attrs=attrs,
    )


def _names(grid: tuple[int, int]) -> tuple[str, ...]:
    if tuple(grid) == (3, 3):
        return TILES
    if tuple(grid) == (1, 1):
        return ("C",)
    msg = f"`grid` must be (3, 3) or (1, 1); got {grid!r}."
    raise ValueError(msg)


def _coordinates(
    image: xr.DataArray,
    spots: Any,
    *,
    spatial_key: str,
    library_id: str | None,
    library_key: str | None,
) -> tuple[pd.DataFrame, float | None]:
    """Coordinates x and y by name, and the diameter of a spot."""
    import pandas as pd
    from anndata import AnnData as _AnnData

    if isinstance(spots, pd.DataFrame):
        missing = [name for name in ("x", "y") if name not in spots]
        if missing:
            msg = f"`spots` has no column {missing[0]!r}; it has {quoted(spots.columns)}."
            raise KeyError(msg)
        size = float(np.median(spots["diameter"])) if "diameter" in spots else None
        return spots[["x", "y"]].astype(np.float64), size
    if not isinstance(spots, _AnnData):
        msg = f"`spots` must be an AnnData or a DataFrame; got {type(spots).__name__}."
        raise TypeError(msg)
    if spatial_key not in spots.obsm:
        msg = f"`spatial_key` {spatial_key!r} is not in adata.obsm; it has {quoted(spots.obsm)}."
        raise KeyError(msg)
    xy = np.asarray(spots.obsm[spatial_key], dtype=np.float64)
    if xy.ndim != 2 or xy.shape[1] < 2:
        msg = (
            f"adata.obsm[{spatial_key!r}] must have two columns, x and y; its shape is {xy.shape}."
        )
        raise ValueError(msg)
    table = pd.DataFrame(xy[:, :2], columns=["x", "y"], index=spots.obs_names)
    wanted = library_id or image.attrs.get("library_id")
    if library_key is not None:
        if library_key not in spots.obs:
            msg = f"`library_key` {library_key!r} is not in adata.obs; it has "
            msg += f"{quoted(spots.obs.columns)}."
            raise KeyError(msg)
        own = spots.obs[library_key].astype(str) == str(wanted)
        if not own.any():
            there = quoted(pd.unique(spots.obs[library_key]))
            msg = f"no spot is of the library {wanted!r}: adata.obs[{library_key!r}] has {there}."
            raise ValueError(msg)
        table = table[own.to_numpy()]
    diameter = image.attrs.get("spot_diameter_fullres")
    if diameter is None and spatial_key in spots.uns:
        library, _ = find_library(spots, wanted, spatial_key)
        diameter = library.get("scalefactors", {}).get("spot_diameter_fullres")
    return table, None if diameter is None else float(diameter)


def _chosen(table: pd.DataFrame, obs_names: Sequence[str] | None) -> tuple[list[str], np.ndarray]:
    """Names and (y, x) of the spots to cut."""
    table = table.set_axis(table.index.astype(str))
    if not table.index.is_unique:
        twice = table.index[table.index.duplicated()][0]
        msg = f"the names of the spots must be unique; {twice!r} occurs more than once."
        raise ValueError(msg)
    if obs_names is not None:
        wanted = [obs_names] if isinstance(obs_names, str) else [str(name) for name in obs_names]
        missing = [name for name in wanted if name not in table.index]
        if missing:
            msg = f"`obs_names`: there is no spot {missing[0]!r}; there are {quoted(table.index)}."
            raise KeyError(msg)
        table = table.loc[wanted]
    if not len(table):
        msg = "there are no spots to cut."
        raise ValueError(msg)
    yx = table[["y", "x"]].to_numpy(dtype=np.float64)
    if not np.isfinite(yx).all():
        bad = table.index[~np.isfinite(yx).all(axis=1)]
        msg = (
            f"{len(bad)} spots have coordinates that are NaN or infinite, the first is {bad[0]!r}."
        )
        raise ValueError(msg)
    return list(table.index), yx


def _size(tile_px: int | None, spot_scale: float, diameter: float | None, pixels: Grid) -> int:
    if tile_px is not None:
        whole = isinstance(tile_px, int | np.integer) and not isinstance(tile_px, bool)
        if not whole or tile_px < 1:
            msg = f"`tile_px` must be a whole number of at least 1; got {tile_px!r}."
            raise ValueError(msg)
        return int(tile_px)
    if diameter is None:
        msg = "`tile_px` must be given, since the diameter of a spot is not known."
        raise ValueError(msg)
    if not (isinstance(spot_scale, int | float) and spot_scale > 0):
        msg = f"`spot_scale` must be a positive number; got {spot_scale!r}."
        raise ValueError(msg)
    return max(1, int(np.floor(diameter * spot_scale / pixels.y.step + 0.5)))


def _inside(first: Ints, n: int, size: int) -> Ints:
    """How many of ``size`` pixels from each first one lie on an axis of ``n`` pixels."""
    shared: Ints = np.clip(first + size, 0, n) - np.clip(first, 0, n)
    return shared


def _check_on_image(valid: np.ndarray, yx: np.ndarray, pixels: Grid) -> None:
    outside = np.asarray(~(valid > 0).any(axis=1))
    if outside.all():
        msg = (
            f"no spot lies on the image: x is {yx[:, 1].min():g} to {yx[:, 1].max():g} and y "
            f"{yx[:, 0].min():g} to {yx[:, 0].max():g}, but the image covers x {pixels.x.origin:g} "
            f"to {pixels.x.end:g} and y {pixels.y.origin:g} to {pixels.y.end:g}. Is its scale "
            "factor right?"
        )
        raise ValueError(msg)
    if outside.any():
        logger.warning(
            "spot_tiles: %d of %d spots lie outside the image.", outside.sum(), len(outside)
        )


def _cut(data: Any, corner: Ints, across: int, size: int, fill_value: float) -> Any:
    """Tiles (obs, tile, c, y, x) as a Dask array, some spots a chunk."""
    import dask
    import dask.array as da

    dtype, n_channels = np.dtype(data.dtype), data.shape[0]
    shape = (across**2, n_channels, size, size)
    together = max(1, _CHUNK_BYTES // max(1, int(np.prod(shape)) * dtype.itemsize))
    lazy = hasattr(data, "dask")
    whole = None if lazy else dask.delayed(data, traverse=False)
    parts = []
    for first in range(0, len(corner), together):
        some = corner[first : first + together]
        boxes = [_Box.at(y, x, across * size, data.shape[1:]) for y, x in some.tolist()]
        crops = [data[:, box.rows, box.columns] for box in boxes] if lazy else whole
        made = dask.delayed(_tiles)(crops, boxes, across, size, fill_value, dtype)
        parts.append(da.from_delayed(made, shape=(len(some), *shape), dtype=dtype))
    return da.concatenate(parts)


class _Box:
    """The part of a square that lies on the image, and where in the square it belongs."""

    def __init__(self, rows: slice, columns: slice, down: int, right: int) -> None:
        self.rows, self.columns = rows, columns
        self.down, self.right = down, right

    @classmethod
    def at(cls, y: int, x: int, size: int, shape: tuple[int, int]) -> _Box:
        top, left = np.clip([y, x], 0, shape).tolist()
        bottom, right = np.clip([y + size, x + size], 0, shape).tolist()
        return cls(slice(top, bottom), slice(left, right), top - y, left - x)


def _tiles(
    source: Any, boxes: list[_Box], across: int, size: int, fill_value: float, dtype: Any
) -> np.ndarray:
    """Cut squares into tiles: (spots, tile, c, y, x)."""
    whole = None if isinstance(source, list) else source
    n_channels = source[0].shape[0] if whole is None else whole.shape[0]
    out = np.full((len(boxes), n_channels, across * size, across * size), fill_value, dtype)
    for k, box in enumerate(boxes):
        crop = np.asarray(source[k] if whole is None else whole[:, box.rows, box.columns])
        height, width = crop.shape[1:]
        out[k, :, box.down : box.down + height, box.right : box.right + width] = crop
    split = out.reshape(len(boxes), n_channels, across, size, across, size)
    return split.transpose(0, 2, 4, 1, 3, 5).reshape(len(boxes), across**2, n_channels, size, size)
