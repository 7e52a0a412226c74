from __future__ import annotations

import logging
import runpy
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import sensx_sc as sx
from sensx_sc.get import _stored

if TYPE_CHECKING:
    from anndata import AnnData

make_explained = runpy.run_path(str(Path(__file__).parents[1] / "pl" / "fabricated.py"))[
    "explained"
]
KEY = "sensx_cell_type"


@pytest.fixture
def explained() -> AnnData:
    return make_explained()


@pytest.mark.parametrize("sparse", [True, False])
def test_means_over_the_attributed_cells(sparse: bool) -> None:
    """The made-up rankings come from pandas, in double precision before the layers are stored."""
    adata = make_explained(sparse=sparse)
    assert sx.tl.rank_groups(adata, "cell_type") is None
    table = adata.uns[KEY]["rankings"]
    pd.testing.assert_frame_equal(table, adata.uns["sensx"]["rankings"], rtol=1e-5)
    assert adata.uns[KEY]["params"]["groupby"] == "cell_type"
    assert adata.uns[KEY]["params"]["source"] == "sensx"
    assert adata.uns[KEY]["names"]["NK"][:3].tolist() == ["GENE3", "GENE5", "GENE4"]
    scores = table.loc[table["group"] == "NK", "value"].to_numpy()
    np.testing.assert_allclose(adata.uns[KEY]["scores"]["NK"], scores, rtol=1e-6)


@pytest.mark.parametrize(
    ("statistic", "first", "sign"),
    [("change", "GENE4", 1), ("mean", "GENE3", 1), ("std", "GENE3", 1), ("shapley", "GENE4", 1)],
)
def test_other_statistics(explained: AnnData, statistic: str, first: str, sign: int) -> None:
    sx.tl.rank_groups(explained, "cell_type", statistic=statistic, n_genes=5, key_added="new")
    new = explained.uns["new"]
    assert new["names"]["NK"][0] == first
    assert len(new["names"]) == 5
    assert np.sign(new["scores"]["NK"][0]) == sign
    assert new["params"]["rank_by"] == statistic
    sizes = new["rankings"].loc[new["rankings"]["group"] == "NK", statistic].abs()
    assert sizes.is_monotonic_decreasing


def test_blocks_make_no_difference(explained: AnnData, monkeypatch: pytest.MonkeyPatch) -> None:
    sx.tl.rank_groups(explained, "cell_type", key_added="whole")
    monkeypatch.setattr(_stored, "BLOCK_BYTES", 7 * 8 * explained.n_vars)
    sx.tl.rank_groups(explained, "cell_type", key_added="blocks")
    pd.testing.assert_frame_equal(
        *(explained.uns[key]["rankings"] for key in ("whole", "blocks")), rtol=1e-12
    )


@pytest.mark.parametrize("kind", [sp.csc_matrix, sp.csr_array, "layer", "dask"])
def test_kinds_of_matrix(explained: AnnData, kind: object) -> None:
    sx.tl.rank_groups(explained, "cell_type", key_added="before")
    if kind == "layer":
        explained.layers["log"], explained.X = explained.X, None
        explained.uns["sensx"]["params"]["layer"] = "log"
    elif kind == "dask":
        da = pytest.importorskip("dask.array")
        explained.X = da.from_array(explained.X.toarray(), chunks=(100, -1))
        explained.layers["sensx"] = da.from_array(explained.layers["sensx"], chunks=(100, -1))
    else:
        explained.X = kind(explained.X)
    sx.tl.rank_groups(explained, "cell_type", key_added="after")
    pd.testing.assert_frame_equal(*(explained.uns[key]["rankings"] for key in ("before", "after")))


def test_presence_is_relative_to_the_lower_bound(explained: AnnData) -> None:
    explained.var["sensx_lower"] = -1.0
    sx.tl.rank_groups(explained, "cell_type")
    assert (explained.uns[KEY]["rankings"]["presence"] == 1).all()


def test_one_cell_has_the_error_of_its_walks(explained: AnnData) -> None:
    explained.obs["one"] = np.where(explained.obs_names == "cell0", "a", "b")
    sx.tl.rank_groups(explained, "one")
    table = explained.uns["sensx_one"]["rankings"].query("group == 'a'").set_index("names")
    assert (table["n_cells"] == 1).all()
    walks = pd.Series(explained["cell0"].layers["sensx_se"][0], index=explained.var_names)
    np.testing.assert_allclose(table["value_se"], walks[table.index])
    del explained.layers["sensx_se"]
    sx.tl.rank_groups(explained, "one")
    table = explained.uns["sensx_one"]["rankings"]
    assert table.loc[table["group"] == "a", "value_se"].isna().all()
    assert table.loc[table["group"] == "b", "value_se"].notna().all()


def test_layers_that_are_not_stored() -> None:
    adata = make_explained(30, 10, statistics=())
    sx.tl.rank_groups(adata, "cell_type")
    table = adata.uns[KEY]["rankings"]
    assert table[["change", "mean"]].isna().all(axis=None)
    assert table["value"].notna().all()
    with pytest.raises(KeyError, match=r"has the statistics 'value'.*statistics=\('value', 'std'"):
        sx.tl.rank_groups(adata, "cell_type", statistic="std")


