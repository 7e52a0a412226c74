"""``sx.im.from_sdata`` and ``sx.im.spots``: images and shapes of SpatialData."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.get._stored import quoted
from sensx_sc.im._grid import Axis, Grid
from sensx_sc.im._image import check_image, make_image

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from numpy.typing import NDArray
    from spatialdata import SpatialData


def from_sdata(
    sdata: SpatialData,
    image_key: str,
    *,
    scale: str = "scale0",
    coordinate_system: str = "global",
) -> xr.DataArray:
    """Take an image out of SpatialData; it stays lazy.

    Parameters
    ----------
    sdata
        The data.
    image_key
        Name in ``sdata.images``.
    scale
        Level of a multiscale image.
    coordinate_system
        Where shapes will be looked up; see :func:`sensx_sc.im.spots`.

    Returns
    -------
    DataArray as :func:`sensx_sc.im.from_array` makes it. Its coordinates are those of the image
    itself, in pixels of ``scale0``; ``attrs["affine"]`` is the 3 x 3 matrix that takes (x, y, 1) to
    the coordinate system, whatever rotation, scale or shear that has.

    Raises
    ------
    KeyError
        No such image, level or coordinate system, naming those that are there.

    Examples
    --------
    >>> import pytest
    >>> models = pytest.importorskip("spatialdata.models")  # doctest: +SKIP
    >>> image = sx.im.from_sdata(sdata, "he", scale="scale1")  # doctest: +SKIP
    """
    from spatialdata.transformations import get_transformation

    images = _elements(sdata, "images")
    if image_key not in images:
        msg = f"`image_key` {image_key!r} is not in sdata.images; there are {quoted(images)}."
        raise KeyError(msg)
    element = images[image_key]
    if hasattr(element, "children"):  # a multiscale image
        if scale not in element.children:
            msg = f"`scale` {scale!r} is no level of {image_key!r}; there are "
            msg += f"{quoted(element.children)}."
            raise KeyError(msg)
        whole, level = element["scale0"]["image"], element[scale]["image"]
    elif scale != "scale0":
        msg = f"`scale` {scale!r}: {image_key!r} has one level, 'scale0'."
        raise KeyError(msg)
    else:
        whole = level = element
    known = get_transformation(element, get_all=True)
    if coordinate_system not in known:
        msg = f"`coordinate_system` {coordinate_system!r} is not one of {image_key!r}; there are "
        msg += f"{quoted(known)}."
        raise KeyError(msg)
    axes = {}
    for name in ("y", "x"):
        step = whole.sizes[name] / level.sizes[name]
        axes[name] = Axis(0.0, step, level.sizes[name])
    attrs = {
        "library_id": image_key,
        "img_key": scale,
        "coordinate_system": coordinate_system,
        "affine": _matrix(known[coordinate_system]).tolist(),
    }
    channels = [str(name) for name in level.coords["c"].values]
    return make_image(level.transpose("c", "y", "x").data, channels, Grid(**axes), attrs)


def spots(sdata: SpatialData, shapes_key: str, image: xr.DataArray) -> pd.DataFrame:
    """Where the shapes of SpatialData lie on an image.

    Parameters
    ----------
    sdata
        The data.
    shapes_key
        Name in ``sdata.shapes``: circles (Visium spots) or polygons (cells).
    image
        What :func:`sensx_sc.im.from_sdata` returned; its coordinate system must be one of the
        shapes', too.

    Returns
    -------
    DataFrame indexed as the shapes: ``x``, ``y`` (centres) and ``diameter`` (of the circle of equal
    area), in the units of the image's coordinates.

    Raises
    ------
    KeyError
        No such shapes, or shapes that are not in the image's coordinate system.

    Examples
    --------
    >>> tiles = sx.im.spot_tiles(image, sx.im.spots(sdata, "visium", image))  # doctest: +SKIP
    """
    import pandas as pd
    from spatialdata.transformations import get_transformation

    check_image(image)
    if "affine" not in image.attrs:
        msg = "`image` must come from sx.im.from_sdata: it has no 'affine' among its attributes."
        raise ValueError(msg)
    shapes = _elements(sdata, "shapes")
    if shapes_key not in shapes:
        msg = f"`shapes_key` {shapes_key!r} is not in sdata.shapes; there are {quoted(shapes)}."
        raise KeyError(msg)
    table, system = shapes[shapes_key], image.attrs["coordinate_system"]
    known = get_transformation(table, get_all=True)
    if system not in known:
        msg = (
            f"{shapes_key!r} is not in the coordinate system {system!r} of the image; it is in "
            f"{quoted(known)}."
        )
        raise KeyError(msg)
    there = np.linalg.inv(np.asarray(image.attrs["affine"])) @ _matrix(known[system])
    centres = table.geometry.centroid
    points = np.stack([centres.x, centres.y, np.ones(len(table))])
    x, y, _ = there @ points
    area = np.pi * table["radius"] ** 2 if "radius" in table else table.geometry.area
    size = 2 * np.sqrt(np.asarray(area, dtype=np.float64) / np.pi)
    stretch = np.sqrt(abs(np.linalg.det(there[:2, :2])))
    index = pd.Index(table.index.astype(str))
    return pd.DataFrame({"x": x, "y": y, "diameter": size * stretch}, index=index)


def _elements(sdata: Any, kind: str) -> Any:
    from spatialdata import SpatialData as _SpatialData

    if not isinstance(sdata, _SpatialData):
        msg = f"`sdata` must be a SpatialData; got {type(sdata).__name__}."
        raise TypeError(msg)
    return getattr(sdata, kind)


def _matrix(transformation: Any) -> NDArray[np.float64]:
    """The 3 x 3 matrix of a transformation on (x, y, 1)."""
    axes = ("x", "y")
    return np.asarray(transformation.to_affine_matrix(axes, axes), dtype=np.float64)
