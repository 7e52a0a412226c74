"""The door of convergence and stability."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import sensx_sc as sx

if TYPE_CHECKING:
    from collections.abc import Callable

    from anndata import AnnData

ADDED = "sensx_convergence"
SOME = np.isin(np.arange(60), [0, 5, 30])


def test_scores_are_the_stored_ones(explained_toy: AnnData, toy_net: Any) -> None:
    adata = explained_toy
    assert sx.tl.convergence(adata, toy_net, mask_obs=SOME, top_k=5) is None
    found = adata.uns[ADDED]
    assert found["params"]["rank_by"] == "value"
    assert found["curves"]["n_walks"].unique().tolist() == [20, 40, 60, 80]
    assert found["cells"]["n_walks"].tolist() == [80, 80, 80]
    for cell, genes in found["genes"].groupby("cell"):
        stored = sx.get.rankings(adata, cells=cell).set_index("names")
        table = genes.set_index("names")
        np.testing.assert_allclose(table["score"], stored.loc[table.index, "value"], rtol=1e-5)
        np.testing.assert_allclose(
            table["se"], stored.loc[table.index, "se"], rtol=1e-3, atol=1e-12
        )
        assert (table["rank"] == stored.loc[table.index, "rank"]).all()
        assert (table["rank"] <= 5).sum() == 5
        assert ((table["low"] <= table["score"]) & (table["score"] <= table["high"])).all()
        assert table["p_top_k"].sum() == pytest.approx(5, abs=0.2)


@pytest.mark.parametrize("interval", ["t", "bootstrap", "hoeffding", "bernstein", "sequence"])
def test_intervals(explained_toy: AnnData, toy_net: Any, interval: Any) -> None:
    sx.tl.convergence(
        explained_toy, toy_net, rank_by="change", mask_obs=SOME, top_k=5, interval=interval,
        n_walks=400, design="uniform",
    )  # fmt: skip
    genes = explained_toy.uns[ADDED]["genes"]
    assert ((genes["low"] <= genes["score"]) & (genes["score"] <= genes["high"])).all()
    if interval in ("hoeffding", "bernstein", "sequence"):
        assert genes["low"].min() >= 0
        assert genes["high"].max() <= 1


def test_the_bounds_are_wider_than_students(explained_toy: AnnData, toy_net: Any) -> None:
    width = {}
    for interval in ("t", "bernstein", "hoeffding"):
        sx.tl.convergence(
            explained_toy, toy_net, rank_by="change", mask_obs=SOME, top_k=5, interval=interval,  # type: ignore[arg-type]
            n_walks=400, design="uniform",
        )  # fmt: skip
        genes = explained_toy.uns[ADDED]["genes"]
        width[interval] = float((genes["high"] - genes["low"]).mean())
    assert width["t"] < width["bernstein"] < width["hoeffding"]


def test_certificates_agree_with_the_race(explained_toy: AnnData, toy_net: Any) -> None:
    """What is certified here has the top k of a run of ten times as many walks."""
    how: dict[str, Any] = {"rank_by": "change", "top_k": 2, "mask_obs": np.arange(60) % 5 == 0}
    sx.tl.convergence(explained_toy, toy_net, n_walks=400, **how)
    cells = explained_toy.uns[ADDED]["cells"].set_index("cell")
    genes = explained_toy.uns[ADDED]["genes"]
    certified = cells.index[cells["top_k_certified"]]
    assert len(certified) >= 2
    assert (cells.loc[certified, "top_k_gap"] <= 0).all()
    assert (cells.loc[certified, "n_undecided"] == 0).all()
    mine = {c: set(genes.query("cell == @c and rank <= 2")["names"]) for c in certified}
    sx.tl.convergence(explained_toy, toy_net, n_walks=2000, seed=9, n_boot=20, **how)
    genes = explained_toy.uns[ADDED]["genes"]
    other = {c: set(genes.query("cell == @c and rank <= 2")["names"]) for c in certified}
    assert mine == other


def test_seed_and_company(explained_toy: AnnData, toy_net: Any) -> None:
    sx.tl.convergence(explained_toy, toy_net, mask_obs=SOME, top_k=5)
    together = explained_toy.uns[ADDED]["genes"]
    alone = np.arange(60) == 30
    sx.tl.convergence(explained_toy, toy_net, mask_obs=alone, top_k=5)
    one = explained_toy.uns[ADDED]["genes"]
    same = together[together["cell"] == one["cell"].iloc[0]]
    np.testing.assert_allclose(one["p_top_k"], same["p_top_k"])
    np.testing.assert_allclose(one["score"], same["score"], rtol=1e-6)


def test_round_trip(explained_toy: AnnData, toy_net: Any, round_trip: Callable[..., None]) -> None:
    sx.tl.convergence(explained_toy, toy_net, mask_obs=SOME, top_k=5)
    round_trip(explained_toy, ADDED)


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "top_k": ({"top_k": 0}, ValueError, "top_k=0 must be a whole number"),
    "step": ({"step": 1.5}, ValueError, "step=1.5 must be a whole number"),
    "n_boot": ({"n_boot": -3}, ValueError, "n_boot=-3"),
    "rank_by": ({"rank_by": "std"}, ValueError, "`rank_by` must be one of .*got 'std'"),
    "alpha": ({"alpha": 0}, ValueError, "`alpha` must be between 0 and 1; got 0"),
    "interval": ({"interval": "normal"}, ValueError, "`interval` must be one of.*'normal'"),
    "no range": ({"interval": "bernstein"}, ValueError, "needs a statistic with a known range"),
    "design": ({"design": "halton"}, ValueError, "`design` must be one of"),
    "walks": ({"n_walks": 0}, ValueError, "`n_walks` must be a whole number"),
    "one block": ({"n_walks": 1}, ValueError, "makes a single block of walks"),
    "key": ({"key": "other"}, KeyError, "names no SensX results"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input(case: str, explained_toy: AnnData, toy_net: Any) -> None:
    how, error, match = WRONG[case]
    with pytest.raises(error, match=match):
        sx.tl.convergence(explained_toy, toy_net, **how)
    assert ADDED not in explained_toy.uns


def test_a_response_without_range(adata: AnnData) -> None:
    def model(rows: np.ndarray) -> np.ndarray:
        return rows[:, :3].sum(axis=1)

    sx.tl.sensx(adata, model, n_walks=40, n_samples=100, deltas=[0.5, 1.0])
    with pytest.raises(ValueError, match="`interval` 'hoeffding' needs `span`"):
        sx.tl.convergence(adata, model, rank_by="change", interval="hoeffding")
    sx.tl.convergence(adata, model, rank_by="change", interval="hoeffding", span=9.3, top_k=2)
    assert ADDED in adata.uns
