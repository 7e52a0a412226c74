"""The packaged blood cells."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import pytest
from scipy import sparse

import sensx_sc as sx

SIZES = {
    "Monocytes": 150,
    "T cells CD4 conv": 150,
    "T cells CD8": 150,
    "NK cells": 150,
    "B cells": 150,
    "Tregs": 150,
    "mDC": 150,
    "Platelet": 150,
    "pDC": 87,
    "Plasma cells": 36,
    "ILC": 13,
}


@pytest.fixture(scope="module")
def adata():
    return sx.datasets.pbmc()


def test_shape_names_and_labels(adata):
    assert adata.shape == (1336, 11180)
    assert adata.obs_names.is_unique
    assert adata.var_names.is_unique
    assert adata.obs["cell_type"].value_counts().to_dict() == SIZES


def test_counts_are_those_of_the_source(adata):
    counts = adata.layers["counts"]
    assert sparse.issparse(counts)
    assert counts.nnz == 988_731
    assert counts.max() == 11_441
    assert np.array_equal(counts.data, np.round(counts.data))
    assert np.median(np.asarray(counts.sum(axis=1))) == 1893
    assert adata.obs_names[0] == "E2L4_GATGCTACAGGCACAA"
    assert adata.var_names[:2].tolist() == ["MIR1302-2HG", "AL627309.1"]


def test_x_is_log1p_of_counts_per_ten_thousand(adata):
    X, counts = adata.X[:50].toarray(), adata.layers["counts"][:50].toarray()
    expected = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4)
    np.testing.assert_allclose(X, expected, rtol=1e-6)
    assert adata.X.dtype == np.float32
    assert "log1p" in adata.uns


def test_markers_are_high_in_their_types(adata):
    """Would fail if labels, cells or genes were shifted against each other."""
    for gene, cell_type in {"CD79A": "B cells", "PF4": "Platelet", "GNLY": "NK cells"}.items():
        mean = adata[:, gene].X.toarray().ravel()
        by_type = adata.obs.assign(mean=mean).groupby("cell_type", observed=True)["mean"].mean()
        assert by_type.idxmax() == cell_type


def test_each_call_gives_fresh_data(adata):
    other = sx.datasets.pbmc()
    other.X.data[:] = 0
    assert adata.X.max() > 9


def test_file_is_small_and_holds_no_pickle():
    path = files("sensx_sc.datasets").joinpath("data", "pbmc_hao_small.npz")
    with path.open("rb") as stream:
        assert stream.seek(0, 2) < 1_500_000
        stream.seek(0)
        with np.load(stream, allow_pickle=False) as stored:
            assert all(stored[name].dtype.kind == "u" for name in stored)


def test_survives_h5ad(adata, tmp_path):
    import anndata

    adata[:20].copy().write_h5ad(tmp_path / "pbmc.h5ad")
    back = anndata.read_h5ad(tmp_path / "pbmc.h5ad")
    assert (back.X != adata[:20].X).nnz == 0
    assert back.obs["cell_type"].tolist() == adata.obs["cell_type"].tolist()[:20]
