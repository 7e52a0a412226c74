"""Counts, levels, categories and one-hot blocks: laws, closed forms, and exact evaluators."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.ensemble import RandomForestRegressor
from torch import nn

from sensx_sc.core import Explanation, explain
from sensx_sc.core.domain import make_domain, typical_lengths
from sensx_sc.core.features import settle_features
from sensx_sc.core.kinds import Kinds
from sensx_sc.core.sampling import cell_key, endpoints, make_design, orders
from sensx_sc.core.walks import place

# feature: 0 continuous, 1 count, 2-4 a one-hot block, 5 binary, 6 ordinal, 7 codes of a category
LOWER = np.array([0.0, 0, 0, 0, 0, 0, 0, 0])
UPPER = np.array([1.0, 9, 1, 1, 1, 1, 3, 4])
KINDS = {1: "count", 5: "binary", 6: "ordinal", 7: "categorical"}
BLOCKS = {"batch": [2, 3, 4]}
X = np.array([
    [0.3, 4, 0, 1, 0, 0, 1, 2],
    [0.0, 0, 1, 0, 0, 1, 0, 0],
    [0.9, 9, 0, 0, 1, 0, 3, 4],
])  # fmt: skip
AT = np.eye(8)
NAMES = ("0", "1", "batch", "5", "6", "7")


def call(model: Any, X: np.ndarray = X, **arguments: Any) -> Explanation:
    base: dict[str, Any] = {
        "lower": LOWER, "upper": UPPER, "kinds": KINDS, "blocks": BLOCKS, "deltas": [0.4],
        "tau": 1e-9, "n_samples": 400, "n_walks": 2000, "seed": 3,
    }  # fmt: skip
    return explain(X, model, **{**base, **arguments})


B = np.array([0.0, 1.0, 3.0])
C = np.array([0.0, 2.0, -1.0, 5.0, 0.5])


def main_effects(z: np.ndarray) -> np.ndarray:
    code = np.rint(z[:, 7]).astype(int)
    return (2 * z[:, 0] + 0.5 * z[:, 1] + z[:, 2:5] @ B + 1.5 * z[:, 5]
            + z[:, 6] ** 2 + C[code])  # fmt: skip


# ---- the laws of endpoints


def ends_of(x: np.ndarray, delta: float, n: int = 20_000) -> np.ndarray:
    domain, _ = settle_features(8, LOWER, UPPER, kinds=KINDS, blocks=BLOCKS)
    u = np.random.default_rng(0).random((n, 8))
    return place(u, x, domain, delta)


def close(counts: np.ndarray, chances: np.ndarray) -> bool:
    """Whether counts are those of chances: a p-value above 1e-4, and none where there is none."""
    there = chances > 0
    if counts[~there].any():
        return False
    if there.sum() == 1:
        return True
    expected = chances[there] / chances[there].sum() * counts.sum()
    return bool(stats.chisquare(counts[there], expected).pvalue > 1e-4)


@pytest.mark.parametrize("delta", [0.05, 0.4, 1.0])
@pytest.mark.parametrize("i", [0, 1, 2])
def test_where_features_end(i: int, delta: float) -> None:
    x, ends = X[i], ends_of(X[i], delta)
    # A count: the nearest whole number of the continuous end.
    low, high = max(0.0, x[1] - 9 * delta), min(9.0, x[1] + 9 * delta)
    cuts = np.clip(np.arange(11) - 0.5, low, high)
    assert close(np.bincount(ends[:, 1].astype(int), minlength=10), np.diff(cuts))
    # Levels in an order: the same, in ranks.
    low, high = max(0.0, x[6] - 3 * delta), min(3.0, x[6] + 3 * delta)
    cuts = np.clip(np.arange(5) - 0.5, low, high)
    assert close(np.bincount(ends[:, 6].astype(int), minlength=4), np.diff(cuts))
    # Categories: another with probability delta, each as likely.
    block = ends[:, 2:5]
    assert (block.sum(axis=1) == 1).all()
    assert np.isin(block, (0, 1)).all()
    chances = np.where(x[2:5] == 1, 1 - delta, delta / 2)
    assert close(block.sum(axis=0).astype(int), chances)
    chances = np.where(np.arange(5) == x[7], 1 - delta, delta / 4)
    assert close(np.bincount(ends[:, 7].astype(int), minlength=5), chances)
    chances = np.where(np.arange(2) == x[5], 1 - delta, delta)
    assert close(np.bincount(ends[:, 5].astype(int), minlength=2), chances)
    # The continuous one is where it was without the others.
    domain = make_domain(LOWER, UPPER, 8)
    u = np.random.default_rng(0).random((len(ends), 8))
    np.testing.assert_array_equal(ends[:, 0], place(u, x, domain, delta)[:, 0])


def test_steps_of_each_kind() -> None:
    domain, _ = settle_features(8, LOWER, UPPER, kinds=KINDS, blocks=BLOCKS)
    end = np.array([
        [0.5, 6, 0, 1, 0, 1, 3, 2],
        [0.3, 4, 1, 0, 0, 0, 0, 4],
    ])  # fmt: skip
    lengths = domain.lengths(np.repeat(X[:1], 2, axis=0), end)
    np.testing.assert_allclose(lengths, [[0.2, 2, 0, 1, 2 / 3, 0], [0, 0, 1, 0, -1 / 3, 1]])


@given(st.integers(2, 9), st.floats(0.001, 1.0), st.integers(0, 2**32 - 1))
def test_ends_are_levels_and_mirrored_fractions_stay_inside(k: int, delta: float, s: int) -> None:
    rng = np.random.default_rng(s)
    kinds = {0: "ordinal", 1: "categorical"}
    levels = {0: np.cumsum(rng.random(k) + 0.1), 1: np.arange(k)}
    domain, _ = settle_features(2, [0, 0], [50, k - 1], kinds=kinds, levels=levels)
    x = np.array([levels[0][rng.integers(k)], rng.integers(k)])
    u = np.concatenate([rng.random((50, 2)), [[0.0, 0.0], [1.0, 1.0], [0.0, 1.0]]])
    ends = place(u, x, domain, delta)
    for j in (0, 1):
        assert np.isin(ends[:, j], levels[j]).all()


# ---- closed forms


def within_errors(found: np.ndarray, expected: np.ndarray, se: np.ndarray) -> bool:
    return bool((np.abs(found - expected) <= 4 * se + 1e-9).all())


@pytest.mark.parametrize("delta", [0.4, 1.0])
def test_main_effects_in_closed_form(delta: float) -> None:
    r = call(main_effects, deltas=[delta])
    assert r.groups is not None
    assert r.groups.names == NAMES
    for i, x in enumerate(X):
        ends = {
            1: exact_law(x[1], 9, delta), 6: exact_law(x[6], 3, delta),
        }  # fmt: skip
        own, code = int(x[2:5].argmax()), int(x[7])
        others, codes = np.delete(B, own) - B[own], np.delete(C, code) - C[code]
        # value, mean: exact for what is linear in its step.
        np.testing.assert_allclose(r.value[i, :2], [2, 0.5], rtol=1e-9)
        np.testing.assert_allclose(r.mean[i, :2], [2, 0.5], rtol=1e-9)
        assert r.value[i, 3] == pytest.approx(1.5)
        assert r.mean[i, 3] == pytest.approx(1.5)  # more is more, from either side
        ranks, chance = ends[6]
        effect = np.abs(ranks**2 - x[6] ** 2)[ranks != x[6]]
        step = np.abs(ranks - x[6])[ranks != x[6]] / 3
        p = chance[ranks != x[6]]
        value = np.array([np.abs(others).mean(), (effect / step) @ p / p.sum(),
                          np.abs(codes).mean()])  # fmt: skip
        at = [2, 4, 5]
        assert within_errors(r.value[i, at], value, r.se[i, at])
        counts, q = ends[1]
        change = np.array([
            0.5 * np.abs(counts - x[1]) @ q, delta * np.abs(others).mean(), 1.5 * delta,
            effect @ p, delta * np.abs(codes).mean(),
        ])  # fmt: skip
        assert within_errors(r.change[i, 1:], change, r.change_se[i, 1:])
        shapley = -np.array([
            0.5 * (counts - x[1]) @ q, delta * others.mean(), delta * 1.5 * (1 - 2 * x[5]),
            (ranks**2 - x[6] ** 2) @ chance, delta * codes.mean(),
        ])  # fmt: skip
        spread = np.maximum(r.change_se[i, 1:], 1e-3) * 2
        assert within_errors(r.shapley[i, 1:], shapley, spread)
        # A step that stays is none.
        assert abs(r.n[i, 2] / 2000 - delta) < 0.02
        assert abs(r.n[i, 5] / 2000 - delta) < 0.02


def exact_law(own: float, most: int, delta: float) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers from 0, and their chances as rounded ends."""
    low, high = max(0.0, own - most * delta), min(float(most), own + most * delta)
    values = np.arange(most + 1)
    return values, np.diff(np.clip(np.arange(most + 2) - 0.5, low, high)) / (high - low)


