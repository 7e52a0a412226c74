"""Genes in sets: what lands in AnnData."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

import sensx_sc as sx

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData

W = np.linspace(-1, 1, 20)
SMALL: dict[str, Any] = {"n_walks": 40, "n_samples": 50, "deltas": [0.3, 1.0]}
SETS = {
    "first": ["gene_0", "gene_3"],
    "second": ["gene_19", "gene_1"],
    "third": ["gene_7", "gene_8"],
}


def linear(rows: np.ndarray) -> np.ndarray:
    return rows @ W


def test_what_is_written(adata: AnnData) -> None:
    sx.tl.sensx(adata, linear, groups=SETS, statistics=("value", "rank", "change"), **SMALL)
    assert not adata.layers.keys() & {"sensx", "sensx_rank"}
    assert adata.obsm["sensx"].shape == adata.obsm["sensx_rank"].shape == (60, 3)
    assert adata.var["sensx_group"].dropna().to_dict() == {
        gene: name for name, genes in SETS.items() for gene in genes
    }
    uns = adata.uns["sensx"]
    assert uns["groups"]["names"].tolist() == list(SETS)
    assert uns["groups"]["n_features"].tolist() == [2, 2, 2]
    assert (uns["params"]["n_groups"], uns["params"]["group_norm"]) == (3, "l2")
    table = sx.get.rankings(adata)
    assert set(table["names"]) == set(SETS)
    assert table["names"].iloc[0] == "second"  # holds the heaviest gene
    # A set counts as present where any of its genes is.
    above = (adata[:, SETS["first"]].X.toarray() > 0).any(axis=1)
    row = table[table["names"] == "first"].iloc[0]
    assert row["presence"] == pytest.approx(above.mean())


def test_the_numbers_are_those_of_the_arrays(adata: AnnData) -> None:
    sx.tl.sensx(adata, linear, groups=SETS, **SMALL)
    low, high = (adata.var[f"sensx_{side}"].to_numpy() for side in ("lower", "upper"))
    found = sx.core.explain(
        adata.X, linear, lower=low, upper=high, groups=SETS, names=adata.var_names,
        keys=list(adata.obs_names), **SMALL,
    )  # fmt: skip
    np.testing.assert_allclose(adata.obsm["sensx"], found.value, rtol=1e-6)


def test_groups_of_a_column_and_of_a_series(adata: AnnData) -> None:
    adata.var["set"] = pd.Series({g: name for name, genes in SETS.items() for g in genes})
    a = sx.tl.sensx(adata, linear, groups="set", copy=True, **SMALL)
    shuffled = adata.var["set"].sample(frac=1, random_state=0)
    b = sx.tl.sensx(adata, linear, groups=shuffled, copy=True, **SMALL)
    c = sx.tl.sensx(adata, linear, groups=SETS, copy=True, **SMALL)
    assert a is not None
    assert b is not None
    assert c is not None
    names = a.uns["sensx"]["groups"]["names"].tolist()
    assert sorted(names) == sorted(SETS)
    np.testing.assert_array_equal(a.obsm["sensx"], b.obsm["sensx"])
    at = [list(SETS).index(name) for name in names]
    np.testing.assert_allclose(a.obsm["sensx"], c.obsm["sensx"][:, at])


def test_a_run_without_groups_takes_their_place_and_back(adata: AnnData) -> None:
    sx.tl.sensx(adata, linear, groups=SETS, **SMALL)
    sx.tl.sensx(adata, linear, **SMALL)
    assert adata.layers["sensx"].shape == adata.shape
    assert "sensx" not in adata.obsm
    assert "sensx_group" not in adata.var
    assert "groups" not in adata.uns["sensx"]
    sx.tl.sensx(adata, linear, groups=SETS, **SMALL)
    assert "sensx" not in adata.layers
    assert "sensx_group" in adata.var


def test_explanations_have_a_dimension_of_groups(adata: AnnData) -> None:
    sx.tl.sensx(adata, linear, groups=SETS, **SMALL)
    ds = sx.get.explanation(adata)
    assert ds["value"].dims == ("obs", "group")
    assert ds["group"].values.tolist() == list(SETS)
    assert ds["lower"].dims == ("var",)
    with pytest.raises(KeyError, match=r"explains 3 groups .*obsm\['sensx'\]"):
        sx.tl.rank_groups(adata, "cell_type")


def test_groups_of_obsm(adata: AnnData) -> None:
    adata.obsm["X_five"] = np.random.default_rng(0).random((60, 5))
    sx.tl.sensx(adata, lambda z: z.sum(axis=1), obsm="X_five", groups=[0, 0, 1, 1, -1], **SMALL)
    assert adata.obsm["sensx"].shape == (60, 2)
    assert adata.uns["sensx"]["group_of"].tolist() == [0, 0, 1, 1, -1]
    assert "sensx_group" not in adata.var
    assert sx.get.explanation(adata)["value"].dims == ("obs", "group")


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_files(adata: AnnData, tmp_path: Path, suffix: str) -> None:
    import anndata

    sx.tl.sensx(adata, linear, groups=SETS, **SMALL)
    path = tmp_path / f"explained.{suffix}"
    with anndata.settings.override(zarr_write_format=2), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Writing zarr v2 data", UserWarning)
        getattr(adata, f"write_{suffix}")(path)
    back = getattr(anndata, f"read_{suffix}")(path)
    np.testing.assert_array_equal(back.obsm["sensx"], adata.obsm["sensx"])
    assert sx.get.explanation(back)["group"].values.tolist() == list(SETS)


def test_a_store_is_resumed_and_refused_for_other_groups(adata: AnnData, tmp_path: Path) -> None:
    store = tmp_path / "run.zarr"
    sx.tl.sensx(adata, linear, groups=SETS, store=store, **SMALL)
    first = np.asarray(adata.obsm["sensx"])
    sx.tl.sensx(adata, linear, groups=SETS, store=store, **SMALL)
    np.testing.assert_array_equal(np.asarray(adata.obsm["sensx"]), first)
    other = {**SETS, "third": ["gene_7", "gene_9"]}
    with pytest.raises(ValueError, match="holds another run: .*in other groups"):
        sx.tl.sensx(adata, linear, groups=other, store=store, **SMALL)
    with pytest.raises(ValueError, match="holds another run: .*group_norm was 'l2', is 'none'"):
        sx.tl.sensx(adata, linear, groups=SETS, group_norm="none", store=store, **SMALL)


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "column": ({"groups": "sets"}, KeyError, "`groups` 'sets' is not a column; the columns are"),
    "gene": ({"groups": {"a": ["GAPDH"]}}, KeyError, "holds 'GAPDH', which is no feature"),
    "series": ({"groups": pd.Series(["a"] * 20)}, ValueError, "is a Series whose index"),
    "norm": ({"groups": SETS, "group_norm": "l3"}, ValueError, "`group_norm` must be one of"),
    "overlap": ({"groups": {**SETS, "x": ["gene_0"]}}, ValueError, "in `groups` 'first' and 'x'"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "error", "words"), WRONG.values(), ids=WRONG.keys())
def test_wrong_groups(
    adata: AnnData, arguments: dict[str, Any], error: type[Exception], words: str
) -> None:
    before = set(adata.uns) | set(adata.obs) | set(adata.var) | set(adata.obsm)
    with pytest.raises(error, match=words):
        sx.tl.sensx(adata, linear, **arguments, **SMALL)
    assert before == set(adata.uns) | set(adata.obs) | set(adata.var) | set(adata.obsm)


def test_what_is_taken_by_something_else_is_not_overwritten(adata: AnnData) -> None:
    adata.obsm["sensx"] = np.zeros((60, 2))
    with pytest.raises(ValueError, match=r"would overwrite adata.obsm\['sensx'\]"):
        sx.tl.sensx(adata, linear, groups=SETS, **SMALL)
