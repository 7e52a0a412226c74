"""The stand-in of DeepSpot: it predicts another section, and its controls do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import sensx_sc as sx


def predicted(model: Any, section: Any) -> np.ndarray:
    tiles = sx.im.spot_tiles(sx.im.from_adata(section), section)
    ordered = tiles.sel(tile=list(model.layout.tiles)).transpose("obs", *model.layout.dims)
    rows = torch.tensor(ordered.values.reshape(section.n_obs, -1)).float()
    return model.outputs(rows).numpy()


def fit(model: Any, section: Any) -> dict[str, float]:
    made = predicted(model, section)
    return {
        gene: float(np.corrcoef(made[:, i], section.X[:, i])[0, 1])
        for i, gene in enumerate(section.var_names)
    }


@pytest.mark.slow
def test_what_is_planted_is_predicted_on_another_section_and_controls_find_nothing() -> None:
    section, other = (sx.datasets.tissue(n_rows=7, n_columns=7, tile_px=24, seed=s) for s in (0, 1))
    found = fit(sx.datasets.tissue_model(section, epochs=10), other)
    shown = ("EOS1", "LUM1")  # nuclei are a pixel across in so small tiles
    assert min(found[gene] for gene in shown) > 0.8
    assert abs(found["NULL1"]) < 0.45  # 49 spots: three standard errors of nothing
    shuffled = fit(sx.datasets.tissue_model(section, epochs=10, shuffle=True), other)
    assert max(abs(shuffled[gene]) for gene in shown) < 0.45


def test_seeds_and_sparse_expression() -> None:
    from scipy.sparse import csr_matrix

    section = sx.datasets.tissue(n_rows=3, n_columns=3, tile_px=15)
    state = torch.random.get_rng_state()
    once, again = (sx.datasets.tissue_model(section, epochs=1) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), state)  # the caller's numbers go on
    np.testing.assert_array_equal(predicted(once, section), predicted(again, section))
    sparse = section.copy()
    sparse.X = csr_matrix(section.X)
    same = sx.datasets.tissue_model(sparse, epochs=1)
    np.testing.assert_array_equal(predicted(once, section), predicted(same, section))
    other = sx.datasets.tissue_model(section, epochs=1, seed=1)
    assert not np.array_equal(predicted(once, section), predicted(other, section))


def test_wrong_input() -> None:
    section = sx.datasets.tissue(n_rows=2, n_columns=2, tile_px=9)
    with pytest.raises(ValueError, match="`context` must be one of"):
        sx.datasets.tissue_model(section, context="all")
    del section.uns["spatial"]
    with pytest.raises(KeyError, match="spatial"):
        sx.datasets.tissue_model(section)
