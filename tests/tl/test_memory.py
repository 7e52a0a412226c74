"""Explaining a few cells of a large sparse matrix does not make it dense."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SCRIPT = """
import json, resource, sys
import anndata as ad, numpy as np
from scipy import sparse
import sensx_sc as sx

n, m, k = 20_000, 10_000, 500
rng = np.random.default_rng(0)
kinds = np.concatenate([rng.permutation(m)[:k] for _ in range(100)]).astype(np.int32)
indptr = np.arange(0, n * k + 1, k)
values = rng.random(n * k, dtype=np.float32)
X = sparse.csr_matrix((values, np.tile(kinds, n // 100), indptr), shape=(n, m))
adata = ad.AnnData(X)
weights = rng.normal(size=m)
cells, genes = np.arange(n) % 400 == 0, np.arange(m) % 100 == 0
sx.tl.sensx(
    adata, lambda rows: rows @ weights, mask_obs=cells, mask_var=genes, deltas=[0.3, 1.0],
    n_samples=100, n_walks=4, tau=1e-6, progress=False,
)
assert np.isfinite(adata.layers["sensx"][cells][:, genes]).all()
unit = 1 if sys.platform == "darwin" else 1024
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
matrix = X.data.nbytes + X.indices.nbytes + X.indptr.nbytes
layers = sum(adata.layers[name].nbytes for name in ("sensx", "sensx_rank"))
print(json.dumps({"cells": int(cells.sum()), "peak": peak, "matrix": matrix, "layers": layers}))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="peak memory is read the Unix way")
def test_fifty_cells_of_twenty_thousand() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=600
    )
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["cells"] == 50
    # All of the process, the interpreter and its libraries included.
    assert seen["peak"] < seen["matrix"] + seen["layers"] + 2**30
    # A dense copy of X alone would take as much again.
    assert seen["peak"] < 20_000 * 10_000 * 8 + 2**30
