"""The made-up section: its genes follow what its image shows, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import sensx_sc as sx


@pytest.fixture(scope="module")
def section() -> Any:
    return sx.datasets.tissue(n_rows=8, n_columns=7, tile_px=24)


def test_genes_follow_their_drivers(section: Any) -> None:
    factors = section.obsm["factors"]
    r = {
        (gene, factor): np.corrcoef(section[:, gene].X.ravel(), factors[factor])[0, 1]
        for gene in section.var_names
        for factor in factors.columns
    }
    for gene, driver in section.var["driver"].items():
        of_gene = {factor: abs(r[gene, factor]) for factor in factors.columns}
        if driver == "none":
            assert max(of_gene.values()) < 0.35  # 56 spots: three standard errors of nothing
        elif driver != "neighbours":
            assert max(of_gene, key=of_gene.__getitem__) == driver
            assert of_gene[driver] > 0.95
    assert r["NUC1", "nuclei"] > 0 > r["NUC2", "nuclei"]
    # The small part that the neighbours have in NEI1 is there beside the spot's own.
    own, around = (factors[name] for name in ("nuclei", "neighbours"))
    design = np.stack([np.ones(len(own)), (own - own.mean()) / own.std(),
                       (around - around.mean()) / around.std()], axis=1)  # fmt: skip
    fitted = np.linalg.lstsq(design, section[:, "NEI1"].X.ravel(), rcond=None)[0]
    np.testing.assert_allclose(fitted, [2.0, 0.6, 0.1], atol=0.05)


def test_factors_are_what_the_image_shows(section: Any) -> None:
    tiles = sx.im.spot_tiles(sx.im.from_adata(section), section).sel(tile="C").compute()
    nuclei = sx.im.from_adata(section, img_key="nuclei")
    of_nuclei = sx.im.spot_tiles(nuclei, section).sel(tile="C").squeeze("c")
    share = (of_nuclei > 0).mean(("y", "x"))
    np.testing.assert_allclose(share, section.obsm["factors"]["nuclei"], atol=1e-12)
    light = (tiles.sel(c="g") > 230).mean(("y", "x"))
    assert np.corrcoef(light, section.obsm["factors"]["lumen"])[0, 1] > 0.95
    assert float(sx.im.spot_tiles(nuclei, section)["valid_fraction"].min()) == 1.0


def test_seeds(section: Any) -> None:
    again = sx.datasets.tissue(n_rows=8, n_columns=7, tile_px=24)
    np.testing.assert_array_equal(again.X, section.X)
    np.testing.assert_array_equal(
        *(s.uns["spatial"]["tissue"]["images"]["hires"] for s in (again, section))
    )
    other = sx.datasets.tissue(n_rows=8, n_columns=7, tile_px=24, seed=1)
    assert not np.array_equal(other.X, section.X)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"n_rows": 0}, "`n_rows`"),
        ({"n_columns": 2.5}, "`n_columns`"),
        ({"tile_px": 8}, "`tile_px`"),
        ({"seed": -1}, "`seed`"),
    ],
)
def test_wrong_input(how: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        sx.datasets.tissue(**how)