def test_product_of_a_category_and_a_number() -> None:
    # q = b(level) z: of the category at its turn z is either x or e, each as likely.
    r = call(lambda z: (z[:, 2:5] @ B) * z[:, 0], X[:1], deltas=[1.0], n_walks=4000)
    x = X[0, 0]
    others = np.abs(np.delete(B, 1) - 1)
    value = np.mean(others) * 0.5 * (x + 0.5)  # z is x, or uniform on [0, 1]
    assert within_errors(r.value[0, 2:3], np.array([value]), r.se[0, 2:3])
    # Of the number: b is that of x, or of one of the others, each as likely.
    value = 0.5 * (1 + np.mean(np.delete(B, 1)))
    assert within_errors(r.value[0, :1], np.array([value]), r.se[0, :1])


def test_every_walk_step_by_step_from_the_definition() -> None:
    def net(z: np.ndarray) -> np.ndarray:
        return np.tanh(z @ np.linspace(-1, 1, 8)) + z[:, 0] * z[:, 5] + z[:, 2] * z[:, 6]

    r = call(net, n_walks=80)
    domain, _ = settle_features(8, LOWER, UPPER, kinds=KINDS, blocks=BLOCKS)
    plan = make_design("balanced", 80)
    groups = [[0], [1], [2, 3, 4], [5], [6], [7]]
    for i, x in enumerate(X):
        order = orders(3, cell_key(i), plan, range(plan.n_blocks), 8, domain.leaders)
        u = endpoints(3, cell_key(i), plan, range(plan.n_blocks), 8, np.arange(8))
        e = place(u, x, domain, 0.4)
        steps = domain.lengths(np.repeat(x[None], len(e), axis=0), e)
        d, dq = np.full((len(e), 6), np.nan), np.zeros((len(e), 6))
        for w in range(len(e)):
            t = x.copy()
            for g in order[w]:
                before = net(t[None])[0]
                t[groups[g]] = e[w, groups[g]]
                dq[w, g] = net(t[None])[0] - before
                if steps[w, g]:
                    d[w, g] = dq[w, g] / steps[w, g]
        np.testing.assert_allclose(r.value[i], np.nanmean(np.abs(d), axis=0), rtol=1e-9)
        np.testing.assert_allclose(r.mean[i], np.nanmean(d, axis=0), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(r.change[i], np.abs(dq).mean(axis=0), rtol=1e-9)
        np.testing.assert_allclose(r.shapley[i].sum(), net(x[None])[0] - net(e).mean(), rtol=1e-9)
        np.testing.assert_array_equal(r.n[i], (steps != 0).sum(axis=0))


def test_a_feature_whose_levels_are_out_of_reach_has_no_value() -> None:
    r = call(main_effects, deltas=[0.01])
    assert np.isnan(r.value[:, [1, 4]]).all()  # a step of .09 counts, or of .03 ranks
    assert (r.n[:, [1, 4]] == 0).all()
    assert (r.rank[:, [1, 4]] == 0).all()
    assert np.isfinite(r.value[:, 0]).all()


# ---- with groups, races and hierarchies


def test_blocks_inside_groups() -> None:
    groups = {"A": [0, 2, 3, 4], "B": [1, 5], "C": [6, 7]}
    r = call(main_effects, groups=groups, n_walks=400)
    assert r.value.shape == (3, 3)
    single = call(main_effects, n_walks=400)
    flat = single.qoi
    np.testing.assert_array_equal(flat, r.qoi)
    held = call(main_effects, groups={"A": [0], "B": [1, 5]}, ungrouped="single", n_walks=400)
    assert held.groups is not None
    assert held.groups.names == ("A", "B", "batch", "6", "7")
    inside = call(main_effects, groups=groups, within="features", within_top=3, n_walks=400)
    assert inside.within is not None
    assert inside.within.names == NAMES
    np.testing.assert_allclose(inside.value[:, 3:6], single.value[:, :3], rtol=1e-9)


def test_racing_for_discrete_features() -> None:
    whole = call(main_effects, n_walks=2000, rank_by="change", deltas=[1.0])
    raced = call(main_effects, n_walks=2000, rank_by="change", top_k=2, deltas=[1.0])
    assert (raced.rank[raced.top_k_certified] <= 2).sum() == 2 * raced.top_k_certified.sum()
    for i in np.flatnonzero(raced.top_k_certified):
        assert set(np.flatnonzero(raced.rank[i] <= 2)) == set(np.flatnonzero(whole.rank[i] <= 2))


# ---- exact evaluators


class Net(nn.Module):
    task = "regression"

    def __init__(self) -> None:
        super().__init__()
        import torch

        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(8, 3), nn.Tanh(), nn.Linear(3, 1))

    def forward(self, rows: Any) -> Any:
        return self.net(rows)


