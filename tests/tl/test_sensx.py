"""``tl.sensx``: what lands in AnnData, and that it is what the method says."""

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

SMALL: dict[str, Any] = {"n_walks": 40, "n_samples": 200, "deltas": [0.1, 0.3, 1.0]}


def weights(n: int = 20) -> np.ndarray:
    return np.linspace(-1.0, 2.0, n)


def linear(rows: np.ndarray) -> np.ndarray:
    return rows @ weights(rows.shape[1])


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(20, 8), nn.Tanh(), nn.Linear(8, 3)).eval()
    for parameter in net.parameters():
        parameter.data *= 3
    return net


def test_a_linear_model_gives_its_weights_everywhere(adata: AnnData) -> None:
    sx.tl.sensx(adata, linear, **SMALL)
    expected = np.where(
        adata.var["sensx_upper"] > adata.var["sensx_lower"], np.abs(weights()), np.nan
    )
    np.testing.assert_allclose(
        adata.layers["sensx"], np.tile(expected, (adata.n_obs, 1)), rtol=1e-5
    )
    assert (adata.layers["sensx_rank"][:, np.argmax(np.abs(weights()))] == 1).all()


def test_every_slot_of_the_contract_is_written_and_nothing_else(
    adata: AnnData, net: nn.Module
) -> None:
    before = adata.copy()
    sx.tl.sensx(
        adata,
        net,
        statistics=("value", "rank", "mean", "std", "change", "shapley", "se", "change_se", "n"),
        **SMALL,
    )
    assert set(adata.obs) - set(before.obs) == {
        f"sensx_{name}" for name in ("delta_star", "status", "target", "qoi")
    }
    assert set(adata.var) - set(before.var) == {"sensx_lower", "sensx_upper"}
    assert set(adata.layers) - set(before.layers) == {"sensx"} | {
        f"sensx_{name}"
        for name in ("rank", "mean", "std", "change", "shapley", "se", "change_se", "n")
    }
    assert set(adata.obsm) - set(before.obsm) == {"sensx_envelope"}
    assert set(adata.uns) - set(before.uns) == {"sensx"}
    assert adata.layers["sensx"].dtype == np.float32
    assert adata.layers["sensx_rank"].dtype == np.int32
    assert adata.layers["sensx_n"].dtype == np.int32
    assert adata.obs["sensx_delta_star"].dtype == np.float64
    assert list(adata.obs["sensx_status"].cat.categories) == list(sx.core.STATUSES)
    assert adata.obsm["sensx_envelope"].shape == (adata.n_obs, 3, 2)
    stored = adata.uns["sensx"]
    assert {"params", "deltas", "noise_floor", "versions", "rankings", "names", "scores"} <= set(
        stored
    )
    assert list(stored["rankings"].columns[:9]) == [
        "group", "names", "rank", "value", "value_se", "change", "mean", "presence", "n_cells",
    ]  # fmt: skip
    assert stored["params"]["groupby"] == "sensx_target"
    np.testing.assert_array_equal(adata.X.toarray(), before.X.toarray())


def test_layers_are_those_of_core_explain(adata: AnnData, net: nn.Module) -> None:
    sx.tl.sensx(adata, net, statistics=("value", "change", "shapley"), **SMALL)
    direct = sx.core.explain(
        adata.X,
        net,
        lower=adata.var["sensx_lower"],
        upper=adata.var["sensx_upper"],
        keys=adata.obs_names.tolist(),
        precision="auto",
        seed=0,
        **SMALL,
    )
    np.testing.assert_array_equal(adata.layers["sensx"], direct.value.astype(np.float32))
    np.testing.assert_array_equal(adata.layers.get("sensx_rank", direct.rank), direct.rank)
    np.testing.assert_array_equal(adata.obs["sensx_delta_star"], direct.delta_star)
    np.testing.assert_array_equal(adata.obs["sensx_status"].astype(str), direct.status)


@pytest.mark.parametrize("kind", ["dense", "csr", "csc", "csr_array", "float64", "int", "view"])
def test_the_kind_of_matrix_does_not_matter(adata: AnnData, net: nn.Module, kind: str) -> None:
    if kind == "int":
        adata.X = adata.layers["counts"].copy()
    reference = adata.copy()
    sx.tl.sensx(reference, net, **SMALL)
    X = adata.X.toarray()
    made = {
        "dense": lambda: X,
        "csr": lambda: sparse.csr_matrix(X),
        "csc": lambda: sparse.csc_matrix(X),
        "csr_array": lambda: sparse.csr_array(X),
        "float64": lambda: X.astype(np.float64),
        "int": lambda: X.astype(np.int32),
        "view": lambda: X,
    }
    adata.X = made[kind]()
    if kind == "view":
        adata = adata[:]
        assert adata.is_view
    sx.tl.sensx(adata, net, **SMALL)
    np.testing.assert_allclose(adata.layers["sensx"], reference.layers["sensx"], rtol=1e-6)
    assert not adata.is_view


