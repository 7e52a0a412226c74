"""Groups of features: what partitions are taken, and explanations of groups (A14)."""

from __future__ import annotations

import json
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestRegressor
from torch import nn

from sensx_sc.core import Explanation, Groups, explain, make_groups
from sensx_sc.core.groups import singletons
from sensx_sc.core.sampling import cell_key, endpoints, make_design, orders
from sensx_sc.core.walks import place

N = 12
X = np.random.default_rng(1).uniform(-0.9, 0.9, (3, N))
A = np.random.default_rng(8).normal(size=(N, 15))
B = np.random.default_rng(9).normal(size=15)
LABEL = np.array([0, 2, 2, 1, 0, 2, 1, 0, 3, 3, 3, 3])


def net(z: np.ndarray) -> np.ndarray:
    return np.tanh(z @ A + 0.3) @ B


def call(X: np.ndarray = X, model: Any = net, **arguments: Any) -> Explanation:
    base = {"lower": -1, "upper": 1, "deltas": [0.5, 1.0], "tau": 1e-9, "n_walks": 40, "seed": 6,
            "n_samples": 50}  # fmt: skip
    return explain(X, model, **{**base, **arguments})


STATISTICS = ("value", "rank", "mean", "std", "change", "shapley", "se", "n", "below_noise")
designs = pytest.mark.parametrize("design", ["balanced", "uniform", "sobol"])
norms = pytest.mark.parametrize("norm", ["l2", "density", "none"])


# ---- what is taken for a partition


def test_labels_of_any_kind() -> None:
    label = [0, 1, 0, -1]
    for given_labels in (
        ["b", "a", "b", None],
        np.array(["b", "a", "b", None], dtype=object),
        ["b", "a", "b", np.nan],
        pd.Series(["b", "a", "b", pd.NA]),
        pd.Categorical(["b", "a", "b", None]),
        [3, 7, 3, -1],
        [3.0, 7.0, 3.0, np.nan],
        {"b": [0, 2], "a": [1]},
        {"b": ["w", "y"], "a": np.array([1])},
    ):
        found = make_groups(given_labels, 4, names=["w", "x", "y", "z"])
        assert found.label.tolist() == label
        assert found.names in (("b", "a"), ("3", "7"))
        assert found.sizes.tolist() == [2, 1]


@given(st.lists(st.integers(-1, 5), min_size=1, max_size=20).filter(lambda v: max(v) >= 0))
def test_labels_and_mappings_are_the_same_partition(labels: list[int]) -> None:
    by_label = make_groups(labels, len(labels))
    mapping = {str(g): [j for j, v in enumerate(labels) if v == g] for g in set(labels) if g >= 0}
    by_name = make_groups(mapping, len(labels))
    for name in by_label.names:
        assert by_label.members(name).tolist() == by_name.members(name).tolist() == mapping[name]
    values = np.arange(len(by_label.names), dtype=float)
    spread = by_label.spread(values)
    assert np.isnan(spread).tolist() == [v < 0 for v in labels]
    for j, v in enumerate(labels):
        assert v < 0 or by_label.names[int(spread[j])] == str(v)


def test_refined_partitions_keep_every_feature() -> None:
    coarse = make_groups(LABEL, N)
    refined = coarse.refined(["2", 0], singletons(N))
    apart = np.isin(LABEL, [0, 2])
    assert refined.label[apart].tolist() == np.flatnonzero(apart).tolist()
    assert refined.label[~apart].tolist() == (N + LABEL[~apart]).tolist()
    assert refined.names == (*map(str, range(N)), "0", "1", "2", "3")


WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "length": ([0, 1], ValueError, r"each of the 4 features, shape \(4,\); got.*\(2,\)"),
    "fractions": ([0.5, 1, 2, 3], TypeError, "whole numbers or text as labels; got fractions"),
    "no labels": (np.array([1j] * 4), TypeError, "a label for each feature, or a mapping"),
    "scalar": (3, TypeError, "a label for each feature, or a mapping"),
    "all missing": ([None] * 4, ValueError, "at least one group with features"),
    "empty mapping": ({}, ValueError, "at least one group with features"),
    "empty group": ({"a": []}, ValueError, "'a' has no features; leave it out"),
    "text": ({"a": "xy"}, TypeError, "'a' must list its features; got 'xy'"),
    "twice": ({"a": [0, 1], "b": [1, 0]}, ValueError, "'x' is in `groups` 'a' and 'b', and so"),
    "unknown name": ({"a": ["q"]}, KeyError, "'a' holds 'q', which is no feature"),
    "position": ({"a": [4]}, KeyError, "holds 4, which is no feature: give positions from 0 to 3"),
    "negative": ({"a": [-1]}, KeyError, "holds -1, which is no feature"),
    "bool": ({"a": [True]}, KeyError, "holds True, which is no feature"),
    "same as text": ({"1": [0], 1: [1]}, ValueError, "must differ as text"),
    "other size": (Groups(("a",), np.zeros(5, int)), ValueError, "5 features; the inputs have 4"),
}  # fmt: skip


@pytest.mark.parametrize(("groups", "error", "words"), WRONG.values(), ids=WRONG.keys())
def test_wrong_partitions(groups: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make_groups(groups, 4, names=["w", "x", "y", "z"])


def test_wrong_use() -> None:
    groups = make_groups([0, 0, 1], 3)
    with pytest.raises(ValueError, match=r"`group_norm` must be one of .*; got 'l1'"):
        groups.with_norm("l1")  # type: ignore[arg-type]
    with pytest.raises(KeyError, match="no group 'x'; there are '0', '1'"):
        groups.members("x")
    with pytest.raises(KeyError, match="no group number 2; there are 2 groups"):
        groups.members(2)


@pytest.mark.parametrize(("n", "end"), [(12, r"'10', '11'\."), (13, r"'10', '11' and 1 more\.")])
def test_long_lists_of_groups_are_cut(n: int, end: str) -> None:
    with pytest.raises(KeyError, match=rf"no group 'x'; there are '0', .*, {end}"):
        make_groups(np.arange(n), n).members("x")


WITHIN: dict[str, Any] = {"groups": LABEL, "within": "features"}
EXPLAIN: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "norm": ({"groups": LABEL, "group_norm": "l1"}, ValueError, "`group_norm` must be one of"),
    "masked": ({"groups": [0] + [-1] * 11, "mask": np.arange(N) > 0}, ValueError, "is in no group"),
    "within alone": ({"within": "features"}, ValueError, "`within` needs `groups`"),
    "within what": ({"groups": LABEL, "within": "pixels"}, ValueError, "'features' or a partition"),
    "within top": ({**WITHIN, "within_top": 0}, ValueError, "`within_top` must be a whole number"),
    "within gaps": ({**WITHIN, "within": [0] * 11 + [-1]}, ValueError, "1 have none.*feature 11"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "error", "words"), EXPLAIN.values(), ids=EXPLAIN.keys())
