"""Sparse layers of an AnnData in a zarr store, written once it is known how long their rows are.

A layer is valid at any moment: as long as ``indptr`` is zero all rows are empty, and it is written
last, in one chunk.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.scale.anndata_zarr import open_root
from sensx_sc.scale.top import entries, row_pointers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sensx_sc.core.arrays import Ints

CHUNK = 2**20
"""Entries a chunk."""


def make_empty(root: Any, place: str, shape: tuple[int, int], dtype: type[np.generic]) -> None:
    """A sparse layer of a store without entries, (n_obs, n), as anndata encodes CSR."""
    group = root.create_group(
        place,
        attributes={
            "encoding-type": "csr_matrix",
            "encoding-version": "0.1.0",
            "shape": list(shape),
        },
    )
    array = {"encoding-type": "array", "encoding-version": "0.2.0"}
    for name, kind in (("data", dtype), ("indices", np.int32)):
        group.create_array(name, shape=(0,), chunks=(CHUNK,), dtype=kind, attributes=array)
    length = shape[0] + 1
    group.create_array(
        "indptr", shape=(length,), chunks=(length,), dtype=np.int64, attributes=array
    )


def write_entries(
    layers: Mapping[str, Any],
    n_obs: int,
    lengths: Mapping[int, tuple[Ints, Ints]],
    read: Callable[[int], tuple[np.ndarray, dict[str, np.ndarray]]],
) -> None:
    """Fill sparse layers block by block.

    Parameters
    ----------
    layers
        The group of each statistic.
    lengths
        For each block its cells, and how many entries each has.
    read
        Features and values of a block, (C, k) each.
    """
    numbers = sorted(lengths)
    pointers = row_pointers(n_obs, [lengths[number] for number in numbers])
    for group in layers.values():
        group["indptr"][:] = np.zeros_like(pointers)
        for name in ("data", "indices"):
            group[name].resize((int(pointers[-1]),))
    writers = {name: _Appender(group) for name, group in layers.items()}
    for number in numbers:
        genes, values = read(number)
        for name, writer in writers.items():
            writer.add(*entries(genes, values[name]))
    for name, group in layers.items():
        writers[name].flush()
        group["indptr"][:] = pointers


class _Appender:
    """Gathers entries until they fill whole chunks."""

    def __init__(self, group: Any) -> None:
        self._data, self._indices = group["data"], group["indices"]
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []
        self._written = self._gathered = 0

    def add(self, columns: np.ndarray, values: np.ndarray) -> None:
        self._waiting.append((columns, values))
        self._gathered += len(columns)
        if self._gathered - self._written >= CHUNK:
            self._write((self._gathered - self._written) // CHUNK * CHUNK)

    def flush(self) -> None:
        self._write(self._gathered - self._written)

    def _write(self, n: int) -> None:
        if not n:
            return
        columns, values = (np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
        part = slice(self._written, self._written + n)
        self._indices[part], self._data[part] = columns[:n], values[:n]
        self._written += n
        self._waiting = [(columns[n:], values[n:])]


def sparse_rows(
    store: str,
    place: str,
    manifest: str,
    shape: tuple[int, int],
    together: int,
    dtype: type[np.generic],
) -> Any:
    """A layer as a Dask array of sparse blocks that reads the store, as long as it is there.

    Parameters
    ----------
    store, place, manifest
        Folder of the store, the layer in it, and a file that is there as long as the store is.
    together
        Rows a block.
    """
    import dask.array as da
    from scipy import sparse

    nothing: Any = np.zeros((0, 0), dtype=dtype)
    starts = range(0, shape[0], together)
    rows = tuple(min(together, shape[0] - start) for start in starts)
    return da.map_blocks(
        _read,
        store,
        place,
        manifest,
        shape,
        together,
        chunks=(rows, (shape[1],)),
        dtype=dtype,
        meta=sparse.csr_matrix(nothing),
    )


def _read(
    store: str,
    place: str,
    manifest: str,
    shape: tuple[int, int],
    together: int,
    block_id: tuple[int, int] | None = None,
) -> Any:
    from scipy import sparse

    require(store, manifest)
    group = open_root(Path(store), "r")[place]
    first = (block_id or (0, 0))[0] * together
    pointers = group["indptr"][first : min(first + together, shape[0]) + 1]
    part = slice(int(pointers[0]), int(pointers[-1]))
    entries = (group["data"][part], group["indices"][part], pointers - pointers[0])
    return sparse.csr_matrix(entries, shape=(len(pointers) - 1, shape[1]))


def require(store: str, manifest: str) -> None:
    """Refuse to read from a store that is gone: it would look as if nothing had been tested."""
    if not Path(manifest).exists():
        msg = f"the store {store!r} of this layer is not there any more."
        raise FileNotFoundError(msg)
