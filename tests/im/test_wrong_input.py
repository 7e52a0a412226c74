"""Wrong input to the functions of ``sx.im``: each mistake has its sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from anndata import AnnData

import sensx_sc as sx

if TYPE_CHECKING:
    from collections.abc import Callable

ARRAY = np.zeros((6, 8, 3), dtype=np.uint8)
IMAGE = sx.im.from_array(ARRAY)
SPOTS = pd.DataFrame({"x": [4.0], "y": [3.0]}, index=["a"])
VALUES = sx.im.spot_tiles(IMAGE, SPOTS, tile_px=2).isel(c=0, drop=True).astype(float)


def adata(**library: Any) -> AnnData:
    made = AnnData(np.zeros((2, 2)))
    made.obsm["spatial"] = np.array([[1.0, 2.0], [3.0, 4.0]])
    made.uns["spatial"] = {"a": {"images": {}, "scalefactors": {}, **library}}
    return made


def two() -> AnnData:
    made = adata()
    made.uns["spatial"]["b"] = made.uns["spatial"]["a"]
    return made


def with_obsm(value: np.ndarray) -> AnnData:
    made = adata()
    made.obsm["spatial"] = value
    return made


def lost(values: xr.DataArray, name: str) -> xr.DataArray:
    return values.assign_attrs({}).drop_attrs() if name == "attrs" else values.drop_vars(name)


HIRES = {"images": {"hires": ARRAY}}
CASES: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    # from_array
    "dims twice": (lambda: sx.im.from_array(ARRAY, dims="yyc"), ValueError, "`dims` must spell the axes .*; got 'yyc'"),
    "dims of another rank": (lambda: sx.im.from_array(ARRAY, dims="yx"), ValueError, r"3 axes, shape \(6, 8, 3\), and `dims` 'yx' spells 2"),
    "empty": (lambda: sx.im.from_array(np.zeros((0, 3)), dims="yx"), ValueError, "the image is empty"),
    "text": (lambda: sx.im.from_array(np.array([["a"]]), dims="yx"), TypeError, "must hold numbers; got dtype <U1"),
    "scalef zero": (lambda: sx.im.from_array(ARRAY, scalef=0), ValueError, "`scalef` must be a positive number; got 0"),
    "scalef text": (lambda: sx.im.from_array(ARRAY, scalef="x"), TypeError, "`scalef` must be a positive number; got 'x'"),
    "channels": (lambda: sx.im.from_array(ARRAY, c=["r", "g"]), ValueError, "`c` must hold 3 different names"),
    "channels twice": (lambda: sx.im.from_array(ARRAY, c=["r", "g", "g"]), ValueError, "`c` must hold 3 different names"),
    # from_file
    "no file": (lambda: sx.im.from_file("/nowhere.png"), FileNotFoundError, "there is no file '/nowhere.png'"),
    # from_adata
    "no adata": (lambda: sx.im.from_adata(1), TypeError, "`adata` must be an AnnData; got int"),
    "no spatial": (lambda: sx.im.from_adata(AnnData(np.zeros((1, 1)))), KeyError, "`spatial_key` 'spatial': adata.uns has no images there"),
    "no image": (lambda: sx.im.from_adata(adata()), KeyError, r"`img_key` 'hires' is no image of 'a'; it has \(none\)"),
    "no scale": (lambda: sx.im.from_adata(adata(**HIRES)), KeyError, "'tissue_hires_scalef' is not in the scalefactors"),
    "bad scale": (lambda: sx.im.from_adata(adata(**HIRES, scalefactors={"tissue_hires_scalef": -1})), ValueError, "`tissue_hires_scalef` must be a positive number"),
    "which library": (lambda: sx.im.from_adata(two()), ValueError, "`library_id` must be given.*'a', 'b'"),
    "no library": (lambda: sx.im.from_adata(two(), library_id="c"), KeyError, "`library_id` 'c' is not there; there are 'a', 'b'"),
    # spot_tiles
    "no image form": (lambda: sx.im.spot_tiles(ARRAY, SPOTS), TypeError, "`image` must be an xarray.DataArray"),
    "image dims": (lambda: sx.im.spot_tiles(IMAGE[0], SPOTS), ValueError, "must have the dimensions c, y, x"),
    "no coordinates": (lambda: sx.im.spot_tiles(IMAGE.drop_vars("y"), SPOTS, tile_px=2), ValueError, "the image has no coordinate 'y'"),
    "uneven": (lambda: sx.im.spot_tiles(IMAGE[:, [0, 1, 3]], SPOTS, tile_px=2), ValueError, "'y' must ascend in equal steps.*0.5, 1.5, 3.5"),
    "flipped": (lambda: sx.im.spot_tiles(IMAGE[:, ::-1], SPOTS, tile_px=2), ValueError, "'y' must ascend in equal steps"),
    "grid": (lambda: sx.im.spot_tiles(IMAGE, SPOTS, tile_px=2, grid=(2, 2)), ValueError, r"`grid` must be \(3, 3\) or \(1, 1\)"),
    "no size": (lambda: sx.im.spot_tiles(IMAGE, SPOTS), ValueError, "`tile_px` must be given, since the diameter"),
    "size zero": (lambda: sx.im.spot_tiles(IMAGE, SPOTS, tile_px=0), ValueError, "`tile_px` must be a whole number of at least 1; got 0"),
    "size half": (lambda: sx.im.spot_tiles(IMAGE, SPOTS, tile_px=2.5), ValueError, "`tile_px` must be a whole number"),
    "scale of spots": (lambda: sx.im.spot_tiles(IMAGE, SPOTS.assign(diameter=2.0), spot_scale=0), ValueError, "`spot_scale` must be a positive number"),
    "spots of what": (lambda: sx.im.spot_tiles(IMAGE, [1, 2], tile_px=2), TypeError, "`spots` must be an AnnData or a DataFrame; got list"),
    "no column": (lambda: sx.im.spot_tiles(IMAGE, SPOTS[["x"]], tile_px=2), KeyError, "`spots` has no column 'y'"),
    "no obsm": (lambda: sx.im.spot_tiles(IMAGE, adata(), spatial_key="xy", tile_px=2), KeyError, "`spatial_key` 'xy' is not in adata.obsm"),
    "one column": (lambda: sx.im.spot_tiles(IMAGE, with_obsm(np.ones((2, 1))), tile_px=2), ValueError, "must have two columns"),
    "NaN": (lambda: sx.im.spot_tiles(IMAGE, with_obsm(np.full((2, 2), np.nan)), tile_px=2), ValueError, "2 spots have coordinates that are"),
    "twins": (lambda: sx.im.spot_tiles(IMAGE, pd.concat([SPOTS, SPOTS]), tile_px=2), ValueError, "must be unique; 'a' occurs more than once"),
    "unknown spot": (lambda: sx.im.spot_tiles(IMAGE, SPOTS, tile_px=2, obs_names=["b"]), KeyError, "there is no spot 'b'; there are 'a'"),
    "no spots": (lambda: sx.im.spot_tiles(IMAGE, SPOTS[:0], tile_px=2), ValueError, "there are no spots to cut"),
    "off the image": (lambda: sx.im.spot_tiles(IMAGE, SPOTS + 900, tile_px=2), ValueError, "no spot lies on the image: x is 904 .*Is its scale factor right"),
    "library column": (lambda: sx.im.spot_tiles(IMAGE, adata(), tile_px=2, library_key="slide"), KeyError, "`library_key` 'slide' is not in adata.obs"),
    # stitch
    "stitch what": (lambda: sx.im.stitch(np.zeros(3)), TypeError, "`values` must be an xarray.DataArray"),
    "stitch how": (lambda: sx.im.stitch(VALUES, reduce="median"), ValueError, "`reduce` must be one of 'mean', 'sum', 'max'"),
    "stitch an image": (lambda: sx.im.stitch(IMAGE), ValueError, "must have the dimensions obs and tile"),
    "stitch lost places": (lambda: sx.im.stitch(VALUES.drop_vars("y0")), ValueError, "must have the coordinates 'y0' and 'x0'"),
    "stitch lost grid": (lambda: sx.im.stitch(VALUES.drop_attrs()), ValueError, "has lost the attribute 'grid'"),
    "stitch like another": (lambda: sx.im.stitch(VALUES, like=sx.im.from_array(ARRAY, scalef=0.5)), ValueError, "`like` must be the image that the tiles were cut from"),
    "stitch tiles of unknown size": (lambda: sx.im.stitch(VALUES.mean(("y", "x")).drop_attrs()), ValueError, "no attribute 'tile_px'"),
    # to_adata
    "key": (lambda: sx.im.to_adata(adata(), IMAGE, img_key="hires"), ValueError, "`img_key` must begin with 'sensx'"),
    "key with a slash": (lambda: sx.im.to_adata(adata(), IMAGE, img_key="sensx/a"), ValueError, "hold no '/'"),
    "dims of a map": (lambda: sx.im.to_adata(adata(), IMAGE[:, 0]), ValueError, r"must have the dimensions \(y, x\) or"),
    "no slide": (lambda: sx.im.to_adata(AnnData(np.zeros((1, 1))), IMAGE), KeyError, "adata.uns has no images there"),
    "oblong pixels": (lambda: sx.im.to_adata(adata(), IMAGE.assign_coords(y=IMAGE["y"] * 2)), ValueError, "one scale factor for both axes"),
    "off the grid": (lambda: sx.im.to_adata(adata(), IMAGE.assign_coords(y=IMAGE["y"] + 0.25)), ValueError, "which is no pixel of the slide"),
    # to_pixels
    "pixels of what": (lambda: sx.im.to_pixels(VALUES), TypeError, "`result` must be the xarray.Dataset of sx.im.sensx"),
    "pixels of which": (lambda: sx.im.to_pixels(xr.Dataset({"value": VALUES}), "rank"), KeyError, "`name` 'rank' is not in the results; there are 'value'"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "error", "words"), CASES.values(), ids=CASES.keys())
def test_each_mistake_has_its_sentence(
    call: Callable[[], Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        call()