def forest() -> RandomForestRegressor:
    rng = np.random.default_rng(1)
    z = rng.random((300, 8)) * UPPER
    return RandomForestRegressor(8, max_depth=5, random_state=0).fit(z, main_effects(np.rint(z)))


@pytest.mark.parametrize("model", [Net().eval(), forest()], ids=["stem", "trees"])
def test_structure_gives_the_numbers_of_rows_written_out(model: Any) -> None:
    import torch

    def plain(z: np.ndarray) -> np.ndarray:
        if isinstance(model, nn.Module):
            return model.double()(torch.as_tensor(z)).detach().numpy()[:, 0]
        return model.predict(z)

    how: dict[str, Any] = {"precision": "float64", "n_walks": 40, "deltas": [0.1, 0.5, 1.0],
                           "tau": 0.05}  # fmt: skip
    a, b = call(plain, **how), call(model, **how)
    assert b.params["evaluator"] in ("stem", "trees")
    assert a.status == b.status
    np.testing.assert_array_equal(a.delta_star, b.delta_star)
    np.testing.assert_allclose(b.envelope, a.envelope, rtol=1e-9, atol=1e-12)
    for name in ("value", "change", "shapley", "std"):
        np.testing.assert_allclose(getattr(b, name), getattr(a, name), rtol=1e-8, atol=1e-12)


