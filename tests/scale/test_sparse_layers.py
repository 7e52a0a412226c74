"""Sparse layers in a store are those that anndata would have written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import zarr
from scipy import sparse

from sensx_sc.scale import sparse_layers
from sensx_sc.scale.sparse_layers import make_empty, write_entries
from sensx_sc.scale.top import csr, row_lengths

if TYPE_CHECKING:
    from pathlib import Path
    from types import SimpleNamespace


@pytest.mark.parametrize("chunk", [1, 3, 7, 1000])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_blocks_of_any_length_make_one_matrix(
    zarr_format: int, chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import anndata

    monkeypatch.setattr(sparse_layers, "CHUNK", chunk)
    rng = np.random.default_rng(chunk)
    root = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=zarr_format)
    shape, blocks = (23, 9), {}
    for number, cells in ((0, [0, 1, 4]), (2, [10, 11, 12, 13]), (5, [21])):
        genes = np.stack([rng.permutation(9)[:4] for _ in cells]).astype(np.int32)
        for row in genes:
            row[rng.integers(0, 5) :] = -1
        values = rng.random(genes.shape).astype(np.float32)
        blocks[number] = (np.array(cells), genes, values)
    for name, kind in (("a", np.float32), ("b", np.int32)):
        make_empty(root, name, shape, kind)
        empty = anndata.io.read_elem(root[name])
        assert sparse.isspmatrix_csr(empty)
        assert (empty.shape, empty.nnz, empty.dtype) == (shape, 0, kind)
    lengths = {n: (cells, row_lengths(genes)) for n, (cells, genes, _) in blocks.items()}

    def read(number: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        _, genes, values = blocks[number]
        return genes, {"a": values, "b": (values * 100).astype(np.int32)}

    for _ in range(2):  # the second time over the first
        write_entries({"a": root["a"], "b": root["b"]}, shape[0], lengths, read)
        expected = csr(shape, list(blocks.values()), np.float32)
        found = anndata.io.read_elem(root["a"])
        assert (found != expected).nnz == 0
        np.testing.assert_array_equal(found.indptr, expected.indptr)
        np.testing.assert_array_equal(found.indices, expected.indices)
        whole = anndata.io.read_elem(root["b"])
        np.testing.assert_array_equal(whole.data, (expected.data * 100).astype(np.int32))


def test_no_block_leaves_it_empty(runs: SimpleNamespace, tmp_path: Path) -> None:
    import anndata

    root = zarr.open_group(tmp_path / "a.zarr", mode="w")
    make_empty(root, "a", (4, 3), np.float32)
    write_entries({"a": root["a"]}, 4, {}, lambda _: (_, {}))
    assert anndata.io.read_elem(root["a"]).nnz == 0
