"""Overlapping sets: atoms, their shares, and what is put together from them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sensx_sc.core import Explanation, explain, make_groups
from sensx_sc.core.sets import OTHERS, Partition, make_partition

N = 8
X = np.random.default_rng(1).uniform(0.1, 0.9, (3, N))
SETS = {"A": [0, 1, 2], "B": [2, 3], "C": [2, 4, 5]}
W = np.array([1.0, -2.0, 3.0, 0.5, 4.0, -1.0, 2.0, 0.25])


def net(z: np.ndarray) -> np.ndarray:
    return np.tanh(z @ W) + z[:, 2] * z[:, 6]


def call(model: Any = net, **arguments: Any) -> Explanation:
    base = {"lower": 0, "upper": 1, "deltas": [0.5, 1.0], "tau": 1e-9, "n_walks": 40, "seed": 6,
            "n_samples": 50}  # fmt: skip
    return explain(X, model, **{**base, **arguments})


members = st.lists(st.integers(0, N - 1), min_size=1, max_size=N)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from("abcde"), members, min_size=1))
def test_atoms_are_the_features_in_exactly_the_same_sets(sets: dict[str, list[int]]) -> None:
    groups, found = make_partition(sets, N)
    held = [frozenset(name for name, at in sets.items() if j in at) for j in range(N)]
    for j in range(N):
        assert (groups.label[j] < 0) == (not held[j])
        for i in range(N):
            if held[i] and held[j]:
                assert (groups.label[i] == groups.label[j]) == (held[i] == held[j])
    if found is None:
        assert all(len(names) <= 1 for names in held)
        return
    assert found.names == tuple(sets)
    np.testing.assert_allclose(found.share.sum(axis=0), 1.0)
    for s, (name, at) in enumerate(sets.items()):
        atoms = found.atoms(np.array([s]))
        assert set(np.flatnonzero(np.isin(groups.label, atoms))) == set(at), name


def test_shares() -> None:
    groups, sets = make_partition(SETS, N)
    assert groups.names == ("A", "A & B & C", "B", "C")
    assert sets is not None
    expected = [[1, 1 / 3, 0, 0], [0, 1 / 3, 1, 0], [0, 1 / 3, 0, 1]]
    np.testing.assert_allclose(sets.share.toarray(), expected)
    _, whole = make_partition(SETS, N, overlap="whole")
    assert whole is not None
    np.testing.assert_array_equal(whole.share.toarray(), np.ceil(expected))
    assert make_partition(SETS, N, overlap="atoms").sets is None
    assert make_partition({"A": [0], "B": [1]}, N).sets is None
    with pytest.raises(ValueError, match="feature 2 is in `groups` 'A' and 'B'"):
        make_partition(SETS, N, overlap="raise")


def test_features_in_no_set() -> None:
    names = list("stuvwxyz")
    together, sets = make_partition(SETS, N, names=names, ungrouped="together")
    assert sets is not None
    assert sets.names == ("A", "B", "C", OTHERS)
    assert together.members(OTHERS).tolist() == [6, 7]
    single, sets = make_partition(SETS, N, names=names, ungrouped="single")
    assert sets is not None
    assert sets.names == ("A", "B", "C", "y", "z")
    assert single.members("z").tolist() == [7]
    plain, none = make_partition([0, 0, 1, 1, -1, -1, -1, -1], N, ungrouped="single")
    assert none is None
    assert plain.names == ("0", "1", "4", "5", "6", "7")
    # All in a set: nothing is added.
    assert make_partition(np.zeros(N, int), N, ungrouped="together").groups.names == ("0",)
    kept = make_partition(Partition(plain), N, ungrouped="together")
    assert kept.groups.names == plain.names


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "overlap": ({"overlap": "none"}, "`overlap` must be one of .*; got 'none'"),
    "ungrouped": ({"ungrouped": "drop"}, "`ungrouped` must be one of .*; got 'drop'"),
    "clash": ({"ungrouped": "single", "names": ["A", *"tuvwxyz"]}, ""),
    "taken": ({"groups": {OTHERS: [0]}, "ungrouped": "together"}, "a set named 'ungrouped', and"),
}


@pytest.mark.parametrize(("arguments", "words"), WRONG.values(), ids=WRONG.keys())
def test_wrong_input(arguments: dict[str, Any], words: str) -> None:
    if not words:  # a set may have the name of a feature that is in a set
        assert make_partition(SETS, N, **arguments).sets is not None
        return
    with pytest.raises(ValueError, match=words):
        make_partition(**({"groups": SETS, "n_features": N} | arguments))


# ---- what is put together


@pytest.mark.parametrize("norm", ["l2", "density", "none"])
@pytest.mark.parametrize("overlap", ["share", "whole"])
@pytest.mark.filterwarnings("ignore:groups have 1 to")
def test_sets_are_put_together_from_their_atoms(norm: Any, overlap: Any) -> None:
    how: dict[str, Any] = {"groups": SETS, "group_norm": norm, "ungrouped": "single"}
    atoms = call(overlap="atoms", **how)
    found = call(overlap=overlap, **how)
    assert atoms.groups is not None
    assert found.sets is not None
    assert found.sets.names == ("A", "B", "C", "6", "7")
    assert found.value.shape == (3, 5)
    assert (found.params["n_groups"], found.params["overlap"]) == (5, overlap)
    holds = {"A": ["A", "A & B & C"], "B": ["B", "A & B & C"], "C": ["C", "A & B & C"],
             "6": ["6"], "7": ["7"]}  # fmt: skip
    for s, (name, parts) in enumerate(holds.items()):
        at = [atoms.groups.names.index(part) for part in parts]
        share = np.array([1 / 3 if "&" in part and overlap == "share" else 1.0 for part in parts])
        size = share * atoms.groups.sizes[at]
        for statistic in ("change", "shapley", "change_se"):
            expected = getattr(atoms, statistic)[:, at] @ share
            np.testing.assert_allclose(getattr(found, statistic)[:, s], expected, err_msg=name)
        for statistic in ("value", "mean", "std", "se"):
            of_atoms = getattr(atoms, statistic)[:, at]
            expected = of_atoms @ share if norm == "none" else of_atoms @ size / size.sum()
            np.testing.assert_allclose(getattr(found, statistic)[:, s], expected, err_msg=name)
        np.testing.assert_array_equal(found.n[:, s], atoms.n[:, at].min(axis=1))
    np.testing.assert_array_equal(
        found.rank, np.argsort(np.argsort(-found.value, axis=1), axis=1) + 1
    )
    if norm == "none":
        np.testing.assert_allclose(found.value, found.change)


@pytest.mark.parametrize("estimator", ["walks", "gradient"])
def test_a_set_is_exact_where_its_atoms_are(estimator: Any) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(N, 4), nn.Tanh(), nn.Linear(4, 1)).eval()
    found = call(model, groups=SETS, estimator=estimator, ungrouped="together")
    assert found.exact.shape == (3, 4)
    assert (found.exact == (estimator == "walks")).all()


def test_shared_shapley_values_sum_to_the_difference() -> None:
    found = call(groups=SETS, ungrouped="together")
    atoms = call(groups=SETS, ungrouped="together", overlap="atoms")
    np.testing.assert_allclose(found.shapley.sum(axis=1), atoms.shapley.sum(axis=1))


def test_a_linear_model_and_its_sets_in_closed_form() -> None:
    # q = w.x, one order: dq of an atom is w.(e - x) whatever has moved, so `change` of a set is
    # the sum of its atoms' mean sizes, here with atoms of one feature each: E|w_j (e_j - x_j)|.
    sets = {"A": [0, 1], "B": [1, 2]}
    r = call(lambda z: z @ W, groups=sets, n_walks=4000, group_norm="none")
    size = np.abs(W) * ((1 - X) ** 2 + X**2) / 2  # E|e - x| for e uniform on [0, 1]
    expected = np.stack([size[:, 0] + size[:, 1] / 2, size[:, 1] / 2 + size[:, 2]], axis=1)
    assert (np.abs(r.change - expected) < 4 * r.change_se + 1e-12).all()
    drift = -W * (0.5 - X)
    shapley = np.stack([drift[:, 0] + drift[:, 1] / 2, drift[:, 1] / 2 + drift[:, 2]], axis=1)
    np.testing.assert_allclose(r.shapley, shapley, atol=0.02)


def test_atoms_that_are_not_tested_do_not_count() -> None:
    lower = np.zeros(N)
    lower[2] = 0.99
    x = X.copy()
    x[:, 2] = 1.0
    upper = np.ones(N)
    lower[2] = 1.0  # the shared gene is constant
    a = explain(x, net, lower=lower, upper=upper, groups=SETS, deltas=[1.0], tau=1e-9,
                n_walks=40, n_samples=50)  # fmt: skip
    b = explain(x, net, lower=lower, upper=upper, groups={"A": [0, 1], "B": [3], "C": [4, 5]},
                deltas=[1.0], tau=1e-9, n_walks=40, n_samples=50)  # fmt: skip
    for name in ("value", "change", "shapley", "n", "rank"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=1e-12)
    nothing = call(groups={"A": [2], "B": [2, 3], "C": [3]}, mask=np.arange(N) != 2)
    assert np.isnan(nothing.value[:, 0]).all()
    assert (nothing.rank[:, 0] == 0).all()
    assert (nothing.n[:, 0] == 0).all()
    assert np.isfinite(nothing.value[:, 1:]).all()


def test_inside_the_top_sets_are_all_their_atoms() -> None:
    r = call(groups=SETS, within="features", within_top=1)
    assert r.value.shape == (3, 3 + N)
    assert r.within is not None
    for i in range(3):
        top = list(SETS)[int(np.argmin(r.rank[i, :3]))]
        inside = np.isin(np.arange(N), SETS[top])
        assert np.isfinite(r.value[i, 3:][inside]).all()
        assert np.isnan(r.value[i, 3:][~inside]).all()
    coarse = call(groups=SETS)
    np.testing.assert_array_equal(r.value[:, :3], coarse.value)


def test_inputs_that_fail_have_no_values() -> None:
    r = call(lambda z: np.where(z[:, 0] > 2, 1.0, 0.5), groups=SETS, within="features")
    assert set(r.status) == {"insensitive"}
    assert r.value.shape == (3, 3 + N)
    assert np.isnan(r.value).all()


def test_a_mapping_without_overlap_is_the_partition() -> None:
    sets = {"A": [0, 1], "B": [2, 3]}
    a, b = call(groups=sets), call(groups=make_groups(sets, N))
    assert a.sets is None
    np.testing.assert_array_equal(a.value, b.value)
