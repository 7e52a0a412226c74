"""``tl.property_gradient``: what lands in AnnData, and that it finds what a model depends on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import sensx_sc as sx

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData

KEY = "property_gradient"
GENES = ["gene_3", "gene_4", "gene_5"]


def deep(adata: AnnData) -> AnnData:
    """The toy data with ten times the counts."""
    rng = np.random.default_rng(3)
    counts = rng.poisson(10 * (adata.layers["counts"].toarray() + 0.2)).astype(np.float32)
    adata.layers["counts"] = counts
    adata.X = np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True)).astype(np.float32)
    return adata


def of_genes(rows: np.ndarray) -> np.ndarray:
    """A model that reads the three genes and nothing else."""
    return rows[:, 3:6].sum(axis=1)


EDITORS: dict[str, Any] = {
    "programme": sx.companions.GeneProgramme(GENES, composition="open", strengths=[-1, 0, 1]),
    "others": sx.companions.GeneProgramme(
        ["gene_10", "gene_11"], composition="open", strengths=[-1, 0, 1]
    ),
    "depth": sx.companions.LibrarySize([1.0, 0.6, 0.3], replicates=3),
}


def test_everything_is_written(adata: AnnData) -> None:
    deep(adata)
    chosen = np.arange(60) < 8
    assert sx.tl.property_gradient(adata, of_genes, EDITORS, mask_obs=chosen, n_placebos=9) is None
    stored = adata.uns[KEY]
    assert stored["params"]["tool"] == KEY
    assert stored["params"]["properties"]["depth"] == {
        "unit": "log10 counts", "axis": "share of the molecules", "origin": 0,
    }  # fmt: skip
    table = stored["table"].set_index("property")
    assert table.index.tolist() == ["programme", "others", "depth"]
    assert (table["n_inputs"] == 8).all()
    assert table.loc["others", "epgm"] == 0
    assert table.loc["programme", "monotonicity"] == pytest.approx(1)
    assert table.loc["programme", "net"] > 0
    assert table.loc["programme", "p_placebo"] == pytest.approx(0.1)
    assert np.isnan(table.loc["depth", "p_placebo"])
    assert table["flips"].isna().all()  # a regressor has no classes
    assert "paper" not in stored
    curves = stored["curves"]
    assert curves.groupby("property", sort=False).size().tolist() == [3, 3, 3]
    for name in ("epgm", "net", "flips"):
        frame = adata.obsm[f"{KEY}_{name}"]
        assert list(frame) == ["programme", "others", "depth"]
        assert frame.index.equals(adata.obs_names)
        assert frame[8:].isna().all().all()
    assert adata.obsm[f"{KEY}_epgm"]["programme"][:8].mean() == table.loc["programme", "epgm"]


def test_the_score_of_a_model_that_reads_the_programme(adata: AnnData) -> None:
    """Shifts of all genes by their own SD: q and the measured z-score have a known ratio."""
    deep(adata)
    editor = sx.companions.GeneProgramme(
        GENES, mode="add", composition="open", strengths=[0.0, 0.5, 1.0]
    )
    sx.tl.property_gradient(adata, of_genes, {"programme": editor}, n_placebos=0)
    deviation = adata.X[:, 3:6].astype(float).std(axis=0)
    row = adata.uns[KEY]["table"].iloc[0]
    assert row["epgm"] == pytest.approx(deviation.sum(), rel=1e-5)  # q moves by a sigma_g, m by a
    assert row["net"] == pytest.approx(deviation.sum(), rel=1e-5)
    assert np.isnan(row["p_placebo"])


def test_groups_classes_and_flips(adata: AnnData) -> None:
    deep(adata)
    net = sx.models.fit_mlp(adata, "cell_type", hidden=(8,), learning_rate=1e-2, epochs=60)
    editors = {"markers of B": sx.companions.GeneProgramme(GENES, mode="add")}
    sx.tl.property_gradient(adata, net, editors, target="cell_type", n_placebos=19)
    table = adata.uns[KEY]["table"].set_index("group")
    assert table.index.tolist() == ["A", "B", "C"]
    assert (table["n_inputs"] == 20).all()
    assert table.loc["B", "net"] > 0.05
    assert table.loc["A", "net"] < table.loc["B", "net"]
    assert table.loc["B", "p_placebo"] <= 0.1
    assert table.loc["B", "flipped"] > 0.5
    assert (adata.obsm[f"{KEY}_flips"]["markers of B"] >= 0).all()


def test_scores_as_published(adata: AnnData) -> None:
    deep(adata)
    how = {"mask_obs": np.arange(60) < 4, "n_placebos": 0}
    sx.tl.property_gradient(adata, of_genes, EDITORS, paper_compat=True, n_permutations=200, **how)
    paper = adata.uns[KEY]["paper"].set_index("property")
    assert paper.loc["others", "epgm_paper"] == 0
    assert paper.loc["others", "p_shuffle"] == 1
    assert paper.loc["programme", "epgm_paper"] > 0


def test_results_depend_on_the_seed_and_nothing_else(adata: AnnData) -> None:
    deep(adata)
    found = []
    for how in ({}, {"batch_size": 3}, {"mask_obs": np.arange(60) % 2 == 0}, {"seed": 7}):
        other = adata.copy()
        sx.tl.property_gradient(other, of_genes, EDITORS, n_placebos=5, **how)
        found.append(other.obsm[f"{KEY}_epgm"]["depth"].to_numpy()[::2])
    np.testing.assert_allclose(found[1], found[0])
    np.testing.assert_allclose(found[2], found[0])
    assert not np.allclose(found[3], found[0])


@pytest.mark.parametrize("kind", ["csr", "float64", "layer", "counts", "no counts", "list", "view"])
def test_any_input(adata: AnnData, kind: str) -> None:
    deep(adata)
    editors: Any = {"programme": EDITORS["programme"]}
    sx.tl.property_gradient(adata, of_genes, editors, n_placebos=0)
    expected = adata.obsm[f"{KEY}_epgm"]["programme"].to_numpy()
    other = deep(sx.datasets.toy())
    how: dict[str, Any] = {"n_placebos": 0}
    name = "programme"
    if kind == "csr":
        other.X = sparse.csr_matrix(other.X)
        other.layers["counts"] = sparse.csr_matrix(other.layers["counts"])
    elif kind == "float64":
        other.X = other.X.astype(np.float64)
    elif kind == "layer":
        other.layers["log"], other.X = other.X, np.zeros_like(other.X)
        how["layer"] = "log"
    elif kind == "no counts":
        how["counts"] = None
    elif kind == "list":
        editors, name = [EDITORS["programme"]], "GeneProgramme"
    elif kind == "view":
        other = other[:, :]
    elif kind == "counts":  # a model of raw counts
        how |= {"layer": "counts"}
        sx.tl.property_gradient(other, of_genes, editors, **how)
        counts = other.layers["counts"][:, 3:6].sum(axis=1).astype(float)
        q = other.uns[KEY]["curves"]["q"].to_numpy()
        np.testing.assert_allclose(q, counts.mean() * np.array([0.5, 1, 2]), rtol=1e-6)
        return
    sx.tl.property_gradient(other, of_genes, editors, **how)
    found = other.obsm[f"{KEY}_epgm"][name].to_numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_constant_genes(adata: AnnData) -> None:
    """A programme's constant genes add nothing to it; one of nothing else cannot be edited."""
    deep(adata)
    for name in ("counts", None):
        values = np.array(adata.layers[name] if name else adata.X)
        values[:, [4, 10, 11]] = 0
        if name:
            adata.layers[name] = values
        else:
            counts = adata.layers["counts"]
            adata.X = np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True))
    sx.tl.property_gradient(adata, of_genes, EDITORS, n_placebos=9)
    table = adata.uns[KEY]["table"].set_index("property")
    assert np.isfinite(table.loc["programme", ["epgm", "epgm_per_sd", "net"]].to_numpy(float)).all()
    assert table.loc["programme", "n_inputs"] == adata.n_obs
    assert table.loc["others", "n_inputs"] == 0
    assert np.isnan(table.loc["others", "epgm"])
    assert adata.obsm[f"{KEY}_epgm"]["others"].isna().all()


