"""scanpy's reduced 68k blood cells."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anndata import AnnData


def pbmc68k() -> AnnData:
    """Load scanpy's 700 blood cells of 10 types, 765 genes, as log expression, without network.

    :func:`scanpy.datasets.pbmc68k_reduced` keeps scaled values in ``.X`` and log1p expression in
    ``.raw``; here ``.X`` is the latter (non-negative), which is what a domain [min, max] suits.

    Returns
    -------
    AnnData with

    - ``.X``: log1p expression, CSR float32
    - ``.obs["cell_type"]``: categorical, 10 types, a copy of ``.obs["bulk_labels"]``
    - scanpy's ``.obs``, ``.obsm`` (``X_pca``, ``X_umap``), ``.obsp`` and ``.uns``; no ``.raw``
    - ``.uns["log1p"]``: scanpy's note that ``.X`` is log-transformed

    Raises
    ------
    ImportError
        If scanpy is not installed.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> adata = sx.datasets.pbmc68k()
    >>> adata.shape
    (700, 765)

    References
    ----------
    Zheng et al., Massively parallel digital transcriptional profiling of single cells, Nature
    Communications 8 (2017) 14049.
    """
    from scipy import sparse

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scanpy's own, about versions and the file's old format
        try:
            import scanpy as sc
        except ImportError as error:
            msg = (
                "datasets.pbmc68k() reads a file that comes with scanpy, which is not installed. "
                "Install it with: pip install 'sensx_sc[scanpy]'"
            )
            raise ImportError(msg) from error
        adata = sc.datasets.pbmc68k_reduced().raw.to_adata()
    adata.X = sparse.csr_matrix(adata.X, dtype="float32")
    adata.obs["cell_type"] = adata.obs["bulk_labels"].copy()
    adata.uns["log1p"] = {}
    return adata
