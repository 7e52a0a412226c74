"""Images and tissue: from AnnData, SpatialData, files and arrays to tiles, and back again."""

from __future__ import annotations

from sensx_sc.im import edits
from sensx_sc.im._from_adata import from_adata
from sensx_sc.im._from_array import from_array
from sensx_sc.im._from_file import from_file
from sensx_sc.im._from_sdata import from_sdata, spots
from sensx_sc.im._map_tests import grid_line_test, saturation_test
from sensx_sc.im._patch_profile import normalise_patches, patch_profile
from sensx_sc.im._property_gradient import ImageGradients, property_gradient
from sensx_sc.im._sensx import sensx
from sensx_sc.im._spot_tiles import spot_tiles
from sensx_sc.im._stitch import stitch
from sensx_sc.im._tile_dominance import tile_dominance
from sensx_sc.im._to_adata import to_adata
from sensx_sc.im._to_pixels import to_pixels
from sensx_sc.im._to_sdata import to_sdata

__all__ = [
    "ImageGradients",
    "edits",
    "from_adata",
    "from_array",
    "from_file",
    "from_sdata",
    "grid_line_test",
    "normalise_patches",
    "patch_profile",
    "property_gradient",
    "saturation_test",
    "sensx",
    "spot_tiles",
    "spots",
    "stitch",
    "tile_dominance",
    "to_adata",
    "to_pixels",
    "to_sdata",
]
