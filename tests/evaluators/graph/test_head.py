"""What is left of a model behind its stem."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import torch
from torch import nn

from sensx_sc.evaluators.graph.columns import NoStemError

_ZOO = runpy.run_path(str(Path(__file__).parents[1] / "zoo.py"))
N, built, found = (_ZOO[name] for name in ("N", "built", "found"))
net, ends = _ZOO["net"], _ZOO["ends"]


def test_weights_are_not_copied_for_the_head() -> None:
    module = built("paper")
    own = {id(parameter) for parameter in module.parameters()}
    assert {id(parameter) for parameter in found(module).head.parameters()} < own


def test_a_head_that_fails_is_no_stem_and_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    module = net(lambda m, x: x, tail=nn.Sequential(nn.Unflatten(1, (3, 3)), nn.Flatten()))
    with pytest.raises(NoStemError, match=r"cannot be traced \(RuntimeError\)"):
        found(module.double())
    assert capfd.readouterr() == ("", "")


def test_constants_are_worked_out_once_and_rows_as_often_as_there_are() -> None:
    def forward(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        scale = torch.exp(m.log_scale)
        covariates = (m.covariates * 2).expand(x.shape[0], -1)
        return torch.cat([m.first(x) * scale, covariates], 1) / x.shape[0]

    module = ends(forward, log_scale=torch.randn(8), covariates=torch.randn(1, 3)).double()
    stem = found(module)
    targets = {str(node.target) for node in stem.head.graph.nodes}
    assert "size" in targets
    assert not {"shape", "expand"} & targets
    assert not any("exp" in target for target in targets)
    for size in (1, 7):
        rows = torch.rand(size, N, dtype=torch.float64)
        torch.testing.assert_close(stem.outputs(stem.states(rows)), module(rows))
