"""Recorded walks are those of the explanation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import sensx_sc as sx
from sensx_sc.core.options import Options
from sensx_sc.core.preparation import prepare
from sensx_sc.metrics.explained import Explained
from sensx_sc.metrics.recording import record

N = 25


@pytest.mark.parametrize("design", ["balanced", "uniform", "sobol"])
@pytest.mark.parametrize("min_step", [0.0, 0.1])
def test_sums_give_the_statistics_of_the_explanation(design: Any, min_step: float) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(N, 9), nn.Tanh(), nn.Linear(9, 2)).eval()
    x = np.random.default_rng(0).random((2, N)) * 0.3
    x[:, 3] = 0
    how: dict[str, Any] = {"lower": 0, "upper": 1, "mask": np.arange(N) != 7, "design": design}
    found = sx.core.explain(
        x, net, n_walks=96, n_samples=100, deltas=[0.2, 1.0], min_step=min_step, seed=5,
        keys=["a", "b"], tau=1e-3, precision="float64", progress=False, **how,
    )  # fmt: skip
    options = Options(seed=5, min_step=min_step, precision="float64")
    run = prepare(
        x, net, n_walks=96, qoi="auto", deltas="auto", out_of_domain="raise", names=None,
        batch_size="auto", device="cpu", options=options, **how,
    )  # fmt: skip
    cells = Explained(run, x, ("a", "b"), found.target, found.delta_star, found.precision)
    for rank_by in ("value", "change", "mean", "shapley"):
        for i in range(2):
            sums = record(cells, i, rank_by)
            assert sums.walks == found.params["block"]
            assert sums.n_blocks == found.params["n_blocks"]
            whole = np.ones((1, sums.n_blocks))
            expected = np.abs(getattr(found, rank_by)[i, run.domain.free])
            np.testing.assert_allclose(sums.scores(whole)[0], expected, rtol=1e-9, atol=1e-15)
            if rank_by in ("value", "change"):
                se = found.se if rank_by == "value" else found.change_se
                np.testing.assert_allclose(
                    sums.errors(whole)[0], se[i, run.domain.free], rtol=1e-6, atol=1e-15
                )
