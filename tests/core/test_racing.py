"""Racing finds the top k of exhaustive walks, and evaluates far less."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

import sensx_sc as sx
from sensx_sc.core.intervals import bounded_interval
from sensx_sc.core.racing import certify, looks

if TYPE_CHECKING:
    from sensx_sc.core import Explanation

N, K = 300, 10


@pytest.fixture(scope="module")
def net() -> nn.Module:
    """A net whose inputs differ in importance, as genes do."""
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(N, 16), nn.Tanh(), nn.Linear(16, 1)).double().eval()
    with torch.no_grad():
        net[0].weight *= torch.exp(0.7 * torch.randn(N, dtype=torch.float64))
    return net


def explained(net: Any, **how: Any) -> Explanation:
    x = np.zeros((1, how.pop("n", N)))
    x[0, ::7] = 1.0
    settings: dict[str, Any] = {
        "lower": 0, "upper": 5, "deltas": [0.02, 0.04], "n_samples": 50, "tau": 1e-4,
        "n_walks": 400, "precision": "float64", "progress": False,
    }  # fmt: skip
    return sx.core.explain(x, net, **(settings | how))


def top(found: Explanation, k: int = K) -> set[int]:
    return set(np.flatnonzero((found.rank[0] > 0) & (found.rank[0] <= k)).tolist())


@pytest.mark.parametrize("design", ["balanced", "uniform"])
@pytest.mark.parametrize("rank_by", ["value", "change"])
def test_the_top_k_is_that_of_exhaustive_walks(rank_by: str, design: str, net: nn.Module) -> None:
    """At least 1 - alpha of 200 repetitions; 50 each for two statistics and two designs."""
    alpha, repetitions, same, evaluated = 0.05, 50, 0, []
    for seed in range(repetitions):
        how = {"rank_by": rank_by, "design": design, "seed": seed, "n_walks": 120}
        raced = explained(net, top_k=K, alpha=alpha, **how)
        whole = explained(net, **how)
        same += top(raced) == top(whole)
        evaluated.append(raced.n.sum() / whole.n.sum())
    assert same >= (1 - alpha) * repetitions
    assert np.mean(evaluated) < 0.9


def test_features_in_doubt_have_the_numbers_of_exhaustive_walks(net: nn.Module) -> None:
    raced, whole = explained(net, top_k=K), explained(net)
    full = raced.n[0] == whole.n[0]
    assert 0 < full.sum() < 0.5 * N
    for name in ("value", "change", "mean", "std", "shapley", "se"):
        np.testing.assert_allclose(
            getattr(raced, name)[0, full], getattr(whole, name)[0, full], rtol=1e-9
        )
    assert (raced.n[0][~full] < whole.n[0][~full]).all()
    assert raced.n_undecided[0] > 0
    assert raced.top_k_gap[0] > 0
    assert not raced.top_k_certified[0]


def test_a_clear_top_k_is_certified_early() -> None:
    w = np.ones(40)
    w[:4] = 30.0

    def model(z: np.ndarray) -> np.ndarray:
        return (z**2) @ w

    found = explained(model, n=40, top_k=4, tau=1.0)
    assert found.top_k_certified[0]
    assert found.top_k_gap[0] < 0
    assert found.n_undecided[0] == 0
    assert top(found, 4) == {0, 1, 2, 3}
    assert found.n.max() < 400


def linear(weights: dict[int, float]) -> nn.Module:
    """A linear model of 30 features that reads a few of them."""
    net = nn.Linear(30, 1, bias=False).double().eval()
    with torch.no_grad():
        net.weight.zero_()
        for j, w in weights.items():
            net.weight[0, j] = w
    return net


def test_a_feature_without_spread_is_decided_at_once() -> None:
    """The effects of a linear model are all the same; what it does not read is exactly 0."""
    found = explained(linear({5: 2.0, 9: 4.0, 2: 0.5}), n=30, top_k=2, qoi="logit")
    assert found.top_k_certified[0]
    assert top(found, 2) == {5, 9}
    assert found.n.max() == 80


def test_an_effect_that_was_not_seen_may_be_rare() -> None:
    """What a black box may read without a trace so far could be more than a small effect."""

    def model(z: np.ndarray) -> np.ndarray:
        return z[:, 5] * 2.0 + z[:, 9] * 4.0 + z[:, 11] * 0.05

    found = explained(model, n=30, top_k=3)
    assert not found.top_k_certified[0]
    assert found.n_undecided[0] == 28
    assert explained(model, n=30, top_k=2).top_k_certified[0]
    provable = explained(linear({5: 2.0, 9: 4.0, 11: 0.05}), n=30, top_k=3, qoi="logit")
    assert provable.top_k_certified[0]


def test_rare_effects_are_hardly_ever_missed() -> None:
    """A feature that matters in one walk of thirty is first; few certificates say otherwise."""

    def model(z: np.ndarray) -> np.ndarray:
        return 50.0 * (z[:, 0] > 0.97) + z[:, 1:] @ np.linspace(0.1, 1, 11)

    wrong = 0
    for seed in range(40):
        found = sx.core.explain(
            np.full((1, 12), 0.5), model, lower=0, upper=1, n_walks=400, top_k=1, alpha=0.05,
            design="uniform", n_samples=200, deltas=[1.0], seed=seed, progress=False,
        )  # fmt: skip
        wrong += bool(found.top_k_certified[0]) and top(found, 1) != {0}
    assert wrong <= 2


@pytest.mark.parametrize("design", ["balanced", "uniform", "sobol"])
def test_one_block_of_walks_certifies_nothing(design: str, net: nn.Module) -> None:
    found = explained(net, top_k=K, n_walks=1, design=design)
    assert not found.top_k_certified[0]
    assert found.n_undecided[0] == N


def test_more_wanted_than_there_are_features(net: nn.Module) -> None:
    found = explained(net, top_k=N + 5)
    assert found.top_k_certified[0]
    assert (found.n[0] == 80).all()  # the first look is enough


def test_without_a_race_nothing_is_said(net: nn.Module) -> None:
    found = explained(net)
    assert not found.top_k_certified[0]
    assert np.isnan(found.top_k_gap[0])
    assert found.n_undecided[0] == 0


def test_equals_are_hardly_ever_certified() -> None:
    """Two features of equal importance at the border: a certificate would be chance."""
    certified = 0
    for seed in range(60):
        found = explained(
            lambda z: np.sin(3 * z[:, 1]) + np.sin(3 * z[:, 2]),
            n=3, top_k=1, alpha=0.1, deltas=[0.5, 1.0], seed=seed, design="uniform",
        )  # fmt: skip
        certified += bool(found.top_k_certified[0])
    assert certified <= 10  # 6 expected at most


@pytest.mark.parametrize(
    ("half", "certified", "gap", "doubtful"),
    [
        (0.4, True, -0.2 / 3, []),
        (0.5, True, 0.0, []),
        (1.0, False, 1 / 3, [1, 2]),
        (np.inf, False, np.inf, [0, 1, 2]),
    ],
)
def test_certificates_by_hand(
    half: float, certified: bool, gap: float, doubtful: list[int]
) -> None:
    score = np.array([5.0, 3.0, 2.0, np.nan])
    verdict, in_doubt = certify(score, score - half, score + half, 2)
    assert verdict.certified is certified
    assert verdict.gap == pytest.approx(gap)
    assert in_doubt.tolist() == doubtful
    assert verdict.n_undecided == len(doubtful)


def test_nothing_to_tell_apart_is_certified() -> None:
    score = np.array([2.0, 1.0])
    assert certify(score, score, score, 2)[0].certified
    assert certify(np.full(2, np.nan), score, score, 1)[0].certified


@pytest.mark.parametrize("method", ["hoeffding", "bernstein"])
def test_certificates_from_bounds_are_hardly_ever_wrong(method: Any) -> None:
    """Rare effects and few walks, where Student's interval is wrong in a tenth and more."""
    rng, alpha, n, wrong, made = np.random.default_rng(0), 0.1, 600, 0, 0
    truth = np.array([0.3, 0.05, 0.04])
    for _ in range(500):
        x = (rng.random((n, 3)) < truth).astype(float)
        se = x.std(axis=0, ddof=1) / np.sqrt(n)
        ends = bounded_interval(x.mean(axis=0), se, n, method=method, coverage=1 - alpha / 3)
        for k in (1, 2):
            verdict, _ = certify(x.mean(axis=0), *ends, k)
            made += verdict.certified
            top = set(np.argsort(-x.mean(axis=0), kind="stable")[:k].tolist())
            wrong += verdict.certified and top != set(range(k))
    assert wrong <= alpha * 1000
    assert made >= 400  # the first is certified


def test_looks_grow_and_end() -> None:
    assert looks(1) == [1]
    assert looks(4) == [4]
    assert looks(100) == [4, 6, 9, 13, 19, 28, 42, 63, 94, 100]
    assert looks(200, block=1)[0] == 80


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ({"top_k": 0}, ValueError, "`top_k` must be None or a whole number of at least 1"),
        ({"top_k": 2.5}, ValueError, "`top_k` must be None or a whole number"),
        ({"top_k": "ten"}, TypeError, "`top_k` must be"),
        ({"top_k": 5, "alpha": 0}, ValueError, "`alpha` must be between 0 and 1"),
        ({"top_k": 5, "alpha": 1.5}, ValueError, "`alpha` must be between 0 and 1"),
        ({"top_k": 5, "rank_by": "mean"}, ValueError, "`top_k` 5 needs `rank_by` to be one of"),
    ],
)
def test_wrong_input(
    how: dict[str, Any], error: type[Exception], message: str, net: nn.Module
) -> None:
    with pytest.raises(error, match=message):
        explained(net, **how)
