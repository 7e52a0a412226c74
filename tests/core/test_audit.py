"""The audit: what passes, what fails, and what its bound covers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from sensx_sc.core.audit import Audit, audit, choose_audited

K = 50


def made(
    error: float, ratio: float, noise: float, *, n: int = 27_399, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Truth, an estimate of it with a relative error, noisy exact values and their error."""
    rng = np.random.default_rng(seed)
    truth = np.abs(rng.standard_normal(n))
    estimated = ratio * truth * np.exp(error * rng.standard_normal(n))
    se = noise * truth
    return truth, estimated, np.abs(truth + se * rng.standard_normal(n)), se


def audited(
    estimated: np.ndarray,
    exact: np.ndarray,
    se: np.ndarray,
    n_top: int = 100,
    n_sampled: int = 200,
    k: int = K,
    seed: int = 1,
) -> Audit:
    u = np.random.default_rng(seed).random(len(estimated))
    top, sampled = choose_audited(estimated, u, n_top, n_sampled)
    # What was not audited is not looked at.
    seen = np.full(len(estimated), np.nan)
    seen[np.concatenate([top, sampled])] = 0
    return audit(estimated, exact + seen, se + seen, top, sampled, k)


# The estimator's figures on a net of 27,399 genes: Spearman over all genes, how many of the top 50
# are in common, and the ratio of the totals.
@pytest.mark.parametrize("noise", [0.0, 0.01, 0.03])
@pytest.mark.parametrize(
    ("error", "ratio", "spearman", "common", "passes"),
    [
        (0.010, 1.002, 0.9999, 48, True),  # delta .01
        (0.012, 1.000, 0.9998, 47, True),  # delta* = .087
        (0.140, 1.219, 0.987, 24, False),  # delta 1
    ],
)
def test_figures_of_small_steps_pass_and_those_of_large_ones_fail(
    error: float, ratio: float, spearman: float, common: int, passes: bool, noise: float
) -> None:
    truth, estimated, exact, se = made(error, ratio, noise)
    assert spearmanr(truth, estimated)[0] == pytest.approx(spearman, abs=0.002)
    shared = len(set(np.argsort(-truth)[:K]) & set(np.argsort(-estimated)[:K]))
    assert abs(shared - common) <= 4
    for seed in range(5):
        found = audited(estimated, exact, se, seed=seed)
        assert found.passed is passes, found
        # Over 200 sampled features with an error of 14 % the ratio scatters by 1 %.
        assert found.ratio == pytest.approx(1 / ratio, abs=0.04)
        assert found.n_sampled == 200


def test_at_half_the_domain_the_top_decides() -> None:
    # Spearman .9977, 36 of 50 in common, total 1.04: fails by its top alone.
    _, estimated, exact, se = made(0.06, 1.04, 0.01)
    found = audited(estimated, exact, se)
    assert found.spearman > 0.99
    assert 0.9 < found.ratio < 1.1
    assert found.top_k_agreement < 0.8
    assert not found.passed
    assert found.message.endswith("of the top 50 in common")


@pytest.mark.parametrize(("error", "noise"), [(0.4, 0.0), (0.0, 0.4), (0.2, 0.3)])
def test_the_ratio_has_a_standard_error(error: float, noise: float) -> None:
    """Its spread over other samples, and other noise, of the same values is what it says."""
    truth, estimated, _, se = made(error, 1.0, noise, n=5000)
    total, rng = truth.sum() / estimated.sum(), np.random.default_rng(0)
    found = []
    for seed in range(300):
        exact = truth + se * rng.standard_normal(5000)  # unbiased, as exact values are
        found.append(audited(estimated, exact, se, n_top=10, n_sampled=60, seed=seed))
    off = np.array([(one.ratio - total) / one.ratio_se for one in found])
    assert np.std(off) == pytest.approx(1, abs=0.12)
    assert abs(np.mean(off)) < 0.2


