"""``sx.im.to_sdata``: a map beside the image of the slide in SpatialData."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sensx_sc.get._stored import quoted
from sensx_sc.im._grid import grid_of
from sensx_sc.logger import logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr
    from spatialdata import SpatialData


def to_sdata(
    sdata: SpatialData,
    attribution: xr.DataArray,
    image_key: str = "sensx",
    *,
    like: str,
    scale_factors: Sequence[int] | None = None,
) -> None:
    """Add a map of the slide to SpatialData, with the transformations of the slide's image.

    Parameters
    ----------
    sdata
        The data.
    attribution
        (y, x) or (c, y, x), in the coordinates of ``sdata.images[like]``: such as
        :func:`sensx_sc.im.stitch` returns, of any level and any part of the image.
    image_key
        Name of the new image; begins with "sensx", so that no image of the slide is lost.
    like
        The image that was explained: the map lies on it in all of its coordinate systems.
    scale_factors
        Make a multiscale image.

    Returns
    -------
    None; writes ``sdata.images[image_key]``, float32, with the channel "sensx" (or those of the
    map).

    Raises
    ------
    KeyError, ValueError
        No such image; a name that does not begin with "sensx"; other dimensions.

    Examples
    --------
    >>> sx.im.to_sdata(sdata, found, like="he")  # doctest: +SKIP
    """
    from spatialdata import SpatialData as _SpatialData
    from spatialdata.models import Image2DModel
    from spatialdata.transformations import Scale, Translation, get_transformation
    from spatialdata.transformations import Sequence as Steps

    if not isinstance(sdata, _SpatialData):
        msg = f"`sdata` must be a SpatialData; got {type(sdata).__name__}."
        raise TypeError(msg)
    if like not in sdata.images:
        msg = f"`like` {like!r} is not in sdata.images; there are {quoted(sdata.images)}."
        raise KeyError(msg)
    if not isinstance(image_key, str) or not image_key.startswith("sensx"):
        msg = f"`image_key` must begin with 'sensx'; got {image_key!r}."
        raise ValueError(msg)
    dims = tuple(attribution.dims)
    if dims not in (("y", "x"), ("c", "y", "x")):
        msg = f"`attribution` must have the dimensions (y, x) or (c, y, x); got {dims}."
        raise ValueError(msg)
    grid = grid_of(attribution)
    data = np.asarray(attribution.data, dtype=np.float32)
    channels = ["sensx"] if data.ndim == 2 else [str(c) for c in attribution.coords["c"].values]
    axes = ("y", "x")
    own = [
        Scale([grid.y.step, grid.x.step], axes=axes),
        Translation([grid.y.origin, grid.x.origin], axes=axes),
    ]
    known = get_transformation(sdata.images[like], get_all=True)
    sdata.images[image_key] = Image2DModel.parse(
        data if data.ndim == 3 else data[None],
        dims=("c", "y", "x"),
        c_coords=channels,
        transformations={system: Steps([*own, step]) for system, step in known.items()},
        scale_factors=scale_factors,
    )
    logger.info("to_sdata: added .images[%r], on %r in %s.", image_key, like, quoted(known))
