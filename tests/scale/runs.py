"""A small run that the tests of this folder make in many ways, and what must be the same."""

from __future__ import annotations

import warnings
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd

import sensx_sc as sx

HOW: dict[str, Any] = {
    "n_walks": 8, "n_samples": 40, "deltas": [0.05, 0.3, 1.0], "progress": False,
    "precision": "float64", "target": "1", "statistics": ("value", "rank", "change", "n"),
}  # fmt: skip
LAYERS = ("sensx", "sensx_rank", "sensx_change", "sensx_n")
WEIGHTS = np.random.default_rng(1).normal(size=(20, 3)) / 9


def model(rows: np.ndarray) -> np.ndarray:
    return np.tanh(rows @ WEIGHTS)


def toy() -> Any:
    """60 cells of 20 genes, of which 21 are explained."""
    adata = sx.datasets.toy()
    adata.obs["some"] = np.isin(np.arange(adata.n_obs) % 9, [0, 1, 4])
    return adata


def dense(layer: Any) -> np.ndarray:
    """A layer of any kind as an array; what a sparse one has not kept is 0."""
    found = layer.compute() if hasattr(layer, "compute") else layer
    return found.toarray() if hasattr(found, "toarray") else np.asarray(found)


def same(found: Any, expected: Any, rtol: float = 1e-12) -> None:
    """The same results; bit for bit with ``rtol=0``.

    Means over cells are summed by blocks, and a model rounds q(x) as its batches are: with other
    blocks the last bit may differ. Categories are those that anndata keeps in a file.
    """
    for layer in LAYERS:
        np.testing.assert_array_equal(dense(found.layers[layer]), dense(expected.layers[layer]))
    for column in ("delta_star", "qoi"):
        a, b = (adata.obs[f"sensx_{column}"] for adata in (found, expected))
        np.testing.assert_allclose(a, b, rtol=rtol, atol=0)
    for column in ("status", "target"):
        a, b = (adata.obs[f"sensx_{column}"].astype(str) for adata in (found, expected))
        assert a.tolist() == b.tolist()
    np.testing.assert_array_equal(found.obsm["sensx_envelope"], expected.obsm["sensx_envelope"])
    for table in ("cells", "rankings"):
        pd.testing.assert_frame_equal(
            found.uns["sensx"][table],
            expected.uns["sensx"][table],
            rtol=rtol,
            atol=0,
            check_dtype=False,
        )


def write_zarr(adata: Any, path: Any, zarr_format: int) -> None:
    """Write an AnnData as anndata does, in either format of zarr."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what anndata and zarr tell of formats to come
        with ad.settings.override(zarr_write_format=zarr_format):
            adata.write_zarr(path)


def read_zarr(path: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ad.read_zarr(path)


def read_lazy(path: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ad.experimental.read_lazy(path)