def test_layer_and_obsm_are_explained_instead_of_x(adata: AnnData, net: nn.Module) -> None:
    counts = adata.copy()
    counts.X = adata.layers["counts"]
    sx.tl.sensx(counts, net, **SMALL)
    sx.tl.sensx(adata, net, layer="counts", **SMALL)
    np.testing.assert_array_equal(adata.layers["sensx"], counts.layers["sensx"])
    pcs = adata.obsm["X_pca"]
    sx.tl.sensx(adata, linear, obsm="X_pca", key_added="pcs", **SMALL)
    assert adata.obsm["pcs"].shape == pcs.shape
    expected = np.abs(weights(pcs.shape[1]))
    np.testing.assert_allclose(adata.obsm["pcs"], np.tile(expected, (adata.n_obs, 1)), rtol=1e-4)
    assert "pcs" not in adata.layers
    assert adata.uns["pcs"]["rankings"]["names"].str.startswith("X_pca_").all()


def test_masks_leave_cells_skipped_and_genes_untested(adata: AnnData, net: nn.Module) -> None:
    adata.obs["some"] = np.arange(adata.n_obs) % 3 == 0
    genes = np.arange(adata.n_vars) >= 5
    whole = adata.copy()
    sx.tl.sensx(adata, net, mask_obs="some", mask_var=genes, **SMALL)
    left_out = ~adata.obs["some"].to_numpy()
    assert (adata.obs["sensx_status"][left_out] == "skipped").all()
    assert adata.obs["sensx_delta_star"][left_out].isna().all()
    assert adata.obs["sensx_target"][left_out].isna().all()
    assert np.isnan(adata.layers["sensx"][left_out]).all()
    assert (adata.layers["sensx_rank"][left_out] == 0).all()
    assert np.isnan(adata.layers["sensx"][:, :5]).all()
    assert (adata.layers["sensx_rank"][:, :5] == 0).all()
    assert not np.isin(adata.var_names[:5], adata.uns["sensx"]["rankings"]["names"]).any()
    # A cell's numbers are its own: the others being there changes nothing.
    sx.tl.sensx(whole, net, mask_var=genes, **SMALL)
    np.testing.assert_allclose(
        adata.layers["sensx"][~left_out], whole.layers["sensx"][~left_out], rtol=1e-5
    )


@pytest.mark.parametrize("setting", [{"chunk_size": 7}, {"batch_size": 33}, {"chunk_size": 1}])
def test_chunks_and_batches_do_not_matter(
    adata: AnnData, net: nn.Module, setting: dict[str, int]
) -> None:
    other = adata.copy()
    sx.tl.sensx(adata, net, precision="float64", **SMALL)
    sx.tl.sensx(other, net, precision="float64", **SMALL, **setting)
    np.testing.assert_allclose(other.layers["sensx"], adata.layers["sensx"], rtol=1e-6)
    pd.testing.assert_frame_equal(
        other.uns["sensx"]["rankings"], adata.uns["sensx"]["rankings"], rtol=1e-9
    )


def test_the_order_of_cells_does_not_matter(adata: AnnData, net: nn.Module) -> None:
    turned = adata[::-1].copy()
    sx.tl.sensx(adata, net, **SMALL)
    sx.tl.sensx(turned, net, **SMALL)
    np.testing.assert_allclose(turned.layers["sensx"][::-1], adata.layers["sensx"], rtol=1e-5)


