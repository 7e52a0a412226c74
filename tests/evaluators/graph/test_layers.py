"""Affine layers by their weights."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import torch
from torch import nn

from sensx_sc.evaluators.graph.columns import NoStemError, features
from sensx_sc.evaluators.graph.layers import function_layer, module_layer
from sensx_sc.evaluators.graph.symbolic import moved

_ZOO = runpy.run_path(str(Path(__file__).parents[1] / "zoo.py"))
N, built, found = (_ZOO[name] for name in ("N", "built", "found"))


def test_what_is_too_large_to_write_out_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensx_sc.evaluators.graph.columns._MOST_NUMBERS", 59)
    convolution = nn.Conv2d(2, 5, (3, 2), stride=(3, 2))  # 60 features, 20 outputs
    patches = nn.Sequential(nn.Unflatten(1, (2, 6, 5)), convolution).double()
    for module in (patches, built("pooled gene embeddings"), built("sums and means")):
        with pytest.raises(NoStemError, match="numbers to write out"):
            found(module)


def cube() -> object:
    """24 features as (2, 3, 4)."""
    x = features(24, torch.float64, torch.device("cpu"))
    return moved("view", lambda x, *size: x.view(*size), (x, -1, 2, 3, 4), {})


MODULES = [
    nn.Conv2d(2, 3, 2, stride=2),
    nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect", bias=False),
    nn.AvgPool2d((3, 2)),
    nn.AdaptiveAvgPool2d(1),
    nn.Linear(4, 2),
]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: type(module).__name__)
def test_weights_of_a_module(module: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensx_sc.evaluators.graph.layers._TOGETHER", 24 * 5)  # in several parts
    module = module.double().requires_grad_(requires_grad=False)
    layer = module_layer(module, cube())
    (branch,) = layer.branches(24)
    rows = torch.rand(5, 24, dtype=torch.float64)
    expected = module(rows.view(5, 2, 3, 4))
    assert layer.shape == expected.shape[1:]
    torch.testing.assert_close(rows @ branch.weight + branch.bias, expected.flatten(1))


@pytest.mark.parametrize("dim", [1, -1, (1, 2), (-2, 3), (1, 2, 3)])
@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("name", ["sum", "mean"])
def test_weights_of_sums(name: str, dim: int | tuple[int, ...], keepdim: bool) -> None:
    function = getattr(torch, name)
    layer = function_layer(name, function, (cube(), dim), {"keepdim": keepdim})
    (branch,) = layer.branches(24)
    rows = torch.rand(5, 24, dtype=torch.float64)
    expected = function(rows.view(5, 2, 3, 4), dim, keepdim=keepdim)
    assert layer.shape == expected.shape[1:]
    torch.testing.assert_close(rows @ branch.weight, expected.reshape(5, -1))


@pytest.mark.parametrize("dim", [0, -4, (0, 1), (), None])
def test_a_sum_over_rows_is_no_layer(dim: int | tuple[int, ...] | None) -> None:
    assert function_layer("sum", torch.sum, (cube(), dim), {}) is None