def test_wrong_explanations(arguments: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call(**arguments)


# ---- explanations


@designs
@norms
@pytest.mark.filterwarnings("ignore:groups have 2 to 4 features")
def test_every_walk_step_by_step_from_the_definition(design: Any, norm: Any) -> None:
    r = call(groups=LABEL, group_norm=norm, design=design)
    assert r.groups is not None
    groups = [np.flatnonzero(g == LABEL) for g in range(4)]
    leaders = np.array([members[0] for members in groups])
    plan = make_design(design, 40)
    blocks = range(plan.n_blocks)
    for i, x in enumerate(X):
        order = orders(6, cell_key(i), plan, blocks, N, leaders)
        u = endpoints(6, cell_key(i), plan, blocks, N, np.arange(N))
        e = x - 1 * np.minimum(x + 1, 2) + u * (np.minimum(x + 1, 2) + np.minimum(1 - x, 2))
        d, dq = np.empty((len(e), 4)), np.empty((len(e), 4))
        for w in range(len(e)):
            t = x.copy()
            for g in order[w]:
                before = net(t[None])[0]
                t[groups[g]] = e[w, groups[g]]
                step = np.abs(e[w] - x)[groups[g]]
                dq[w, g] = net(t[None])[0] - before
                length = {"l2": np.sqrt((step**2).sum()), "density": step.sum(), "none": 1.0}[norm]
                d[w, g] = dq[w, g] / length
        assert r.delta_star[i] == 1.0
        np.testing.assert_allclose(r.value[i], np.abs(d).mean(axis=0), rtol=1e-10)
        np.testing.assert_allclose(r.mean[i], d.mean(axis=0), rtol=1e-8)
        np.testing.assert_allclose(r.std[i], d.std(axis=0, ddof=1), rtol=1e-10)
        np.testing.assert_allclose(r.change[i], np.abs(dq).mean(axis=0), rtol=1e-10)
        np.testing.assert_allclose(r.shapley[i], -dq.mean(axis=0), rtol=1e-8)
        np.testing.assert_allclose(r.shapley[i].sum(), net(x[None])[0] - net(e).mean(), rtol=1e-9)
        assert r.rank[i].tolist() == (np.argsort(np.argsort(-r.value[i])) + 1).tolist()


class Net(nn.Module):
    """The same net as a module, which has an affine stem."""

    task = "regression"

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(N, 4)
        self.last = nn.Linear(4, 1)
        with torch.no_grad():
            self.first.weight.copy_(torch.as_tensor(A.T[:4]))
            self.last.weight.copy_(torch.as_tensor(B[None, :4]))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.last(torch.tanh(self.first(rows)))


def forest() -> RandomForestRegressor:
    z = np.random.default_rng(2).uniform(-1, 1, (200, N))
    return RandomForestRegressor(10, max_depth=4, random_state=0).fit(z, net(z))


MODELS = {"black box": net, "stem": Net().eval(), "trees": forest()}


@designs
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_singletons_are_the_run_without_groups(model: Any, design: Any) -> None:
    a = call(model=model, precision="float64", design=design)
    b = call(model=model, precision="float64", design=design, groups=np.arange(N))
    c = call(model=model, precision="float64", design=design, groups=np.arange(N),
             group_norm="density")  # fmt: skip
    for other in (b, c):
        assert other.status == a.status
        np.testing.assert_array_equal(other.delta_star, a.delta_star)
        for name in STATISTICS:
            exact = name in ("rank", "n") and model is not MODELS["trees"]
            check = np.testing.assert_array_equal if exact else np.testing.assert_allclose
            given_tolerance = {} if exact else {"rtol": 1e-9, "atol": 1e-12}
            check(getattr(other, name), getattr(a, name), **given_tolerance)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_models_of_known_structure_give_the_numbers_of_rows_written_out(model: Any) -> None:
    def plain(z: np.ndarray) -> np.ndarray:
        if isinstance(model, nn.Module):
            return model.double()(torch.as_tensor(z)).detach().numpy()[:, 0]
        return model.predict(z) if hasattr(model, "predict") else model(z)

    a = call(model=plain, groups=LABEL, precision="float64")
    b = call(model=model, groups=LABEL, precision="float64")
    for name in ("value", "change", "shapley", "delta_star"):
        np.testing.assert_allclose(getattr(b, name), getattr(a, name), rtol=1e-9, atol=1e-12)
    told = {"black box": "dense", "stem": "stem", "trees": "trees"}
    assert b.params["evaluator"] == next(told[key] for key, m in MODELS.items() if m is model)


def test_one_group_of_everything_is_the_endpoint() -> None:
    r = call(groups=np.zeros(N, int), design="uniform")
    plan = make_design("uniform", 40)
    u = endpoints(6, cell_key(0), plan, range(40), N, np.arange(N))
    from sensx_sc.core.domain import make_domain

    e = place(u, X[0], make_domain(-1, 1, N), 1.0)
    dq = net(e) - net(X[:1])
    np.testing.assert_allclose(
        r.value[0, 0], np.mean(np.abs(dq) / np.linalg.norm(e - X[0], axis=1))
    )
    np.testing.assert_allclose(r.shapley[0, 0], -dq.mean())


def test_features_in_no_group_are_never_perturbed() -> None:
    label = np.where(np.arange(N) < 8, LABEL, -1)
    seen: list[np.ndarray] = []

    def watched(z: np.ndarray) -> np.ndarray:
        seen.append(z)
        return net(z)

    a = call(X[:1], watched, groups=label)
    rows = np.concatenate(seen)
    # The model's first trial and its check see the input, neighbours and nothing else.
    # (some of them in single precision)
    np.testing.assert_allclose(rows[:, 8:], np.repeat(X[:1, 8:], len(rows), axis=0), rtol=1e-6)
    b = call(X[:1], groups=LABEL, mask=np.arange(N) < 8)
    np.testing.assert_array_equal(a.value, b.value[:, :3])
    np.testing.assert_array_equal(a.envelope, b.envelope)
    assert np.isnan(b.value[0, 3])
    assert b.rank[0, 3] == b.n[0, 3] == 0


def test_constant_and_masked_members_do_not_count() -> None:
    upper = np.where(np.arange(N) == 4, X[0, 4], 1.0)
    lower = np.where(np.arange(N) == 4, X[0, 4], -1.0)
    a = call(X[:1], groups=LABEL, lower=lower, upper=upper)
    b = call(X[:1], groups=np.where(np.arange(N) == 4, -1, LABEL))
    np.testing.assert_allclose(a.value, b.value, rtol=1e-12)


def test_results_say_what_the_groups_were() -> None:
    r = call(
        groups=pd.Series(LABEL).map({0: "a", 1: "b", 2: "c", 3: "d"}), names=list("abcdefghijkl")
    )
    assert r.groups is not None
    assert r.groups.names == ("a", "c", "b", "d")
    assert (r.params["n_groups"], r.params["group_norm"], r.params["n_tested"]) == (4, "l2", N)
    json.dumps(r.params)
    assert r.groups.spread(r.value).shape == X.shape


# ---- inside the top groups


@pytest.mark.parametrize("rank_by", ["value", "change"])
@pytest.mark.parametrize("top", [1, 2, 9])
def test_within_is_the_run_of_the_refined_partition(top: int, rank_by: Any) -> None:
    r = call(groups=LABEL, within="features", within_top=top, rank_by=rank_by)
    coarse = call(groups=LABEL, rank_by=rank_by)
    assert r.value.shape == (3, 4 + N)
    assert r.within is not None
    for name in STATISTICS:
        np.testing.assert_array_equal(getattr(r, name)[:, :4], getattr(coarse, name))
    groups = make_groups(LABEL, N)
    for i in range(3):
        chosen = np.flatnonzero(coarse.rank[i] <= top).tolist()
        refined = groups.refined(chosen, singletons(N))
        # Walked together with the other two, keyed by its own row.
        alone = call(X[i : i + 1], groups=refined, keys=[i], rank_by=rank_by)
        inside = np.isin(LABEL, chosen)
        for name in ("value", "mean", "change", "shapley", "se", "n"):
            got = getattr(r, name)[i, 4:]
            np.testing.assert_allclose(got[inside], getattr(alone, name)[0, :N][inside], rtol=1e-12)
        assert np.isnan(r.value[i, 4:][~inside]).all()
        assert (r.rank[i, 4:][~inside] == 0).all()
        assert sorted(r.rank[i, 4:][inside]) == list(range(1, inside.sum() + 1))


def test_within_finer_groups() -> None:
    fine = np.array([0, 1, 1, 2, 3, 4, 2, 0, 5, 5, 6, 6])  # each inside one of LABEL
    r = call(groups=LABEL, within=fine, within_top=4)
    alone = call(groups=fine)
    np.testing.assert_allclose(r.value[:, 4:], alone.value, rtol=1e-12)
    np.testing.assert_array_equal(r.rank[:, 4:], alone.rank)


def test_within_inputs_without_attribution() -> None:
    r = call(model=lambda z: np.where(z[:, 0] > X[1, 0] - 1e-9, 1.0, 1.0), groups=LABEL,
             within="features")  # fmt: skip
    assert set(r.status) == {"insensitive"}
    assert r.value.shape == (3, 4 + N)
    assert np.isnan(r.value).all()
    assert not r.rank.any()


def test_within_steps_that_fail() -> None:
    def breaks(z: np.ndarray) -> np.ndarray:  # only between the steps of feature 0 and feature 4
        return np.where((z[:, 0] != X[0, 0]) & (z[:, 4] == X[0, 4]), np.nan, net(z))

    r = call(X[:1], breaks, groups=np.zeros(N, int), within="features")
    assert r.status == ("failed",)
    assert "not finite" in r.messages[0]
    assert np.isnan(r.value[0, 1:]).all()


# ---- the estimator and the race know groups


def test_gradients_of_groups() -> None:
    w = torch.arange(1.0, N + 1).double()

    class Linear(nn.Module):
        task = "regression"

        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            return rows @ w.to(rows.dtype)

    arguments: dict[str, Any] = {"groups": LABEL, "n_walks": 400, "precision": "float64"}
    exact = call(model=Linear().eval(), **arguments)
    found = call(model=Linear().eval(), estimator="gradient", **arguments)
    np.testing.assert_allclose(found.value, exact.value, rtol=0.1)  # both vary by some 3 %
    np.testing.assert_allclose(found.change, exact.change, rtol=0.15)
    assert all(audit is not None and audit.passed for audit in found.audits)
    assert found.estimator == ("gradient",) * 3


def test_gradients_of_groups_in_the_limit_of_small_steps() -> None:
    arguments: dict[str, Any] = {"groups": LABEL, "n_walks": 400, "precision": "float64",
                                 "deltas": [1e-4]}  # fmt: skip
    model = Net().eval()
    exact = call(model=model, **arguments)
    found = call(model=model, estimator="gradient", **arguments)
    np.testing.assert_allclose(found.value, exact.value, rtol=0.12)


def test_the_race_of_groups_is_that_of_all_walks() -> None:
    label = np.arange(N) // 2
    scale = np.repeat([5.0, 3.0, 1.0, 0.3, 0.2, 0.1], 2)

    def steep(z: np.ndarray) -> np.ndarray:
        return np.tanh(z * scale).sum(axis=1)

    whole = call(model=steep, groups=label, n_walks=4000)
    raced = call(model=steep, groups=label, n_walks=4000, top_k=2, rank_by="change")
    assert raced.top_k_certified.all()
    top = raced.rank <= 2
    np.testing.assert_array_equal(np.nonzero(top)[1].reshape(3, 2), [[0, 1]] * 3)
    assert (raced.n < whole.n).all()  # decided before all walks were made
    fewer = call(model=steep, groups=label, n_walks=int(raced.n.max()))
    full = raced.n == fewer.n
    assert full.any()
    np.testing.assert_allclose(raced.change[full], fewer.change[full], rtol=1e-9)


# ---- sizes


def test_groups_of_mixed_sizes_with_one_sided_steps_are_warned_of() -> None:
    zeros = np.full((2, N), -1.0)
    with pytest.warns(UserWarning, match="groups have 2 to 4 features, and 100% .*square root"):
        call(zeros, groups=LABEL)
    with pytest.warns(UserWarning, match="falls with the square root.*group_norm='l2'"):
        call(X, groups=LABEL, group_norm="density")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        call(zeros, groups=LABEL, group_norm="density")
        call(zeros, groups=LABEL, group_norm="none")
        call(zeros, groups=np.repeat([0, 1, 2], 4))
        call(X, groups=LABEL)
