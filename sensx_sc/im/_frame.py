"""Images and tiles as rows of values, and rows of results as images again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.im._features import Frame, pick_tiles
from sensx_sc.im._grid import Axis, grid_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr
    from numpy.typing import NDArray

    from sensx_sc.models.layout import Layout

    Floats = NDArray[np.float64]

_CANONICAL = ("tile", "c", "y", "x")


@dataclass(frozen=True)
class Inputs:
    """What is explained, and how it is laid out.

    Attributes
    ----------
    array
        (obs, tile, c, y, x), the tiles in the model's order, if it has one.
    frame
        Its shape.
    names
        Names of the inputs.
    plain
        Which of ``"obs"`` and ``"tile"`` the caller's array did not have.
    order
        Dimensions of a row, the last changing fastest.
    """

    array: xr.DataArray
    frame: Frame
    names: tuple[str, ...]
    plain: tuple[str, ...]
    order: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of an input as the model has it; a single tile is left out."""
        sizes = dict(zip(_CANONICAL, self.frame.shape, strict=True))
        drop = sizes["tile"] == 1
        return tuple(sizes[name] for name in self.order if not (drop and name == "tile"))

    @property
    def rows(self) -> Any:
        """(obs, n): an ndarray, or a Dask array of some inputs a chunk."""
        array = self.array.transpose("obs", *self.order)
        data = array.data
        if not hasattr(data, "dask"):
            return np.asarray(data).reshape(len(self.names), -1)
        whole = data.rechunk(dict.fromkeys(range(1, data.ndim), -1))
        return whole.reshape(len(self.names), -1)

    def as_row(self, values: np.ndarray) -> np.ndarray:
        """Values (T, C, H, W) in the order of a row, (n,)."""
        axes = [_CANONICAL.index(name) for name in self.order]
        return np.ascontiguousarray(values.transpose(axes)).ravel()


def make_inputs(image: Any, perturb: str | Sequence[str] | None, layout: Layout | None) -> Inputs:
    """Check what is to be explained.

    Raises
    ------
    TypeError, ValueError
        No DataArray of this room, other dimensions, or tiles that the model does not know.
    """
    import xarray as xr

    if not isinstance(image, xr.DataArray):
        msg = (
            "`image` must be an xarray.DataArray, an image or tiles, as the functions of sx.im "
            f"make it; got {type(image).__name__}."
        )
        raise TypeError(msg)
    dims = tuple(image.dims)
    allowed = (("c", "y", "x"), ("obs", "c", "y", "x"), ("obs", "tile", "c", "y", "x"))
    if dims not in allowed:
        listed = ", ".join(f"({', '.join(each)})" for each in allowed)
        msg = f"`image` must have the dimensions {listed}; got ({', '.join(map(str, dims))})."
        raise ValueError(msg)
    if 0 in image.shape:
        msg = f"`image` is empty: its shape is {image.shape}."
        raise ValueError(msg)
    plain = tuple(name for name in ("obs", "tile") if name not in dims)
    tiles = tuple(map(str, image.coords["tile"].values)) if "tile" in dims else ()
    array = image
    if layout is not None and layout.tiles is not None:
        array, tiles = _in_order(image, tiles, layout.tiles)
    axes = _axes(image)
    frame = Frame(
        tiles,
        tuple(map(str, image.coords["c"].values)),
        axes["y"],
        axes["x"],
        pick_tiles(perturb, tiles),
    )
    names = _names(image)
    for axis, name in enumerate(("obs", "tile")):
        if name not in array.dims:
            array = array.expand_dims(name, axis=axis)
    order = _CANONICAL if layout is None else layout.dims
    return Inputs(array, frame, names, plain, order)


def _in_order(
    image: xr.DataArray, tiles: tuple[str, ...], wanted: tuple[str, ...]
) -> tuple[xr.DataArray, tuple[str, ...]]:
    """The tiles in the model's order."""
    if set(tiles) != set(wanted):
        msg = (
            f"the model takes the tiles {', '.join(wanted)}; `image` has "
            f"{', '.join(tiles) or 'none'}. Cut them with sx.im.spot_tiles."
        )
        raise ValueError(msg)
    return image.sel(tile=list(wanted)), wanted


def _axes(image: xr.DataArray) -> dict[str, Axis]:
    """The pixels of a tile, or of the image."""
    if "y0" not in image.coords:
        grid = grid_of(image)
        return {"y": grid.y, "x": grid.x}
    told = image.attrs.get("grid", {})
    steps = {name: told.get(name, {"step": 1.0})["step"] for name in ("y", "x")}
    return {name: Axis(0.0, step, image.sizes[name]) for name, step in steps.items()}


def _names(image: xr.DataArray) -> tuple[str, ...]:
    """Names of the inputs, which key their random numbers."""
    if "obs" not in image.dims:
        return (str(image.attrs.get("library_id", image.name or "image")),)
    names = tuple(map(str, image.coords["obs"].values if "obs" in image.coords else
                      range(image.sizes["obs"])))  # fmt: skip
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        msg = f"the names `image['obs']` must be unique; {twice!r} occurs more than once."
        raise ValueError(msg)
    return names


def bounds(value: Any, name: str, image: xr.DataArray, inputs: Inputs) -> Floats:
    """A bound for each value of an input, (T, C, H, W).

    Parameters
    ----------
    value
        A number, one for each channel, or an array that broadcasts to (T, C, H, W). None: the
        end of the range of whole numbers of 8 bits.
    """
    if value is None:
        if image.dtype != np.uint8:
            msg = (
                f"`{name}` must be given for an image of {image.dtype}: the range of its values, "
                "such as 0 and 1."
            )
            raise ValueError(msg)
        value = 0 if name == "lower" else 255
    try:
        found = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        msg = f"`{name}` must be a number or an array of numbers; got {value!r}."
        raise TypeError(msg) from error
    shape = inputs.frame.shape
    if found.ndim == 1 and len(found) == shape[1]:
        found = found[:, None, None]
    try:
        return np.broadcast_to(found, shape)
    except ValueError as error:
        msg = (
            f"`{name}` must be a number, one for each of the {shape[1]} channels, or an array that "
            f"broadcasts to {shape} (tile, c, y, x); got shape {found.shape}."
        )
        raise ValueError(msg) from error


def check_map(values: Any) -> xr.DataArray:
    """Maps as (obs, y, x), float64.

    Raises
    ------
    TypeError, ValueError
        No DataArray, or other dimensions.
    """
    import xarray as xr

    if not isinstance(values, xr.DataArray):
        got = type(values).__name__
        msg = f"`values` must be an xarray.DataArray (y, x) or (obs, y, x); got {got}."
        raise TypeError(msg)
    if "tile" in values.dims and values.sizes["tile"] == 1:
        values = values.isel(tile=0)
    if set(values.dims) not in ({"y", "x"}, {"obs", "y", "x"}):
        msg = (
            "`values` must have the dimensions (y, x) or (obs, y, x): choose a tile or channel "
            f"first; got {tuple(values.dims)}."
        )
        raise ValueError(msg)
    if "obs" not in values.dims:
        values = values.expand_dims("obs")
    if "obs" not in values.coords:
        values = values.assign_coords(obs=np.arange(values.sizes["obs"]).astype(str))
    found = values.transpose("obs", "y", "x").astype(np.float64)
    return found.load()
