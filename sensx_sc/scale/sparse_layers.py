"""Sparse layers of an AnnData in a zarr store, written once it is known how long their rows are.

A layer is valid at any moment: as long as ``indptr`` is zero all rows are empty, and it is written
last, in one chunk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

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
