"""One protocol, one table: methods that apply, and those that do not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

import sensx_sc as sx

if TYPE_CHECKING:
    from collections.abc import Callable

    from anndata import AnnData

pytest.importorskip("captum")
pytest.importorskip("shap")
ADDED = "sensx_compare"
SOME = np.isin(np.arange(60), [0, 1, 2, 30])
SMALL: dict[str, Any] = {"mask_obs": SOME, "n_draws": 50, "n_steps": 20, "n_background": 10}


def test_every_method_in_one_table(explained_toy: AnnData, toy_net: Any) -> None:
    adata = explained_toy
    slots = {s: set(getattr(adata, s)) for s in ("obs", "var", "layers", "obsm", "uns")}
    assert sx.tl.compare(adata, toy_net, n_samples=300, n_permutations=2, **SMALL) is None
    for slot, names in slots.items():
        assert set(getattr(adata, slot)) == names | ({ADDED} if slot == "uns" else set())
    found = adata.uns[ADDED]
    table = found["table"].set_index("method")
    assert table.index.tolist() == [
        "value", "change", "ig_zero", "ig_mean", "ig_random", "ig_expected", "ig_own",
        "deeplift_shap", "gradient_shap", "kernel_shap", "permutation_shap", "random",
    ]  # fmt: skip
    assert table["applies"].all()
    areas = ["top@delta_star", "bottom@delta_star", "top@1", "bottom@1"]
    assert table[areas].notna().all(axis=None)
    assert (table.loc["change", ["top@1"]] < table.loc["random", ["top@1"]]).all()
    auc = found["auc"].query("scale == '1' and direction == 'top'")
    mean = auc.groupby("method")["auc"].mean()
    pd.testing.assert_series_equal(
        table["top@1"].sort_index(), mean.sort_index(), check_names=False
    )
    # the same numbers as the protocol gives on its own
    sx.tl.perturbation_curve(adata, toy_net, rank_by="change", mask_obs=SOME, n_draws=50)
    alone = adata.uns["sensx_perturbation"]["auc"]["auc"].to_numpy()
    both = found["auc"].query("method == 'change'")["auc"].to_numpy()
    np.testing.assert_allclose(alone, both, rtol=1e-12)


def test_methods_that_do_not_apply_say_why(adata: AnnData) -> None:
    def model(rows: np.ndarray) -> np.ndarray:
        return np.tanh(rows[:, :4].sum(axis=1) / 20)

    sx.tl.sensx(adata, model, n_walks=20, n_samples=200)
    with sx.settings.override(memory_budget=10_000):
        sx.tl.compare(adata, model, methods=["value", "ig_zero", "kernel_shap", "permutation_shap"],
                      max_rows=1000, **SMALL)  # fmt: skip
    table = adata.uns[ADDED]["table"].set_index("method")
    assert table["applies"].tolist() == [True, False, False, False]
    assert "black box" in table.loc["ig_zero", "reason"]
    assert "GB of memory" in table.loc["kernel_shap", "reason"]
    assert table.loc[["ig_zero", "kernel_shap"], "top@1"].isna().all()
    assert table.loc["value", "reason"] == ""
    assert set(adata.uns[ADDED]["auc"]["method"]) == {"value"}


def test_too_many_evaluations(explained_toy: AnnData, toy_net: Any) -> None:
    sx.tl.compare(explained_toy, toy_net, methods=["permutation_shap", "value"], max_rows=50,
                  **SMALL)  # fmt: skip
    row = explained_toy.uns[ADDED]["table"].iloc[0]
    assert not row["applies"]
    assert "`max_rows`" in row["reason"]


def test_accuracy_against_known_truth(explained_toy: AnnData, toy_net: Any) -> None:
    adata = explained_toy
    own = adata.obs["sensx_target"].astype(object).to_numpy()[:, None]
    adata.obsm["relevant"] = adata.var["marker_of"].to_numpy()[None, :] == own
    adata.obsm["all"] = np.broadcast_to(adata.var["marker_of"].notna().to_numpy(), adata.shape)
    sx.tl.compare(adata, toy_net, methods=["change", "random"], relevant="all", **SMALL)
    found = adata.uns[ADDED]
    table = found["table"].set_index("method")
    assert table.loc["change", "accuracy_2"] > table.loc["random", "accuracy_2"]
    assert found["accuracy"]["k"].max() == 9
    adata.var["known"] = adata.var["marker_of"].notna()
    sx.tl.compare(adata, toy_net, methods=["change", "random"], relevant="known", **SMALL)
    pd.testing.assert_frame_equal(adata.uns[ADDED]["accuracy"], found["accuracy"])


def test_scores_can_be_kept_and_compared_again(explained_toy: AnnData, toy_net: Any) -> None:
    adata = explained_toy
    sx.tl.compare(adata, toy_net, methods=["ig_zero"], keep_scores=True, **SMALL)
    first = adata.uns[ADDED]["auc"]["auc"].to_numpy()
    kept = adata.layers[f"{ADDED}_ig_zero"]
    assert np.isfinite(kept[SOME]).all()
    assert np.isnan(kept[~SOME]).all()
    sx.tl.compare(adata, toy_net, methods=[f"{ADDED}_ig_zero"], key_added="again", **SMALL)
    np.testing.assert_allclose(adata.uns["again"]["auc"]["auc"], first, rtol=1e-4)


def test_backgrounds(explained_toy: AnnData, toy_net: Any) -> None:
    adata, areas = explained_toy, []
    adata.obs["is_b"] = adata.obs["cell_type"] == "B"
    whole = adata.X.toarray()
    for background in ("is_b", adata.obs["is_b"].to_numpy(), whole[20:40], None):
        how = {**SMALL, "n_background": 20}
        sx.tl.compare(adata, toy_net, methods=["ig_mean"], background=background, **how)
        areas.append(adata.uns[ADDED]["auc"]["auc"].to_numpy())
    np.testing.assert_allclose(areas[0], areas[1])
    np.testing.assert_allclose(areas[0], areas[2])
    assert not np.allclose(areas[0], areas[3])


def test_round_trip(explained_toy: AnnData, toy_net: Any, round_trip: Callable[..., None]) -> None:
    sx.tl.compare(explained_toy, toy_net, methods=["value", "kernel_shap"], max_rows=10, **SMALL)
    round_trip(explained_toy, ADDED)


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "methods": ({"methods": 5}, TypeError, "`methods` must be a name"),
    "unknown": (
        {"methods": ["lime"]},
        KeyError,
        "Other methods are 'ig_zero', ",
    ),
    "not stored": ({"methods": ["shapley"]}, KeyError, "kept on request"),
    "background": ({"background": np.ones((3, 4))}, ValueError, "`background` must be finite"),
    "column": ({"background": "train"}, KeyError, "`background` 'train' is not a column"),
    "count": ({"n_background": 0}, ValueError, "n_background=0"),
    "steps": ({"n_steps": 1.5}, ValueError, "n_steps=1.5"),
    "relevant": ({"relevant": "truth"}, KeyError, "relevant='truth' is neither"),
    "kind of relevant": ({"relevant": "X_pca"}, ValueError, "must hold bools"),
    "scales": ({"scales": 0}, ValueError, "`scales` must hold"),
    "taken": ({"key_added": "sensx"}, ValueError, "no result of sx.tl.compare"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input(case: str, explained_toy: AnnData, toy_net: Any) -> None:
    how, error, match = WRONG[case]
    with pytest.raises(error, match=match):
        sx.tl.compare(explained_toy, toy_net, **{"methods": ["value"], **SMALL, **how})
    assert ADDED not in explained_toy.uns