def test_a_ratio_that_chance_may_explain_is_told_from_one_that_it_may_not() -> None:
    _, estimated, exact, se = made(0.4, 1.0, 0.4, n=5000)
    verdicts = [
        audited(estimated * 1.1, exact, se, n_top=10, n_sampled=30, k=5, seed=seed)
        for seed in range(30)
    ]
    outside = [one for one in verdicts if not 0.9 <= one.ratio <= 1.1]
    assert outside
    assert not any(one.passed for one in outside)
    for one in outside:
        near = 0.9 - 1.645 * one.ratio_se <= one.ratio <= 1.1 + 1.645 * one.ratio_se
        assert ("more audited features may clear them" in one.message) is near
    assert f"(standard error {outside[0].ratio_se:.2g})" in outside[0].message


def test_each_limit_has_its_sentence() -> None:
    _, estimated, exact, se = made(0.0, 1.2, 0.0)
    assert audited(estimated, exact, se).message == "exact values sum to 0.833 of the estimate"
    # A sample in disorder below a top in order.
    truth, estimated, exact, se = made(0.0, 1.0, 0.0, n=5000)
    below = np.argsort(-truth)[100:]
    estimated[below] = np.random.default_rng(0).permutation(truth[below])
    found = audited(estimated, exact, se)
    assert found.message.startswith("Spearman ")
    assert found.message.endswith(" on the sample")
    assert abs(found.spearman) < 0.25
    assert found.top_k_agreement == 1.0


def test_a_perfect_estimate_passes_with_one() -> None:
    truth, _, _, se = made(0.0, 1.0, 0.0)
    found = audited(truth, truth, se)
    assert (found.ratio, found.spearman, found.top_k_agreement) == (1.0, 1.0, 1.0)
    assert found.passed
    assert found.message == (
        "exact values sum to 1 of the estimate, Spearman 1.000 on the sample, 100% of the top 50 "
        "in common"
    )


# ---- noise of the exact values


@pytest.mark.parametrize("noise", [0.05, 0.1, 0.2])
def test_noise_of_exact_values_is_not_held_against_the_estimate(noise: float) -> None:
    # The observed correlation is below what an estimate without error has; corrected it is not.
    values = []
    for seed in range(20):
        _, estimated, exact, se = made(0.005, 1.0, noise, seed=seed)
        found = audited(estimated, exact, se, seed=seed)
        values.append(found.spearman)
        assert 0.9 < found.ratio < 1.1
    assert np.mean(values) > 0.99


def test_noise_does_not_hide_an_estimate_that_is_wrong() -> None:
    # A correlation of .8 with the truth stays one under noise of 10 %.
    for seed in range(10):
        _, estimated, exact, se = made(0.8, 1.0, 0.1, seed=seed)
        estimated *= exact.sum() / estimated.sum()
        found = audited(estimated, exact, se, seed=seed)
        assert found.spearman < 0.9
        assert not found.passed


def test_noise_that_moves_no_feature_past_another() -> None:
    # All features of a walk share a factor: standard errors of 30 % that exact values do not show.
    _, estimated, exact, _ = made(0.14, 1.0, 0.0)
    found = audited(estimated, exact, 0.3 * exact)
    assert not found.passed
    _, estimated, exact, _ = made(0.005, 1.0, 0.0)
    assert audited(estimated, exact, 0.3 * exact).passed


def test_values_drowned_in_noise_prove_nothing() -> None:
    rng = np.random.default_rng(0)
    truth = 1 + 0.01 * rng.random(3000)
    exact = np.abs(truth + 0.5 * rng.standard_normal(3000))
    found = audited(truth, exact, np.full(3000, 0.5))
    assert not found.passed
    assert found.message.endswith("more walks may tell them from noise")


