"""Cells that stay on disk or in a Dask graph are explained as those in memory."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import anndata as ad
import dask.array as da
import numpy as np
import pandas as pd
import pytest
from anndata.experimental import read_lazy
from scipy import sparse

import sensx_sc as sx
from sensx_sc.core.arrays import UnreadRows, as_rows, column_range
from sensx_sc.scale.blocks import Blocks, in_reach

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from anndata import AnnData

    from sensx_sc.models.mlp import ExpressionMLP


@pytest.fixture(scope="module")
def adata() -> AnnData:
    adata = sx.datasets.toy()
    adata.layers["dense"] = adata.X.toarray()
    return adata


@pytest.fixture(scope="module")
def model(adata: AnnData) -> ExpressionMLP:
    return sx.models.fit_mlp(adata, "cell_type", hidden=(6,), epochs=15, progress=False)


def stored(adata: AnnData, path: Path, kind: str) -> AnnData:
    adata = adata.copy()
    if kind.startswith("csc"):
        adata.X = adata.X.tocsc()
    if kind.startswith("dense"):
        adata.X = adata.X.toarray()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anndata 0.12 tells that zarr v3 is to come
        if kind.endswith("zarr"):
            adata.write_zarr(path / "a.zarr")
            return read_lazy(path / "a.zarr")
        adata.write_h5ad(path / "a.h5ad")
    if kind.endswith("lazy"):
        return read_lazy(path / "a.h5ad")
    return ad.read_h5ad(path / "a.h5ad", backed="r")


def in_dask(adata: AnnData, _: Path, kind: str) -> AnnData:
    adata = adata.copy()
    adata.X = da.from_array(adata.X if kind == "sparse dask" else adata.X.toarray(), (7, -1))
    return adata


KINDS: dict[str, Callable[[Any, Any, str], AnnData]] = dict.fromkeys(
    ["csr backed", "csc backed", "dense backed", "csr lazy", "dense lazy", "csr zarr"], stored
) | dict.fromkeys(["sparse dask", "dense dask"], in_dask)


@pytest.mark.parametrize("chunk_size", [1, 4, "auto"])
@pytest.mark.parametrize("kind", KINDS)
def test_results_are_those_of_cells_in_memory(
    kind: str, chunk_size: int | str, adata: AnnData, model: ExpressionMLP, tmp_path: Path
) -> None:
    mask = np.isin(np.arange(adata.n_obs), [3, 4, 5, 17, 40, 58])
    how = {"n_walks": 8, "n_samples": 60, "mask_obs": mask, "target": "cell_type",
           "progress": False, "precision": "float64"}  # fmt: skip
    expected = sx.tl.sensx(adata, model, copy=True, **how)
    there = KINDS[kind](adata, tmp_path, kind)
    sx.tl.sensx(there, model, chunk_size=chunk_size, **how)
    for layer in ("sensx", "sensx_rank"):
        np.testing.assert_array_equal(there.layers[layer], expected.layers[layer])
    np.testing.assert_array_equal(np.asarray(there.obs["sensx_delta_star"]),
                                  expected.obs["sensx_delta_star"])  # fmt: skip
    pd.testing.assert_frame_equal(
        there.uns["sensx"]["rankings"], expected.uns["sensx"]["rankings"], rtol=1e-12
    )
    np.testing.assert_array_equal(np.asarray(there.var["sensx_upper"]), expected.var["sensx_upper"])


@pytest.mark.parametrize("kind", ["dense backed", "csr lazy"])
def test_layers_and_the_domain_are_read_in_blocks_too(
    kind: str, adata: AnnData, tmp_path: Path
) -> None:
    there = stored(adata, tmp_path, kind)
    sx.pp.domain(there, layer="dense")
    low, high = column_range(adata.layers["dense"])
    np.testing.assert_array_equal(np.asarray(there.var["sensx_lower"]), low)
    np.testing.assert_array_equal(np.asarray(there.var["sensx_upper"]), high)


ROWS = {
    "slice": slice(2, 9),
    "everything": slice(None),
    "scattered": np.array([1, 5, 6, 7, 19]),
    "backwards": np.array([8, 2, 30, 3]),
    "twice": np.array([4, 4, 1]),
    "none": np.array([], dtype=np.int64),
    "every other": np.arange(0, 60, 2),
}


@pytest.mark.parametrize("kind", ["csr backed", "dense backed", "csr lazy", "dense dask"])
@pytest.mark.parametrize("rows", ROWS)
def test_rows_come_back_in_the_order_asked_for(
    rows: str, kind: str, adata: AnnData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sensx_sc.scale.blocks._FEW_RUNS", 3)
    there = in_reach(KINDS[kind](adata, tmp_path, kind).X, "adata.X")
    assert isinstance(there, Blocks)
    assert isinstance(there, UnreadRows)
    assert there.shape == adata.shape
    found, expected = there[ROWS[rows]], adata.X.toarray()[ROWS[rows]]
    got = found.toarray() if sparse.issparse(found) else found
    np.testing.assert_array_equal(got, expected)
    picked = np.array([50, 3, 7, 8, 9, 21])
    few = there.only(picked)
    assert few.shape == (6, adata.n_vars)
    got = few[1:4]
    got = got.toarray() if sparse.issparse(got) else got
    np.testing.assert_array_equal(got, adata.X.toarray()[picked[1:4]])


def test_only_a_block_is_read_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensx_sc.core.arrays._BYTES_AT_ONCE", 8 * 5 * 10)
    asked: list[int] = []

    class Watched:
        shape, dtype, ndim = (100, 10), np.dtype(np.float32), 2

        def __getitem__(self, rows: slice) -> np.ndarray:
            asked.append(len(range(100)[rows]))
            return np.ones((asked[-1], 10), np.float32)

    rows = Blocks(Watched())
    column_range(as_rows(rows))
    assert max(asked) == 5
    assert sum(asked) == 100
    asked.clear()
    sx.core.explain(
        rows, lambda z: z.sum(axis=1), lower=0, upper=2, n_walks=1, n_samples=5, progress=False
    )
    assert max(asked) <= 100


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_found_where_they_are_read(value: float) -> None:
    x = np.zeros((20, 4))
    x[13, 2] = value
    rows = Blocks(da.from_array(x, (5, -1)))
    with pytest.raises(ValueError, match="1 values that are NaN or infinite, the first in row 13"):
        sx.core.explain(rows, lambda z: z.sum(axis=1), lower=0, upper=2, progress=False)


def test_columns_on_disk_that_do_not_fit_are_refused(
    adata: AnnData, model: ExpressionMLP, tmp_path: Path
) -> None:
    there = stored(adata, tmp_path, "csc backed")
    with (
        sx.settings.override(memory_budget=100),
        pytest.raises(ValueError, match=r"adata.X is stored by columns \(CSC\).*Store it by rows"),
    ):
        sx.tl.sensx(there, model, progress=False)


def test_other_things_are_refused() -> None:
    with pytest.raises(TypeError, match="must be a numpy array, a scipy sparse matrix, a backed"):
        in_reach([[1.0]], "adata.X")
