"""The small real section: names, expression and spots on their image."""

from __future__ import annotations

import numpy as np
from scipy import sparse

import sensx_sc as sx


def test_expression_is_that_of_the_source() -> None:
    adata = sx.datasets.mouse_brain()
    assert adata.shape == (49, 1999)
    assert sparse.issparse(adata.X)
    assert adata.X.dtype == np.float32
    # Read off the file of squidpy 1.8.2.
    assert adata.obs_names[:2].tolist() == ["AAATTGCGGCGGTTCT-1", "AACGCGAACGGCAACA-1"]
    assert adata.var_names[:3].tolist() == ["4732440D04Rik", "St18", "3110035E14Rik"]
    assert adata.var["gene_ids"].iloc[0] == "ENSMUSG00000090031"
    row = adata.X[:3, :8].toarray()
    assert np.argwhere(row).tolist() == [[0, 3], [0, 6], [0, 7], [1, 2], [1, 7]]
    np.testing.assert_allclose(row[0, [3, 6]], [1.064092, 0.66736931], rtol=1e-6)
    assert float(adata.X.max()) == np.float32(8.308607)
    assert adata.obs["leiden"].iloc[[0, 2]].tolist() == ["0", "2"]
    assert adata.obsm["spatial"][:2].tolist() == [[337.0, 439.0], [544.0, 798.0]]


def test_every_spot_and_its_neighbours_lie_on_the_tissue() -> None:
    adata = sx.datasets.mouse_brain()
    image = sx.im.from_adata(adata)
    assert image.dtype == np.uint8
    assert float(image["x"].max()) == 949.0  # centres of the pixels, in those of the source
    tiles = sx.im.spot_tiles(image, adata)
    assert tiles.sizes["y"] == 45
    assert float(tiles["valid_fraction"].min()) == 1.0
    # Blood and white matter are no empty glass: every spot is stained.
    assert float(tiles.sel(tile="C").mean(dim=("c", "y", "x")).max()) < 235


def test_a_model_can_be_trained_on_it() -> None:
    adata = sx.datasets.mouse_brain()[:9, ["Mal", "Pcp4"]].copy()
    model = sx.datasets.tissue_model(adata, epochs=1)
    assert model.output_names == ("Mal", "Pcp4")
    assert model.shape == (9, 45, 45, 3)
