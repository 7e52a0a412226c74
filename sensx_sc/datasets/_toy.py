"""A data set small enough for examples and tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anndata import AnnData

GROUPS = ("A", "B", "C")
CELLS_A_GROUP = 20
MARKERS_A_GROUP = 3
N_GENES = 20


def toy() -> AnnData:
    """Make 60 cells of 3 types with planted markers, 20 genes; the same every time.

    Counts are Poisson about a log-normal depth; a marker has ten times the mean in its own type.
    Most background entries are zero, as in single-cell data.

    Returns
    -------
    AnnData (60, 20) with

    - ``.X``: log1p CP10K, CSR float32; ``.layers["counts"]``: counts, CSR float32
    - ``.obs["cell_type"]``: categorical "A", "B", "C", 20 cells each
    - ``.var["marker_of"]``: categorical, the type whose marker the gene is (``gene_0`` to
      ``gene_2`` for A, ``gene_3`` to ``gene_5`` for B, ``gene_6`` to ``gene_8`` for C), else NaN
    - ``.obsm["X_pca"]``: the first two principal components of ``.X``
    - ``.uns["log1p"]``: scanpy's note that ``.X`` is log-transformed

    Examples
    --------
    >>> import sensx_sc as sx
    >>> adata = sx.datasets.toy()
    >>> adata.var_names[adata.var["marker_of"] == "B"].tolist()
    ['gene_3', 'gene_4', 'gene_5']
    """
    import numpy as np
    import pandas as pd
    from anndata import AnnData
    from scipy import sparse

    from sensx_sc.datasets._log1p_cp10k import log1p_cp10k

    rng = np.random.default_rng(0)
    n_obs = CELLS_A_GROUP * len(GROUPS)
    cell_group = np.repeat(np.arange(len(GROUPS)), CELLS_A_GROUP)
    marker_of = np.full(N_GENES, -1)
    marker_of[: MARKERS_A_GROUP * len(GROUPS)] = np.repeat(np.arange(len(GROUPS)), MARKERS_A_GROUP)
    mean = rng.lognormal(-1.0, 0.6, N_GENES)
    fold = np.where(cell_group[:, None] == marker_of, 10.0, 1.0)
    depth = rng.lognormal(0, 0.3, (n_obs, 1))
    counts = sparse.csr_matrix(rng.poisson(depth * mean * fold).astype(np.float32))
    X = log1p_cp10k(counts)
    centred = X.toarray() - X.toarray().mean(axis=0)
    left, scale, _ = np.linalg.svd(centred, full_matrices=False)
    adata = AnnData(
        X=X,
        obs=pd.DataFrame(
            {"cell_type": pd.Categorical.from_codes(cell_group, list(GROUPS))},
            index=[f"cell_{i}" for i in range(n_obs)],
        ),
        var=pd.DataFrame(
            {"marker_of": pd.Categorical.from_codes(marker_of, list(GROUPS))},
            index=[f"gene_{j}" for j in range(N_GENES)],
        ),
        layers={"counts": counts},
        obsm={"X_pca": left[:, :2] * scale[:2]},
    )
    adata.uns["log1p"] = {}
    return adata
