"""Only the first genes of each cell: the same numbers, and nothing of the others."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

import sensx_sc as sx
from sensx_sc.core import ranks
from sensx_sc.scale.top import csr, entries, first_by_rank, parse_keep, pick, row_lengths

if TYPE_CHECKING:
    from pathlib import Path
    from types import SimpleNamespace

    from anndata import AnnData


@pytest.mark.parametrize(("keep", "k"), [("all", None), ("top:1", 1), ("top:500", 500)])
def test_what_may_be_kept(keep: str, k: int | None) -> None:
    assert parse_keep(keep) == k


@pytest.mark.parametrize(
    "keep", ["top", "top:", "top:0", "top:-3", "top:1.5", "top: 5", "first:5", "", 5, None, True]
)
def test_anything_else_is_refused(keep: object, adata: AnnData, runs: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match=r"`keep` must be 'all', or 'top:500' for.*; got"):
        sx.tl.sensx(adata, runs.model, keep=keep, **runs.HOW)
    assert "sensx" not in adata.uns


@given(st.integers(1, 6), st.integers(1, 9), st.integers(1, 12), st.integers(0, 2**31))
def test_a_sparse_row_has_the_first_k_of_the_dense_one(c: int, n: int, k: int, seed: int) -> None:
    """Also with ties, values of exactly 0, untested genes and cells without any."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 4, size=(c, n)).astype(np.float64)
    values[rng.random((c, n)) < 0.2] = np.nan
    values[rng.random(c) < 0.2] = np.nan
    rank = ranks(values)
    genes = first_by_rank(rank, k)
    kept = (rank > 0) & (rank <= k)
    np.testing.assert_array_equal(row_lengths(genes), kept.sum(axis=1))
    cells = np.sort(rng.choice(c + 3, size=c, replace=False))
    found = csr((c + 3, n), [(cells, genes, pick(values, genes))], np.float32)
    assert found.has_canonical_format
    assert found.dtype == np.float32
    expected = np.zeros((c + 3, n))
    expected[cells] = np.where(kept, values, 0)
    np.testing.assert_array_equal(found.toarray(), expected)
    pattern = np.zeros((c + 3, n), dtype=bool)
    pattern[cells] = kept
    assert found.nnz == pattern.sum()  # a kept 0 is stored
    np.testing.assert_array_equal(sparse.csr_matrix((np.ones(found.nnz), found.indices,
                                                     found.indptr), found.shape).toarray() > 0,
                                  pattern)  # fmt: skip


def test_no_cell_makes_an_empty_matrix() -> None:
    found = csr((3, 5), [], np.int32)
    assert found.shape == (3, 5)
    assert found.nnz == 0
    columns, _ = entries(np.full((2, 3), -1, np.int32), np.zeros((2, 3)))
    assert len(columns) == 0


@pytest.mark.parametrize(
    ("k", "where"), [(1, "memory"), (5, "memory"), (20, "memory"), (500, "memory"), (5, "store")]
)
def test_the_first_k_are_those_of_the_whole_run(
    k: int, where: str, adata: AnnData, expected: AnnData, runs: SimpleNamespace, tmp_path: Path
) -> None:
    store = {} if where == "memory" else {"store": tmp_path / "run.zarr", "chunk_size": 7}
    found = sx.tl.sensx(
        adata, runs.model, mask_obs="some", copy=True, keep=f"top:{k}", **store, **runs.HOW
    )
    rank = np.asarray(expected.layers["sensx_rank"])
    kept = (rank > 0) & (rank <= k)
    for name in runs.LAYERS:
        layer = found.layers[name]
        layer = layer.compute() if where == "store" else layer
        assert sparse.isspmatrix_csr(layer)
        assert layer.nnz == kept.sum()
        assert layer.dtype == expected.layers[name].dtype
        np.testing.assert_array_equal(
            layer.toarray(), np.where(kept, np.asarray(expected.layers[name]), 0)
        )
    # Rankings of the explained outputs are of all genes all the same.
    a, b = found.uns["sensx"], expected.uns["sensx"]
    assert len(a["rankings"]) == len(b["rankings"])
    np.testing.assert_allclose(a["rankings"]["value"], b["rankings"]["value"], rtol=1e-12)
    assert a["params"]["keep"] == f"top:{k}"


