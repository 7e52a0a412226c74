"""Noise: how large it is, and what is found beyond it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binom
from torch import nn

from sensx_sc.core.options import Options
from sensx_sc.core.preparation import prepare
from sensx_sc.metrics import adjusted, exceedance_p
from sensx_sc.metrics.explained import Explained
from sensx_sc.metrics.noise import RATE, exceedances, noise_level

N, LIVE = 60, 10
SIZE = 1e-4


class Noisy:
    """Rows are answered with errors that depend on when they are asked for."""

    def __init__(self, *, live: int = LIVE, size: float = SIZE) -> None:
        self.rng = np.random.default_rng(0)
        self.weights = np.zeros(N)
        self.weights[:live] = np.linspace(2e-3, 2e-2, live)
        self.size = size

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        # loud where it is checked, so that the check is relative to something
        return 100 + rows @ self.weights + self.size * self.rng.normal(size=len(rows))


def cells(model: Any, n_walks: int = 200, precision: Any = "auto") -> Explained:
    x = np.zeros((1, N))
    run = prepare(
        x, model, lower=0, upper=1, mask=None, qoi="value", deltas="auto", n_walks=n_walks,
        design="balanced", out_of_domain="raise", names=None, batch_size="auto", device="cpu",
        options=Options(precision=precision),
    )  # fmt: skip
    # The walks are confirmed at their ends, where noise is allowed for.
    target, star = np.zeros(1, np.int64), np.array([1.0])
    return Explained(run, x, ("a",), target, star, noise_floor=(1e-3,))


def found(some: Explained, method: Any = "by") -> np.ndarray:
    level = noise_level(some, 0)
    counts, walks = exceedances(some, 0, level.threshold)
    return adjusted(exceedance_p(counts, walks, level.rate), method) <= 0.05


def test_p_values_are_binomial() -> None:
    p = exceedance_p([0, 1, 5], [10, 20, 5], 0.1)
    np.testing.assert_allclose(p, [1.0, 1 - 0.9**20, 0.1**5])
    assert exceedance_p([3], 10, 0.1)[0] == pytest.approx(binom.sf(2, 10, 0.1))


def test_the_level_is_that_of_the_noise() -> None:
    """The difference of two errors of one size, exceeded once in a hundred."""
    level = noise_level(cells(Noisy()), 0)
    assert level.threshold == pytest.approx(np.sqrt(2) * SIZE * 2.576, rel=0.15)
    assert 0.9 * RATE <= level.rate <= 2 * RATE


def test_live_features_are_found_and_dead_ones_are_not() -> None:
    hits, false = [], []
    for seed in range(10):
        model = Noisy()
        model.rng = np.random.default_rng(seed)
        effects = found(cells(model))
        hits.append(effects[:LIVE].mean())
        false.append(effects[LIVE:].sum() / max(1, effects.sum()))
    assert np.mean(hits) == 1.0
    assert np.mean(false) <= 0.05


@pytest.mark.parametrize("method", ["bh", "by"])
def test_a_model_of_noise_alone_gives_no_findings(method: Any) -> None:
    any_found = []
    for seed in range(20):
        model = Noisy(live=0)
        model.rng = np.random.default_rng(seed)
        any_found.append(found(cells(model), method).any())
    assert np.sum(any_found) <= 3  # 1 expected at most


def test_single_precision_is_held_against_double() -> None:
    """Of a net in float32, what rounding leaves of genes without weight is not found."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(N, 30), nn.Tanh(), nn.Linear(30, 1)).eval()
    with torch.no_grad():
        net[0].weight[:, LIVE:] = 1e-9
    some = cells(net, precision="float32")
    level = noise_level(some, 0)
    assert 1e-9 < level.threshold < 1e-5
    effects = found(some)
    assert effects[:LIVE].all()
    assert not effects[LIVE:].any()


def test_double_precision_has_next_to_no_noise() -> None:
    some = cells(lambda rows: np.sin(rows).sum(axis=1))
    assert noise_level(some, 0).threshold < 1e-13
    assert found(some).all()


@pytest.mark.parametrize(
    ("counts", "n", "rate", "match"),
    [
        ([1], 10, 0.0, "`rate` must lie between 0 and 1; got 0.0"),
        ([11], 10, 0.1, "between 0 and the number of steps"),
        ([-1], 10, 0.1, "between 0 and the number of steps"),
    ],
)
def test_refused(counts: list[int], n: int, rate: float, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        exceedance_p(counts, n, rate)
