"""Which operations leave rows apart, whatever their number is."""

from __future__ import annotations

import operator
from typing import Any

import pytest
import torch
from torch.nn import functional

from sensx_sc.evaluators.graph.operations import (
    BATCH,
    is_in_place,
    is_switched_off,
    leaves_rows_apart,
    name_of,
)

X = object()
ALL = slice(None)

APART: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("getitem", (X, (ALL, 0)), {}),
    ("getitem", (X, (..., slice(2))), {}),
    ("getitem", (X, (ALL, None, [1, 2])), {}),
    ("getitem", (X, ...), {}),
    ("view", (X, BATCH, 2, -1), {}),
    ("view", (X, (-1, 6)), {}),
    ("reshape", (X,), {"shape": (BATCH, 6)}),
    ("expand", (X, -1, 3, 4), {}),
    ("repeat", (X, 1, 2, 2), {}),
    ("permute", (X, (0, 2, 1)), {}),
    ("transpose", (X, 1, -1), {}),
    ("flatten", (X, 1), {}),
    ("flatten", (X,), {"start_dim": -2}),
    ("squeeze", (X, (1, 2)), {}),
    ("unsqueeze", (X, -1), {}),
    ("flip", (X, 1, 2), {}),
    ("flip", (X, [1]), {}),
    ("split", (X, 2, 1), {}),
    ("chunk", (X, 2), {"dim": -1}),
    ("cat", ([X, X], 2), {}),
    ("roll", (X, 3, 1), {}),
    ("unfold", (X, 1, 2, 2), {}),
]
TOGETHER: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("getitem", (X, 0), {}),
    ("getitem", (X, slice(5)), {}),
    ("getitem", (X, (slice(5), 1)), {}),
    ("getitem", (X, (..., slice(5), ALL, ALL)), {}),
    ("getitem", (X, (..., torch.ones(5, 2, 2, dtype=torch.bool))), {}),
    ("getitem", (X, (None, ALL)), {}),
    ("getitem", (X, torch.tensor([0])), {}),
    ("view", (X, 6, -1), {}),
    ("view", (X, -1, BATCH), {}),
    ("view", (X, 1, -1), {}),
    ("expand", (X, 1, 3, 4), {}),
    ("expand", (X, -1, -1, 3, 4), {}),
    ("repeat", (X, BATCH, 2, 2), {}),
    ("repeat", (X, 1, 1, 2, 2), {}),
    ("permute", (X, 1, 0, 2), {}),
    ("transpose", (X, 0, 1), {}),
    ("transpose", (X, -3, 1), {}),
    ("flatten", (X,), {}),
    ("squeeze", (X,), {}),
    ("squeeze", (X, (0, 1)), {}),
    ("unsqueeze", (X, -4), {}),
    ("flip", (X, [0, 1]), {}),
    ("split", (X, 2), {}),
    ("chunk", (X, 1), {}),
    ("cat", ([X, X],), {}),
    ("roll", (X, 6), {}),
    ("roll", (X, 6, 0), {}),
]


@pytest.mark.parametrize(("name", "args", "kwargs"), APART)
def test_rows_apart(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    assert leaves_rows_apart(name, args, kwargs, 3)


@pytest.mark.parametrize(("name", "args", "kwargs"), TOGETHER)
def test_rows_together(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    assert not leaves_rows_apart(name, args, kwargs, 3)


def test_names() -> None:
    assert name_of(torch.mm) == name_of("mm") == name_of(operator.matmul) == "matmul"
    assert name_of(torch.relu_) == name_of("relu_") == "relu_"
    assert name_of("multiply_") == name_of(operator.imul) == "mul_"
    assert name_of(functional.embedding) == "embedding"
    assert name_of(torch.embedding) == ""  # its arguments are the other way round
    assert name_of(functional.unfold) == ""  # not what the method does
    assert name_of(torch.dropout) == ""


@pytest.mark.parametrize("name", ["add_", "__iadd__", "__setitem__", "zero_"])
def test_in_place(name: str) -> None:
    assert is_in_place(name)


@pytest.mark.parametrize("name", ["add", "__add__", "__getitem__", "__invert__", ""])
def test_not_in_place(name: str) -> None:
    assert not is_in_place(name)


ATEN = {
    torch.ops.aten.linear.default: "linear",
    torch.ops.aten.add.Tensor: "add",
    torch.ops.aten.log1p.default: "log1p",
    torch.ops.aten.relu_.default: "relu_",
    torch.ops.aten.sum.dim_IntList: "sum",
    torch.ops.aten.dropout.default: "dropout",
    # whose arguments are in another order, or which are not known
    torch.ops.aten.embedding.default: "",
    torch.ops.aten.batch_norm.default: "",
    torch.ops.aten.slice.Tensor: "",
}


@pytest.mark.parametrize("target", ATEN, ids=str)
def test_names_of_what_exported_programs_call(target: Any) -> None:
    assert name_of(target) == ATEN[target]


@pytest.mark.parametrize(
    ("args", "kwargs", "expected"),
    [
        ((X, 0.5, False), {}, True),
        ((X,), {"training": False}, True),
        ((X, 0.5), {"train": False}, True),
        ((X, 0.5), {}, False),
        ((X, 0.5, True), {}, False),
        ((X,), {"training": X}, False),
    ],
)
def test_dropouts_that_are_switched_off(
    args: tuple[Any, ...], kwargs: dict[str, Any], expected: bool
) -> None:
    assert is_switched_off(args, kwargs) is expected
