"""scanpy's reduced set."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from scipy import sparse

import sensx_sc as sx


def test_x_is_log_expression_with_types():
    pytest.importorskip("scanpy")
    adata = sx.datasets.pbmc68k()
    assert adata.shape == (700, 765)
    assert sparse.issparse(adata.X)
    assert adata.X.min() >= 0
    assert adata.X.max() == pytest.approx(6.49, abs=0.01)
    assert adata.raw is None
    assert adata.obs["cell_type"].nunique() == 10
    assert np.array_equal(adata.obs["cell_type"], adata.obs["bulk_labels"])
    assert {"X_pca", "X_umap"} <= set(adata.obsm)


def test_without_scanpy_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "scanpy", None)
    with pytest.raises(ImportError, match=r"pip install 'sensx_sc\[scanpy\]'"):
        sx.datasets.pbmc68k()
