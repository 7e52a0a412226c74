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
    for name in ("sensx_groups", "sensx_groups_rank", "sensx_groups_change"):
        assert isinstance(adata.obsm[name], pd.DataFrame)
        assert adata.obsm[name].columns.tolist() == list(SETS)
        assert adata.obsm[name].index.equals(adata.obs_names)
    assert "sensx" not in adata.obsm
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
    np.testing.assert_allclose(adata.obsm["sensx_groups"], found.value, rtol=1e-6)


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
    np.testing.assert_array_equal(a.obsm["sensx_groups"], b.obsm["sensx_groups"])
    np.testing.assert_allclose(a.obsm["sensx_groups"], c.obsm["sensx_groups"][names])


def test_a_run_without_groups_takes_their_place_and_back(adata: AnnData) -> None:
    sx.tl.sensx(adata, linear, groups=SETS, **SMALL)
    sx.tl.sensx(adata, linear, **SMALL)
    assert adata.layers["sensx"].shape == adata.shape
    assert not [name for name in adata.obsm if name.startswith("sensx_groups")]
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
    with pytest.raises(KeyError, match=r"explains 3 groups .*obsm\['sensx_groups'\]"):
        sx.tl.rank_neighbors(adata)
    with pytest.raises(ValueError, match="explains groups of features, or .* single"):
        sx.tl.perturbation_curve(adata, linear)


def test_groups_of_obsm(adata: AnnData) -> None:
    adata.obsm["X_five"] = np.random.default_rng(0).random((60, 5))
    sx.tl.sensx(adata, lambda z: z.sum(axis=1), obsm="X_five", groups=[0, 0, 1, 1, -1], **SMALL)
    assert adata.obsm["sensx_groups"].shape == (60, 2)
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
    pd.testing.assert_frame_equal(back.obsm["sensx_groups"], adata.obsm["sensx_groups"])
    assert sx.get.explanation(back)["group"].values.tolist() == list(SETS)


def test_a_store_is_resumed_and_refused_for_other_groups(adata: AnnData, tmp_path: Path) -> None:
    store = tmp_path / "run.zarr"
    sx.tl.sensx(adata, linear, groups=SETS, store=store, **SMALL)
    first = np.asarray(adata.obsm["sensx_groups"])
    sx.tl.sensx(adata, linear, groups=SETS, store=store, **SMALL)
    np.testing.assert_array_equal(np.asarray(adata.obsm["sensx_groups"]), first)
    other = {**SETS, "third": ["gene_7", "gene_9"]}
    with pytest.raises(ValueError, match="holds another run: .*in other groups"):
        sx.tl.sensx(adata, linear, groups=other, store=store, **SMALL)
    with pytest.raises(ValueError, match="holds another run: .*group_norm was 'l2', is 'none'"):
        sx.tl.sensx(adata, linear, groups=SETS, group_norm="none", store=store, **SMALL)


OVERLAPPING = {"first": ["gene_0", "gene_3"], "T/NK": ["gene_19", "gene_3"]}


def test_overlapping_sets_of_files_and_tables(adata: AnnData, tmp_path: Path) -> None:
    rows = [(name, gene) for name, genes in OVERLAPPING.items() for gene in [*genes, "GAPDH"]]
    table = pd.DataFrame(rows, columns=["source", "target"])
    path = tmp_path / "sets.gmt"
    path.write_text(
        "".join("\t".join([name, "", *genes]) + "\n" for name, genes in OVERLAPPING.items())
    )
    how: dict[str, Any] = {"statistics": ("value", "shapley"), "ungrouped": "together",
                           "group_norm": "density", **SMALL}  # fmt: skip
    sx.tl.sensx(adata, linear, groups=OVERLAPPING, **how)
    found = adata.obsm["sensx_groups"]
    assert found.columns.tolist() == ["first", "T-NK", "ungrouped"]
    assert adata.uns["sensx"]["params"]["overlap"] == "share"
    assert adata.uns["sensx"]["groups"]["n_features"].tolist() == [2, 2, 17]
    members = adata.uns["sensx"]["members"].groupby("group", sort=False)["names"].agg(list)
    assert members["first"] == ["gene_0", "gene_3"]
    assert members["T-NK"] == ["gene_3", "gene_19"]
    assert adata.var.loc["gene_3", "sensx_group"] == "first & T/NK"
    for other in (table, path, str(path)):
        again = sx.tl.sensx(adata, linear, groups=other, copy=True, **how)
        assert again is not None
        pd.testing.assert_frame_equal(again.obsm["sensx_groups"], found)
    # The sets' Shapley values sum to q(x) - mean q(e), which one group of all genes has.
    whole = sx.tl.sensx(adata, linear, groups={"all": list(adata.var_names)}, copy=True, **how)
    assert whole is not None
    np.testing.assert_allclose(
        adata.obsm["sensx_groups_shapley"].sum(axis=1),
        whole.obsm["sensx_groups_shapley"]["all"],
        atol=0.15,  # other walks
    )


