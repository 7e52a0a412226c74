"""Training gated nets on AnnData, and their ranking of genes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

import sensx_sc as sx

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData

KEY = "scores"
QUICK: dict[str, Any] = {"n_seeds": 2, "epochs": 12, "top_k": 9, "learning_rate": 3e-3}


def test_markers_come_first_and_everything_is_written(adata: AnnData) -> None:
    net = sx.nn.fit_scores(adata, "cell_type", **{**QUICK, "n_seeds": 3, "epochs": 120})
    markers = adata.var["marker_of"].notna()
    assert adata.var.loc[markers, f"{KEY}_rank"].median() <= 6
    assert adata.var[f"{KEY}_rank"].tolist() != list(range(1, 21))
    assert sorted(adata.var[f"{KEY}_rank"]) == list(range(1, 21))
    assert adata.var[f"{KEY}_weight"].sum() == pytest.approx(1)
    seeds = adata.varm[f"{KEY}_seeds"]
    assert seeds.shape == (20, 3)
    np.testing.assert_allclose(adata.var[f"{KEY}_effective"], seeds.mean(axis=1))
    order = np.argsort(-seeds.mean(axis=1))
    assert adata.var[f"{KEY}_rank"].iloc[order].tolist() == list(range(1, 21))
    top = np.argsort(np.argsort(-seeds, axis=0), axis=0) < 9
    np.testing.assert_allclose(adata.var[f"{KEY}_stability"], top.mean(axis=1))
    stored = adata.uns[KEY]
    assert stored["params"]["tool"] == "fit_scores"
    assert stored["nets"]["seed"].tolist() == [0, 1, 2]
    assert len(stored["agreement"]) == 3
    assert stored["agreement"]["spearman"].between(-1, 1).all()
    assert stored["agreement"]["top_overlap"].min() > 0.5
    assert stored["trace"].shape[::2] == (3, 20)
    np.testing.assert_allclose(stored["trace"].sum(axis=2), 1, rtol=1e-5)  # all 20 genes
    assert not net.training
    assert net.report["f1"] > 0.6
    best = stored["nets"]["validation_f1"].idxmax()
    assert net.report["seed"] == stored["nets"]["seed"][best]
    np.testing.assert_allclose(net.effective_scores(), seeds[:, best], rtol=1e-6)


def test_the_net_can_be_explained(adata: AnnData) -> None:
    net = sx.nn.fit_scores(adata, "cell_type", "B", **QUICK)
    assert net.output_names == ("B",)
    cells = adata[:3].copy()
    sx.tl.sensx(cells, net, lower=0, upper=10, n_walks=8, n_samples=50)
    assert np.isfinite(cells.layers["sensx"]).any()


def test_the_same_seed_gives_the_same_ranking(adata: AnnData) -> None:
    state = torch.get_rng_state()
    found = []
    for seed in (0, 0, 5):
        other = adata.copy()
        sx.nn.fit_scores(other, "cell_type", seed=seed, **QUICK)
        found.append(other.varm[f"{KEY}_seeds"])
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.allclose(found[0], found[2])
    assert torch.equal(state, torch.get_rng_state())  # torch's own numbers are left alone


def test_genes_left_out(adata: AnnData) -> None:
    some = np.arange(20) % 2 == 0
    sx.nn.fit_scores(adata, "cell_type", mask_var=some, **QUICK)
    assert adata.var.loc[~some, f"{KEY}_effective"].isna().all()
    assert (adata.var.loc[~some, f"{KEY}_rank"] == 0).all()
    assert sorted(adata.var.loc[some, f"{KEY}_rank"]) == list(range(1, 11))
    assert np.isnan(adata.varm[f"{KEY}_seeds"][~some]).all()
    assert adata.var[f"{KEY}_weight"].sum() == pytest.approx(1)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix])
def test_constant_genes_are_not_ranked(adata: AnnData, kind: Any) -> None:
    """A net learns nothing of them: what it started with is no result."""
    X = adata.X.toarray() if sparse.issparse(adata.X) else np.array(adata.X)
    X[:, 4], X[:, 7] = 0.0, 3.3
    adata.X = kind(X)
    sx.nn.fit_scores(adata, "cell_type", **QUICK)
    constant = np.isin(np.arange(20), [4, 7])
    assert adata.var.loc[constant, [f"{KEY}_effective", f"{KEY}_stability"]].isna().all().all()
    assert np.isnan(adata.varm[f"{KEY}_seeds"][constant]).all()
    assert (adata.var.loc[constant, f"{KEY}_rank"] == 0).all()
    assert sorted(adata.var.loc[~constant, f"{KEY}_rank"]) == list(range(1, 19))
    assert np.isfinite(adata.varm[f"{KEY}_seeds"][~constant]).all()
    assert adata.uns[KEY]["agreement"]["spearman"].notna().all()


def test_options_reach_the_training(adata: AnnData) -> None:
    """A hard penalty narrows the gate, a slow rate leaves it open, k is as asked."""
    width = {}
    for name, how in (
        ("usual", {}),
        ("narrow", {"entropy": 5.0}),
        ("still", {"score_rate": 1e-9, "entropy": 0.0}),
    ):
        other = adata.copy()
        sx.nn.fit_scores(other, "cell_type", **{**QUICK, **how})
        width[name] = other.uns[KEY]["nets"]["effective_genes"].mean()
    assert width["narrow"] < width["usual"] < width["still"]
    assert width["still"] == pytest.approx(20, abs=1e-3)
    net = sx.nn.fit_scores(adata, "cell_type", k=1.0, temperature=2.0, **QUICK)
    assert net.gate.k == 1
    assert net.gate.temperature == 2
    assert adata.uns[KEY]["params"]["k"] == 1


def test_decay_acts_on_the_layer_after_the_gate(adata: AnnData) -> None:
    sizes = []
    for decay in (0.0, 10.0):
        net = sx.nn.fit_scores(adata.copy(), "cell_type", weight_decay=decay, **QUICK)
        layers = net.first, net.body.layers[-1]
        sizes.append([float(layer.weight.detach().norm()) for layer in layers])
    assert sizes[1][0] < 0.8 * sizes[0][0]
    assert sizes[1][1] > 0.5 * sizes[0][1]


@pytest.mark.filterwarnings("ignore:zarr v3 autosharding")
@pytest.mark.filterwarnings("ignore:Consolidated metadata")
@pytest.mark.filterwarnings("ignore:The data type")
def test_files_keep_everything(adata: AnnData, tmp_path: Path) -> None:
    sx.nn.fit_scores(adata, "cell_type", **QUICK)
    adata.write_h5ad(tmp_path / "a.h5ad")
    with ad.settings.override(zarr_write_format=3):
        adata.write_zarr(tmp_path / "a.zarr")
    for read in (ad.read_h5ad(tmp_path / "a.h5ad"), ad.read_zarr(tmp_path / "a.zarr")):
        pd.testing.assert_frame_equal(
            read.uns[KEY]["nets"], adata.uns[KEY]["nets"], check_index_type=False
        )
        np.testing.assert_array_equal(read.varm[f"{KEY}_seeds"], adata.varm[f"{KEY}_seeds"])
        assert list(read.uns[KEY]["traced"]) == list(adata.uns[KEY]["traced"])
        assert sx.pl.scores_activation(read, n_genes=3) is not None


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "column": ({"groupby": "type"}, KeyError, "`groupby` 'type' is not a column"),
    "group": ({"group": "T"}, ValueError, "`group` 'T' is not a category"),
    "layer": ({"layer": "raw"}, KeyError, "`layer` 'raw' is not in adata.layers"),
    "seeds": ({"n_seeds": 0}, ValueError, "`n_seeds` must be a whole number of at least 1; got 0"),
    "top": ({"top_k": 2.5}, ValueError, "`top_k` must be a whole number"),
    "epochs": ({"epochs": 0}, ValueError, "`epochs` must be a whole number"),
    "batch": ({"batch_size": True}, ValueError, "`batch_size` must be a whole number"),
    "entropy": ({"entropy": -1.0}, ValueError, "`entropy` must be a number, not negative; got -1"),
    "rate": ({"score_rate": 0}, ValueError, "`score_rate` must be a number, positive; got 0"),
    "learning": ({"learning_rate": np.nan}, ValueError, "`learning_rate` must be a number"),
    "decay": ({"weight_decay": "no"}, ValueError, "`weight_decay` must be a number"),
    "k": ({"k": -1.0}, ValueError, "`k` must be a positive number"),
    "hidden": ({"hidden": ()}, ValueError, "`hidden` must name at least one layer"),
    "share": ({"test_fraction": 1.0}, ValueError, "`test_fraction` must lie between"),
    "key": ({"key_added": "a/b"}, ValueError, "`key_added` must be a text without"),
    "taken": ({"key_added": "log1p"}, ValueError, "would overwrite adata.uns"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_changes_nothing(adata: AnnData, case: str) -> None:
    how, error, message = WRONG[case]
    with pytest.raises(error, match=message):
        sx.nn.fit_scores(adata, **{"groupby": "cell_type", **QUICK, **how})
    assert list(adata.var) == ["marker_of"]
    assert list(adata.uns) == ["log1p"]


def test_a_column_of_anothers_is_not_overwritten(adata: AnnData) -> None:
    adata.var["scores_rank"] = 1
    with pytest.raises(ValueError, match=r"overwrite adata.var\['scores_rank'\]"):
        sx.nn.fit_scores(adata, "cell_type", **QUICK)
