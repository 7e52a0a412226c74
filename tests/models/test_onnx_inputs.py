"""What the inputs of an ONNX graph are fed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sensx_sc.models.onnx_inputs import read_inputs


def entry(name: str, kind: str, *shape: Any) -> Any:
    return SimpleNamespace(name=name, type=f"tensor({kind})", shape=list(shape))


X = entry("x", "float", "n", 3)
BATCH = entry("batch", "int64", "n")
COVS = entry("covs", "float", "n", 2)
HEAT = entry("heat", "float", 1)
MASK = entry("mask", "float", "n", 3)


def test_rows_are_taken_apart_in_the_order_of_the_features() -> None:
    y = entry("y", "double", "n", 1)
    inputs = read_inputs([X, y], "m", features=["y", "x"])
    assert (inputs.n_features, inputs.dtype, inputs.batch) == (4, np.float32, None)
    assert inputs.names is None
    fed = inputs.feed(np.arange(8.0).reshape(2, 4))
    np.testing.assert_array_equal(fed["y"], [[0], [4]])
    np.testing.assert_array_equal(fed["x"], [[1, 2, 3], [5, 6, 7]])
    assert (fed["x"].dtype, fed["y"].dtype) == (np.float32, np.float64)


def test_held_columns_follow_the_features() -> None:
    inputs = read_inputs([X, BATCH, COVS], "m", held={"batch": "code", "covs": ["age", "depth"]})
    assert inputs.columns == ("code", "age", "depth")
    obs = pd.DataFrame({"depth": [1.5], "age": [30], "code": [2]})
    held = inputs.held_values(obs, "m")
    np.testing.assert_array_equal(held, [[2, 30, 1.5]])
    fed = inputs.feed(np.concatenate([[[7.0, 8.0, 9.0]], held], axis=1))
    np.testing.assert_array_equal(fed["batch"], [2])
    assert fed["batch"].dtype == np.int64
    np.testing.assert_array_equal(fed["covs"], [[30, 1.5]])


@pytest.mark.parametrize("n", [1, 5])
def test_fixed_inputs_have_a_row_each_where_the_graph_wants_one(n: int) -> None:
    fixed = {"heat": 2.0, "mask": [1, 0, 1]}
    fed = read_inputs([X, HEAT, MASK], "m", fixed=fixed).feed(np.zeros((n, 3)))
    np.testing.assert_array_equal(fed["heat"], np.array([2.0], dtype=np.float32))
    np.testing.assert_array_equal(fed["mask"], np.tile([1, 0, 1], (n, 1)))


def test_a_graph_without_a_number_of_columns_takes_all() -> None:
    inputs = read_inputs([entry("x", "double", None, None)], "m")
    assert inputs.n_features is None
    assert inputs.feed(np.zeros((2, 9)))["x"].shape == (2, 9)


def test_a_graph_that_is_bound_to_a_number_of_rows() -> None:
    assert read_inputs([entry("x", "float", 4, 3)], "m").batch == 4


@pytest.mark.parametrize(
    ("entries", "how", "match"),
    [
        ([X], {"features": ["z"]}, r"every input of m .*it has x: tensor\(float\)"),
        ([X, BATCH], {"features": ["x"]}, "every input of m must be named once"),
        ([X, BATCH], {"held": {"batch": "a"}, "fixed": {"batch": 0}}, "must be named once"),
        ([X], {"fixed": {"x": 0}}, "one must hold features"),
        ([X, BATCH], {}, r"m must take features as rows .* fixed=\{input: value\}"),
        ([entry("x", "float", "n", 3, 4)], {}, "m must take features as rows"),
        ([entry("w", "float", "n", None), X], {}, "m must take features as rows"),
        ([X, COVS], {"held": {"covs": "age"}}, r"'covs' of m.*cannot hold 1 columns of numbers"),
        ([X, entry("s", "string", "n", 1)], {"held": {"s": "donor"}}, "cannot hold 1 columns"),
        ([X, MASK], {"fixed": {"mask": [1, 2]}}, r"value of shape \(2,\); it takes one of"),
        ([X, HEAT], {"fixed": {"heat": [1, 2]}}, r"'heat'.*\(2,\); it takes one of .*\(1,\)"),
    ],
)  # fmt: skip
def test_inputs_that_cannot_be_meant(entries: list[Any], how: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        read_inputs(entries, "m", **how)
