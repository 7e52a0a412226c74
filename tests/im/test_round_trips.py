"""One pixel-centre rule: what is planted on a pixel comes back on that pixel, by any way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from hypothesis import given, settings
from hypothesis import strategies as st

import sensx_sc as sx
from sensx_sc.im._grid import grid_of

SCALES = [1.0, 0.5, 0.25, 0.08250825, 2.0, 1 / 3]


@st.composite
def slides(draw: Any) -> tuple[Any, tuple[int, int]]:
    """An image of a random size and scale, and one of its pixels."""
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    scalef = draw(st.sampled_from(SCALES))
    pixel = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    data = np.zeros((height, width, 3), dtype=np.uint8)
    return sx.im.from_array(data, scalef=scalef), pixel


@st.composite
def spots_near(draw: Any, image: Any, y: int, x: int, size: int) -> pd.DataFrame:
    """Some spots, the tiles of the first of which cover the pixel."""
    grid = grid_of(image)
    inside = st.floats(-1.5, 1.5, exclude_min=True, exclude_max=True).map(lambda v: 0.9 * v * size)
    places = [(y + 0.5 + draw(inside), x + 0.5 + draw(inside))]
    anywhere = st.tuples(st.floats(0, grid.y.size), st.floats(0, grid.x.size))
    places += draw(st.lists(anywhere, max_size=3))
    yx = np.array(places) * [grid.y.step, grid.x.step]
    return pd.DataFrame({"x": yx[:, 1], "y": yx[:, 0]}, index=[f"s{i}" for i in range(len(yx))])


@settings(max_examples=40)
@given(st.data(), slides(), st.integers(1, 9))
def test_a_planted_pixel_lands_on_its_pixel(data: Any, slide: Any, size: int) -> None:
    image, (y, x) = slide
    table = data.draw(spots_near(image, y, x, size))
    planted = image.copy(data=image.values.copy())
    planted.values[:, y, x] = 7
    tiles = sx.im.spot_tiles(planted, table, tile_px=size)
    assert tiles.dtype == np.uint8
    values = tiles.isel(c=0, drop=True).astype(float)
    back = sx.im.stitch(values)
    # Wherever a tile covers the pixel, and nowhere else.
    found = np.argwhere(np.nan_to_num(back.values) > 0)
    assert found.tolist() == [[y, x]]
    assert back.values[y, x] == 7
    np.testing.assert_array_equal(back["y"], image["y"])
    assert (np.isnan(back.values) == (back["count"].values == 0)).all()


@settings(max_examples=40)
@given(st.data(), slides(), st.integers(1, 9))
def test_every_pixel_of_every_tile_is_where_its_tile_says(data: Any, slide: Any, size: int) -> None:
    image, (y, x) = slide
    height, width = image.sizes["y"], image.sizes["x"]
    numbered = image.isel(c=[0]).copy(data=np.arange(height * width).reshape(1, height, width) + 1)
    table = data.draw(spots_near(image, y, x, size))
    tiles = sx.im.spot_tiles(numbered, table, tile_px=size, fill_value=-1).compute()
    grid = grid_of(image)
    for spot in tiles["obs"].values:
        own = tiles.sel(obs=spot)
        for tile in own["tile"].values:
            one = own.sel(tile=tile)
            rows = int(one["y0"]) + np.arange(size)
            columns = int(one["x0"]) + np.arange(size)
            inside = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))
            expected = np.where(inside, rows[:, None] * width + columns + 1, -1)
            np.testing.assert_array_equal(one.values[0], expected)
            assert float(one["valid_fraction"]) == inside.sum() / size**2
        centre = own.sel(tile="C")
        # The spot lies in the middle of its tile, to half a pixel.
        for axis, first, name in ((grid.y, "y0", "y"), (grid.x, "x0", "x")):
            middle = axis.origin + (int(centre[first]) + size / 2) * axis.step
            assert abs(middle - table.loc[spot, name]) <= (0.5 + 1e-9) * axis.step
        corners = own["y0"].values.reshape(3, 3), own["x0"].values.reshape(3, 3)
        assert (np.diff(corners[0], axis=0) == size).all()
        assert (np.diff(corners[1], axis=1) == size).all()


@given(st.data(), slides())
def test_a_part_of_an_image_keeps_its_coordinates(data: Any, slide: Any) -> None:
    image, (y, x) = slide
    top, left = data.draw(st.integers(0, y)), data.draw(st.integers(0, x))
    bottom = data.draw(st.integers(y + 1, image.sizes["y"]))
    right = data.draw(st.integers(x + 1, image.sizes["x"]))
    planted = image.copy(data=image.values.copy())
    planted.values[:, y, x] = 7
    part = planted[:, top:bottom, left:right]
    table = data.draw(spots_near(image, y, x, 3))
    if not _touches(part, table):
        return
    tiles = sx.im.spot_tiles(part, table, tile_px=3)
    back = sx.im.stitch(tiles.isel(c=0, drop=True).astype(float), like=planted)
    assert np.argwhere(np.nan_to_num(back.values) > 0).tolist() == [[y, x]]


def _touches(part: Any, table: pd.DataFrame) -> bool:
    """Whether any tile may lie on the part (of 3 px, with neighbours: 4.5 from its centre)."""
    grid = grid_of(part)
    y, x = grid.y.position(table["y"]), grid.x.position(table["x"])
    return bool(((y > -3) & (y < grid.y.size + 3) & (x > -3) & (x < grid.x.size + 3)).any())


@given(slides())
def test_adata_holds_the_pixel_where_squidpy_looks(slide: Any) -> None:
    image, (y, x) = slide
    found = image.isel(c=0, drop=True).astype(float) * 0
    found[y, x] = 1.0
    adata = AnnData(np.zeros((2, 2)))
    adata.uns["spatial"] = {"a": {"images": {}, "scalefactors": {}}}
    sx.im.to_adata(adata, found)
    library = adata.uns["spatial"]["a"]
    picture, scalef = library["images"]["sensx"], library["scalefactors"]["tissue_sensx_scalef"]
    assert np.argwhere(picture == 1).tolist() == [[y, x]]
    # squidpy's rule: the pixel of a coordinate is the whole part of coordinate * scalef.
    assert int(float(image["y"][y]) * scalef) == y
    assert int(float(image["x"][x]) * scalef) == x
    back = sx.im.from_adata(adata, img_key="sensx")
    np.testing.assert_allclose(back["y"], image["y"], rtol=1e-12)
    assert np.argwhere(back.values[0] == 1).tolist() == [[y, x]]


@given(slides())
def test_matplotlib_draws_the_pixel_over_its_coordinates(slide: Any) -> None:
    image, (y, x) = slide
    left, right, bottom, top = grid_of(image).extent
    # imshow's pixel (i, j) covers extents in equal shares, the first row at the top.
    height = (bottom - top) / image.sizes["y"]
    width = (right - left) / image.sizes["x"]
    np.testing.assert_allclose(top + (y + 0.5) * height, image["y"][y], rtol=1e-9)
    np.testing.assert_allclose(left + (x + 0.5) * width, image["x"][x], rtol=1e-9)


@settings(max_examples=30)
@given(st.data(), slides(), st.sampled_from(["mean", "sum", "max"]), st.integers(1, 5))
def test_stitching_is_what_the_tiles_say_pixel_by_pixel(
    data: Any, slide: Any, reduce: Any, size: int
) -> None:
    image, (y, x) = slide
    table = data.draw(spots_near(image, y, x, size))
    tiles = sx.im.spot_tiles(image, table, tile_px=size)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    shape = tiles.isel(c=0).shape
    values = tiles.isel(c=0, drop=True).copy(data=rng.random(shape))
    values = values.where(rng.random(shape) > 0.2)
    back = sx.im.stitch(values, reduce=reduce)
    collected: dict[tuple[int, int], list[float]] = {}
    for one in values.stack(each=("obs", "tile")).transpose("each", "y", "x"):
        for i in range(size):
            for j in range(size):
                place = int(one["y0"]) + i, int(one["x0"]) + j
                if not np.isnan(one.values[i, j]):
                    collected.setdefault(place, []).append(float(one.values[i, j]))
    for i in range(image.sizes["y"]):
        for j in range(image.sizes["x"]):
            given_here = collected.get((i, j), [])
            assert int(back["count"][i, j]) == len(given_here)
            expected = getattr(np, reduce)(given_here) if given_here else np.nan
            np.testing.assert_allclose(back.values[i, j], expected, rtol=1e-12)
