from __future__ import annotations

import json
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pytest

import sensx_sc as sx

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from anndata import AnnData


def test_everything_is_there(explained: AnnData) -> None:
    ds = sx.get.explanation(explained)
    assert dict(ds.sizes) == {"obs": 300, "var": 60, "delta": 25, "percentile": 2, "bound": 2}
    layers = ("value", "rank", "mean", "std", "change", "shapley", "se", "n")
    for name in layers:
        key = "sensx" if name == "value" else f"sensx_{name}"
        assert ds[name].dims == ("obs", "var")
        np.testing.assert_array_equal(ds[name], explained.layers[key])
    for name in ("delta_star", "status", "target", "qoi"):
        assert ds[name].dims == ("obs",)
    assert set(ds.data_vars) == {
        *layers,
        *("delta_star", "status", "target", "qoi", "envelope", "lower", "upper", "bounds"),
    }
    np.testing.assert_array_equal(ds["delta_star"], explained.obs["sensx_delta_star"])
    np.testing.assert_array_equal(ds["envelope"], explained.obsm["sensx_envelope"])
    np.testing.assert_array_equal(ds["delta"], explained.uns["sensx"]["deltas"])
    np.testing.assert_array_equal(ds["bounds"].sel(bound="upper"), explained.var["sensx_upper"])
    assert ds["status"].values[:3].tolist() == ["resolved", "insensitive", "left_censored"]
    assert ds["target"].sel(obs="cell5") == ""
    assert float(ds["value"].sel(obs="cell0", var="GENE0")) > 0.05


def test_layers_are_not_copied(explained: AnnData) -> None:
    assert np.shares_memory(sx.get.explanation(explained)["value"], explained.layers["sensx"])


def test_attributes_are_plain_after_a_round_trip(explained: AnnData, tmp_path: Path) -> None:
    explained.write_h5ad(tmp_path / "x.h5ad")
    attrs = sx.get.explanation(ad.read_h5ad(tmp_path / "x.h5ad")).attrs
    assert json.loads(json.dumps(attrs))["tau"] == 0.1
    assert attrs["noise_floor"] == 1e-7
    assert attrs["versions"] == {"sensx_sc": "0.1.0"}


def test_results_of_an_obsm(make_explained: Callable[..., AnnData]) -> None:
    adata = make_explained(30, 10, statistics=())
    adata.obsm["sensx"] = adata.layers.pop("sensx")
    adata.obsm["sensx_rank"] = adata.layers.pop("sensx_rank")
    for side in ("lower", "upper"):
        adata.uns["sensx"][side] = adata.var.pop(f"sensx_{side}").to_numpy()
    adata.uns["sensx"]["params"]["obsm"] = "X_pca"
    ds = sx.get.explanation(adata)
    np.testing.assert_array_equal(ds["value"], adata.obsm["sensx"])
    assert "var" not in ds.coords
    assert ds["bounds"].shape == (10, 2)


def test_no_results(explained: AnnData) -> None:
    with pytest.raises(KeyError, match=r"key_added='other'\) first.*'sensx'"):
        sx.get.explanation(explained, "other")