def test_single_genes_beside_sets(adata: AnnData) -> None:
    sx.tl.sensx(adata, linear, groups=SETS, ungrouped="single", group_norm="density", **SMALL)
    found = adata.obsm["sensx_groups"]
    assert found.shape == (60, 17)
    np.testing.assert_allclose(found["gene_12"], abs(W[12]), rtol=1e-5)  # a linear model


def test_sets_of_cells_are_ranked_like_genes(adata: AnnData) -> None:
    how: dict[str, Any] = {"statistics": ("value", "rank", "change", "mean", "se"), **SMALL}
    sx.tl.sensx(adata, linear, groups=OVERLAPPING, **how)
    cell = str(adata.obs_names[5])
    table = sx.get.rankings(adata, cells=cell)
    assert table["rank"].tolist() == [1, 2]
    for row in table.itertuples():
        for name in ("value", "change", "mean", "se"):
            slot = "sensx_groups" if name == "value" else f"sensx_groups_{name}"
            assert getattr(row, name) == adata.obsm[slot].loc[cell, row.names]
    genes = {"first": ["gene_0", "gene_3"], "T-NK": ["gene_19", "gene_3"]}
    for row in table.itertuples():
        assert row.presence == (adata[cell, genes[row.names]].X.toarray() > 0).any()
    sx.tl.rank_groups(adata, "cell_type", statistic="change")
    ranked = adata.uns["sensx_cell_type"]["rankings"]
    kind = ranked["group"].iloc[0]
    cells = adata.obs["cell_type"] == kind
    mean = adata.obsm["sensx_groups_change"].loc[cells.to_numpy(), "first"].mean()
    row = ranked[(ranked["group"] == kind) & (ranked["names"] == "first")].iloc[0]
    assert row["change"] == pytest.approx(mean)
    above = (adata[cells.to_numpy(), genes["first"]].X.toarray() > 0).any(axis=1).mean()
    assert row["presence"] == pytest.approx(above)
    sx.tl.sensx(adata, linear, groups=OVERLAPPING, **SMALL)
    with pytest.raises(KeyError, match="rank_by='mean' needs the table of .obsm"):
        sx.get.rankings(adata, cells=cell, rank_by="mean")


def test_a_store_of_overlapping_sets_goes_on_and_is_refused(adata: AnnData, tmp_path: Path) -> None:
    store = tmp_path / "run.zarr"
    how: dict[str, Any] = {"groups": OVERLAPPING, "ungrouped": "together",
                           "group_norm": "density", **SMALL}  # fmt: skip
    a = sx.tl.sensx(adata, linear, copy=True, chunk_size=7, **how)
    sx.tl.sensx(adata, linear, store=store, chunk_size=16, **how)
    assert a is not None
    np.testing.assert_allclose(np.asarray(adata.obsm["sensx_groups"]), a.obsm["sensx_groups"])
    pd.testing.assert_frame_equal(adata.uns["sensx"]["members"], a.uns["sensx"]["members"])
    assert sx.get.explanation(adata)["group"].values.tolist() == ["first", "T-NK", "ungrouped"]
    table = sx.get.rankings(adata, cells=str(adata.obs_names[0]))
    assert set(table["names"]) == {"first", "T-NK", "ungrouped"}
    with pytest.raises(ValueError, match="holds another run: .*overlap was 'share', is 'whole'"):
        sx.tl.sensx(adata, linear, store=store, overlap="whole", **how)


