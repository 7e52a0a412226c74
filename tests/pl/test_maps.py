"""Pictures of maps: tiles, channels, masks, overlays, spots, profiles."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.colors import LogNorm

import sensx_sc as sx
from sensx_sc.pl._maps import as_picture
from sensx_sc.pl._mask import top_features
from sensx_sc.pl._spatial import spot_table

SMALL: dict[str, Any] = {"n_walks": 20, "n_samples": 40, "deltas": [0.3, 1.0], "tau": 1e-6}


def model(tiles: np.ndarray) -> np.ndarray:
    return tiles[:, 4, 0, 1, 2] / 255 - tiles[:, 4, 1, 2, 3] / 255 + 1e-3 * tiles[:, 0, 0, 0, 0]


@pytest.fixture(scope="module")
def slide() -> Any:
    return sx.im.from_adata(sx.datasets.tissue(n_rows=3, n_columns=3, tile_px=9))


@pytest.fixture(scope="module")
def tiles(slide: Any) -> Any:
    adata = sx.datasets.tissue(n_rows=3, n_columns=3, tile_px=9)
    return sx.im.spot_tiles(slide, adata)


@pytest.fixture(scope="module")
def found(tiles: Any) -> xr.Dataset:
    return sx.im.sensx(tiles, model, features="value", perturb=["C", "NW"], **SMALL)


def test_tile(found: xr.Dataset) -> None:
    ax = sx.pl.tile(found, obs="spot_1_1", lines=[3, 6])
    drawn = ax.images[0]
    expected = found["change"].sel(obs="spot_1_1", tile="C").sum("c").values
    np.testing.assert_array_equal(np.asarray(drawn.get_array()), expected)
    assert drawn.get_extent() == [0, 9, 9, 0]
    assert len(ax.lines) == 4
    assert ax.get_title() == "spot_1_1"
    assert ax.figure.axes[1].get_ylabel() == "|change in output|"
    signed = sx.pl.tile(found, obs="spot_1_1", name="mean").images[0]
    assert signed.cmap.name == "RdBu_r"
    assert signed.norm.vmin == -signed.norm.vmax
    corner = sx.pl.tile(found, obs="spot_1_1", tile="NW").images[0]
    assert not np.array_equal(np.asarray(corner.get_array()), expected)


def test_missing_values_are_grey_and_ranks_start_at_one(found: xr.Dataset) -> None:
    values = found["change"].isel(obs=0, tile=0, c=0).copy(deep=True)
    values[0, 0] = np.nan
    drawn = sx.pl.tile(values).images[0]
    assert tuple(drawn.cmap.get_bad()[:3]) == pytest.approx((0.816, 0.816, 0.816), abs=0.01)
    ranks = sx.pl.tile(found["rank"].isel(obs=0, tile=0, c=0), name="rank").images[0]
    assert np.nanmin(np.asarray(ranks.get_array())) >= 1


def test_patches_and_tiles_are_drawn_at_their_pixels(tiles: Any) -> None:
    coarse = sx.im.sensx(tiles.isel(obs=[0]), model, features="patch:3", perturb="C", **SMALL)
    drawn = np.asarray(sx.pl.tile(coarse).images[0].get_array())
    assert drawn.shape == (9, 9)
    assert np.unique(drawn[:3, :3]).size == 1


def test_channels(found: xr.Dataset) -> None:
    axes = sx.pl.channels(found, obs="spot_0_0")
    assert [ax.get_title() for ax in axes] == ["r", "g", "b"]
    assert len({ax.images[0].norm.vmax for ax in axes}) == 1
    _, mine = plt.subplots(1, 3)
    assert list(sx.pl.channels(found, obs="spot_0_0", ax=mine)) == list(mine)


def test_mask(tiles: Any, found: xr.Dataset) -> None:
    ax = sx.pl.mask(tiles, found, top_k=1, obs="spot_1_1")
    shown = np.asarray(ax.images[0].get_array())
    picture = as_picture(tiles.sel(obs="spot_1_1", tile="C"))
    kept = (shown == picture).all(axis=2)
    top = found["rank"].sel(obs="spot_1_1", tile="C") == 1
    assert kept[np.asarray(top.any("c"))].all()
    assert kept.sum() < 9
    assert ax.get_title() == "top 1"


def test_a_map_of_values_is_not_taken_for_ranks() -> None:
    rng = np.random.default_rng(0)
    image = sx.im.from_array(rng.integers(1, 200, (6, 6, 3), dtype=np.uint8))
    values = image.isel(c=0, drop=True).copy(data=rng.permutation(36).reshape(6, 6) / 36)
    order = (-values.values).ravel().argsort().argsort().reshape(6, 6) + 1
    ranks = values.copy(data=order.astype(np.int32))
    for result in (values, values.rename("value"), ranks, ranks.astype(float).rename("rank")):
        ax = sx.pl.mask(image, result, top_k=5)
        kept = (np.asarray(ax.images[0].get_array()) == as_picture(image)).all(axis=2)
        np.testing.assert_array_equal(kept, order <= 5)


def test_top_features() -> None:
    values = np.array([[0.1, -5.0], [np.nan, 2.0]])
    assert top_features(values, 2, ranked=False).tolist() == [[False, True], [False, True]]
    assert top_features(np.array([[2, 0], [1, 3]]), 2, ranked=True).tolist() == [[1, 0], [1, 0]]
    assert top_features(values, 9, ranked=False).sum() == 3


def test_overlay(slide: Any, found: xr.Dataset) -> None:
    whole = sx.im.stitch(found["change"]).sum("c", min_count=1)
    whole.attrs |= {"qoi": "value"}
    ax = sx.pl.overlay(slide, whole.rename("change"), crop=(9, 36, 9, 27), scale_bar=5, mpp=0.5)
    below, above = ax.images
    assert above.get_extent() == [9, 36, 27, 9]
    assert (ax.get_xlim(), ax.get_ylim()) == ((9, 36), (27, 9))
    rgba = np.asarray(above.get_array())
    assert rgba.shape == (18, 27, 4)
    values = whole.values[9:27, 9:36]
    strongest = np.unravel_index(np.nanargmax(values), values.shape)
    assert rgba[..., 3][strongest] == pytest.approx(0.9)
    assert (rgba[..., 3][np.nan_to_num(values) == 0] == 0).all()
    assert ax.texts[0].get_text() == "5 µm"
    (bar,) = ax.lines
    assert np.ptp(bar.get_xdata()) == pytest.approx(10)
    assert np.asarray(below.get_array()).shape == (18, 27, 3)
    flat = sx.pl.overlay(slide, whole, alpha_by_value=False, signed=True).images[1]
    assert set(np.unique(np.asarray(flat.get_array())[..., 3])) == {0.0, 0.9}


def test_overlay_of_another_resolution(slide: Any) -> None:
    fine = sx.im.from_array(np.zeros((90, 90)), dims="yx", scalef=2.0).isel(c=0, drop=True)
    ax = sx.pl.overlay(slide, fine + 1, crop=(9, 18, 9, 18))
    assert ax.images[0].get_extent() == ax.images[1].get_extent() == [9, 18, 18, 9]


def test_spatial(slide: Any, tiles: Any, found: xr.Dataset) -> None:
    table = spot_table(found, "qoi")
    adata = sx.datasets.tissue(n_rows=3, n_columns=3, tile_px=9)
    np.testing.assert_allclose(table[["x", "y"]], adata.obsm["spatial"])
    np.testing.assert_allclose(table["color"], found["qoi"])
    ax = sx.pl.spatial(found, color="qoi", image=slide)
    without, spots = ax.collections
    assert (len(without.get_offsets()), len(spots.get_offsets())) == (0, 9)
    assert len(ax.images) == 1
    star = found.copy()
    star["delta_star"] = ("obs", [0.0, np.nan, *np.geomspace(0.01, 1, 7)])
    ax = sx.pl.spatial(star)
    without, spots = ax.collections
    assert (len(without.get_offsets()), len(spots.get_offsets())) == (2, 7)
    assert isinstance(spots.norm, LogNorm)
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["no value (2)"]
    assert ax.yaxis_inverted()
    ax = sx.pl.spatial(found, color="status")
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["unsaturated (9)"]
    total = spot_table(found, "change")["color"]
    np.testing.assert_allclose(total, found["change"].sum(("tile", "c", "y", "x")), rtol=1e-6)


def test_many_targets(found: xr.Dataset) -> None:
    many = xr.concat(
        [found.assign_coords(obs=[f"{i}_{o}" for o in found["obs"].values]) for i in range(6)],
        "obs",
    )
    many["target"] = ("obs", [f"class {i % 50}" for i in range(54)])
    ax = sx.pl.spatial(many, color="target")
    assert len(ax.get_legend().get_texts()) == 50


def test_patch_profile() -> None:
    values = xr.DataArray(np.random.default_rng(0).random((3, 16, 16)), dims=("c", "y", "x"),
                          coords={"c": ["r", "g", "b"]})  # fmt: skip
    table = sx.im.patch_profile(values, 8)
    ax = sx.pl.patch_profile(table)
    assert [line.get_label() for line in ax.lines[:3]] == ["b", "g", "r"]
    np.testing.assert_allclose(ax.lines[0].get_ydata(), table[table["c"] == "b"]["mean"])
    assert sx.pl.patch_profile(sx.im.patch_profile(values[0], 8)).get_legend() is None


IMAGE = sx.im.from_array(np.zeros((4, 4, 3), dtype=np.uint8))
MAP = IMAGE.isel(c=0, drop=True).astype(float)
TWO = xr.DataArray(np.zeros((2, 4, 4)), dims=("obs", "y", "x"), coords={"obs": ["a", "b"]})
PROFILE = pd.DataFrame({"distance": [0.5], "mean": [1.0], "sd": [0.0], "n_patches": [1]})
WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "tile of what": (lambda: sx.pl.tile(3), TypeError, "the map must be an xarray Dataset or DataArray"),
    "which input": (lambda: sx.pl.tile(TWO), ValueError, "`obs` must name one of 'a', 'b'"),
    "no input": (lambda: sx.pl.tile(TWO, obs="c"), KeyError, "`obs` 'c' is not there"),
    "no map": (lambda: sx.pl.tile(MAP.mean("x").assign_attrs(patch=1)), ValueError, "tile_px"),
    "quantile": (lambda: sx.pl.tile(MAP, quantile=0), ValueError, "`quantile` must be above 0"),
    "axes": (lambda: sx.pl.tile(MAP, ax=3), TypeError, "ax must be a matplotlib Axes"),
    "no channels": (lambda: sx.pl.channels(MAP), ValueError, "the map has no channels"),
    "k": (lambda: sx.pl.mask(IMAGE, MAP, top_k=0), ValueError, "`top_k` must be a whole number of at least 1"),
    "dim": (lambda: sx.pl.mask(IMAGE, MAP, dim=2), ValueError, "`dim` must lie between 0 and 1"),
    "mask's size": (lambda: sx.pl.mask(IMAGE[:, :2], MAP, top_k=1), ValueError, "`image` has .2, 4. pixels and the map"),
    "overlay's image": (lambda: sx.pl.overlay(MAP, MAP), ValueError, "must have the dimensions c, y, x"),
    "overlay's map": (lambda: sx.pl.overlay(IMAGE, IMAGE), TypeError, "must be a DataArray .y, x."),
    "alpha": (lambda: sx.pl.overlay(IMAGE, MAP, alpha=0), ValueError, "`alpha` must be above 0"),
    "crop": (lambda: sx.pl.overlay(IMAGE, MAP, crop=(3, 1, 0, 2)), ValueError, "`crop` must be left < right"),
    "empty crop": (lambda: sx.pl.overlay(IMAGE, MAP, crop=(10, 12, 0, 2)), ValueError, "holds nothing of the image"),
    "scale bar": (lambda: sx.pl.overlay(IMAGE, MAP, scale_bar=-1), ValueError, "`scale_bar` must be a positive length"),
    "spots of what": (lambda: sx.pl.spatial(MAP), TypeError, "`result` must be the xarray.Dataset"),
    "no tiles": (lambda: sx.pl.spatial(MAP.to_dataset(name="value")), ValueError, "must be of tiles"),
    "profile": (lambda: sx.pl.patch_profile(PROFILE.drop(columns="sd")), KeyError, "it has no column 'sd'"),
    "profile by": (lambda: sx.pl.patch_profile(PROFILE, by="c"), KeyError, "`by` 'c' is no column"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "error", "words"), WRONG.values(), ids=WRONG.keys())
def test_wrong_input(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()


def test_no_such_colour(found: xr.Dataset) -> None:
    with pytest.raises(KeyError, match="`color` 'genes' is not in the results"):
        sx.pl.spatial(found, color="genes")
    with pytest.raises(KeyError, match="is not in the results"):
        sx.pl.tile(found, name="genes")
