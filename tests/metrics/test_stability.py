"""Convergence curves and resampling: by hand, by closed form, by coverage."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from sensx_sc.metrics import BlockSums, bootstrap_ranks, convergence_curve


def of(effects: np.ndarray, walks: int = 1) -> BlockSums:
    return BlockSums(effects * walks, np.full(effects.shape, float(walks)), walks)


def test_pure_noise_looks_converged_in_the_papers_curve_and_nowhere_else() -> None:
    """600 walks and 580 of them: the correlation of means is sqrt(580 / 600) = .983."""
    noise = np.random.default_rng(0).random((600, 4000))
    last = convergence_curve(of(noise), k=50).iloc[-1]
    assert last["n_walks"] == 600
    assert last["successive"] == pytest.approx(np.sqrt(580 / 600), abs=3e-3)
    assert abs(last["split_half"]) < 0.06
    assert last["overlap"] < 0.1


def test_every_column_by_hand() -> None:
    rng = np.random.default_rng(1)
    effects = rng.random((12, 30)) * np.linspace(0.5, 2, 30)
    table = convergence_curve(of(effects), k=4, step=4)
    assert table["n_walks"].tolist() == [4, 8, 12]
    mean = {n: effects[:n].mean(axis=0) for n in (4, 8, 12)}
    assert np.isnan(table["successive"][0])
    assert table["successive"][2] == pytest.approx(spearmanr(mean[12], mean[8])[0])
    one, other = effects[:8:2].mean(axis=0), effects[1:8:2].mean(axis=0)
    r = spearmanr(one, other)[0]
    assert table["split_half"][1] == pytest.approx(r)
    assert table["reliability"][1] == pytest.approx(2 * r / (1 + r))
    top = [set(np.argsort(-half)[:4].tolist()) for half in (one, other)]
    assert table["overlap"][1] == pytest.approx(len(top[0] & top[1]) / 4)
    best = np.argsort(-mean[12])[:4]
    error = effects[:, best].std(axis=0, ddof=1) / np.sqrt(12)
    assert table["relative_error"][2] == pytest.approx(np.median(error / mean[12][best]))


def test_steps_are_whole_blocks() -> None:
    table = convergence_curve(of(np.random.default_rng(0).random((6, 9)), walks=20), k=3, step=30)
    assert table["n_walks"].tolist() == [40, 80, 120]
    single = convergence_curve(of(np.ones((2, 9)), walks=20), k=3)
    assert np.isnan(single.iloc[0][["split_half", "reliability", "overlap"]].astype(float)).all()


def test_the_spearman_brown_curve_predicts_an_independent_run() -> None:
    rng = np.random.default_rng(2)
    truth = rng.random(3000)
    runs = [truth + 3 * rng.normal(size=(200, 3000)) + 9 for _ in range(2)]
    predicted = convergence_curve(of(runs[0]), k=50).iloc[-1]["reliability"]
    seen = spearmanr(runs[0].mean(axis=0), runs[1].mean(axis=0))[0]
    assert predicted == pytest.approx(seen, abs=0.03)


def test_equals_are_tied_and_so_agree() -> None:
    """A linear model: rounding must not decide which feature is first."""
    effects = 0.3 + 1e-17 * np.random.default_rng(0).normal(size=(40, 20))
    effects[:, 3] = 0.7
    last = convergence_curve(of(effects), k=5).iloc[-1]
    assert last["reliability"] == pytest.approx(1.0)
    assert last["overlap"] == 1.0


def test_scores_and_errors_of_unequal_blocks() -> None:
    rng = np.random.default_rng(3)
    weight = rng.integers(1, 5, (10, 3)).astype(float)
    total = weight * rng.random((10, 3)) * [1, -1, 1]
    weight[:, 2] = total[:, 2] = 0
    sums = BlockSums(total, weight, 4)
    whole = np.ones((1, 10))
    mean = total.sum(axis=0)[:2] / weight.sum(axis=0)[:2]
    np.testing.assert_allclose(sums.scores(whole)[0, :2], np.abs(mean), rtol=1e-12)
    spread = ((total[:, :2] - mean * weight[:, :2]) ** 2).sum(axis=0) * 10 / 9
    np.testing.assert_allclose(
        sums.errors(whole)[0, :2], np.sqrt(spread) / weight[:, :2].sum(axis=0), rtol=1e-12
    )
    assert np.isnan(sums.scores(whole)[0, 2])
    assert np.isnan(sums.errors(whole)[0, 2])
    twice = np.array([[2.0, 0] * 5])
    some = BlockSums(np.repeat(total[::2], 2, axis=0), np.repeat(weight[::2], 2, axis=0), 4)
    np.testing.assert_allclose(sums.scores(twice), some.scores(whole), rtol=1e-12)


def test_features_are_resampled_together() -> None:
    """Two features whose effects are the same in every walk, but for a trifle, never swap."""
    common = np.random.default_rng(4).exponential(size=(60, 1))
    effects = np.concatenate([common, common * 0.999, common * 0.5], axis=1)
    found = bootstrap_ranks(of(effects), k=1)
    assert found.p_top_k.tolist() == [1.0, 0.0, 0.0]
    assert found.rank_low.tolist() == found.rank_high.tolist() == [1.0, 2.0, 3.0]


def test_probabilities_of_the_top_are_calibrated() -> None:
    """Over 300 runs, P(rank <= k) says how often a feature is truly there."""
    rng, said, truth = np.random.default_rng(5), [], []
    for _ in range(300):
        mean = 1 + 0.1 * rng.normal(size=8)
        effects = mean + rng.normal(size=(50, 8)) * 0.5
        said.append(bootstrap_ranks(of(effects + 9), k=3).p_top_k)
        truth.append(np.argsort(np.argsort(-mean)) < 3)
    p, hit = np.concatenate(said), np.concatenate(truth)
    for low, high in ((0.0, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 1.01)):
        among = (p >= low) & (p < high)
        assert hit[among].mean() == pytest.approx(p[among].mean(), abs=0.12)
    assert p.reshape(300, 8).sum(axis=1) == pytest.approx(3)


@pytest.mark.parametrize("coverage", [0.8, 0.95])
def test_rank_intervals_and_scores_cover(coverage: float) -> None:
    """Skewed effects, 500 repetitions; the studentised interval within 2.5 %."""
    rng, of_rank, of_score = np.random.default_rng(6), 0.0, 0.0
    mean = np.array([1.0, 0.9, 0.5, 0.2])
    for _ in range(500):
        effects = rng.exponential(size=(60, 4)) * mean
        found = bootstrap_ranks(of(effects), k=2, coverage=coverage, seed=int(rng.integers(2**31)))
        rank = np.arange(1, 5)
        of_rank += np.mean((found.rank_low <= rank) & (rank <= found.rank_high))
        of_score += np.mean((found.low <= mean) & (mean <= found.high))
    assert of_rank / 500 >= coverage
    assert of_score / 500 == pytest.approx(coverage, abs=0.025)


def test_unknown_features_stay_unknown() -> None:
    total = np.random.default_rng(0).random((20, 3))
    weight = np.ones_like(total)
    weight[:, 1] = total[:, 1] = 0
    found = bootstrap_ranks(BlockSums(total, weight, 1), k=2)
    assert found.p_top_k[1] == 0
    assert np.isnan([found.rank_low[1], found.rank_high[1], found.low[1], found.high[1]]).all()
    assert found.p_top_k[[0, 2]].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("how", "match"),
    [
        ({"k": 0}, "`k` must be a whole number of at least 1; got 0"),
        ({"k": 2.5}, "`k` must be a whole number"),
        ({"n_boot": True}, "must be a whole number"),
        ({"coverage": 1.0}, "`coverage` must lie between 0 and 1; got 1.0"),
        ({"sums": of(np.ones((1, 3)))}, "at least two blocks of walks; there are 1"),
    ],
)
def test_resampling_that_is_refused(how: dict[str, Any], match: str) -> None:
    arguments: dict[str, Any] = {"sums": of(np.ones((4, 3))), "k": 2, **how}
    with pytest.raises(ValueError, match=match):
        bootstrap_ranks(arguments.pop("sums"), **arguments)


def test_steps_that_are_refused() -> None:
    with pytest.raises(ValueError, match="`step` must be a whole number of at least 1; got 0"):
        convergence_curve(of(np.ones((4, 3))), k=2, step=0)
