"""The door of the landscapes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

import sensx_sc as sx

if TYPE_CHECKING:
    from collections.abc import Callable

    from anndata import AnnData

ADDED = "sensx_landscape"
SMALL: dict[str, Any] = {"deltas": [0.1, 0.5, 1.0], "ks": [1, 5, 20], "n_draws": 50}


def test_what_is_written(explained_toy: AnnData, toy_net: Any) -> None:
    adata = explained_toy
    assert sx.tl.landscape(adata, toy_net, rank_by="change", **SMALL) is None
    found = adata.uns[ADDED]
    cells = found["cells"]
    assert len(found["grid"]) == len(cells) * 2 * 3 * 3
    assert (found["grid"]["low"] <= found["grid"]["median"]).all()
    np.testing.assert_allclose(cells["threshold"], cells["qoi"] / 2)
    np.testing.assert_allclose(
        cells["delta_star"], adata.obs["sensx_delta_star"].loc[cells["cell"]]
    )
    counts = found["genes"].groupby("cell").size()
    pd.testing.assert_series_equal(
        counts.sort_index(),
        cells[cells["n_significant"] > 0].set_index("cell")["n_significant"].sort_index(),
        check_names=False,
    )
    # the significant genes are the first of the ranking by the same statistic
    cell = cells.loc[cells["n_significant"].idxmax(), "cell"]
    first = sx.get.rankings(adata, cells=cell, rank_by="change")["names"]
    mine = found["genes"].query("cell == @cell")["names"].tolist()
    assert mine == first.tolist()[: len(mine)]


def test_markers_are_significant(explained_toy: AnnData, toy_net: Any) -> None:
    """The genes that overturn a call of type A are mostly planted markers of a type."""
    sx.tl.landscape(explained_toy, toy_net, rank_by="change", **SMALL)
    first = explained_toy.uns[ADDED]["genes"].query("rank <= 2")["names"]
    planted = explained_toy.var_names[explained_toy.var["marker_of"].notna()]
    assert first.isin(planted).mean() > 0.6


def test_round_trip(explained_toy: AnnData, toy_net: Any, round_trip: Callable[..., None]) -> None:
    sx.tl.landscape(explained_toy, toy_net, mask_obs=np.arange(60) < 3, **SMALL)
    round_trip(explained_toy, ADDED)


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "threshold": ({"threshold": "half"}, ValueError, "`threshold` must be None or a finite"),
    "nan": ({"threshold": np.nan}, ValueError, "`threshold` must be None or a finite"),
    "percentile": ({"percentile": 101}, ValueError, "`percentile` must lie between 0 and 100"),
    "rankings": ({"rank_by": ["value", "change"]}, TypeError, "the name of one ranking"),
    "deltas": ({"deltas": [0.5, 0.1]}, ValueError, "`deltas` must increase"),
    "ks": ({"ks": [0.5]}, ValueError, "`ks` must be increasing whole"),
    "draws": ({"n_draws": -1}, ValueError, "n_draws=-1"),
    "unknown": ({"rank_by": "std"}, KeyError, "'std' is neither"),
    "taken": ({"key_added": "sensx"}, ValueError, "no result of sx.tl.landscape"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input(case: str, explained_toy: AnnData, toy_net: Any) -> None:
    how, error, match = WRONG[case]
    with pytest.raises(error, match=match):
        sx.tl.landscape(explained_toy, toy_net, **{**SMALL, **how})
    assert ADDED not in explained_toy.uns