def test_the_envelope_is_that_of_its_points() -> None:
    r = call(main_effects, X[:1], deltas=[1.0], n_samples=20_000)
    law, q = exact_law(X[0, 1], 9, 1.0)
    assert r.envelope[0, 0, 0] < r.qoi[0] < r.envelope[0, 0, 1]
    only = call(lambda z: 1.0 * z[:, 1], X[:1], deltas=[1.0], n_samples=20_000)
    cumulated = np.cumsum(q)
    assert only.envelope[0, 0, 0] == law[np.searchsorted(cumulated, 0.01)]
    assert only.envelope[0, 0, 1] == law[np.searchsorted(cumulated, 0.99)]


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "kind": ({"kinds": {0: "real"}}, ValueError, "`kinds` must be among .*; got 'real' for"),
    "length": ({"kinds": ["count"]}, ValueError, "a kind for each of the 8 features"),
    "feature": ({"kinds": {9: "count"}}, KeyError, "`kinds` names 9, which is no feature"),
    "name": ({"kinds": {"x": "count"}}, KeyError, "`kinds` names 'x', which is no feature"),
    "levels": ({"levels": {6: [2, 1]}}, ValueError, "must be two or more ascending numbers"),
    "one level": ({"levels": {6: [2]}}, ValueError, "must be two or more ascending numbers"),
    "binary": ({"levels": {5: [0, 1, 2]}}, ValueError, "a binary feature has two `levels`"),
    "meaning": ({"levels": {0: [0, 1]}}, ValueError, "of feature 0 have no meaning: it is 'cont"),
    "bounds": ({"upper": [1, 9, 1, 1, 1, 1, 2.5, 4]}, ValueError, "feature 6 is ordinal, and its"),
    "block": ({"blocks": {"b": [2]}}, ValueError, "'b' must have two or more columns"),
    "block column": ({"blocks": {"b": [2, 99]}}, KeyError, "`blocks` names 99"),
    "shared": ({"blocks": {"a": [2, 3], "b": [3, 4]}}, ValueError, "'a' and 'b' share column 3"),
    "masked": ({"mask": np.arange(8) != 3}, ValueError, "'batch' changes as a whole; 3 of its"),
    "group": ({"groups": [0, 0, 1, 1, 2, 2, 2, 2]}, ValueError, "must be in one of `groups`"),
    "within": (
        {"groups": [0, 0, 1, 1, 1, 2, 2, 2], "within": [0, 1, 2, 3, 3, 4, 5, 6]},
        ValueError,
        "`within` takes the one-hot block 'batch' apart",
    ),
    "gradient": ({"estimator": "gradient", "model": Net().eval()}, ValueError, "no continuous num"),
    "not whole": ({"X": X + 0.5 * AT[1]}, ValueError, "is a count, and input 0 has 4.5"),
    "no level": ({"X": X + 0.5 * AT[6]}, ValueError, "input 0 has 1.5 for feature 6, w"),
    "two hot": ({"X": X + AT[2]}, ValueError, "'batch' must hold one 1, else 0"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "error", "words"), WRONG.values(), ids=WRONG.keys())