@pytest.mark.parametrize("kind", ["h5ad", "zarr"])
def test_sparse_results_survive_a_file(
    kind: str, adata: AnnData, in_memory: dict[str, AnnData], tmp_path: Path
) -> None:
    expected = in_memory["top:5"]
    path = tmp_path / f"a.{kind}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anndata 0.12 tells that zarr v3 is to come
        getattr(expected, f"write_{kind}")(path)
    found = getattr(ad, f"read_{kind}")(path)
    for name in ("sensx", "sensx_rank"):
        assert (found.layers[name] != expected.layers[name]).nnz == 0
        assert found.layers[name].nnz == expected.layers[name].nnz


def test_the_doors_take_what_was_not_kept_as_missing(
    expected: AnnData, in_memory: dict[str, AnnData]
) -> None:
    found = in_memory["top:5"].copy()
    cell = found.obs_names[np.flatnonzero(found.obs["some"])[2]]
    whole = sx.get.rankings(expected, cells=cell, n_genes=5)
    few = sx.get.rankings(found, cells=cell)
    assert len(few) == 5
    assert list(few["names"]) == list(whole["names"])
    np.testing.assert_array_equal(few[["value", "change", "n"]], whole[["value", "change", "n"]])
    ds = sx.get.explanation(found)
    rank = np.asarray(expected.layers["sensx_rank"])
    kept = (rank > 0) & (rank <= 5)
    np.testing.assert_array_equal(
        ds["value"].values, np.where(kept, np.asarray(expected.layers["sensx"]), np.nan)
    )
    np.testing.assert_array_equal(ds["rank"].values, np.where(kept, rank, 0))
    axes = sx.pl.heatmap(found, groupby="cell_type", n_genes=3)
    (legend,) = axes.get_legend().get_texts()
    assert legend.get_text() == "not among the 5 genes kept of the cell, or no attribution"
    assert np.ma.getmaskarray(axes.images[0].get_array()).any()


def test_a_gene_that_was_not_kept_has_no_colour(in_memory: dict[str, AnnData]) -> None:
    found = in_memory["top:5"].copy()
    rank = found.layers["sensx_rank"].toarray()
    gene = int(np.argmax(((rank > 0).sum(axis=0) > 2) & ((rank > 0).sum(axis=0) < 20)))
    axes = sx.pl.embedding(found, "pca", color=found.var_names[gene])
    drawn = [len(part.get_offsets()) for part in axes.collections]
    assert drawn == [60 - (rank[:, gene] > 0).sum(), (rank[:, gene] > 0).sum()]


def means(adata: AnnData, **how: Any) -> Any:
    sx.tl.rank_groups(adata, "cell_type", **how)
    return adata.uns["sensx_cell_type"]["rankings"].set_index(["group", "names"])


def test_means_over_groups_are_lower_bounds_of_those_of_all_genes(
    expected: AnnData, in_memory: dict[str, AnnData], caplog: pytest.LogCaptureFixture
) -> None:
    expected, found = expected.copy(), in_memory["top:5"].copy()
    whole = means(expected)
    few = means(found)
    assert "counts as 0 for it, so that means are lower bounds" in caplog.text
    n_cells = whole["n_cells"].groupby("group").max()
    for (group, name), row in few.iterrows():
        there = whole.loc[(group, name)]
        assert 0 < row["n_cells"] <= n_cells[group]
        if row["n_cells"] == n_cells[group]:
            assert row["value"] == pytest.approx(there["value"], rel=1e-6)
        else:
            assert row["value"] < there["value"]
    assert (few["n_cells"] < n_cells.max()).any()
    with pytest.raises(ValueError, match="only the first 5 genes of each cell by 'value' were"):
        means(found, statistic="change")
    with pytest.raises(ValueError, match="`reference` 'A' takes the values of all genes, and of"):
        means(found, reference="A")


def test_tools_that_need_all_genes_say_so(
    in_memory: dict[str, AnnData], runs: SimpleNamespace
) -> None:
    found = in_memory["top:5"].copy()
    said = "the values of all genes, and of the results 'sensx' only the first 5 of each cell were"
    with pytest.raises(ValueError, match=said):
        sx.tl.perturbation_curve(found, runs.model)
    with pytest.raises(ValueError, match=said):
        sx.tl.rank_neighbors(found, n_neighbors=3)
