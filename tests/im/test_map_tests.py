"""Grid-line and saturation tests: what they say by hand, of controls, and of the stand-in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy.ndimage import gaussian_filter
from scipy.stats import binom

import sensx_sc as sx
from sensx_sc.im._map_tests import _over_shifts, hsv_saturation
from sensx_sc.models.deepspot import grid_lines

RNG = np.random.default_rng(0)


def maps(values: np.ndarray) -> xr.DataArray:
    return xr.DataArray(values, dims=("obs", "y", "x")[-values.ndim :])


def test_the_statistic_by_hand() -> None:
    values = RNG.random((12, 9))
    found = sx.im.grid_line_test(maps(values), [4, 8], top_k=7, n_draws=50).iloc[0]
    top = np.argsort(-values.ravel(), kind="stable")[:7]
    distances = [
        min(abs(p + 0.5 - line) for p in divmod(int(pixel), 9) for line in (4, 8)) for pixel in top
    ]
    assert found["observed"] == pytest.approx(np.mean(distances))


def test_all_shifts_on_a_torus_one_by_one() -> None:
    mask, quantity = (RNG.random((5, 6)) > 0.6).astype(float), RNG.random((5, 6))
    expected = [
        (np.roll(mask, (i, j), axis=(0, 1)) * quantity).sum() for i in range(5) for j in range(6)
    ]
    np.testing.assert_allclose(np.sort(_over_shifts(mask, quantity)), np.sort(expected), atol=1e-12)
    found = sx.im.grid_line_test(maps(mask + quantity / 99), [2], top_k=4, n_draws=9).iloc[0]
    best = np.argsort(-(mask + quantity / 99).ravel())[:4]
    chosen = np.zeros(30)
    chosen[best] = 1
    away = [np.abs(np.arange(n) + 0.5 - 2) for n in (5, 6)]
    distance = np.minimum(away[0][:, None], away[1])
    null = np.array([
        (np.roll(chosen.reshape(5, 6), (i, j), axis=(0, 1)) * distance).sum() / 4
        for i in range(5) for j in range(6)
    ])  # fmt: skip
    assert found["p_torus"] == pytest.approx((null <= found["observed"] + 1e-9).mean())
    assert found["z_torus"] == pytest.approx((found["observed"] - null.mean()) / null.std())


def test_maps_without_structure_are_rejected_as_often_as_they_should() -> None:
    # 400 maps at the 5 % level: a right test rejects 8 to 33 of them with probability .999.
    values = RNG.random((400, 24, 24))
    found = sx.im.grid_line_test(maps(values), [8, 16], top_k=60, n_draws=500)
    low, high = binom.ppf([0.0005, 0.9995], 400, 0.05)
    assert low <= (found["p_uniform"] <= 0.05).sum() <= high
    assert low <= (found["p_torus"] <= 0.05).sum() <= high


def test_smooth_maps_mislead_uniform_draws_but_not_shifts() -> None:
    smooth = np.stack(
        [gaussian_filter(RNG.normal(size=(24, 24)), 2, mode="wrap") for _ in range(300)]
    )
    found = sx.im.grid_line_test(maps(smooth), [8, 16], top_k=60, n_draws=500)
    low, high = binom.ppf([0.0005, 0.9995], 300, 0.05)
    assert (found["p_uniform"] <= 0.05).sum() > high  # neighbouring pixels are not independent
    assert low <= (found["p_torus"] <= 0.05).sum() <= high


def test_a_planted_grid_is_found_by_both() -> None:
    values = RNG.random((48, 48))
    values[[15, 16, 31, 32]] += 1
    values[:, [15, 16, 31, 32]] += 1
    found = sx.im.grid_line_test(maps(values), grid_lines(48), top_k=300, n_draws=999).iloc[0]
    assert found["observed"] == 0.5
    assert found["p_uniform"] == 0.001
    assert found["p_torus"] <= 9 / 48**2 + 1e-12  # itself, and the shifts that map lines on lines
    assert found["z_uniform"] < -10


@pytest.mark.slow
def test_the_grid_bias_of_sub_spots_is_found_and_no_other() -> None:
    """The stand-in's encoder weighs the edges of crops: of sub-spots inside the tile, or not."""
    section = sx.datasets.tissue(n_rows=6, n_columns=6, tile_px=24)
    spots = ["spot_1_1", "spot_2_4", "spot_4_2"]
    tiles = sx.im.spot_tiles(sx.im.from_adata(section), section, obs_names=spots)
    for context, biased in (("spot_subspot", True), ("spot_neighbors", False)):
        model = sx.datasets.tissue_model(section, context=context, epochs=10)
        found = sx.im.sensx(
            tiles, model, features="pixel", perturb="C", target="EOS1", tau=1e-3, n_walks=12,
            n_samples=10, deltas=[1.0], precision="float32", on_error="raise",
        )  # fmt: skip
        each = found["change"].isel(tile=0)
        together = (each / each.mean(("y", "x"))).mean("obs")
        said = sx.im.grid_line_test(each, grid_lines(24), top_k=125, n_draws=1000)
        mean = sx.im.grid_line_test(together, grid_lines(24), top_k=125, n_draws=1000).iloc[0]
        if biased:
            assert mean["p_uniform"] < 0.025
            assert (said["p_uniform"] < 0.025).sum() >= 2
        else:
            assert mean["p_uniform"] > 0.5
            assert mean["p_torus"] > 0.5
            assert not (said["p_uniform"] < 0.025).any()


