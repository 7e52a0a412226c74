"""Tiles around spots: names, laziness, order, what lies outside."""

from __future__ import annotations

import logging

import dask
import numpy as np
import pandas as pd
import pytest

import sensx_sc as sx

IMAGE = np.random.default_rng(0).integers(0, 255, (50, 70, 3), dtype=np.uint8)
SPOTS = pd.DataFrame({"x": [30.0, 10.5, 69.0], "y": [20.0, 25.5, 2.0]}, index=["a", "b", "c"])


@pytest.mark.parametrize("chunks", [None, {"y": 7, "x": 13}])
def test_neighbours_touch_and_are_named_by_where_they_lie(chunks: dict[str, int] | None) -> None:
    image = sx.im.from_array(IMAGE)
    image = image if chunks is None else image.chunk(chunks)
    tiles = sx.im.spot_tiles(image, SPOTS, tile_px=8)
    assert tiles.dims == ("obs", "tile", "c", "y", "x")
    assert hasattr(tiles.data, "dask")
    assert tiles["tile"].values.tolist() == ["NW", "N", "NE", "W", "C", "E", "SW", "S", "SE"]
    whole = IMAGE[8:32, 18:42].transpose(2, 0, 1)  # 24 px about (20, 30)
    own = tiles.sel(obs="a").compute()
    for tile, (row, column) in {
        "NW": (0, 0),
        "N": (0, 8),
        "C": (8, 8),
        "E": (8, 16),
        "SW": (16, 0),
    }.items():
        expected = whole[:, row : row + 8, column : column + 8]
        np.testing.assert_array_equal(own.sel(tile=tile).values, expected)
    assert own["valid_fraction"].values.tolist() == [1.0] * 9
    np.testing.assert_array_equal(tiles["y"], np.arange(8) + 0.5)


def test_spots_in_another_order_and_alone() -> None:
    image = sx.im.from_array(IMAGE)
    every = sx.im.spot_tiles(image, SPOTS, tile_px=5)
    some = sx.im.spot_tiles(image, SPOTS, tile_px=5, obs_names=["c", "a"])
    assert some["obs"].values.tolist() == ["c", "a"]
    np.testing.assert_array_equal(some.values, every.values[[2, 0]])
    alone = sx.im.spot_tiles(image, SPOTS, tile_px=5, obs_names="b", grid=(1, 1))
    np.testing.assert_array_equal(alone.values[:, 0], every.sel(obs=["b"], tile="C").values)


def test_what_lies_outside_is_filled_and_counted() -> None:
    image = sx.im.from_array(IMAGE)
    tiles = sx.im.spot_tiles(image, SPOTS, tile_px=4, fill_value=9).sel(obs="c").compute()
    assert (tiles.sel(tile="NE") == 9).all()
    share = tiles["valid_fraction"]
    assert float(share.sel(tile="NE")) == 0
    assert float(share.sel(tile="N")) == 0
    assert float(share.sel(tile="C")) == 0.75  # three of four columns
    assert float(share.sel(tile="SW")) == 1


def test_many_spots_are_cut_some_at_a_time() -> None:
    image = sx.im.from_array(IMAGE)
    rng = np.random.default_rng(1)
    spots = pd.DataFrame({"x": rng.random(900) * 70, "y": rng.random(900) * 50})
    tiles = sx.im.spot_tiles(image, spots, tile_px=40)
    assert len(tiles.chunks[0]) > 1
    assert max(tiles.chunks[0]) * 9 * 3 * 1600 <= 2**25
    with dask.config.set(scheduler="synchronous"):
        one = sx.im.spot_tiles(image, spots, tile_px=40, obs_names=["870"])
        np.testing.assert_array_equal(tiles[870].values, one.values[0])


def test_spots_outside_are_told(caplog: pytest.LogCaptureFixture) -> None:
    image = sx.im.from_array(IMAGE)
    spots = pd.concat([SPOTS, pd.DataFrame({"x": [500.0], "y": [3.0]}, index=["far"])])
    with caplog.at_level(logging.WARNING, logger="sensx_sc"):
        sx.im.spot_tiles(image, spots, tile_px=4)
    assert "1 of 4 spots lie outside the image" in caplog.text
