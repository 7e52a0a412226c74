"""The door of the noise screening."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import sensx_sc as sx

if TYPE_CHECKING:
    from collections.abc import Callable

    from anndata import AnnData

ADDED = "sensx_noise"


def test_what_is_written(explained_toy: AnnData, toy_net: Any) -> None:
    adata = explained_toy
    assert sx.tl.noise_screening(adata, toy_net) is None
    p = adata.layers[ADDED]
    assert p.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(p), np.isnan(adata.layers["sensx"]))
    table = adata.uns[ADDED]["cells"]
    found = (p[~np.isnan(p).all(axis=1)] <= 0.05).sum(axis=1)
    assert table["n_found"].tolist() == found.tolist()
    assert (table["n_found"] >= 18).all()  # every gene has a weight
    assert (table["threshold"] < 1e-5).all()


def test_a_gene_without_weight_is_not_found(adata: AnnData, toy_net: Any) -> None:
    import copy

    net = copy.deepcopy(toy_net)
    with torch.no_grad():
        net.layers[0].weight[:, 4] = 0
    sx.tl.sensx(adata, net, n_walks=40, n_samples=400)
    sx.tl.noise_screening(adata, net, mask_obs=np.arange(60) % 10 == 0)
    p = adata.layers[ADDED]
    assert (p[~np.isnan(p[:, 4]), 4] == 1).all()


def test_round_trip(explained_toy: AnnData, toy_net: Any, round_trip: Callable[..., None]) -> None:
    sx.tl.noise_screening(explained_toy, toy_net, mask_obs=np.arange(60) < 2, method="bh")
    round_trip(explained_toy, ADDED)


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "alpha": ({"alpha": 1.0}, ValueError, "`alpha` must be between 0 and 1; got 1.0"),
    "method": ({"method": "holm"}, ValueError, "`method` must be one of .*'holm'"),
    "walks": ({"n_walks": 0}, ValueError, "`n_walks` must be a whole number"),
    "key": ({"key": "other"}, KeyError, "names no SensX results"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input(case: str, explained_toy: AnnData, toy_net: Any) -> None:
    how, error, match = WRONG[case]
    with pytest.raises(error, match=match):
        sx.tl.noise_screening(explained_toy, toy_net, **how)
    assert ADDED not in explained_toy.uns
    assert ADDED not in explained_toy.layers
