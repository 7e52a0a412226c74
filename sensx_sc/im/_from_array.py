"""``sx.im.from_array``: plain arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.im._image import image_from

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr


def from_array(
    array: Any,
    *,
    dims: str = "yxc",
    scalef: float = 1.0,
    c: Sequence[str] | None = None,
    library_id: str | None = None,
) -> xr.DataArray:
    """Make an image from an array; a Dask array stays lazy.

    Parameters
    ----------
    array
        numpy or Dask array of two or three axes.
    dims
        What the axes are, one letter each: ``"yxc"``, ``"cyx"``, ``"yx"``, ...
    scalef
        Scale factor: pixels of this image for one pixel of the full resolution.
    c
        Names of the channels; by default r, g, b (and a) for three (four) of them.
    library_id
        Kept as an attribute.

    Returns
    -------
    DataArray, dimensions ``c``, ``y``, ``x``. The coordinates ``y`` and ``x`` are the centres of
    the pixels in full-resolution units, (i + .5) / scalef; ``attrs["scalef"]`` is the scale factor.

    Raises
    ------
    ValueError, TypeError
        Dims that do not fit, an empty array, no numbers, a scale factor that is not positive.

    Examples
    --------
    >>> import numpy as np, sensx_sc as sx
    >>> image = sx.im.from_array(np.zeros((4, 6, 3), dtype=np.uint8), scalef=0.5)
    >>> image.shape, image["y"].values.tolist()
    ((3, 4, 6), [1.0, 3.0, 5.0, 7.0])
    """
    data = array if hasattr(array, "dask") else np.asarray(array)
    attrs = {} if library_id is None else {"library_id": str(library_id)}
    return image_from(data, dims, c=c, scalef=scalef, attrs=attrs)
