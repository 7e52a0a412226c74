"""``sx.im.to_adata``: a map beside the image of the slide in AnnData."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.get._stored import quoted
from sensx_sc.im._from_adata import find_library
from sensx_sc.im._grid import grid_of
from sensx_sc.logger import logger
from sensx_sc.slots import in_place

if TYPE_CHECKING:
    import xarray as xr
    from anndata import AnnData

    from sensx_sc.im._grid import Axis


def to_adata(
    adata: AnnData,
    attribution: xr.DataArray,
    *,
    img_key: str = "sensx",
    library_id: str | None = None,
    spatial_key: str = "spatial",
) -> None:
    """Write a map of the slide where scanpy and squidpy look for images.

    Parameters
    ----------
    adata
        Data with a library in ``adata.uns[spatial_key]``.
    attribution
        (y, x) or (c, y, x), such as :func:`sensx_sc.im.stitch` returns.
    img_key
        Name of the new image; begins with "sensx", so that no image of the slide is lost.
    library_id
        Which library; None = the only one.
    spatial_key
        Key of ``adata.uns``.

    Returns
    -------
    None; writes, with ``sensx`` for ``img_key``:

    - ``.uns[spatial_key][library_id]["images"]["sensx"]``: float32, (y, x) or (y, x, c), from the
      corner of the slide on; NaN = no value.
    - ``.uns[spatial_key][library_id]["scalefactors"]["tissue_sensx_scalef"]``: its scale factor.

    Raises
    ------
    KeyError, ValueError
        No such library; a name that does not begin with "sensx"; pixels that are not square, or
        that do not lie on the grid of the slide.

    Examples
    --------
    >>> import numpy as np, sensx_sc as sx
    >>> adata = sx.datasets.toy()
    >>> adata.uns["spatial"] = {"slide": {"images": {}, "scalefactors": {}}}
    >>> found = sx.im.from_array(np.ones((4, 5)), dims="yx", scalef=0.5).sel(c="grey")
    >>> sx.im.to_adata(adata, found)
    >>> adata.uns["spatial"]["slide"]["scalefactors"]["tissue_sensx_scalef"]
    0.5
    """
    library, library_id = find_library(adata, library_id, spatial_key)
    if not isinstance(img_key, str) or not img_key.startswith("sensx") or set(img_key) & set("/*"):
        msg = f"`img_key` must begin with 'sensx' and hold no '/' or '*'; got {img_key!r}."
        raise ValueError(msg)
    dims = tuple(attribution.dims)
    if dims not in (("y", "x"), ("c", "y", "x")):
        msg = f"`attribution` must have the dimensions (y, x) or (c, y, x); got {dims}."
        raise ValueError(msg)
    grid = grid_of(attribution)
    if abs(grid.y.step / grid.x.step - 1) > 1e-6:
        msg = (
            f"`attribution` has pixels of {grid.y.step:g} x {grid.x.step:g}, and AnnData knows one "
            "scale factor for both axes."
        )
        raise ValueError(msg)
    before = [(_cells_before(axis, name), 0) for axis, name in ((grid.y, "y"), (grid.x, "x"))]
    image = np.asarray(attribution.data, dtype=np.float32)
    if image.ndim == 3:
        image = np.moveaxis(image, 0, -1)
        before.append((0, 0))
    image = np.pad(image, before, constant_values=np.nan)
    in_place(adata)
    library = adata.uns[spatial_key][library_id]
    library.setdefault("images", {})[img_key] = image
    scale = f"tissue_{img_key}_scalef"
    library.setdefault("scalefactors", {})[scale] = float(1 / grid.y.step)
    logger.info(
        "to_adata: added .uns[%r][%r]: image %r and scale factor %r; images are now %s.",
        spatial_key,
        library_id,
        img_key,
        scale,
        quoted(library["images"]),
    )


def _cells_before(axis: Axis, name: str) -> int:
    """Pixels between the corner of the slide and the first one."""
    before: Any = axis.offset
    if before != np.rint(before) or before < 0:
        msg = (
            f"`attribution` begins at {name} = {axis.origin:g}, which is no pixel of the slide at "
            f"its scale (pixels are {axis.step:g} wide)."
        )
        raise ValueError(msg)
    return int(np.rint(before))
