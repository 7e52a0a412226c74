"""Images in AnnData."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dask.array as da
import numpy as np
import pytest

import sensx_sc as sx

if TYPE_CHECKING:
    from anndata import AnnData

HIRES = np.random.default_rng(0).random((8, 10, 3)).astype(np.float32)


@pytest.fixture
def visium(adata: AnnData) -> AnnData:
    scales = {
        "tissue_hires_scalef": 0.2,
        "tissue_lowres_scalef": 0.1,
        "spot_diameter_fullres": 15.2,
    }
    adata.uns["spatial"] = {
        "one": {"images": {"hires": HIRES, "lowres": HIRES[::2, ::2]}, "scalefactors": scales}
    }
    adata.obsm["spatial"] = np.column_stack([np.arange(60) % 50, np.arange(60) % 40]).astype(float)
    return adata


def test_the_only_library(visium: AnnData) -> None:
    image = sx.im.from_adata(visium)
    np.testing.assert_array_equal(image.transpose("y", "x", "c").values, HIRES)
    np.testing.assert_allclose(image["x"], (np.arange(10) + 0.5) * 5)
    assert image.attrs == {
        "scalef": pytest.approx(0.2),
        "library_id": "one",
        "img_key": "hires",
        "spot_diameter_fullres": 15.2,
    }
    low = sx.im.from_adata(visium, img_key="lowres")
    np.testing.assert_allclose(low["y"], (np.arange(4) + 0.5) * 10)


def test_lazy_images_stay_lazy(visium: AnnData) -> None:
    visium.uns["spatial"]["one"]["images"]["hires"] = da.from_array(HIRES, chunks=4)
    assert hasattr(sx.im.from_adata(visium).data, "dask")


def test_the_size_of_tiles_is_that_of_spots(visium: AnnData) -> None:
    image = sx.im.from_adata(visium)
    assert sx.im.spot_tiles(image, visium).sizes["y"] == 3  # 15.2 * .2
    assert sx.im.spot_tiles(image, visium, spot_scale=2.0).sizes["x"] == 6
    low = sx.im.from_adata(visium, img_key="lowres")
    assert sx.im.spot_tiles(low, visium).sizes["y"] == 2  # 1.52
    del image.attrs["spot_diameter_fullres"]
    assert sx.im.spot_tiles(image, visium).sizes["y"] == 3  # found in adata


def test_spots_of_a_library(visium: AnnData) -> None:
    visium.uns["spatial"]["two"] = visium.uns["spatial"]["one"]
    visium.obs["slide"] = ["one", "two"] * 30
    image = sx.im.from_adata(visium, library_id="two")
    tiles = sx.im.spot_tiles(image, visium, library_key="slide")
    assert tiles["obs"].values.tolist() == visium.obs_names[1::2].tolist()
    tiles = sx.im.spot_tiles(image, visium, library_key="slide", library_id="one")
    assert tiles["obs"].values.tolist() == visium.obs_names[::2].tolist()


def test_to_adata_keeps_what_was_there(visium: AnnData) -> None:
    before = visium.uns["spatial"]["one"]["images"]["hires"]
    image = sx.im.from_adata(visium)
    view = visium[:30]
    sx.im.to_adata(view, image.mean("c"), img_key="sensx_mean")
    library = view.uns["spatial"]["one"]
    assert set(library["images"]) == {"hires", "lowres", "sensx_mean"}
    np.testing.assert_array_equal(library["images"]["hires"], before)
    assert library["scalefactors"]["tissue_sensx_mean_scalef"] == pytest.approx(0.2)
    assert library["images"]["sensx_mean"].dtype == np.float32
    assert set(visium.uns["spatial"]["one"]["images"]) == {"hires", "lowres"}
    sx.im.to_adata(view, image)
    np.testing.assert_allclose(view.uns["spatial"]["one"]["images"]["sensx"], HIRES)


def test_a_part_of_the_slide_is_padded_to_its_corner(visium: AnnData) -> None:
    part = sx.im.from_adata(visium)[0, 2:5, 3:4]
    sx.im.to_adata(visium, part)
    picture = visium.uns["spatial"]["one"]["images"]["sensx"]
    assert picture.shape == (5, 4)
    np.testing.assert_array_equal(picture[2:, 3:], HIRES[2:5, 3:4, 0])
    assert np.isnan(picture[:2]).all()
    assert np.isnan(picture[:, :3]).all()


def test_h5ad_and_squidpys_reader(visium: AnnData, tmp_path: object) -> None:
    import anndata

    sx.im.to_adata(visium, sx.im.from_adata(visium).mean("c"))
    visium.write_h5ad(tmp_path / "a.h5ad")
    back = anndata.read_h5ad(tmp_path / "a.h5ad")
    sq = pytest.importorskip("squidpy")
    container = sq.im.ImageContainer.from_adata(back, img_key="sensx")
    assert container.shape == (8, 10)
    np.testing.assert_allclose(container["sensx"].values.squeeze(), HIRES.mean(axis=2), rtol=1e-6)
