"""Counts to log1p counts per ten thousand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy import sparse


def log1p_cp10k(counts: sparse.csr_matrix) -> sparse.csr_matrix:
    """log(1 + 10,000 x count / total of the cell), CSR float32; no cell may be empty."""
    X = counts.astype(np.float64)
    total_of_entry = np.repeat(np.asarray(X.sum(axis=1)).ravel(), np.diff(X.indptr))
    X.data = np.log1p(X.data / total_of_entry * 1e4)
    return X.astype(np.float32)
