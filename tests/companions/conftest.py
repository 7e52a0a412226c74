"""A small population of cells with counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import sensx_sc as sx
from sensx_sc.companions.population import Population, make_population

if TYPE_CHECKING:
    from anndata import AnnData


def population_of(adata: AnnData, *, seed: int = 0, counts: bool = True) -> Population:
    labels = {name: np.asarray(adata.obs[name]) for name in adata.obs}
    return make_population(
        adata.X,
        adata.layers["counts"] if counts else None,
        tuple(adata.var_names),
        tuple(adata.obs_names),
        labels,
        seed,
    )


@pytest.fixture
def population() -> Population:
    """The toy data with deeper counts, two batches, and mitochondrial names for three genes."""
    adata = sx.datasets.toy()
    rng = np.random.default_rng(5)
    counts = rng.poisson(8 * (adata.layers["counts"].toarray() + 0.3)).astype(np.float64)
    adata.layers["counts"] = counts
    adata.X = np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True))
    adata.obs["batch"] = np.where(np.arange(60) % 3 == 0, "one", "two")
    adata.var_names = [
        f"MT-{name}" if j in (12, 15, 18) else name for j, name in enumerate(adata.var_names)
    ]
    return population_of(adata)
