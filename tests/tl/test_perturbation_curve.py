"""The door of the perturbation protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

import sensx_sc as sx

if TYPE_CHECKING:
    from collections.abc import Callable

    from anndata import AnnData

ADDED = "sensx_perturbation"


def test_what_is_written(explained_toy: AnnData, toy_net: Any) -> None:
    adata = explained_toy
    slots = {s: set(getattr(adata, s)) for s in ("obs", "var", "layers", "obsm", "uns")}
    assert sx.tl.perturbation_curve(adata, toy_net, n_draws=50) is None
    for slot, names in slots.items():
        assert set(getattr(adata, slot)) == names | ({ADDED} if slot == "uns" else set())
    found = adata.uns[ADDED]
    n_cells = int(adata.obs["sensx_status"].isin(["resolved", "unsaturated"]).sum())
    assert len(found["auc"]) == n_cells * 2 * 2
    assert set(found["auc"]["scale"]) == {"delta_star", "1"}
    assert found["params"]["rank_by"] == ["value"]
    assert set(found["curves"]["group"]) == set(
        adata.obs["sensx_target"].dropna().unique().tolist()
    )


def test_a_good_ranking_beats_the_control_and_its_reverse(
    explained_toy: AnnData, toy_net: Any
) -> None:
    adata = explained_toy
    with np.errstate(divide="ignore"):
        adata.layers["reverse"] = 1 / adata.layers["sensx_change"]
    sx.tl.perturbation_curve(
        adata, toy_net, rank_by=["change", "random", "reverse"], n_draws=200, scales=1.0
    )
    auc = adata.uns[ADDED]["auc"].groupby(["direction", "method"])["auc"].mean()
    assert auc["top", "change"] < auc["top", "random"] < auc["top", "reverse"]
    assert auc["bottom", "change"] > auc["bottom", "random"] > auc["bottom", "reverse"]
    # the reverse ranking's bottom is the ranking's top
    assert auc["bottom", "reverse"] == pytest.approx(auc["top", "change"])


def test_cells_do_not_depend_on_company(explained_toy: AnnData, toy_net: Any) -> None:
    sx.tl.perturbation_curve(explained_toy, toy_net, n_draws=50)
    whole = explained_toy.uns[ADDED]["auc"]
    mask = np.zeros(60, dtype=bool)
    mask[[3, 25]] = True
    sx.tl.perturbation_curve(explained_toy, toy_net, n_draws=50, mask_obs=mask)
    part = explained_toy.uns[ADDED]["auc"]
    same = whole[whole["cell"].isin(part["cell"].unique())].reset_index(drop=True)
    pd.testing.assert_frame_equal(part, same, rtol=1e-6)


def test_groups_and_keys(explained_toy: AnnData, toy_net: Any) -> None:
    explained_toy.obs["half"] = np.where(np.arange(60) % 2, "odd", "even")
    sx.tl.perturbation_curve(
        explained_toy, toy_net, n_draws=20, ks=[1, 3], groupby="half", key_added="mine"
    )
    curves = explained_toy.uns["mine"]["curves"]
    assert set(curves["group"]) == {"odd", "even"}
    assert sorted(curves["k"].unique()) == [0, 1, 3]


def test_seed(explained_toy: AnnData, toy_net: Any) -> None:
    areas = []
    for seed in (None, 0, 1):
        sx.tl.perturbation_curve(explained_toy, toy_net, n_draws=20, seed=seed)
        areas.append(explained_toy.uns[ADDED]["auc"]["auc"].to_numpy())
    np.testing.assert_array_equal(areas[0], areas[1])
    assert not np.array_equal(areas[0], areas[2])


def test_round_trip(explained_toy: AnnData, toy_net: Any, round_trip: Callable[..., None]) -> None:
    sx.tl.perturbation_curve(explained_toy, toy_net, n_draws=20, ks=[1, 3])
    round_trip(explained_toy, ADDED)


def test_a_view_becomes_an_anndata_of_its_own(explained_toy: AnnData, toy_net: Any) -> None:
    view = explained_toy[:5]
    sx.tl.perturbation_curve(view, toy_net, n_draws=20, ks=[1])
    assert ADDED in view.uns
    assert ADDED not in explained_toy.uns


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "rank_by": ({"rank_by": 3}, TypeError, "`rank_by` must be a name or a list of names; got 3"),
    "no ranking": ({"rank_by": []}, ValueError, "`rank_by` is empty"),
    "unknown ranking": ({"rank_by": "shap"}, KeyError, "'shap' is neither a statistic"),
    "scales": ({"scales": 2.0}, ValueError, "`scales` must hold"),
    "ks": ({"ks": [3, 1]}, ValueError, "`ks` must be increasing"),
    "too many": ({"ks": [21]}, ValueError, "from 0 to 20"),
    "draws": ({"n_draws": 0}, ValueError, "n_draws=0 must be a whole number"),
    "key": ({"key": "other"}, KeyError, "names no SensX results"),
    "slash": ({"key_added": "a/b"}, ValueError, "without '/'"),
    "taken": ({"key_added": "log1p"}, ValueError, "would overwrite adata.uns\\['log1p'\\]"),
    "groupby": ({"groupby": "donor"}, KeyError, "groupby='donor' is no column"),
    "seed": ({"seed": -1}, ValueError, "`seed` must be"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input(case: str, explained_toy: AnnData, toy_net: Any) -> None:
    how, error, match = WRONG[case]
    before = set(explained_toy.uns)
    with pytest.raises(error, match=match):
        sx.tl.perturbation_curve(explained_toy, toy_net, **{"n_draws": 10, **how})
    assert set(explained_toy.uns) == before
