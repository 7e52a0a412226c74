"""The door of model randomisation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from torch import nn

import sensx_sc as sx

if TYPE_CHECKING:
    from collections.abc import Callable

    from anndata import AnnData

ADDED = "sensx_randomization"
SOME = np.arange(60) % 6 == 0


def test_the_ranking_falls_apart_and_chance_does_little(
    explained_toy: AnnData, toy_net: Any
) -> None:
    adata = explained_toy
    assert sx.tl.randomization_check(adata, toy_net, top_k=5, mask_obs=SOME) is None
    found = adata.uns[ADDED]["levels"]
    assert found["layers"].unique().tolist() == ["another seed", "layers.2", "layers.0"]
    assert found["level"].unique().tolist() == [0, 1, 2]
    mean = found.groupby("level")["spearman"].mean()
    assert mean[0] > 0.95
    assert abs(mean[2]) < 0.6
    assert mean[0] > mean[1]
    overlap = found.groupby("level")["overlap"].mean()
    assert overlap[0] > 0.85
    cells = adata[found["cell"].unique().tolist()]
    again = found.query("level == 0")
    np.testing.assert_allclose(again["qoi"], cells.obs["sensx_qoi"], rtol=1e-5)


def test_a_model_that_forgot_everything_is_insensitive(adata: AnnData) -> None:
    """Small random weights leave the call where it is: no attribution, rather than a map."""
    net = sx.models.fit_mlp(adata, "cell_type", "A", hidden=(32, 16), learning_rate=1e-2)
    sx.tl.sensx(adata, net, mask_obs=SOME, n_walks=40, n_samples=400, tau=0.2)
    sx.tl.randomization_check(adata, net, top_k=5)
    found = adata.uns[ADDED]["levels"]
    last = found[found["level"] == found["level"].max()]
    flat = last[last["status"] == "insensitive"]
    assert len(flat) >= 0.8 * len(last)
    assert (flat["delta_star"] == 0).all()
    assert flat[["spearman", "overlap"]].isna().all().all()


def test_modes_and_levels(explained_toy: AnnData, toy_net: Any) -> None:
    one = np.arange(60) == 0
    sx.tl.randomization_check(
        explained_toy, toy_net, mask_obs=one, mode="independent", n_levels=1, n_walks=20
    )
    found = explained_toy.uns[ADDED]
    assert found["levels"]["layers"].tolist() == ["another seed", "layers.2, layers.0"]
    assert found["params"]["n_walks"] == 20
    assert found["params"]["mode"] == "independent"


def test_round_trip(explained_toy: AnnData, toy_net: Any, round_trip: Callable[..., None]) -> None:
    one = np.arange(60) == 0
    sx.tl.randomization_check(explained_toy, toy_net, mask_obs=one, n_walks=20)
    round_trip(explained_toy, ADDED)


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "function": ({"model": lambda rows: rows.sum(axis=1)}, TypeError, "must be a torch.nn.Module"),
    "other net": ({"model": nn.Linear(20, 3).eval()}, KeyError, "'A' is not an output"),
    "mode": ({"mode": "all"}, ValueError, "`mode` must be one of"),
    "levels": ({"n_levels": 0}, ValueError, "n_levels=0 must be a whole number"),
    "top_k": ({"top_k": 0}, ValueError, "top_k=0"),
    "walks": ({"n_walks": 2.5}, ValueError, "n_walks=2.5"),
    "rank_by": ({"rank_by": "se"}, ValueError, "`rank_by` must be one of"),
    "key": ({"key": "other"}, KeyError, "names no SensX results"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input(case: str, explained_toy: AnnData, toy_net: Any) -> None:
    how, error, match = WRONG[case]
    arguments: dict[str, Any] = {"model": toy_net, "mask_obs": np.arange(60) == 0, **how}
    with pytest.raises(error, match=match):
        sx.tl.randomization_check(explained_toy, arguments.pop("model"), **arguments)
    assert ADDED not in explained_toy.uns
