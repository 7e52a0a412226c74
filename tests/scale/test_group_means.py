"""Means of groups, block by block."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

import sensx_sc as sx
from sensx_sc.scale.group_means import GroupMeans, Moments
from sensx_sc.tl._ranking_table import ranking_table


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(0, 2**32))
def test_moments_do_not_depend_on_the_blocks(sizes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = 1e6 + rng.normal(size=(sum(sizes), 4))
    data[rng.random(data.shape) < 0.2] = np.nan
    moments = Moments(4)
    for block in np.split(data, np.cumsum(sizes)[:-1]):
        moments.add(block)
    count = np.isfinite(data).sum(axis=0)
    np.testing.assert_array_equal(moments.count, count)
    for j in np.flatnonzero(count):
        column = data[np.isfinite(data[:, j]), j]
        np.testing.assert_allclose(moments.mean[j], column.mean(), rtol=1e-12)
        # The values sit on 1e6: sums of squares about zero would lose everything.
        np.testing.assert_allclose(
            moments.spread[j], ((column - column.mean()) ** 2).sum(), atol=1e-6
        )


def test_a_feature_that_one_cell_lacks_keeps_its_mean() -> None:
    group = GroupMeans(2)
    value = np.array([[1.0, 2.0], [3.0, np.nan]])
    group.add({"value": value}, value > 0)
    table = ranking_table(group, ("a", "b"), "value").set_index("names")
    assert table["value"].to_dict() == {"a": 2.0, "b": 2.0}
    assert table["n_cells"].to_dict() == {"a": 2, "b": 1}
    assert np.isnan(table.loc["b", "value_se"])


def test_both_tools_make_the_same_table() -> None:
    adata = sx.datasets.toy()
    weights = np.random.default_rng(0).normal(size=(20, 3))
    sx.tl.sensx(
        adata, lambda rows: np.tanh(rows @ weights / 9), target="0", n_walks=20, n_samples=100,
        deltas=[0.3, 1.0], statistics=("value", "change", "mean", "se"),
    )  # fmt: skip
    sx.tl.rank_groups(adata, "sensx_target")
    ours, theirs = (adata.uns[key]["rankings"] for key in ("sensx", "sensx_sensx_target"))
    # The layers are single precision.
    pd.testing.assert_frame_equal(ours, theirs[ours.columns], rtol=1e-5, check_dtype=False)
