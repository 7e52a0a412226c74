"""Branches of columns that are functions of the same feature, or of none."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import torch
from torch import nn

_ZOO = runpy.run_path(str(Path(__file__).parents[1] / "zoo.py"))
N, built, found = (_ZOO[name] for name in ("N", "built", "found"))
net, first = _ZOO["net"], _ZOO["first"]


def test_features_that_a_curved_branch_does_not_read_stay_out_of_it() -> None:
    """Their place in the curve is another feature's, where they may be infinite."""

    def forward(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return torch.log(1e-9 + x[:, 30:])

    module = net(forward, first=first(30)).double()
    stem, rows = found(module), torch.rand(4, N, dtype=torch.float64)
    rows[:, :30] = -1.0  # log of which is nan
    torch.testing.assert_close(stem.outputs(stem.states(rows)), module(rows))
    assert not (stem.branches[0].weight[:30] != 0).any()


@pytest.mark.parametrize("name", ["log1p and raw of the same", "three functions of a gene"])
def test_affine_functions_of_a_feature_share_a_branch(name: str) -> None:
    kinds = [branch.phi is None for branch in found(built(name)).branches]
    assert kinds.count(True) == 1
    assert len(kinds) == (2 if name == "log1p and raw of the same" else 3)


def test_what_is_picked_from_the_affine_part_is_affine() -> None:
    def forward(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.log1p(x), 2 * x], 1)[:, 50:]

    branches = found(net(forward, first=first(2 * N - 50)).double()).branches
    assert [branch.phi is None for branch in branches] == [True, False]

    def affine(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return 3 * forward(m, x)[:, 10:]

    (branch,) = found(net(affine, first=first(N)).double()).branches
    assert branch.phi is None
