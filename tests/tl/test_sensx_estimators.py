"""What racing and gradients leave in the AnnData."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from torch import nn

import sensx_sc as sx


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(2)
    return nn.Sequential(nn.Linear(20, 6), nn.Tanh(), nn.Linear(6, 2)).eval()


def test_a_race_says_how_sure_the_top_k_of_each_cell_is(net: nn.Module) -> None:
    adata = sx.datasets.toy()[:3].copy()
    sx.tl.sensx(adata, net, lower=0, upper=9, top_k=3, alpha=0.1, n_walks=200, n_samples=60,
                tau=1e-3, statistics=("value", "n"), progress=False)  # fmt: skip
    table = adata.uns["sensx"]["cells"]
    assert list(table.columns[-3:]) == ["top_k_certified", "top_k_gap", "n_undecided"]
    sure = table["top_k_certified"].to_numpy()
    np.testing.assert_array_equal(table["n_undecided"] == 0, sure)
    np.testing.assert_array_equal(table["top_k_gap"] <= 0, sure)
    assert adata.uns["sensx"]["params"]["top_k"] == 3
    assert (adata.layers["sensx_n"].min(axis=1) < 200).any()


def test_an_audit_says_how_far_gradients_hold(
    net: nn.Module, caplog: pytest.LogCaptureFixture, tmp_path: pytest.TempPathFactory
) -> None:
    adata = sx.datasets.toy()[:3].copy()
    how = {"lower": 0, "upper": 9, "n_walks": 40, "n_samples": 60, "tau": 1e-3, "progress": False}
    with caplog.at_level(logging.INFO, logger="sensx_sc"):
        sx.tl.sensx(adata, net, estimator="gradient", **how)
    table = adata.uns["sensx"]["cells"]
    assert set(table["estimator"]) == {"gradient"}
    assert {
        "audit_passed",
        "audit_ratio",
        "audit_ratio_se",
        "audit_spearman",
        "audit_message",
    } <= set(table.columns)
    said = "are not borne out by exact walks" in caplog.text
    assert said == (not table["audit_passed"].all())
    assert "gradients screen all features" in caplog.text
    sx.tl.sensx(adata, net, estimator="auto", key_added="auto", **how)
    adata.write_h5ad(tmp_path / "a.h5ad")
    plain = sx.datasets.toy()[:3].copy()
    sx.tl.sensx(plain, net, **how)
    assert "estimator" not in plain.uns["sensx"]["cells"]
