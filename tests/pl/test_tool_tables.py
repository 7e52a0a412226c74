"""What pictures of the tools share: reading results, names and styles of methods."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from sensx_sc.metrics.baselines import BASELINES
from sensx_sc.pl._tool_tables import (
    chosen,
    method_name,
    method_styles,
    place_points,
    tool_results,
)


def test_results_of_the_right_tool() -> None:
    adata = ad.AnnData(np.zeros((2, 2)))
    adata.uns["a"] = {"params": {"tool": "landscape"}}
    adata.uns["b"] = 3
    assert tool_results(adata, "a", ("compare", "landscape")) is adata.uns["a"]
    for key in ("a", "b", "c"):
        with pytest.raises(KeyError, match=r"no results of sx.tl.compare: run sx.tl.compare first"):
            tool_results(adata, key, ("compare",))


def test_every_baseline_has_a_name() -> None:
    for name in (*BASELINES, "value", "change", "mean", "shapley", "random"):
        assert method_name(name) != name
    assert method_name("my_layer") == "my_layer"


@pytest.mark.parametrize("n", [1, 13, 40])
def test_methods_can_be_told_apart(n: int) -> None:
    methods = ["value", "change", "random", *(f"other {i}" for i in range(n))]
    styles = method_styles(methods)
    assert list(styles) == methods
    seen = {(s["color"], str(s["linestyle"])) for s in styles.values()}
    assert len(seen) == min(n, 21) + 3  # seven colours, three kinds of line
    assert styles["value"]["linewidth"] > styles["random"]["linewidth"]


def test_names_that_are_asked_for() -> None:
    there = pd.Series(["b", "a", "b"])
    assert chosen(None, there, "groups", "group") == ["b", "a"]
    assert chosen("a", there, "groups", "group") == ["a"]
    with pytest.raises(KeyError, match="groups: no group is named 'c'"):
        chosen(["a", "c"], there, "groups", "group")


def test_points_are_spread() -> None:
    at = place_points(np.linspace(0, 1, 50))
    assert np.abs(at).max() <= 1
    assert np.abs(np.diff(at)).min() > 0.3  # neighbours are apart