@pytest.mark.filterwarnings("ignore:zarr v3 autosharding")
@pytest.mark.filterwarnings("ignore:Consolidated metadata")
@pytest.mark.filterwarnings("ignore:The data type")
def test_files_keep_everything(adata: AnnData, tmp_path: Path) -> None:
    deep(adata)
    sx.tl.property_gradient(adata, of_genes, EDITORS, n_placebos=3, paper_compat=True)
    adata.write_h5ad(tmp_path / "a.h5ad")
    with ad.settings.override(zarr_write_format=3):
        adata.write_zarr(tmp_path / "a.zarr")
    for read in (ad.read_h5ad(tmp_path / "a.h5ad"), ad.read_zarr(tmp_path / "a.zarr")):
        for name in ("table", "curves", "selectivity", "paper"):
            pd.testing.assert_frame_equal(
                read.uns[KEY][name], adata.uns[KEY][name], check_dtype=False, check_index_type=False
            )
        assert len(sx.pl.property_gradient(read)) == 3


def test_a_copy_and_a_second_run(adata: AnnData) -> None:
    deep(adata)
    some = {"programme": EDITORS["programme"]}
    found = sx.tl.property_gradient(adata, of_genes, some, n_placebos=0, copy=True)
    assert KEY not in adata.uns
    assert KEY in found.uns
    sx.tl.property_gradient(found, of_genes, {"depth": EDITORS["depth"]}, n_placebos=0)
    assert list(found.obsm[f"{KEY}_epgm"]) == ["depth"]