def test_near_ties_pass_by_their_values() -> None:
    # Order is noise, but every value is right within 2 %.
    rng = np.random.default_rng(0)
    truth = 1 + 0.001 * rng.random(3000)
    exact = truth + 0.02 * rng.standard_normal(3000)
    assert audited(truth, exact, np.full(3000, 0.02)).passed
    assert not audited(1.2 * truth, exact, np.full(3000, 0.02)).passed


# ---- degenerate inputs


def test_equal_values_are_ties() -> None:
    # What float64 leaves of equal effects is no order.
    exact = np.full(500, 0.3) * (1 + 1e-14 * np.random.default_rng(0).standard_normal(500))
    found = audited(np.full(500, 0.3), exact, np.zeros(500))
    assert found.passed
    assert (found.spearman, found.top_k_agreement) == (1.0, 1.0)
    assert found.missed_at_most < 10


def test_all_zero() -> None:
    nothing = np.zeros(500)
    found = audited(nothing, nothing, nothing)
    assert found.passed
    assert (found.ratio, found.spearman, found.top_k_agreement) == (1.0, 1.0, 1.0)
    wrong = audited(nothing, np.linspace(0, 1, 500), nothing)
    assert not wrong.passed
    assert wrong.ratio == np.inf


def test_mostly_dead_features() -> None:
    exact = np.zeros(4000)
    exact[:30] = np.linspace(1, 2, 30)
    found = audited(exact * 1.01, exact, np.zeros(4000))
    assert found.passed
    assert found.top_k_agreement == 1.0
    # A live feature that the estimate holds for dead is found by the ratio of the sample.
    exact[30:] = 0.01
    assert not audited(np.where(exact > 0.5, exact, 0), exact, np.zeros(4000)).passed


@pytest.mark.parametrize("n", [1, 2, 5, 19])
def test_few_features(n: int) -> None:
    exact = np.linspace(0.5, 3, n)
    for k in (1, 3, K):
        good = audited(exact, exact, 0.01 * exact, n_top=k, k=k)
        assert good.passed
        assert good.missed_at_most == 0
        assert not audited(exact * 1.3, exact, 0.01 * exact, n_top=k, k=k).passed
    if n > 2:
        assert not audited(exact[::-1], exact, 0.01 * exact, n_top=3, k=3).passed