def test_groups_without_attribution(explained: AnnData, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="sensx_sc")
    explained.obs["status"] = explained.obs["sensx_status"].astype(str)
    explained.obs.loc["cell0", "status"] = None
    sx.tl.rank_groups(explained, "status")
    assert explained.uns["sensx_status"]["names"].dtype.names == (
        *("left_censored", "resolved", "unsaturated"),
    )
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warned) == 1
    assert "left out 'failed', 'insensitive', 'skipped'" in warned[0]
    n = int(explained.obs["sensx_status"].isin(["resolved", "left_censored", "unsaturated"]).sum())
    assert (
        f"{n - 1} of 300 cells have an attribution and a group; {301 - n} left out" in caplog.text
    )


@pytest.mark.parametrize("values", [[True, False], [1, 2], ["x", "y"]])
def test_kinds_of_groups(explained: AnnData, values: list[object]) -> None:
    explained.obs["half"] = np.resize(values, explained.n_obs)
    sx.tl.rank_groups(explained, "half")
    names = explained.uns["sensx_half"]["names"].dtype.names
    assert set(names) == {str(value) for value in values}


def test_rankings_of_rankings(explained: AnnData) -> None:
    """The results of rank_groups serve as a key for the doors, and for itself."""
    sx.tl.rank_groups(explained, "cell_type", statistic="change")
    table = sx.get.rankings(explained, key=KEY, n_genes=1)
    assert table["names"].tolist() == ["GENE1", "GENE4", "GENE7"]
    sx.tl.rank_groups(explained, "cell_type", key=KEY, key_added="again")
    assert explained.uns["again"]["params"]["source"] == "sensx"
    assert len(sx.get.rankings(explained, key=KEY, cells="cell0")) == 59


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"groupby": "type"}, KeyError, "groupby='type' is no column.*'cell_type'"),
        ({"groupby": "sensx_qoi"}, ValueError, "has the dtype float64"),
        ({"key": "other"}, KeyError, "run sx.tl.sensx.*has the keys 'sensx'"),
        ({"statistic": "rank"}, ValueError, "statistic='rank' is not one of 'value', 'change'"),
        ({"n_genes": 0}, ValueError, "n_genes=0"),
        ({"key_added": "a/b"}, ValueError, "key_added='a/b'"),
        ({"key_added": "sensx"}, ValueError, "would overwrite"),
    ],
)
def test_bad_input_changes_nothing(
    explained: AnnData, arguments: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        sx.tl.rank_groups(explained, **{"groupby": "cell_type", **arguments})
    assert list(explained.uns) == ["sensx"]


def test_no_attributed_cell(explained: AnnData) -> None:
    explained.obs["sensx_status"] = "skipped"
    with pytest.raises(ValueError, match="no group has an attributed cell"):
        sx.tl.rank_groups(explained, "cell_type")


@pytest.mark.parametrize("fmt", ["memory", "h5ad", "zarr2", "zarr3"])
@pytest.mark.filterwarnings("ignore:Writing zarr v2:UserWarning")
@pytest.mark.filterwarnings("ignore:zarr v3 autosharding")
@pytest.mark.filterwarnings("ignore:Consolidated metadata")
@pytest.mark.filterwarnings("ignore:The data type")
def test_scanpy_draws_it(explained: AnnData, fmt: str, tmp_path: Path) -> None:
    sc = pytest.importorskip("scanpy")
    sx.tl.rank_groups(explained, "cell_type", n_genes=20)
    adata = explained
    if fmt == "h5ad":
        adata.write_h5ad(tmp_path / "x.h5ad")
        adata = ad.read_h5ad(tmp_path / "x.h5ad")
    elif fmt.startswith("zarr"):
        with ad.settings.override(zarr_write_format=int(fmt[-1])):
            adata.write_zarr(tmp_path / "x.zarr")
        adata = ad.read_zarr(tmp_path / "x.zarr")
    pd.testing.assert_frame_equal(adata.uns[KEY]["rankings"], explained.uns[KEY]["rankings"])
    axes = sc.pl.rank_genes_groups(adata, key=KEY, show=False)
    assert [ax.get_title() for ax in axes] == ["CD4 vs. rest", "NK vs. rest", "B vs. rest"]
    frame = sc.get.rank_genes_groups_df(adata, "NK", key=KEY)
    assert frame["names"].tolist()[:3] == ["GENE3", "GENE5", "GENE4"]
    assert frame["pvals"].isna().all()
    genes = ["GENE0", "GENE3", "GENE6"]
    shown = adata[adata.obs["sensx_status"] == "resolved"].copy()
    assert sc.pl.dotplot(shown, genes, "cell_type", layer="sensx", show=False)
    assert sc.pl.rank_genes_groups_dotplot(shown, key=KEY, dendrogram=False, show=False)