def test_rankings_are_means_over_the_cells_of_a_target(adata: AnnData, net: nn.Module) -> None:
    sx.tl.sensx(adata, net, statistics=("value", "change", "mean"), rank_by="change", **SMALL)
    table = adata.uns["sensx"]["rankings"]
    for group, part in table.groupby("group"):
        own = (
            (adata.obs["sensx_target"] == group) & ~np.isnan(adata.layers["sensx"][:, 1])
        ).to_numpy()
        gene = adata.var_names.get_indexer(part["names"])
        value = adata.layers["sensx"][own].astype(np.float64)
        np.testing.assert_allclose(part["value"], value.mean(axis=0)[gene], rtol=1e-5)
        if own.sum() > 1:
            error = value.std(axis=0, ddof=1) / np.sqrt(own.sum())
            np.testing.assert_allclose(part["value_se"], error[gene], rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(
            part["change"], adata.layers["sensx_change"][own].mean(axis=0)[gene], rtol=1e-5
        )
        above = adata.X.toarray()[own] > adata.var["sensx_lower"].to_numpy()
        np.testing.assert_allclose(part["presence"], above.mean(axis=0)[gene])
        assert part["change"].is_monotonic_decreasing
        assert part["rank"].tolist() == list(range(1, len(part) + 1))
        assert (part["n_cells"] == own.sum()).all()


def test_targets_by_name_index_column_array_and_prediction(adata: AnnData, net: nn.Module) -> None:
    named = sx.models.as_model(net, output_names=["A", "B", "C"])

    def explained(target: Any) -> AnnData:
        result = sx.tl.sensx(adata, named, target=target, copy=True, **SMALL)
        assert result is not None
        return result

    by_name, by_index = explained("B"), explained(1)
    np.testing.assert_array_equal(by_name.layers["sensx"], by_index.layers["sensx"])
    by_column, by_array = explained("cell_type"), explained(adata.obs["cell_type"].to_numpy())
    np.testing.assert_array_equal(by_column.layers["sensx"], by_array.layers["sensx"])
    assert (by_column.obs["sensx_target"].astype(str) == adata.obs["cell_type"].astype(str)).all()
    with torch.inference_mode():
        outputs = net(torch.as_tensor(adata.X.toarray()))
    predicted = explained(None)
    assert predicted.obs["sensx_target"].tolist() == [
        "ABC"[k] for k in outputs.argmax(dim=1).tolist()
    ]
    best = torch.softmax(outputs.double(), dim=1).amax(dim=1).numpy()
    np.testing.assert_allclose(predicted.obs["sensx_qoi"], best, rtol=1e-5)
    assert "sensx" not in adata.uns


def test_an_unnamed_net_with_one_logit_has_the_target_1(adata: AnnData) -> None:
    torch.manual_seed(0)
    sx.tl.sensx(adata, nn.Linear(20, 1).eval(), **SMALL)
    assert adata.obs["sensx_target"].cat.categories.tolist() == ["1"]


def test_binary_nets_in_a_mapping_are_explained_one_by_one(adata: AnnData) -> None:
    torch.manual_seed(0)
    nets = {
        name: nn.Sequential(nn.Linear(20, 4), nn.ReLU(), nn.Linear(4, 1)).eval() for name in "ABC"
    }
    sx.tl.sensx(adata, nets, target="cell_type", **SMALL)
    for name, net in nets.items():
        own = (adata.obs["cell_type"] == name).to_numpy()
        alone = sx.tl.sensx(adata, net, mask_obs=own, copy=True, **SMALL)
        assert alone is not None
        np.testing.assert_allclose(
            adata.layers["sensx"][own], alone.layers["sensx"][own], rtol=1e-4, atol=1e-9
        )


def test_several_models_live_together_and_a_second_run_leaves_nothing_stale(
    adata: AnnData, net: nn.Module
) -> None:
    sx.tl.sensx(adata, net, statistics=("value", "change"), **SMALL)
    sx.tl.sensx(adata, linear, key_added="line", **SMALL)
    assert {"sensx", "line", "sensx_change", "line_rank"} <= set(adata.layers)
    sx.tl.sensx(adata, net, statistics=("value",), **SMALL)
    assert "sensx_change" not in adata.layers
    assert "line_rank" in adata.layers


@pytest.mark.parametrize("store", ["memory", "h5ad", "zarr"])
@pytest.mark.filterwarnings("ignore:Writing zarr v2:UserWarning")
@pytest.mark.filterwarnings("ignore:.*matplotlib.*:Warning")
def test_scanpy_draws_the_result_also_after_a_round_trip(
    adata: AnnData, net: nn.Module, store: str, tmp_path: Path
) -> None:
    sc = pytest.importorskip("scanpy")
    adata.obs_names = [f"cell/{i}" for i in range(adata.n_obs)]
    sx.tl.sensx(adata, net, statistics=("value", "rank", "change"), refine_tol=0.1, **SMALL)
    if store == "h5ad":
        adata.write_h5ad(tmp_path / "a.h5ad")
        back = ad.read_h5ad(tmp_path / "a.h5ad")
    elif store == "zarr":
        adata.write_zarr(tmp_path / "a.zarr")
        back = ad.read_zarr(tmp_path / "a.zarr")
    else:
        back = adata
    np.testing.assert_array_equal(back.layers["sensx"], adata.layers["sensx"])
    pd.testing.assert_frame_equal(
        back.uns["sensx"]["rankings"], adata.uns["sensx"]["rankings"], check_dtype=False
    )
    assert back.uns["sensx"]["params"]["tau"] == 0.1
    assert back.uns["sensx"]["params"]["layer"] is None
    sc.pl.rank_genes_groups(back, key="sensx", show=False)
    frame = sc.get.rank_genes_groups_df(back, group=None, key="sensx")
    assert set(frame["names"]) <= set(adata.var_names)
    sc.pl.dotplot(
        back, back.var_names[:4].tolist(), groupby="sensx_target", layer="sensx", show=False
    )


def test_the_seed_and_the_copy(adata: AnnData, net: nn.Module) -> None:
    runs = [sx.tl.sensx(adata, net, seed=seed, copy=True, **SMALL) for seed in (0, 0, 1)]
    first, again, other = (run.layers["sensx"] for run in runs if run is not None)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert "sensx" not in adata.layers


def test_statuses_of_failed_and_insensitive_cells(adata: AnnData) -> None:
    X = adata.X.toarray()

    def model(rows: np.ndarray) -> np.ndarray:
        out = np.where(rows[:, 0] == X[0, 0], 0.0, 0.0)
        return np.where((rows == X[3]).all(axis=1), np.nan, out)

    sx.tl.sensx(adata, model, **SMALL)
    assert adata.obs["sensx_status"].iloc[3] == "failed"
    assert np.isnan(adata.obs["sensx_delta_star"].iloc[3])
    assert (adata.obs["sensx_status"].drop(adata.obs_names[3]) == "insensitive").all()
    assert (adata.obs["sensx_delta_star"].drop(adata.obs_names[3]) == 0).all()
    assert np.isnan(adata.layers["sensx"]).all()


def test_the_domain_of_pp_is_used_and_recorded(adata: AnnData, net: nn.Module) -> None:
    sx.pp.domain(adata, upper="log1p_cp10k")
    sx.tl.sensx(adata, net, **SMALL)
    assert np.allclose(adata.var["sensx_upper"], np.log1p(1e4))
    wide = sx.tl.sensx(adata, net, lower=-1.0, upper=20.0, copy=True, **SMALL)
    assert wide is not None
    assert (wide.var["sensx_upper"] == 20.0).all()
    assert not np.array_equal(wide.layers["sensx"], adata.layers["sensx"])


def test_a_note_says_what_was_done(
    adata: AnnData, net: nn.Module, caplog: pytest.LogCaptureFixture
) -> None:
    sx.tl.sensx(adata, net, **SMALL)
    assert "60 of 60 cells" in caplog.text
    assert ".layers['sensx']" in caplog.text


def test_pandas_series_are_matched_by_name(adata: AnnData, net: nn.Module) -> None:
    some = pd.Series(np.arange(adata.n_obs) < 5, index=adata.obs_names)
    upper = pd.Series(np.arange(20.0) + 9, index=adata.var_names)
    target = pd.Series(np.arange(adata.n_obs) % 3, index=adata.obs_names)
    straight, turned = adata.copy(), adata.copy()
    sx.tl.sensx(straight, net, mask_obs=some, lower=0, upper=upper, target=target, **SMALL)
    sx.tl.sensx(
        turned, net, mask_obs=some[::-1], lower=0, upper=upper[::-1], target=target[::-1], **SMALL
    )
    np.testing.assert_array_equal(straight.layers["sensx"], turned.layers["sensx"])
    np.testing.assert_array_equal(turned.var["sensx_upper"], upper)
    with pytest.raises(ValueError, match="`mask_obs` is a Series whose index"):
        sx.tl.sensx(adata, net, mask_obs=some.set_axis(range(adata.n_obs)), **SMALL)


def test_bounds_come_from_the_user_not_from_an_earlier_run(adata: AnnData, net: nn.Module) -> None:
    first = sx.tl.sensx(adata, net, copy=True, **SMALL)
    sx.tl.sensx(adata, net, lower=0, upper=20, **SMALL)
    sx.tl.sensx(adata, net, **SMALL)
    assert first is not None
    np.testing.assert_array_equal(adata.layers["sensx"], first.layers["sensx"])
    # What pp.domain wrote stays, run after run, and one bound may be given beside it.
    sx.pp.domain(adata, lower=-1, upper=12)
    for _ in range(2):
        sx.tl.sensx(adata, net, **SMALL)
        assert (adata.var["sensx_upper"] == 12).all()
        assert "adata.var['sensx_upper']" in adata.uns["sensx"]["params"]["domain"]
    sx.tl.sensx(adata, net, lower=0, **SMALL)
    assert (adata.var["sensx_upper"] == 12).all()
    assert (adata.var["sensx_lower"] == 0).all()


def test_settings_are_the_defaults(adata: AnnData, net: nn.Module) -> None:
    with sx.settings.override(seed=5, precision="float32"):
        sx.tl.sensx(adata, net, **SMALL)
    assert adata.uns["sensx"]["params"]["seed"] == 5
    assert adata.uns["sensx"]["params"]["precision"] == "float32"


@pytest.mark.parametrize(
    ("key", "slot"), [("counts", "layers"), ("log1p", "uns"), ("X_pca", "obsm"), ("own", "obs")]
)
def test_nothing_of_the_users_is_overwritten(
    adata: AnnData, net: nn.Module, key: str, slot: str
) -> None:
    adata.obs["own_status"] = "mine"
    arguments: dict[str, Any] = {"obsm": "X_pca"} if slot == "obsm" else {}
    model = linear if slot == "obsm" else net
    with pytest.raises(ValueError, match=rf"would overwrite adata.{slot}\['{key}"):
        sx.tl.sensx(adata, model, key_added=key, **arguments, **SMALL)
    adata.layers["sensx_mean"] = adata.X.copy()
    sx.tl.sensx(adata, net, **SMALL)
    assert "sensx_mean" in adata.layers
    with pytest.raises(ValueError, match="would overwrite"):
        sx.tl.sensx(adata, net, key_added="sensx_rank", **SMALL)


def test_how_sure_each_cell_is_lands_in_uns(
    adata: AnnData, net: nn.Module, caplog: pytest.LogCaptureFixture
) -> None:
    adata.obs["some"] = np.arange(adata.n_obs) < 7
    sx.tl.sensx(adata, net, mask_obs="some", **SMALL)
    cells = adata.uns["sensx"]["cells"]
    assert cells.index.tolist() == adata.obs_names[:7].tolist()
    assert (cells["bracket_high"] >= adata.obs["sensx_delta_star"].iloc[:7]).all()
    assert cells["endpoint_coverage"].between(0.8, 1).all()
    assert (cells["noise_floor"] > 0).all()
    assert cells["certified"].all()
    assert "is not certified" not in caplog.text

    def saturating(rows: np.ndarray) -> np.ndarray:
        return np.exp(-rows.max(axis=1) / 0.15)

    # 200 samples cannot certify that a 99th percentile is below anything.
    empty = ad.AnnData(np.zeros((3, 50)))
    deltas = np.linspace(0.05, 1, 20)
    sx.tl.sensx(empty, saturating, lower=0, upper=1, n_walks=8, n_samples=200, deltas=deltas)
    assert (empty.obs["sensx_status"] == "resolved").all()
    assert not empty.uns["sensx"]["cells"]["certified"].any()
    assert "delta* of 3 of 3 cells is not certified" in caplog.text


def test_advice_when_all_cells_are_alike(adata: AnnData, caplog: pytest.LogCaptureFixture) -> None:
    sx.tl.sensx(adata, lambda rows: 1e-6 * rows[:, 0], **SMALL)
    assert "is `tau` in units of the response" in caplog.text
    assert adata.uns["sensx"]["rankings"].empty
    assert "names" in adata.uns["sensx"]["rankings"]
    sx.tl.sensx(adata, lambda rows: 1e6 * rows[:, 0], **SMALL)
    assert "never saturates" in caplog.text


def test_one_cell_says_nothing_of_ranges(adata: AnnData, net: nn.Module) -> None:
    with pytest.raises(ValueError, match="constant over the 1 cells.*`mask_obs`"):
        sx.tl.sensx(adata[:1].copy(), net, **SMALL)


@pytest.mark.parametrize("n", [5, 30])
def test_a_model_of_another_size(adata: AnnData, n: int) -> None:
    with pytest.raises(ValueError, match="failed on rows of 20 features.*Does it take that many"):
        sx.tl.sensx(adata, nn.Linear(n, 1).eval(), **SMALL)
