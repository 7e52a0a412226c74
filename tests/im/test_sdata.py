"""SpatialData: pixels under rotations, scales and levels, read back through its own functions."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sensx_sc as sx

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # those of its dependencies
    sd = pytest.importorskip("spatialdata")
    import geopandas as gpd
    from shapely import Point, Polygon
    from spatialdata.models import Image2DModel, ShapesModel
    from spatialdata.transformations import Affine, Identity, Scale, get_transformation

pytestmark = pytest.mark.filterwarnings("ignore")

AXES = ("x", "y")


def rotated(angle: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    return np.array([[cos, -sin, shift[0]], [sin, cos, shift[1]], [0, 0, 1]])


def affine(matrix: np.ndarray) -> Any:
    return Affine(matrix, input_axes=AXES, output_axes=AXES)


def make(
    matrix: np.ndarray,
    size: tuple[int, int] = (41, 32),
    levels: tuple[int, ...] = (),
    of_shapes: np.ndarray | None = None,
    points: Any = ((3.0, 4.0),),
) -> Any:
    data = np.random.default_rng(0).integers(0, 255, (3, *size), dtype=np.uint8)
    image = Image2DModel.parse(
        data, dims=("c", "y", "x"), c_coords=["r", "g", "b"],
        transformations={"slide": affine(matrix), "other": Identity()},
        scale_factors=list(levels) or None,
    )  # fmt: skip
    table = gpd.GeoDataFrame(
        {"geometry": [Point(*p) for p in points], "radius": [2.0] * len(points)},
        index=[f"s{i}" for i in range(len(points))],
    )
    of_shapes = np.eye(3) if of_shapes is None else of_shapes
    shapes = ShapesModel.parse(table, transformations={"slide": affine(of_shapes)})
    return sd.SpatialData(images={"he": image}, shapes={"spots": shapes})


angles, sizes = st.floats(-3.2, 3.2), st.floats(0.05, 20)
shifts = st.tuples(st.floats(-500, 500), st.floats(-500, 500))


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(
    angles, sizes, shifts, st.sampled_from(["scale0", "scale1", "scale2"]), st.integers(0, 9),
    st.integers(0, 7),
)  # fmt: skip
def test_a_planted_pixel_lands_on_its_place_in_the_coordinate_system(
    angle: float, scale: float, shift: Any, level: str, y: int, x: int
) -> None:
    matrix = rotated(angle, scale, shift)
    sdata = make(matrix, levels=(2, 2))
    image = sx.im.from_sdata(sdata, "he", scale=level, coordinate_system="slide")
    found = image.isel(c=0, drop=True).astype(float) * 0
    found[y, x] = 1.0
    sx.im.to_sdata(sdata, found, like="he")
    element = sdata.images["sensx"]
    assert np.argwhere(element.values[0] == 1).tolist() == [[y, x]]
    # Where spatialdata says that the centre of this pixel is, and of that of the level itself.
    level_element = sdata.images["he"][level]["image"]
    centre = np.array([x + 0.5, y + 0.5, 1.0])
    for system in ("slide", "other"):
        own = get_transformation(element, system).to_affine_matrix(AXES, AXES) @ centre
        its = get_transformation(level_element, system).to_affine_matrix(AXES, AXES) @ centre
        np.testing.assert_allclose(own, its, rtol=1e-9, atol=1e-9)
    # And by the coordinates of our form through the matrix that it carries.
    ours = np.asarray(image.attrs["affine"]) @ [float(image["x"][x]), float(image["y"][y]), 1.0]
    own = get_transformation(element, "slide").to_affine_matrix(AXES, AXES) @ centre
    np.testing.assert_allclose(ours, own, rtol=1e-9, atol=1e-9)


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(angles, sizes, shifts, angles, sizes, shifts)
def test_spots_lie_where_their_coordinates_say(
    angle: float, scale: float, shift: Any, angle2: float, scale2: float, shift2: Any
) -> None:
    """A spot that is placed in the middle of a pixel has a tile about that pixel."""
    of_image, of_shapes = rotated(angle, scale, shift), rotated(angle2, scale2, shift2)
    y, x = 17, 9
    there = np.linalg.inv(of_shapes) @ of_image @ [x + 0.5, y + 0.5, 1.0]
    sdata = make(of_image, of_shapes=of_shapes, points=[tuple(there[:2])])
    image = sx.im.from_sdata(sdata, "he", coordinate_system="slide")
    table = sx.im.spots(sdata, "spots", image)
    np.testing.assert_allclose(table.loc["s0", ["x", "y"]].tolist(), [x + 0.5, y + 0.5], atol=1e-6)
    np.testing.assert_allclose(table.loc["s0", "diameter"], 4 * scale2 / scale, rtol=1e-6)
    tiles = sx.im.spot_tiles(image, table, tile_px=3, grid=(1, 1))
    expected = image.values[:, y - 1 : y + 2, x - 1 : x + 2]
    np.testing.assert_array_equal(tiles.values[0, 0], expected)
    values = tiles.isel(c=0, drop=True).astype(float) * 0
    values[0, 0, 1, 1] = 1.0
    sx.im.to_sdata(sdata, sx.im.stitch(values), like="he")
    element = sdata.images["sensx"]
    assert np.argwhere(element.values[0] == 1).tolist() == [[y, x]]


def test_levels_whose_sizes_do_not_divide() -> None:
    sdata = make(np.eye(3), size=(101, 60), levels=(2, 2))
    for level, step in (("scale1", 101 / 50), ("scale2", 101 / 25)):
        image = sx.im.from_sdata(sdata, "he", scale=level, coordinate_system="slide")
        # spatialdata's own coordinates of the level
        np.testing.assert_allclose(image["y"], sdata.images["he"][level]["image"]["y"])
        np.testing.assert_allclose(image["y"][:2], [step / 2, 3 * step / 2])
        assert hasattr(image.data, "dask")


def test_polygons_and_their_area() -> None:
    sdata = make(rotated(0.0, 2.0, (0.0, 0.0)))
    square = gpd.GeoDataFrame({"geometry": [Polygon([(0, 0), (4, 0), (4, 4), (0, 4)])]}, index=[7])
    sdata.shapes["cells"] = ShapesModel.parse(
        square, transformations={"slide": Scale([1, 1], AXES)}
    )
    image = sx.im.from_sdata(sdata, "he", coordinate_system="slide")
    table = sx.im.spots(sdata, "cells", image)
    assert table.index.tolist() == ["7"]
    np.testing.assert_allclose(table.loc["7", ["x", "y"]].tolist(), [1.0, 1.0])
    np.testing.assert_allclose(np.pi * (table.loc["7", "diameter"] / 2) ** 2, 4.0)


def test_a_part_of_the_map_keeps_its_place_and_levels_are_made() -> None:
    sdata = make(np.eye(3))
    image = sx.im.from_sdata(sdata, "he", coordinate_system="slide")
    part = image[:, 10:20, 5:9].astype(float)
    sx.im.to_sdata(sdata, part, "sensx_part", like="he", scale_factors=[2])
    element = sdata.images["sensx_part"]
    assert set(element.children) == {"scale0", "scale1"}
    matrix = get_transformation(element, "slide").to_affine_matrix(AXES, AXES)
    np.testing.assert_allclose(matrix @ [0.5, 0.5, 1.0], [5.5, 10.5, 1.0])
    assert element["scale0"]["image"]["c"].values.tolist() == ["r", "g", "b"]


def test_files(tmp_path: Any) -> None:
    sdata = make(rotated(0.3, 2.0, (1.0, 2.0)), levels=(2,))
    image = sx.im.from_sdata(sdata, "he", scale="scale1", coordinate_system="slide")
    sx.im.to_sdata(sdata, image.mean("c"), like="he")
    sdata.write(tmp_path / "slide.zarr")
    back = sd.read_zarr(tmp_path / "slide.zarr")
    for name in ("sensx", "he"):
        a, b = (get_transformation(s.images[name], "slide") for s in (sdata, back))
        np.testing.assert_allclose(
            a.to_affine_matrix(AXES, AXES), b.to_affine_matrix(AXES, AXES), rtol=1e-12
        )
    np.testing.assert_array_equal(back.images["sensx"].values, sdata.images["sensx"].values)


def test_spatialdata_plot_draws_the_pixel_where_it_is() -> None:
    pytest.importorskip("spatialdata_plot")
    import matplotlib.pyplot as plt

    sdata = make(np.diag([2.0, 2.0, 1.0]), size=(40, 30))
    image = sx.im.from_sdata(sdata, "he", coordinate_system="slide")
    found = image.isel(c=0, drop=True).astype(float) * 0
    found[11, 7] = 1.0
    sx.im.to_sdata(sdata, found, like="he")
    _, ax = plt.subplots()
    sdata.pl.render_images("sensx").pl.show(ax=ax, coordinate_systems="slide")
    (drawn,) = ax.images
    pixels = np.asarray(drawn.get_array())
    y, x = np.argwhere(pixels.reshape(40, 30, -1)[..., 0] == pixels.max())[0]
    left, right, bottom, top = drawn.get_extent()
    corner = drawn.get_transform().transform([[left, top], [right, bottom]])
    corner = ax.transData.inverted().transform(corner)
    at = corner[0] + (np.array([x, y]) + 0.5) / [30, 40] * (corner[1] - corner[0])
    np.testing.assert_allclose(at, [15.0, 23.0], atol=1.1)  # half a pixel is 1 here


WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "image": (lambda s: sx.im.from_sdata(s, "HE"), KeyError, "`image_key` 'HE' is not in sdata.images"),
    "system": (lambda s: sx.im.from_sdata(s, "he"), KeyError, "'global' is not one of 'he'; there are"),
    "level": (lambda s: sx.im.from_sdata(s, "he", scale="scale1"), KeyError, "has one level, 'scale0'"),
    "no sdata": (lambda s: sx.im.from_sdata(1, "he"), TypeError, "`sdata` must be a SpatialData; got int"),
    "shapes": (lambda s: sx.im.spots(s, "x", image_of(s)), KeyError, "'x' is not in sdata.shapes"),
    "shapes' system": (lambda s: sx.im.spots(s, "spots", image_of(s, "other")), KeyError, "not in the coordinate system 'other'"),
    "foreign image": (lambda s: sx.im.spots(s, "spots", sx.im.from_array(np.zeros((2, 2)), dims="yx")), ValueError, "must come from sx.im.from_sdata"),
    "like": (lambda s: sx.im.to_sdata(s, image_of(s), like="HE"), KeyError, "`like` 'HE' is not in sdata.images"),
    "name": (lambda s: sx.im.to_sdata(s, image_of(s), "he", like="he"), ValueError, "must begin with 'sensx'; got 'he'"),
    "dims": (lambda s: sx.im.to_sdata(s, image_of(s)[:, 0], like="he"), ValueError, r"dimensions \(y, x\) or"),
    "no sdata at the end": (lambda s: sx.im.to_sdata(None, image_of(s), like="he"), TypeError, "must be a SpatialData"),
}  # fmt: skip


def image_of(sdata: Any, system: str = "slide") -> Any:
    return sx.im.from_sdata(sdata, "he", coordinate_system=system)


@pytest.mark.parametrize(("call", "error", "words"), WRONG.values(), ids=WRONG.keys())
def test_wrong_input(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call(make(np.eye(3)))
