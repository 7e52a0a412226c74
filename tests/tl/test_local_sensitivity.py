"""``tl.local_sensitivity``: what lands in AnnData, for which cells and genes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from torch import nn

import sensx_sc as sx

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData

WEIGHTS = np.linspace(-1, 1, 20)
KEY = "local_sensitivity"
LAYERS = [KEY, f"{KEY}_se", f"{KEY}_bandwidth", f"{KEY}_curvature"]


def curved(rows: np.ndarray) -> np.ndarray:
    return rows @ WEIGHTS + 0.1 * rows[:, 0] ** 2


def slope_of_curved(x: np.ndarray) -> np.ndarray:
    slope = np.tile(WEIGHTS, (len(x), 1))
    slope[:, 0] += 0.2 * x[:, 0]
    return slope


def one_logit() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(20, 1).eval()


def layers_of(adata: AnnData) -> list[str]:
    """Names of the layers; anndata 0.13 has X among them, as None."""
    return [name for name in adata.layers if name is not None]


def test_everything_is_written(adata: AnnData) -> None:
    assert sx.tl.local_sensitivity(adata, curved) is None
    x = adata.X.toarray()
    assert layers_of(adata) == ["counts", *LAYERS]
    np.testing.assert_allclose(adata.layers[KEY], slope_of_curved(x), atol=1e-5)
    curvature = adata.layers[f"{KEY}_curvature"]
    np.testing.assert_allclose(curvature[:, 0], 0.2, atol=1e-4)
    np.testing.assert_allclose(curvature[:, 1:], 0, atol=1e-4)
    assert all(adata.layers[name].dtype == np.float32 for name in LAYERS)
    assert (adata.layers[f"{KEY}_bandwidth"] > 0).all()
    np.testing.assert_allclose(adata.obs[f"{KEY}_qoi"], curved(x), rtol=1e-6)
    assert adata.obs[f"{KEY}_target"].tolist() == ["0"] * 60
    np.testing.assert_array_equal(adata.var[f"{KEY}_upper"], x.max(axis=0))
    stored = adata.uns[KEY]
    assert stored["params"]["tool"] == KEY
    assert stored["params"]["groups"] == ["0"]
    assert stored["curve"].shape == (1, 20, 5)
    np.testing.assert_allclose(stored["curve"][0, 1:], np.tile(WEIGHTS[1:, None], 5), atol=1e-5)


def test_the_table_of_slopes(adata: AnnData) -> None:
    sx.tl.local_sensitivity(adata, curved)
    table = adata.uns[KEY]["slopes"].set_index("names")
    x = adata.X.toarray()
    slope = slope_of_curved(x)
    expected = slope.mean(axis=0)
    np.testing.assert_allclose(table["slope"][adata.var_names], expected, atol=1e-6)
    error = slope.std(axis=0, ddof=1) / np.sqrt(60)
    np.testing.assert_allclose(table["slope_se"][adata.var_names], error, atol=1e-6)
    np.testing.assert_allclose(table["size"][adata.var_names], np.abs(slope).mean(0), atol=1e-6)
    assert table["agreement"].between(0, 1).all()
    assert table.loc["gene_19", "agreement"] == 1
    share = (x > x.min(axis=0)).mean(axis=0)
    np.testing.assert_allclose(table["presence"][adata.var_names], share)
    assert (table["n_cells"] == 60).all()
    assert table["rank"].tolist() == list(range(1, 21))
    assert (np.diff(np.abs(table["slope"])) <= 1e-12).all()


def test_agreement_is_the_share_of_cells_with_the_sign_of_the_mean(adata: AnnData) -> None:
    """A gene that raises q in A and lowers it elsewhere."""
    in_a = (adata.obs["cell_type"] == "A").to_numpy()
    x = adata.X.toarray().copy()
    x[:, 19] = np.where(in_a, 3.0, 1.0)
    adata.X = x
    sx.tl.local_sensitivity(
        adata, lambda rows: -rows[:, 0] * np.where(rows[:, 19] > 2, -1, 1), upper=9.0
    )
    row = adata.uns[KEY]["slopes"].set_index("names").loc["gene_0"]
    assert row["slope"] < 0
    assert row["agreement"] == pytest.approx(2 / 3)
    assert row["size"] == pytest.approx(1)
    assert row["slope"] == pytest.approx(-1 / 3)


def test_groups_are_the_explained_outputs(adata: AnnData) -> None:
    net = sx.models.fit_mlp(adata, "cell_type", hidden=(8,), learning_rate=1e-2, epochs=40)
    sx.tl.local_sensitivity(adata, net, target="cell_type")
    table = adata.uns[KEY]["slopes"]
    assert table["group"].unique().tolist() == ["A", "B", "C"]
    assert (table["n_cells"] == 20).all()
    assert adata.obs[f"{KEY}_target"].astype(str).equals(adata.obs["cell_type"].astype(str))
    for k, name in enumerate("ABC"):
        rows = (adata.obs["cell_type"] == name).to_numpy()
        means = table[table["group"] == name].set_index("names")["slope"][adata.var_names]
        np.testing.assert_allclose(means, adata.layers[KEY][rows].mean(axis=0), atol=1e-6)
        # A net that knows its markers is led by them.
        marker = adata.var["marker_of"].astype(object).to_numpy() == name
        assert means.to_numpy()[marker].mean() > means.to_numpy()[~marker].mean()
        assert adata.uns[KEY]["curve"][k].shape == (20, 5)


def test_top_features_of_each_cell(adata: AnnData) -> None:
    net = one_logit()
    sx.tl.sensx(adata, net, n_walks=8, n_samples=50)
    sx.tl.local_sensitivity(adata, net, features="top:3")
    rank = adata.layers["sensx_rank"]
    tested = (rank >= 1) & (rank <= 3)
    assert (tested.sum(axis=1) == 3).all()
    np.testing.assert_array_equal(~np.isnan(adata.layers[KEY]), tested)
    sx.tl.local_sensitivity(adata, net, key_added="all")
    found, every = adata.layers[KEY][tested], adata.layers["all"][tested]
    np.testing.assert_allclose(found, every, rtol=1e-6)
    assert adata.uns[KEY]["slopes"]["n_cells"].sum() == 180
    # The domain of the results is taken, too.
    assert "sensx_lower" not in adata.uns[KEY]["params"]["domain"]  # nobody chose it
    sx.pp.domain(adata, lower=0.0, upper=9.0)
    sx.tl.local_sensitivity(adata, net)
    assert (adata.var[f"{KEY}_upper"] == 9).all()


def test_a_gene_that_few_cells_have_tested_does_not_lead(adata: AnnData) -> None:
    """Steep where one cell has tested it, against one that is less steep in all cells."""
    rank = np.zeros(adata.shape, dtype=np.int32)
    rank[:, 0], rank[0, 1] = 1, 2
    rank[0, 0] = 3
    sx.tl.sensx(adata, one_logit(), n_walks=8, n_samples=50)
    adata.layers["sensx_rank"] = rank
    weights = np.zeros(20)
    weights[:2] = 1.0, 5.0
    sx.tl.local_sensitivity(adata, lambda rows: rows @ weights, features="top:3")
    table = adata.uns[KEY]["slopes"]
    assert table["names"].tolist() == ["gene_0", "gene_1"]
    assert table["rank"].tolist() == [1, 2]
    np.testing.assert_allclose(table["slope"], [1, 5])
    assert table["n_cells"].tolist() == [60, 1]


def test_cells_without_ranks(adata: AnnData, caplog: pytest.LogCaptureFixture) -> None:
    net = one_logit()
    some = np.arange(60) < 5
    sx.tl.sensx(adata, net, mask_obs=some, n_walks=8, n_samples=50)
    with caplog.at_level("INFO", "sensx_sc"):
        sx.tl.local_sensitivity(adata, net, features="top:2")
    assert "55 of 60 cells have no ranks" in caplog.text
    assert np.isnan(adata.layers[KEY][5:]).all()
    assert (~np.isnan(adata.layers[KEY][:5])).sum() == 10
    with pytest.raises(ValueError, match="none of the 55 cells has ranks"):
        sx.tl.local_sensitivity(adata, net, features="top:2", mask_obs=~some)


def test_some_cells_and_genes(adata: AnnData) -> None:
    """The others are NaN; the scale is that of all cells."""
    sx.tl.local_sensitivity(adata, curved, key_added="every")
    genes = np.arange(20) % 2 == 0
    sx.tl.local_sensitivity(
        adata, curved, mask_obs=np.arange(60) < 7, mask_var=genes, chunk_size=3,
        lower=adata.var["every_lower"], upper=adata.var["every_upper"],
    )  # fmt: skip
    found = adata.layers[KEY]
    assert np.isnan(found[7:]).all()
    assert np.isnan(found[:, ~genes]).all()
    np.testing.assert_allclose(found[:7, genes], adata.layers["every"][:7, genes], rtol=1e-6)
    np.testing.assert_array_equal(
        adata.layers[f"{KEY}_bandwidth"][:7, genes], adata.layers["every_bandwidth"][:7, genes]
    )
    assert adata.obs[f"{KEY}_target"].isna().sum() == 53


@pytest.mark.parametrize("kind", ["dense", "csr", "csc", "float32", "layer", "view"])
def test_any_matrix(adata: AnnData, kind: str) -> None:
    sx.tl.local_sensitivity(adata, curved)
    expected = adata.layers[KEY]
    other = sx.datasets.toy()
    X = other.X.toarray()
    how: dict[str, Any] = {}
    if kind == "layer":
        other.layers["more"], other.X = X, np.zeros_like(X)
        how["layer"] = "more"
    elif kind == "view":
        other = other[:, :]
    else:
        other.X = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix}.get(kind, np.asarray)(X)
    sx.tl.local_sensitivity(other, curved, **how)
    np.testing.assert_allclose(other.layers[KEY], expected, atol=1e-5)


def test_cells_on_disk(adata: AnnData, tmp_path: Path) -> None:
    sx.tl.local_sensitivity(adata, curved, key_added="known")
    adata.write_h5ad(tmp_path / "a.h5ad")
    backed = ad.read_h5ad(tmp_path / "a.h5ad", backed="r")
    sx.tl.local_sensitivity(backed, curved, chunk_size=7)
    np.testing.assert_allclose(backed.layers[KEY], adata.layers["known"], rtol=1e-6)
    backed.file.close()


@pytest.mark.filterwarnings("ignore:zarr v3 autosharding")
@pytest.mark.filterwarnings("ignore:Consolidated metadata")
@pytest.mark.filterwarnings("ignore:The data type")
def test_files_keep_everything(adata: AnnData, tmp_path: Path) -> None:
    sx.tl.local_sensitivity(adata, curved, features="all", bandwidth=(0.2, 0.6))
    adata.write_h5ad(tmp_path / "a.h5ad")
    with ad.settings.override(zarr_write_format=3):
        adata.write_zarr(tmp_path / "a.zarr")
    for read in (ad.read_h5ad(tmp_path / "a.h5ad"), ad.read_zarr(tmp_path / "a.zarr")):
        np.testing.assert_array_equal(read.layers[KEY], adata.layers[KEY])
        pd.testing.assert_frame_equal(
            read.uns[KEY]["slopes"], adata.uns[KEY]["slopes"], check_dtype=False
        )
        assert sx.pl.local_sensitivity(read, n_genes=3) is not None


def test_sage_keeps_what_it_has(adata: AnnData) -> None:
    sx.tl.local_sensitivity(adata, curved)
    sx.tl.local_sensitivity(adata, curved, method="sage", kappa=0.8)
    assert layers_of(adata) == ["counts", KEY, f"{KEY}_bandwidth"]  # nothing stale is left
    params = adata.uns[KEY]["params"]
    assert (params["method"], params["radius"], params["kappa"]) == ("sage", 0.3, 0.8)
    np.testing.assert_allclose(adata.layers[KEY][:, 1:], np.tile(WEIGHTS[1:], (60, 1)), atol=1e-5)


def test_a_copy(adata: AnnData) -> None:
    found = sx.tl.local_sensitivity(adata, curved, copy=True, statistics=("slope",))
    assert layers_of(adata) == ["counts"]
    assert layers_of(found) == ["counts", KEY]


def test_a_scale_from_var(adata: AnnData) -> None:
    adata.var["sd"] = np.linspace(0.1, 0.2, 20)
    sx.tl.local_sensitivity(adata, curved, scale="sd", bandwidth=0.5)
    expected = np.broadcast_to(0.5 * adata.var["sd"].to_numpy(), adata.shape)
    np.testing.assert_allclose(adata.layers[f"{KEY}_bandwidth"], expected, rtol=1e-6)


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "method": ({"method": "lime"}, ValueError, "`method` must be one of"),
    "features": ({"features": "best"}, ValueError, "`features` must be 'all' or such as 'top:200'"),
    "top none": ({"features": "top:0"}, ValueError, "such as 'top:200'; got 'top:0'"),
    "top of a number": ({"features": 5}, ValueError, "such as 'top:200'; got 5"),
    "no ranks": ({"features": "top:5"}, KeyError, r"needs the ranks adata.layers\['sensx_rank'\]"),
    "statistic": ({"statistics": ("value",)}, ValueError, "`statistics` may hold .* got 'value'"),
    "layer": ({"layer": "raw"}, KeyError, "layers 'raw' is not in adata.layers"),
    "scale": ({"scale": "sd"}, KeyError, "`scale` 'sd' is no column of adata.var"),
    "bandwidth": ({"bandwidth": 2.0}, ValueError, "must not exceed 1"),
    "target": ({"target": "T"}, KeyError, "'T' is not an output.*column of adata.obs"),
    "mask": ({"mask_var": "hvg"}, KeyError, "`mask_var` 'hvg' is not a column"),
    "key": ({"key_added": "a/b"}, ValueError, "`key_added` must be a text without"),
    "taken": ({"key_added": "log1p"}, ValueError, "would overwrite adata.uns"),
    "layer taken": ({"key_added": "counts"}, ValueError, r"overwrite adata.layers\['counts'\]"),
    "chunk": ({"chunk_size": 0}, ValueError, "`chunk_size` must be"),
    "bounds": ({"upper": 0.1}, ValueError, "outside the domain"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_changes_nothing(adata: AnnData, case: str) -> None:
    how, error, message = WRONG[case]
    before = adata.copy()
    with pytest.raises(error, match=message):
        sx.tl.local_sensitivity(adata, curved, **how)
    for attribute in ("layers", "uns", "obsm"):
        assert list(getattr(adata, attribute)) == list(getattr(before, attribute))
    assert list(adata.obs) == list(before.obs)
    assert list(adata.var) == list(before.var)


def test_not_an_anndata() -> None:
    with pytest.raises(TypeError, match="must be an AnnData"):
        sx.tl.local_sensitivity(np.zeros((2, 20)), curved)  # type: ignore[arg-type]
