"""Several targets at the price of one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestRegressor
from torch import nn

import sensx_sc as sx

N = 6
WEIGHTS = np.random.default_rng(0).normal(size=(N, 4)) * [0.3, 1.0, 6.0, 1.0]
X = np.random.default_rng(1).random((3, N))
HOW: dict[str, Any] = {"lower": 0, "upper": 1, "n_walks": 20, "n_samples": 60, "tau": 0.3}
FIELDS = ("value", "mean", "std", "change", "shapley", "se", "n", "rank", "qoi", "delta_star",
          "envelope", "noise_floor", "bracket")  # fmt: skip


class Counted:
    """Outputs of which some saturate at the same scale; how many rows were seen."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        self.seen += len(rows)
        return np.stack([np.tanh((row[:, None] * WEIGHTS).sum(axis=0)) for row in rows])


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(N, 3), nn.Tanh(), nn.Linear(3, 4)).eval()


def forest() -> Any:
    rows = np.random.default_rng(2).random((60, N))
    return RandomForestRegressor(5, max_depth=3, random_state=0).fit(rows, rows @ WEIGHTS)


def same(found: Any, expected: Any) -> None:
    assert found.status == expected.status
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


def test_every_output_at_once() -> None:
    """Also where outputs have numbers for names, in another order than theirs."""
    model = sx.models.as_model(Counted(), n_features=N, output_names=["3", "0", "2", "1"])
    found = sx.core.explain_targets(X, model, **HOW)
    assert list(found) == ["3", "0", "2", "1"]
    for k, explanation in enumerate(found.values()):
        same(explanation, sx.core.explain(X, Counted(), target=k, **HOW))


@pytest.mark.parametrize("make", [Counted, net, forest], ids=["black box", "stem", "trees"])
@pytest.mark.parametrize(
    "more",
    [{}, {"top_k": 2}, {"groups": {"a": [0, 1], "b": [2, 3, 5]}}, {"precision": "float64"}],
    ids=["plain", "raced", "groups", "double"],
)
def test_results_are_those_of_separate_calls(make: Any, more: dict[str, Any]) -> None:
    model = make()
    found = sx.core.explain_targets(X, model, [3, 0, 2], **HOW, **more)
    assert list(found) == ["3", "0", "2"]
    for name, explanation in found.items():
        expected = sx.core.explain(X, model, target=int(name), **HOW, **more)
        same(explanation, expected)
        assert explanation.output_names == expected.output_names


def test_a_black_box_is_asked_once_where_delta_star_agrees() -> None:
    counted = Counted()
    how = {**HOW, "deltas": [1.0], "n_walks": 40}  # one scale: delta* agrees
    one = sx.core.explain(X, counted, target=1, **how)
    alone = counted.seen
    counted.seen = 0
    found = sx.core.explain_targets(X, counted, [0, 1, 2, 3], **how)
    assert counted.seen < 1.2 * alone
    same(found["1"], one)
    counted.seen = 0
    apart = sx.core.explain_targets(X, counted, [0, 1, 2, 3], **{**HOW, "tau": 1.2})
    scales = {tuple(e.delta_star) for e in apart.values()}
    assert len(scales) > 1  # where it does not, neighbourhoods are shared, walks are not
    assert counted.seen > alone


def test_memory_that_is_small_changes_nothing() -> None:
    sx.settings.memory_budget = 2**20
    found = sx.core.explain_targets(X, Counted(), [0, 1], **HOW)
    for name, explanation in found.items():
        same(explanation, sx.core.explain(X, Counted(), target=int(name), **HOW))


@pytest.mark.parametrize(
    ("targets", "more", "error", "match"),
    [
        ([], {}, TypeError, "`targets` must be names or numbers of at least one output"),
        ("0", {}, TypeError, "`targets` must be names or numbers of at least one output; got '0'"),
        ([0, 0], {}, ValueError, "`targets` holds '0' more than once"),
        ([0, "0"], {}, ValueError, "`targets` holds '0' more than once"),
        ([0, "z"], {}, KeyError, "`target` 'z' is not an output of the model"),
        ([0], {"target": 1}, TypeError, "takes `targets`, not `target`"),
        ([0], {"nonsense": 1}, TypeError, "`explain_targets` takes the arguments of `explain`; it"),
        ([0], {"qoi": lambda out: out[:, 0]}, ValueError, "no meaning beside a callable `qoi`"),
    ],
)
def test_wrong_arguments(
    targets: Any, more: dict[str, Any], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        sx.core.explain_targets(X, Counted(), targets, **HOW, **more)
