"""A spot's own tile against its neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

import sensx_sc as sx

TILES = ["NW", "N", "NE", "W", "C", "E", "SW", "S", "SE"]


def result(values: np.ndarray) -> xr.Dataset:
    coords = {"obs": [f"s{i}" for i in range(len(values))], "tile": TILES}
    return xr.Dataset({"value": xr.DataArray(values, dims=("obs", "tile"), coords=coords)})


def test_by_hand() -> None:
    values = np.ones((4, 9))
    values[0, 4], values[0, 8] = 20.0, 4.0
    values[1, 0] = 3.0
    values[2] = np.nan
    values[3, 4] = 0.0
    table = sx.im.tile_dominance(result(values))
    assert table["obs"].tolist() == ["s0", "s1", "s2", "s3"]
    assert table["which"].tolist()[:2] == ["SE", "NW"]
    np.testing.assert_allclose(table["ratio"], [0.2, 3.0, np.nan, np.nan])
    np.testing.assert_allclose(table["centre"], [20.0, 1.0, np.nan, 0.0])


def test_the_stand_in_looks_at_its_own_tile() -> None:
    section = sx.datasets.tissue(n_rows=6, n_columns=6, tile_px=24)
    model = sx.datasets.tissue_model(section, epochs=10)
    spots = ["spot_1_1", "spot_2_3", "spot_4_4"]
    tiles = sx.im.spot_tiles(sx.im.from_adata(section), section, obs_names=spots)
    for gene in ("EOS1", "NUC1"):
        found = sx.im.sensx(
            tiles, model, features="tile", target=gene, tau=1e-3, n_walks=40, n_samples=20,
            deltas=[0.5, 1.0], on_error="raise",
        )  # fmt: skip
        assert (sx.im.tile_dominance(found)["ratio"] < 0.5).all()


WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "name": (lambda: sx.im.tile_dominance(result(np.ones((1, 9))), name="rank"), KeyError, "'rank' is not in the results"),
    "centre": (lambda: sx.im.tile_dominance(result(np.ones((1, 9))), centre="X"), KeyError, "`centre` 'X' and at least one neighbour"),
    "features": (lambda: sx.im.tile_dominance(xr.Dataset({"value": xr.DataArray(np.ones((2, 2)), dims=("y", "x"))})), ValueError, "must be of features='tile'"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "error", "words"), WRONG.values(), ids=WRONG.keys())
def test_wrong_input(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()