def test_saturation() -> None:
    colours = np.array([[255, 0, 0], [128, 128, 128], [0, 0, 0], [100, 50, 75]], dtype=float).T
    np.testing.assert_allclose(hsv_saturation(colours), [1.0, 0.0, 0.0, 0.5])
    section = sx.datasets.tissue(n_rows=3, n_columns=3, tile_px=24)
    tiles = sx.im.spot_tiles(sx.im.from_adata(section), section)
    centre = tiles.sel(tile=["C"])
    rgb = np.moveaxis(centre.values[:, 0].astype(float), 1, 0)
    pale = -hsv_saturation(rgb) + RNG.normal(scale=1e-3, size=rgb.shape[1:])
    values = centre.isel(c=0, drop=True).copy(data=pale[:, None])
    found = sx.im.saturation_test(values, tiles, top_k=60, n_draws=200)
    assert found["obs"].tolist() == tiles["obs"].values.tolist()
    assert (found["p_uniform"] < 0.025).all()
    assert (found["observed"] < found["expected_uniform"]).all()
    opposite = sx.im.saturation_test(-values, tiles, top_k=60, n_draws=200)
    assert (opposite["p_uniform"] > 0.9).all()


def test_missing_values() -> None:
    values = RNG.random((3, 10, 10))
    values[0, 3:, 3:] = np.nan
    values[1] = np.nan
    found = sx.im.grid_line_test(maps(values), [5], top_k=10, n_draws=50)
    assert np.isfinite(found.loc[0, ["observed", "p_uniform"]].astype(float)).all()
    assert np.isnan(found.loc[0, "p_torus"])
    assert np.isnan(found.loc[1, ["observed", "p_uniform", "p_torus"]].astype(float)).all()
    assert np.isfinite(found.loc[2, "p_torus"])


IMAGE = sx.im.from_array(np.zeros((10, 10, 3), dtype=np.uint8))
MAP = maps(RNG.random((10, 10)))
WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "array": (lambda: sx.im.grid_line_test(MAP.values, [5]), TypeError, "`values` must be an xarray.DataArray"),
    "dims": (lambda: sx.im.grid_line_test(IMAGE, [5]), ValueError, r"must have the dimensions \(y, x\)"),
    "no lines": (lambda: sx.im.grid_line_test(MAP, [], top_k=5), ValueError, "`lines` must lie between 0 and 10"),
    "lines": (lambda: sx.im.grid_line_test(MAP, [11], top_k=5), ValueError, "`lines` must lie between 0 and 10 pixels; got .11"),
    "top": (lambda: sx.im.grid_line_test(MAP, [5]), ValueError, "`top_k` must be less than the 100 pixels of a map; got 500"),
    "top none": (lambda: sx.im.grid_line_test(MAP, [5], top_k=0), ValueError, "`top_k` must be a whole number"),
    "draws": (lambda: sx.im.grid_line_test(MAP, [5], top_k=5, n_draws=0), ValueError, "`n_draws` must be a whole number"),
    "colours": (lambda: sx.im.saturation_test(MAP, IMAGE.sel(c=["r", "g"]), top_k=5), KeyError, "'b' is missing"),
    "sizes": (lambda: sx.im.saturation_test(MAP, IMAGE[:, :5], top_k=5), ValueError, "do not go with maps"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "error", "words"), WRONG.values(), ids=WRONG.keys())
def test_wrong_input(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()