def test_untested_features_are_left_out() -> None:
    _, estimated, exact, se = made(0.01, 1.0, 0.01, n=2000)
    kept = np.zeros(4000, dtype=bool)
    kept[::2] = True
    wide = [np.full(4000, np.nan) for _ in range(3)]
    for each, values in zip(wide, (estimated, exact, se), strict=True):
        each[kept] = values
    u = np.random.default_rng(1).random(4000)
    top, sampled = choose_audited(wide[0], u, 100, 200)
    assert kept[top].all()
    assert kept[sampled].all()
    narrow = audit(estimated, exact, se, *(part // 2 for part in (top, sampled)), K)
    assert audit(*wide, top, sampled, K) == narrow


def test_features_without_a_valid_step_are_left_out() -> None:
    _, estimated, exact, se = made(0.01, 1.0, 0.01, n=2000)
    exact[::3] = se[::3] = np.nan
    found = audited(estimated, exact, se)
    assert found.passed
    assert 100 < found.n_sampled < 160
    nothing = audited(estimated, np.full(2000, np.nan), se)
    assert not nothing.passed
    assert np.isnan(nothing.ratio)
    assert nothing.missed_at_most == 1900


@pytest.mark.parametrize(
    ("top", "sampled", "k", "message"),
    [
        ([0, 1], [1, 2], 2, "`top` and `sampled` must name each feature once"),
        ([0, 1], [2, 4], 2, "`estimated` must be at least 0 where it is audited; got -1.0 at 4"),
        ([0, 3], [2], 2, "`estimated` must be at least 0 where it is audited; got nan at 3"),
        ([0, 1], [2], 0, "`k` must be at least 1; got 0"),
    ],
)
def test_wrong_input(top: list[int], sampled: list[int], k: int, message: str) -> None:
    estimated, exact = np.array([3.0, 2.0, 1.0, np.nan, -1.0]), np.ones(5)
    with pytest.raises(ValueError, match=message):
        audit(estimated, exact, exact, np.array(top), np.array(sampled), k)


# ---- the choice and the bound


def test_the_choice_is_the_top_and_a_random_part_of_the_rest() -> None:
    estimated = np.array([5.0, 1.0, np.nan, 5.0, 3.0, 0.0, 2.0])
    u = np.array([0.0, 0.9, 0.0, 0.0, 0.3, 0.2, 0.5])
    top, sampled = choose_audited(estimated, u, 2, 2)
    assert top.tolist() == [0, 3]
    assert sampled.tolist() == [4, 5]
    top, sampled = choose_audited(estimated, u, 100, 100)
    assert top.tolist() == [0, 3, 4, 6, 1, 5]
    assert sampled.tolist() == []


def test_the_bound_on_missed_features_covers() -> None:
    # 60 of 2000 others exceed the k-th candidate. Over 400 samples of 100 the bound may lie below
    # 60 in 5 %, 4 standard errors more are 9.4 %; and it is no blank cheque.
    rng = np.random.default_rng(0)
    estimated = np.concatenate([np.linspace(20, 10, 20), rng.random(2000)])
    exact = estimated.copy()
    exact[20:80] = 30.0
    bounds = [
        audited(estimated, exact, np.zeros(2020), 20, 100, k=10, seed=seed).missed_at_most
        for seed in range(400)
    ]
    assert np.mean(np.array(bounds) < 60) <= 0.094
    assert np.median(bounds) < 170


def test_the_bound_of_an_empty_finding() -> None:
    # The rule of three: about 3 / 200 of all others, where none of 200 exceeds.
    _, estimated, exact, se = made(0.001, 1.0, 0.0, n=20_100)
    found = audited(estimated, exact, se, n_top=100, n_sampled=200, k=20)
    assert 0.0140 * 20_000 < found.missed_at_most < 0.0150 * 20_000
    # All others looked at: nothing is left to miss.
    assert audited(estimated, exact, se, n_top=100, n_sampled=20_000, k=20).missed_at_most == 0


@pytest.mark.parametrize("n_seen", [0, 1, 3, 10])
@pytest.mark.parametrize("n_others", [30, 57, 400])
def test_the_bound_is_the_largest_total_that_is_not_improbable(n_seen: int, n_others: int) -> None:
    from math import comb

    n_sampled, top, sampled = 20, np.arange(2), np.arange(2, 22)
    exact = np.r_[5.0, 5.0, np.full(n_seen, 9.0), np.zeros(n_others - n_seen)]
    found = audit(exact, exact, np.zeros(len(exact)), top, sampled, 2).missed_at_most

    def at_most_seen(total: int) -> float:  # of a sample without replacement, written out
        ways = [comb(total, s) * comb(n_others - total, n_sampled - s) for s in range(n_seen + 1)]
        return sum(ways) / comb(n_others, n_sampled)

    totals = range(n_seen, n_others - (n_sampled - n_seen) + 1)
    assert found == max(t for t in totals if at_most_seen(t) > 0.05)


def test_the_verdict_is_a_function_of_its_input() -> None:
    _, estimated, exact, se = made(0.02, 1.0, 0.05)
    assert audited(estimated, exact, se) == audited(estimated, exact, se)


def test_candidates_without_an_exact_value_bound_nothing() -> None:
    estimated = np.arange(30.0, 0.0, -1.0)
    top, sampled = np.arange(5), np.arange(10, 20)
    exact = estimated.copy()
    exact[top] = np.nan
    found = audit(estimated, exact, np.zeros(30), top, sampled, 3)
    assert found.missed_at_most == 25  # any of the others may exceed what is not known
    assert found.n_sampled == 10
