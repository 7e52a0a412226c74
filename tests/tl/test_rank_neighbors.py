"""The graph of cells by their rankings, and scanpy on it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import sensx_sc as sx

if TYPE_CHECKING:
    from collections.abc import Callable

    from anndata import AnnData

ADDED = "sensx_neighbors"


def test_neighbours_are_of_the_same_type(explained_toy: AnnData) -> None:
    adata = explained_toy
    assert sx.tl.rank_neighbors(adata, rank_by="change", n_neighbors=6) is None
    graph = adata.obsp[f"{ADDED}_connectivities"]
    assert (graph != graph.T).nnz == 0
    assert graph.max() <= 1
    distances = adata.obsp[f"{ADDED}_distances"]
    there = adata.obs["sensx_status"].isin(["resolved", "unsaturated", "left_censored"]).to_numpy()
    per_cell = np.diff(distances.indptr)
    assert (per_cell[there] == 5).all()
    assert (per_cell[~there] == 0).all()
    kind = adata.obs["cell_type"].to_numpy()
    row, column = graph.nonzero()
    same = graph[row, column].A1[kind[row] == kind[column]].sum() / graph.sum()
    assert same > 0.85
    assert adata.uns[ADDED]["params"]["rank_by"] == "change"


def test_distances_are_those_of_the_measure(explained_toy: AnnData) -> None:
    sx.tl.rank_neighbors(explained_toy, metric="overlap", top_k=5, n_neighbors=4)
    found = explained_toy.obsp[f"{ADDED}_distances"]
    rows = np.flatnonzero(np.diff(found.indptr) > 0)
    expected = sx.metrics.rank_distances(explained_toy.layers["sensx"][rows], "overlap", k=5)
    dense = found.toarray()[np.ix_(rows, rows)]
    stored = dense > 0
    np.testing.assert_allclose(dense[stored], expected[stored], atol=1e-6)


def test_scanpy_embeds_it(explained_toy: AnnData) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sc = pytest.importorskip("scanpy")
    adata = explained_toy[explained_toy.obs["sensx_status"] != "skipped"].copy()
    sx.tl.rank_neighbors(adata, rank_by="change", n_neighbors=6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sc.tl.umap(adata, neighbors_key=ADDED)
        sc.tl.draw_graph  # noqa: B018 - there, if its own libraries are
    points = adata.obsm["X_umap"]
    a = (adata.obs["cell_type"] == "A").to_numpy()
    between = np.linalg.norm(points[a].mean(axis=0) - points[~a].mean(axis=0))
    within = points[a].std(axis=0).mean() + points[~a].std(axis=0).mean()
    assert between > within


def test_round_trip(explained_toy: AnnData, round_trip: Callable[..., None]) -> None:
    sx.tl.rank_neighbors(explained_toy, n_neighbors=6)
    round_trip(explained_toy, ADDED)


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "metric": ({"metric": "kendall"}, ValueError, "`metric` must be one of"),
    "one": ({"n_neighbors": 1}, ValueError, "`n_neighbors` must be from 2 to"),
    "many": ({"n_neighbors": 61}, ValueError, "`n_neighbors` must be from 2 to"),
    "count": ({"n_neighbors": 2.5}, ValueError, "n_neighbors=2.5"),
    "top_k": ({"top_k": 0}, ValueError, "top_k=0"),
    "statistic": ({"rank_by": "shapley"}, KeyError, "needs the layer 'sensx_shapley'"),
    "unknown": ({"rank_by": "se"}, ValueError, "'se' is not one of"),
    "mask": ({"mask_obs": "sure"}, KeyError, "not a column"),
    "key": ({"key": "other"}, KeyError, "names no SensX results"),
    "taken": ({"key_added": "log1p"}, ValueError, "would overwrite"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input(case: str, explained_toy: AnnData) -> None:
    how, error, match = WRONG[case]
    with pytest.raises(error, match=match):
        sx.tl.rank_neighbors(explained_toy, **how)
    assert ADDED not in explained_toy.uns
    assert not explained_toy.obsp
