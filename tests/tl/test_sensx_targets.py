"""Several outputs of a model for each cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

import sensx_sc as sx

if TYPE_CHECKING:
    from anndata import AnnData

WEIGHTS = np.random.default_rng(0).normal(size=(20, 3)) / 5
HOW: dict[str, Any] = {
    "n_walks": 20, "n_samples": 40, "deltas": [0.2, 1.0], "tau": 0.05, "mask_obs": "some",
    "statistics": ("value", "change"),
}  # fmt: skip


class Counted:
    """Three outputs; how many rows were seen."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        self.seen += len(rows)
        return np.stack([np.tanh((row[:, None] * WEIGHTS).sum(axis=0)) for row in rows])


@pytest.fixture
def adata(adata: AnnData) -> AnnData:
    adata.obs["some"] = np.isin(np.arange(adata.n_obs), [3, 10, 41])
    return adata


def test_results_are_those_of_separate_calls(adata: AnnData) -> None:
    counted = Counted()
    sx.tl.sensx_targets(adata, counted, [2, "0"], **HOW)
    together = counted.seen
    alone = adata.copy()
    counted.seen = 0
    for k in (2, 0):
        sx.tl.sensx(alone, counted, target=k, key_added=f"own_{k}", **HOW)
        for name in ("", "_change"):
            np.testing.assert_array_equal(
                adata.layers[f"sensx_{k}{name}"], alone.layers[f"own_{k}{name}"]
            )
        for name in ("delta_star", "status", "target", "qoi"):
            pd.testing.assert_series_equal(
                adata.obs[f"sensx_{k}_{name}"], alone.obs[f"own_{k}_{name}"], check_names=False
            )
        ours, theirs = adata.uns[f"sensx_{k}"], alone.uns[f"own_{k}"]
        pd.testing.assert_frame_equal(ours["rankings"], theirs["rankings"])
        assert ours["params"]["target"] == k
    assert together < 0.75 * counted.seen
    assert "sensx" not in adata.layers
    table = sx.get.rankings(adata, key="sensx_2", n_genes=3)
    assert set(table["group"]) == {"2"}


def test_keys_of_ones_own_and_names_with_a_slash(adata: AnnData) -> None:
    model = sx.models.as_model(Counted(), n_features=20, output_names=["a/b", "c", "d"])
    sx.tl.sensx_targets(adata, model, {"a/b": "first", "d": "second"}, **HOW)
    assert {"first", "second"} <= set(adata.layers)
    sx.tl.sensx_targets(adata, model, ["a/b"], key_added="s", **HOW)
    assert "s_a-b" in adata.layers


def test_every_output_at_once(adata: AnnData) -> None:
    model = sx.models.as_model(Counted(), n_features=20, output_names=["a", "b", "c"])
    sx.tl.sensx_targets(adata, model, key_added="s", **HOW)
    assert {"s_a", "s_b", "s_c"} <= set(adata.layers)
    sx.tl.sensx(adata, model, target="b", key_added="alone", **HOW)
    np.testing.assert_array_equal(adata.layers["s_b"], adata.layers["alone"])


def test_bounds_of_the_prefix_are_used(adata: AnnData) -> None:
    sx.pp.domain(adata, lower=0, upper=12)
    sx.tl.sensx_targets(adata, Counted(), [1], **HOW)
    assert (adata.var["sensx_1_upper"] == 12).all()


@pytest.mark.parametrize(
    ("targets", "more", "error", "match"),
    [
        ([], {}, TypeError, "`targets` must be names or numbers"),
        (
            "ab",
            {},
            TypeError,
            "`targets` must be names or numbers of at least one output; got 'ab'",
        ),
        ([1, 1], {}, ValueError, "`targets` holds '1' more than once"),
        ([7], {}, KeyError, "`target` 7 is not an output of the model"),
        ({0: "k", 1: "k"}, {}, ValueError, "every target needs a key of its own; got 'k', 'k'"),
        ([0], {"store": "x"}, TypeError, "`sensx_targets` takes .*; it has no 'store'"),
        ([0], {"target": 1}, TypeError, "it has no 'target'"),
        ([0], {"tau": -1}, ValueError, "`tau` must be a positive number"),
        ([0], {"qoi": lambda out: out[:, 0]}, ValueError, "no meaning beside a callable `qoi`"),
    ],
)
def test_wrong_arguments(
    adata: AnnData, targets: Any, more: dict[str, Any], error: type[Exception], match: str
) -> None:
    before = set(adata.layers)
    with pytest.raises(error, match=match):
        sx.tl.sensx_targets(adata, Counted(), targets, **{**HOW, **more})
    assert set(adata.layers) == before
