"""Only the first genes of each cell are kept: a sparse layer for an atlas.

Of a cell the k features of rank 1 to k are stored, and nothing of the others. In the sparse
matrix an entry that is not there means "not kept" (or not tested), never "no effect"; a kept
value of exactly 0 is stored as such.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray
    from scipy import sparse

    from sensx_sc.core.arrays import Ints


def parse_keep(keep: object) -> int | None:
    """How many features of a cell are kept; None for all.

    Raises
    ------
    ValueError
        Neither ``"all"`` nor ``"top:<number>"``.

    Examples
    --------
    >>> from sensx_sc.scale.top import parse_keep
    >>> parse_keep("top:500")
    500
    """
    if keep == "all":
        return None
    found = re.fullmatch(r"top:([1-9]\d*)", keep) if isinstance(keep, str) else None
    if found is None:
        msg = (
            "`keep` must be 'all', or 'top:500' for the first 500 genes of each cell; "
            f"got {keep!r}."
        )
        raise ValueError(msg)
    return int(found[1])


def first_by_rank(rank: Ints, k: int) -> NDArray[np.int32]:
    """Features of rank 1 to k of each cell, from ranks (C, n).

    Examples
    --------
    >>> import numpy as np
    >>> from sensx_sc.scale.top import first_by_rank
    >>> first_by_rank(np.array([[2, 1, 3], [0, 1, 0]]), 2)
    array([[ 1,  0],
           [ 1, -1]], dtype=int32)
    """
    genes = np.full((len(rank), min(k, rank.shape[1])), -1, dtype=np.int32)
    cell, gene = np.nonzero((rank > 0) & (rank <= k))
    genes[cell, rank[cell, gene] - 1] = gene
    return genes


def pick(array: NDArray[Any], genes: NDArray[np.int32]) -> NDArray[Any]:
    """Entries of an array (C, n) at the features of each cell, (C, k); 0 where there is none."""
    found = np.take_along_axis(array, np.maximum(genes, 0).astype(np.intp), axis=1)
    return np.where(genes >= 0, found, np.zeros((), found.dtype))


def row_lengths(genes: NDArray[np.int32]) -> Ints:
    """How many entries each cell has, (C,)."""
    lengths: Ints = np.count_nonzero(genes >= 0, axis=1).astype(np.int64)
    return lengths


def entries(
    genes: NDArray[np.int32], values: NDArray[Any]
) -> tuple[NDArray[np.int32], NDArray[Any]]:
    """Columns and values of the entries, row by row, columns ascending as CSR has them."""
    order = np.argsort(np.where(genes < 0, np.iinfo(np.int32).max, genes), axis=1)
    columns = np.take_along_axis(genes, order, axis=1)
    there = columns >= 0
    return columns[there], np.take_along_axis(values, order, axis=1)[there]


def row_pointers(n_obs: int, parts: Iterable[tuple[Ints, Ints]]) -> Ints:
    """Where the entries of each row begin, (n_obs + 1,), from cells and how many each has."""
    pointers = np.zeros(n_obs + 1, dtype=np.int64)
    for cells, lengths in parts:
        pointers[cells + 1] = lengths
    return np.cumsum(pointers)


def csr(
    shape: tuple[int, int],
    parts: list[tuple[Ints, NDArray[np.int32], NDArray[Any]]],
    dtype: type[np.generic],
) -> sparse.csr_matrix[Any]:
    """A sparse matrix from cells, features and values of blocks, in ascending order of cells."""
    from scipy import sparse

    found = [entries(genes, values) for _, genes, values in parts]
    pointers = row_pointers(shape[0], [(cells, row_lengths(genes)) for cells, genes, _ in parts])
    kind = np.int32 if pointers[-1] < 2**31 else np.int64
    columns = [columns for columns, _ in found] or [np.zeros(0, np.int32)]
    values = [values for _, values in found] or [np.zeros(0, dtype)]
    data: Any = np.concatenate(values).astype(dtype, copy=False)
    indices: Any = np.concatenate(columns).astype(kind, copy=False)
    return sparse.csr_matrix((data, indices, pointers.astype(kind)), shape=shape)