def test_wrong_input(arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    how = {"model": main_effects, "n_walks": 40, **arguments}
    with pytest.raises(error, match=words):
        call(**how)


def test_automatic_estimator_walks_where_there_are_no_gradients() -> None:
    r = call(Net().eval(), estimator="auto", n_walks=40)
    assert set(r.estimator) == {"walks"}
    assert all(audit is None for audit in r.audits)


def test_typical_steps() -> None:
    """Of a count at least one, of a level its distance to the next, of the others a whole step."""
    domain, _ = settle_features(8, LOWER, UPPER, kinds=KINDS, blocks=BLOCKS)
    lengths = dict(zip(NAMES, typical_lengths(domain, X[0], 0.05), strict=True))
    assert lengths.pop("0") == pytest.approx(0.05 / 2)  # .05 down or up: half of it on average
    assert lengths == {"1": 1.0, "batch": 1.0, "5": 1.0, "6": 1 / 3, "7": 1.0}
    wide = typical_lengths(domain, X[0], 1.0)
    assert wide[1] == pytest.approx((4**2 + 5**2) / (2 * 9))  # counts that reach further


def test_kinds_of_continuous_features_and_of_others_beside_them() -> None:
    first = Kinds.continuous(2)
    other = Kinds(np.array([3, 4, 4]), {0: np.array([0.0, 1.0])}, {"batch": np.array([1, 2])})
    both = first.beside(other)
    assert both.kind.tolist() == [0, 0, 3, 4, 4]
    assert {j: levels.tolist() for j, levels in both.levels.items()} == {2: [0.0, 1.0]}
    assert {name: columns.tolist() for name, columns in both.blocks.items()} == {"batch": [3, 4]}
    assert both.counted() == {"binary": 1, "categorical": 1}
