"""Weights drawn anew: which, how, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sensx_sc.metrics.randomization import layers_of, levels, randomized


class Odd(nn.Module):
    """Weights of its own, which it cannot reset, and parts."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.embedding = nn.Parameter(2.0 + 0.1 * torch.randn(500))
        self.empty = nn.Parameter(torch.empty(0))
        self.norm = nn.BatchNorm1d(500)
        self.norm.running_mean += 3
        self.attention = nn.MultiheadAttention(500, 2)
        self.last = nn.Linear(500, 2)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.last(self.norm(rows + self.embedding))


def test_layers_from_the_output_to_the_input() -> None:
    assert layers_of(Odd()) == [
        ("last",), ("attention.out_proj",), ("attention",), ("norm",), ("",)
    ]  # fmt: skip
    merged = layers_of(Odd(), 2)
    assert [len(part) for part in merged] == [3, 2]
    assert [name for part in merged for name in part] == [n for (n,) in layers_of(Odd())]
    assert layers_of(Odd(), 99) == layers_of(Odd())


def test_only_the_layers_that_were_named_change() -> None:
    module = Odd().eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    state = torch.get_rng_state()
    changed = randomized(module, ("last", ""), seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert not changed.training
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name]), name  # the module itself stays
        same = torch.equal(changed.state_dict()[name], before[name])
        assert same == (name.split(".")[0] not in ("last", "embedding") or value.numel() == 0), name
    # weights without a reset keep their law
    drawn = changed.get_parameter("embedding").detach()
    assert float(drawn.mean()) == pytest.approx(2.0, abs=0.02)
    assert float(drawn.std()) == pytest.approx(0.1, abs=0.02)


def test_running_statistics_start_anew() -> None:
    changed = randomized(Odd(), ("norm",), seed=0)
    assert float(changed.get_buffer("norm.running_mean").abs().max()) == 0


def test_seeds() -> None:
    weights = [
        randomized(Odd(), ("last",), seed).get_parameter("last.weight").detach().numpy()
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])
    # a layer's new weights do not depend on what else is drawn
    more = randomized(Odd(), ("attention", "last"), 0).get_parameter("last.weight")
    np.testing.assert_array_equal(weights[0], more.detach().numpy())


@pytest.mark.parametrize(("mode", "changed"), [("cascade", [1, 2, 3]), ("independent", [1, 1, 1])])
def test_modes(mode: Any, changed: list[int]) -> None:
    net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 1))
    before = net.state_dict()
    for (names, copy), expected in zip(levels(net, mode=mode), changed, strict=True):
        after = copy.state_dict()
        moved = [n for n in before if n.endswith("weight") and not torch.equal(before[n], after[n])]
        assert len(moved) == expected
        assert f"{names[0]}.weight" in moved


def test_refused() -> None:
    with pytest.raises(ValueError, match=r"the model \(ReLU\) has no weights"):
        layers_of(nn.ReLU())
    with pytest.raises(ValueError, match="`mode` must be one of .*got 'all'"):
        next(levels(nn.Linear(2, 1), mode="all"))  # type: ignore[arg-type]
