"""The toy set, and how the room is imported."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
from scipy import sparse

import sensx_sc as sx


def test_groups_and_planted_markers(adata):
    assert adata.shape == (60, 20)
    assert sparse.issparse(adata.X)
    assert adata.obs["cell_type"].value_counts().to_dict() == {"A": 20, "B": 20, "C": 20}
    for gene, group in adata.var["marker_of"].dropna().items():
        x = adata[:, gene].X.toarray().ravel()
        of_group = (adata.obs["cell_type"] == group).to_numpy()
        assert x[of_group].mean() > x[~of_group].mean() + 1


def test_no_empty_cell_or_constant_gene(adata):
    counts = adata.layers["counts"].toarray()
    assert (counts.sum(axis=1) > 0).all()
    assert (counts.std(axis=0) > 0).all()
    assert (counts == np.round(counts)).all()
    np.testing.assert_allclose(
        np.expm1(adata.X.toarray().astype(float)).sum(axis=1), 1e4, rtol=1e-5
    )


def test_same_every_time_and_fresh(adata):
    other = sx.datasets.toy()
    assert (other.X != adata.X).nnz == 0
    other.X.data[:] = 0
    assert sx.datasets.toy().X.max() > 0


def test_importing_the_room_loads_nothing_heavy():
    heavy = ["torch", "scanpy", "anndata", "pandas", "matplotlib", "numpy"]
    code = (
        f"import sys, sensx_sc.datasets; print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_a_function():
    names = (
        "mouse_brain pbmc pbmc68k pbmc_markers pbmc_programmes synthetic tissue tissue_model toy"
    )
    assert " ".join(sx.datasets.__all__) == names
    assert all(callable(getattr(sx.datasets, name)) for name in sx.datasets.__all__)