class Half:
    """No editor."""


WRONG: dict[str, tuple[Any, dict[str, Any], type[Exception], str]] = {
    "none": ({}, {}, ValueError, "`editors` is empty"),
    "twice": ([EDITORS["depth"]] * 2, {}, ValueError, "several of one kind: give them names"),
    "no editor": ({"a": Half()}, {}, TypeError, "'a' is no editor but"),
    "a class": ({"a": sx.companions.LibrarySize}, {}, TypeError, "'a' is no editor but"),
    "genes": ({"a": sx.companions.GeneProgramme(["CD4"])}, {}, ValueError, "none of the 1 genes"),
    "placebos": (EDITORS, {"n_placebos": -1}, ValueError, "`n_placebos` must be a whole number"),
    "permutations": (EDITORS, {"n_permutations": 0}, ValueError, "at least 1; got 0"),
    "counts": (EDITORS, {"counts": "raw"}, KeyError, "`counts` 'raw' is not in adata.layers"),
    "layer": (EDITORS, {"layer": "raw"}, KeyError, "layers 'raw' is not in"),
    "no molecules": (EDITORS, {"counts": None}, ValueError, "needs whole counts"),
    "mask": (EDITORS, {"mask_obs": "held"}, KeyError, "`mask_obs` 'held' is not a column"),
    "target": (EDITORS, {"target": "T"}, KeyError, "'T' is not an output"),
    "key": (EDITORS, {"key_added": "a/b"}, ValueError, "`key_added` must be a text without"),
    "taken": (EDITORS, {"key_added": "log1p"}, ValueError, "would overwrite adata.uns"),
    "column": ({"a": sx.companions.BatchShift("donor", "x")}, {}, KeyError, "no column of labels"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_changes_nothing(adata: AnnData, case: str) -> None:
    deep(adata)
    editors, how, error, message = WRONG[case]
    with pytest.raises(error, match=message):
        sx.tl.property_gradient(adata, of_genes, editors, **how)
    assert list(adata.uns) == ["log1p"]
    assert list(adata.obsm) == ["X_pca"]


def test_what_is_not_log_normalised_is_refused(adata: AnnData) -> None:
    deep(adata)
    adata.layers["scaled"] = adata.X - adata.X.mean(axis=0)
    with pytest.raises(ValueError, match="negative values"):
        sx.tl.property_gradient(adata, of_genes, EDITORS, layer="scaled")
    adata.layers["root"] = np.sqrt(adata.X)
    with pytest.raises(ValueError, match="not log1p of the counts scaled per cell"):
        sx.tl.property_gradient(adata, of_genes, EDITORS, layer="root")
    with pytest.raises(TypeError, match="must be an AnnData"):
        sx.tl.property_gradient(adata.X, of_genes, EDITORS)
