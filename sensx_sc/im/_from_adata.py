"""``sx.im.from_adata``: images in ``adata.uns["spatial"]``, as scanpy and squidpy keep them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.get._stored import quoted
from sensx_sc.im._image import check_scalef, image_from

if TYPE_CHECKING:
    import xarray as xr
    from anndata import AnnData


def from_adata(
    adata: AnnData,
    *,
    library_id: str | None = None,
    img_key: str = "hires",
    spatial_key: str = "spatial",
) -> xr.DataArray:
    """Take an image out of AnnData.

    Parameters
    ----------
    adata
        Data with ``.uns[spatial_key][library_id]["images"][img_key]`` and the scale factor
        ``["scalefactors"][f"tissue_{img_key}_scalef"]``.
    library_id
        Which library; None = the only one.
    img_key
        Which of its images.
    spatial_key
        Key of ``adata.uns``.

    Returns
    -------
    DataArray as :func:`sensx_sc.im.from_array` makes it, in units of ``adata.obsm[spatial_key]``;
    attributes ``scalef``, ``library_id``, ``img_key`` and, where it is known,
    ``spot_diameter_fullres``.

    Raises
    ------
    KeyError
        No such library, image or scale factor, naming those that are there.

    Examples
    --------
    >>> import numpy as np, sensx_sc as sx
    >>> adata = sx.datasets.toy()
    >>> adata.uns["spatial"] = {
    ...     "slide": {
    ...         "images": {"hires": np.zeros((8, 10, 3), dtype=np.uint8)},
    ...         "scalefactors": {"tissue_hires_scalef": 0.1, "spot_diameter_fullres": 20.0},
    ...     }
    ... }
    >>> sx.im.from_adata(adata)["x"].values[:2].tolist()
    [5.0, 15.0]
    """
    library, library_id = find_library(adata, library_id, spatial_key)
    images = library.get("images", {})
    if img_key not in images:
        msg = f"`img_key` {img_key!r} is no image of {library_id!r}; it has {quoted(images)}."
        raise KeyError(msg)
    scales = library.get("scalefactors", {})
    name = f"tissue_{img_key}_scalef"
    if name not in scales:
        msg = (
            f"the image {img_key!r} has no scale factor: {name!r} is not in the scalefactors of "
            f"{library_id!r}, which has {quoted(scales)}."
        )
        raise KeyError(msg)
    attrs: dict[str, Any] = {"library_id": library_id, "img_key": img_key}
    if "spot_diameter_fullres" in scales:
        attrs["spot_diameter_fullres"] = float(scales["spot_diameter_fullres"])
    data = images[img_key] if hasattr(images[img_key], "dask") else np.asarray(images[img_key])
    scalef = check_scalef(scales[name], name)
    return image_from(data, "yxc"[: data.ndim], scalef=scalef, attrs=attrs)


def find_library(
    adata: AnnData, library_id: str | None, spatial_key: str = "spatial"
) -> tuple[Mapping[str, Any], str]:
    """One library of ``adata.uns[spatial_key]``, and its name."""
    from anndata import AnnData as _AnnData

    if not isinstance(adata, _AnnData):
        msg = f"`adata` must be an AnnData; got {type(adata).__name__}."
        raise TypeError(msg)
    libraries = adata.uns.get(spatial_key)
    if not isinstance(libraries, Mapping) or not libraries:
        msg = f"`spatial_key` {spatial_key!r}: adata.uns has no images there; it has "
        msg += f"{quoted(adata.uns)}."
        raise KeyError(msg)
    if library_id is None:
        if len(libraries) > 1:
            msg = f"`library_id` must be given, since there are several: {quoted(libraries)}."
            raise ValueError(msg)
        library_id = str(next(iter(libraries)))
    if library_id not in libraries:
        msg = f"`library_id` {library_id!r} is not there; there are {quoted(libraries)}."
        raise KeyError(msg)
    return libraries[library_id], library_id