@pytest.mark.parametrize("within", ["genes", "finer"])
def test_genes_inside_the_top_sets(adata: AnnData, within: str, tmp_path: Path) -> None:
    finer = {"a": ["gene_0"], "b": ["gene_3"], "c": ["gene_19", "gene_1"], "d": ["gene_7"],
             "e": ["gene_8"]}  # fmt: skip
    fine: Any = within if within == "genes" else finer
    how: dict[str, Any] = {"groups": SETS, "within": fine, "within_top": 1, **SMALL}
    sx.tl.sensx(adata, linear, **how)
    low, high = (adata.var[f"sensx_{side}"].to_numpy() for side in ("lower", "upper"))
    expected = sx.core.explain(
        adata.X, linear, lower=low, upper=high, groups=SETS, names=adata.var_names,
        within="features" if within == "genes" else finer, within_top=1,
        keys=list(adata.obs_names), **SMALL,
    )  # fmt: skip
    np.testing.assert_allclose(adata.obsm["sensx_groups"], expected.value[:, :3], rtol=1e-6)
    place = adata.layers["sensx"] if within == "genes" else adata.obsm["sensx_within"]
    np.testing.assert_allclose(place, expected.value[:, 3:], rtol=1e-6)
    assert ("sensx" in adata.layers) == (within == "genes")
    table = sx.get.rankings(adata, within=True)
    assert set(table["names"]) <= set(adata.var_names if within == "genes" else finer)
    assert set(sx.get.rankings(adata)["names"]) == set(SETS)
    cell = str(adata.obs_names[0])
    of_cell = sx.get.rankings(adata, cells=cell, within=True)
    assert len(of_cell) == 2 - (within == "finer") * (of_cell["names"].iloc[0] == "c")
    names = {"value_within", "rank_within"}
    assert names <= set(sx.get.explanation(adata))
    sx.tl.rank_groups(adata, "cell_type", within=True, key_added="fine")
    assert set(adata.uns["fine"]["rankings"]["names"]) <= set(table["names"])
    # The same on disk, gone on with.
    store = tmp_path / "run.zarr"
    kept = adata.copy()
    sx.tl.sensx(kept, linear, store=store, chunk_size=16, **how)
    slots = kept.layers if within == "genes" else kept.obsm
    name = "sensx" if within == "genes" else "sensx_within"
    np.testing.assert_allclose(np.asarray(slots[name]), np.asarray(place))
    again = sx.tl.sensx(adata, linear, store=store, copy=True, **how)
    assert again is not None
    np.testing.assert_allclose(np.asarray(again.obsm["sensx_groups"]), adata.obsm["sensx_groups"])
    # A run without groups takes the place of all.
    sx.tl.sensx(adata, linear, **SMALL)
    assert not [name for name in adata.obsm if name.startswith(("sensx_groups", "sensx_within"))]


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "column": ({"groups": "sets"}, KeyError, "`groups` 'sets' is not a column; the columns are"),
    "gene": ({"groups": {"a": ["GAPDH"]}}, KeyError, "holds 'GAPDH', which is no feature"),
    "series": ({"groups": pd.Series(["a"] * 20)}, ValueError, "is a Series whose index"),
    "norm": ({"groups": SETS, "group_norm": "l3"}, ValueError, "`group_norm` must be one of"),
    "overlap": (
        {"groups": {**SETS, "x": ["gene_0"]}, "overlap": "raise"},
        ValueError,
        "in `groups` 'first' and 'x'",
    ),
    "rule": ({"groups": SETS, "overlap": "max"}, ValueError, "`overlap` must be one of .*'max'"),
    "others": ({"groups": SETS, "ungrouped": 1}, ValueError, "`ungrouped` must be one of .*got 1"),
    "single name": (
        {"groups": {"gene_0": ["gene_1"]}, "ungrouped": "single"},
        ValueError,
        "a set named 'gene_0', and so is what `ungrouped` 'single' adds",
    ),
    "race": (
        {"groups": {**SETS, "x": ["gene_0"]}, "top_k": 1},
        ValueError,
        "`top_k` races for single groups; these sets overlap",
    ),
    "keep": ({"groups": SETS, "keep": "top:5"}, ValueError, "with `groups` all are kept"),
    "within": ({"within": "genes"}, ValueError, "`within` needs `groups`"),
    "within what": (
        {"groups": SETS, "within": "pixels"}, KeyError, "`within` 'pixels' is not a column"
    ),
    "file": ({"groups": "no/such.gmt"}, FileNotFoundError, "there is no file 'no/such.gmt'"),
    "table": (
        {"groups": pd.DataFrame({"a": ["x"], "b": ["y"]})},
        ValueError,
        "needs the columns 'source' and 'target' or .*; it has 'a', 'b'",
    ),
    "table gaps": (
        {"groups": pd.DataFrame({"source": ["x", None], "target": ["gene_0", "gene_1"]})},
        ValueError,
        "must have no missing names",
    ),
    "no gene": (
        {"groups": pd.DataFrame({"source": ["x"], "target": ["GAPDH"]})},
        ValueError,
        "no gene of any set \\('GAPDH', ...\\) is among the features \\('gene_0'",
    ),
    "slashes": (
        {"groups": {"a/b": ["gene_0"], "a-b": ["gene_1"]}},
        ValueError,
        "two `groups` are named 'a-b'",
    ),
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
    adata.obsm["sensx_groups"] = np.zeros((60, 2))
    with pytest.raises(ValueError, match=r"would overwrite adata.obsm\['sensx_groups'\]"):
        sx.tl.sensx(adata, linear, groups=SETS, **SMALL)
