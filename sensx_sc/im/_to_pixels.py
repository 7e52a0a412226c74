"""``sx.im.to_pixels``: values of patches, tiles and labels spread over their pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sensx_sc.get._stored import quoted
from sensx_sc.im._dataset import COARSE, PLACES
from sensx_sc.im._grid import Axis

if TYPE_CHECKING:
    import xarray as xr


def to_pixels(result: xr.Dataset, name: str = "value") -> xr.DataArray:
    """Spread the values of coarse features over their pixels.

    Parameters
    ----------
    result
        What :func:`sensx_sc.im.sensx` returned, for features of any kind.
    name
        Which of its statistics.

    Returns
    -------
    DataArray (..., y, x), lazy if it was: as it is for values and pixels, else repeated over the
    pixels of each patch, tile or label; NaN for pixels of no label.

    Raises
    ------
    KeyError
        No such variable.
    ValueError
        Values that do not know their pixels.

    Examples
    --------
    >>> import numpy as np, sensx_sc as sx
    >>> image = sx.im.from_array(np.full((2, 4), 5), dims="yx")
    >>> model = lambda images: images[..., :2].sum(axis=(1, 2, 3))  # the left half
    >>> found = sx.im.sensx(
    ...     image, model, features="patch:2", lower=0, upper=9, tau=1e-3, progress=False
    ... )
    >>> found["value"].dims, sx.im.to_pixels(found).shape
    (('y', 'x'), (2, 4))
    """
    import xarray as xr

    if not isinstance(result, xr.Dataset):
        msg = f"`result` must be the xarray.Dataset of sx.im.sensx; got {type(result).__name__}."
        raise TypeError(msg)
    if name not in result:
        msg = f"`name` {name!r} is not in the results; there are {quoted(result.data_vars)}."
        raise KeyError(msg)
    suffix = COARSE if name.endswith(COARSE) else ""
    values = result[name].drop_vars([c for c in result[name].coords if c in PLACES])
    values = values.rename(
        {dim: str(dim).removesuffix(suffix) for dim in values.dims if str(dim).endswith(suffix)}
        if suffix
        else {}
    )
    if "label" in values.dims:
        labels = result[f"labels{suffix}"]
        renamed = {dim: str(dim).removesuffix("_labels") for dim in labels.dims}
        spread_values = _of_labels(values, labels.rename(renamed))
    else:
        spread_values = spread(values)
    places = {c: result.coords[c] for c in PLACES if c in result.coords}
    return spread_values.assign_coords(places) if "tile" in spread_values.dims else spread_values


def spread(values: xr.DataArray) -> xr.DataArray:
    """Values of patches and of whole tiles, for each pixel."""
    patch = values.attrs.get("patch")
    if {"y", "x"} <= set(values.dims) and patch is None:
        return values
    if "tile_px" not in values.attrs:
        msg = (
            f"values of the dimensions {tuple(values.dims)} have no attribute 'tile_px', so their "
            "pixels are not known."
        )
        raise ValueError(msg)
    sizes = np.broadcast_to(values.attrs["tile_px"], 2).tolist()
    found = values
    for axis, size in zip(("y", "x"), sizes, strict=True):
        if axis in values.dims:
            found = found.isel({axis: np.arange(size) // patch})
        else:
            found = found.expand_dims({axis: size}, axis=-1)
        found = found.assign_coords({axis: _centres(values, axis, size)})
    return _with_attrs(found, values)


def _centres(values: xr.DataArray, axis: str, size: int) -> np.ndarray:
    """Centres of the pixels, from the edge of a tile or on the image."""
    told = values.attrs.get("grid", {}).get(axis, {"offset": 0.0, "step": 1.0})
    offset = 0.0 if "tile" in values.dims else told["offset"]
    return Axis(offset, told["step"], size).centres


def _of_labels(values: xr.DataArray, labels: xr.DataArray) -> xr.DataArray:
    """Values (..., label) where the label map (..., y, x) has their labels."""
    known = values.coords["label"].values
    inside = np.isin(labels.values, known)
    place = labels.copy(data=np.where(inside, np.searchsorted(known, labels.values), 0))
    place = place.clip(max=len(known) - 1).drop_vars(list(place.coords))
    found = values.drop_vars("label").isel(label=place.rename("place"))
    return _with_attrs(found.where(place.copy(data=inside)), values).assign_coords(
        {axis: labels.coords[axis] for axis in ("y", "x")}
    )


def _with_attrs(found: xr.DataArray, values: xr.DataArray) -> xr.DataArray:
    found.attrs = {k: v for k, v in values.attrs.items() if k != "patch"}
    return found
