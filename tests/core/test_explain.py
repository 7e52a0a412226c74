"""The whole call: statuses, sameness, masks."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse

from sensx_sc.core import Explanation, explain, ranks

N = 12
ARRAYS = [
    "value", "rank", "mean", "std", "change", "shapley", "se", "change_se", "n", "below_noise",
    "delta_star",
    "bracket", "certified", "target", "qoi", "envelope", "deltas", "endpoint_coverage",
    "noise_floor", "n_walks", "reliability", "overlap", "settled",
]  # fmt: skip


def saturating(z: np.ndarray) -> np.ndarray:
    """Resolved between the ends of the automatic grid."""
    weights = np.linspace(0.2, 2, N)
    return np.tanh(4 * z @ weights) + 0.05 * z[:, 0] * z[:, 1]


@pytest.fixture(scope="module")
def cells() -> np.ndarray:
    rng = np.random.default_rng(3)
    x = 0.02 * rng.random((6, N)) * (rng.random((6, N)) < 0.4)
    x[0] = 0
    return x


def call(X: object, model: object = saturating, **arguments: Any) -> Explanation:
    base = {"lower": 0, "upper": 1, "n_walks": 24, "n_samples": 100, "seed": 2}
    return explain(X, model, **{**base, **arguments})


def same(a: Explanation, b: Explanation, rows: object = slice(None), **how: float) -> None:
    for name in ARRAYS:
        one, other = getattr(a, name), getattr(b, name)
        if name not in ("deltas",):
            one = one[rows]
        np.testing.assert_allclose(one, other, err_msg=name, **(how or {"rtol": 1e-12}))
    assert tuple(np.array(a.status)[rows]) == b.status


# ---- the result


def test_shapes_and_contents(cells: np.ndarray) -> None:
    r = call(cells, deltas="linear")
    assert set(r.status) == {"resolved"}
    for name in ARRAYS[:10]:
        assert getattr(r, name).shape == (6, N), name
    assert r.envelope.shape == (6, 50, 2)
    assert r.bracket.shape == (6, 2)
    np.testing.assert_array_equal(r.rank, ranks(r.value))
    np.testing.assert_allclose(r.qoi, saturating(cells))
    assert r.messages == ("",) * 6
    assert {f.name for f in fields(r)} >= {*ARRAYS, "status", "params", "messages", "precision"}
    with pytest.raises(AttributeError):
        r.value = 0


@pytest.mark.parametrize("name", ["change", "mean", "shapley"])
def test_rank_by(cells: np.ndarray, name: str) -> None:
    r = call(cells, rank_by=name)
    np.testing.assert_array_equal(r.rank, ranks(np.abs(getattr(r, name))))


def test_endpoints_lie_in_the_envelope() -> None:
    # The envelope holds 98 % of the law of q; 2000 walks: 4 standard errors are .0125, to which
    # the percentiles of 1000 samples add .018.
    r = call(np.zeros((1, N)), n_walks=2000, n_samples=1000)
    assert abs(r.endpoint_coverage[0] - 0.98) < 0.03


def test_endpoints_lie_in_the_envelope_of_a_refined_scale() -> None:
    def response(z: np.ndarray) -> np.ndarray:
        return np.exp(-z.max(axis=1) / 0.15)

    r = explain(np.zeros((1, 50)), response, lower=0, upper=1, deltas=np.linspace(0.05, 1, 20),
                refine_tol=1e-3, n_walks=2000)  # fmt: skip
    assert abs(r.endpoint_coverage[0] - 0.98) < 0.03


# ---- statuses, each from a model made for it


def test_resolved() -> None:
    r = call(np.zeros((1, N)))
    assert r.status == ("resolved",)
    assert r.bracket[0, 0] < r.delta_star[0] == r.bracket[0, 1] < 1


def test_insensitive_inputs_have_no_attribution() -> None:
    r = call(np.zeros((2, N)), lambda z: 0.01 * z.sum(axis=1) / N)
    assert r.status == ("insensitive",) * 2
    np.testing.assert_array_equal(r.delta_star, 0)
    for name in ("value", "mean", "std", "change", "shapley", "se"):
        assert np.isnan(getattr(r, name)).all()
    assert not r.rank.any()
    assert not r.n.any()
    assert np.isnan(r.noise_floor).all()


def jump(z: np.ndarray) -> np.ndarray:
    return 1.0 * (z.max(axis=1) > 2e-6)


def test_left_censored_on_the_linear_grid() -> None:
    r = call(np.zeros((1, N)), jump, deltas="linear")
    assert r.status == ("left_censored",)
    np.testing.assert_allclose(r.delta_star, 0.02)
    np.testing.assert_allclose(r.bracket, [[0, 0.02]])
    assert np.isfinite(r.value).all()


def test_auto_extends_down_and_resolves_it() -> None:
    r = call(np.zeros((1, N)), jump)
    assert r.status == ("resolved",)
    # max of 12 uniforms has its 1st percentile at .681: q is 1 throughout once d > 2.9e-6.
    assert 1e-6 < r.delta_star[0] < 6e-6
    assert r.deltas.min() < 2e-6
    assert r.envelope.shape[1] == len(r.deltas) > 50


def test_auto_stops_at_1e_8() -> None:
    r = call(np.zeros((1, N)), lambda z: 1.0 * (z.max(axis=1) > 0))
    assert r.status == ("left_censored",)
    assert 1e-8 * (1 - 1e-9) <= r.delta_star[0] < 1.3e-8
    assert np.isfinite(r.value).all()


@pytest.mark.parametrize("deltas", ["auto", "linear", [1.0]])
def test_unsaturated_takes_the_largest_scale(deltas: object) -> None:
    def falling(z: np.ndarray) -> np.ndarray:
        return -z.sum(axis=1)

    r = call(np.zeros((1, N)), falling, deltas=deltas)
    assert r.status == ("unsaturated",)
    assert r.delta_star[0] == 1
    assert np.isfinite(r.value).all()


def test_failed_at_x_and_in_the_samples_beside_a_healthy_input() -> None:
    def partial(z: np.ndarray) -> np.ndarray:
        return np.where(z[:, 0] > 0.5, np.nan, saturating(z))

    x = np.zeros((3, N))
    x[0, 0] = 0.9
    x[1, 0] = 0.49
    r = explain(x, partial, lower=0, upper=[0.95, *[1] * (N - 1)], n_walks=8, n_samples=100,
                deltas=[0.01, 0.02, 0.4, 0.5])  # fmt: skip
    assert r.status[:2] == ("failed", "failed")
    assert "q(x) is nan" in r.messages[0]
    assert "samples, the first at scale 0.02" in r.messages[1]
    assert np.isnan(r.delta_star[:2]).all()
    assert np.isnan(r.value[:2]).all()
    assert not r.rank[:2].any()
    assert np.isfinite(r.value[2]).all()
    assert r.messages[2] == ""


def test_failed_where_only_walks_meet_nan() -> None:
    # Exactly one feature away from x: no endpoint and no sample is there.
    def gap(z: np.ndarray) -> np.ndarray:
        return np.where((z != 0).sum(axis=1) == 1, np.nan, z.sum(axis=1))

    r = call(np.zeros((1, N)), gap)
    assert r.status == ("failed",)
    assert r.messages[0]


def test_one_input_whose_endpoints_meet_nan_fails_alone() -> None:
    def corner(z: np.ndarray) -> np.ndarray:
        return np.where(z[:, 0] > 0.97, np.nan, z.sum(axis=1))

    x = np.zeros((2, 3))
    r = explain(x, corner, lower=0, upper=1, n_walks=400, n_samples=2, deltas=[0.5, 1.0])
    assert set(r.status) <= {"failed", "unsaturated"}


# ---- sameness


@pytest.mark.parametrize("batch_size", [1, 7, 64, "auto"])
def test_batch_size_changes_nothing(cells: np.ndarray, batch_size: int | str) -> None:
    same(call(cells), call(cells, batch_size=batch_size))


@pytest.mark.parametrize("design", ["balanced", "uniform"])
def test_order_and_subset_of_inputs_change_nothing(cells: np.ndarray, design: str) -> None:
    keys = [f"cell {i}" for i in range(6)]
    every = call(cells, keys=keys, design=design)
    for rows in ([5, 3, 0, 1, 2, 4], [2], [4, 1]):
        part = call(cells[rows], keys=[keys[i] for i in rows], design=design, batch_size=50)
        same(every, part, rows)


def test_keys_name_the_random_numbers(cells: np.ndarray) -> None:
    x = np.zeros((3, N))
    r = call(x, keys=["a", "b", "a"])
    np.testing.assert_array_equal(r.value[0], r.value[2])
    assert (r.value[0] != r.value[1]).any()
    np.testing.assert_array_equal(call(x).value, call(x, keys=[0, 1, 2]).value)


def test_keys_out_of_an_array_are_the_same_names(cells: np.ndarray) -> None:
    names = [f"cell {i}" for i in range(6)]
    np.testing.assert_array_equal(
        call(cells, keys=names).value, call(cells, keys=np.array(names)).value
    )
    np.testing.assert_array_equal(call(cells).value, call(cells, keys=np.arange(6)).value)


def test_a_seed_repeats_and_another_differs(cells: np.ndarray) -> None:
    same(call(cells), call(cells), rtol=0)
    assert (call(cells).value != call(cells, seed=3).value).all()


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csc_array, sparse.coo_matrix])
def test_sparse_and_dense_agree(cells: np.ndarray, kind: type) -> None:
    same(call(cells), call(kind(cells)), rtol=0)


def test_inputs_are_left_as_they_are(cells: np.ndarray) -> None:
    x = cells + 0.5
    kept = x.copy()
    call(x, out_of_domain="clip")
    np.testing.assert_array_equal(x, kept)


def test_float32_agrees_to_1e_6_of_the_largest_value(cells: np.ndarray) -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(N, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
    arguments = {"precision": "float32", "device": "cpu", "tau": 0.01, "deltas": [0.5, 1.0]}
    every = call(cells, net.eval(), **arguments)
    same(every, call(cells, net, **arguments), rtol=0)  # the same machine, the same call
    for other in (
        call(cells, net, batch_size=7, **arguments),
        call(cells, net, batch_size=64, **arguments),
    ):
        # Steps may be tiny, so rounding is held against the largest change of q.
        for name in ("change", "shapley", "qoi"):
            largest = np.abs(getattr(every, name)).max()
            difference = getattr(every, name) - getattr(other, name)
            assert np.abs(difference).max() <= 1e-6 * largest, name


# ---- masks and constants


@pytest.mark.parametrize("constant", [False, True])
def test_untested_features_never_move(cells: np.ndarray, constant: bool) -> None:
    rows: list[np.ndarray] = []

    def recorded(z: np.ndarray) -> np.ndarray:
        rows.append(z.copy())
        return saturating(z - 0.75 * np.isin(np.arange(N), fixed))

    fixed = [0, 5]
    x = cells.copy()
    x[:, fixed] = 0.75
    if constant:
        upper = np.where(np.isin(np.arange(N), fixed), 0.0, 1.0)  # a point, not even at x
        r = call(x, recorded, upper=upper)
    else:
        r = call(x, recorded, mask=~np.isin(np.arange(N), fixed))
    seen = np.concatenate(rows[2:])  # two trial calls with zeros
    assert (seen[:, fixed] == 0.75).all()
    assert len(seen) > 6 * (50 * 100 + 24 * (N - 2))
    for name in ("value", "mean", "std", "change", "shapley", "se"):
        assert np.isnan(getattr(r, name)[:, fixed]).all(), name
        assert np.isfinite(np.delete(getattr(r, name), fixed, axis=1)).all(), name
    assert not r.rank[:, fixed].any()
    assert not r.n[:, fixed].any()
    assert not r.below_noise[:, fixed].any()
    np.testing.assert_array_equal(np.sort(r.rank[0]), [0, 0, *range(1, N - 1)])


def test_masking_leaves_the_others_their_endpoints() -> None:
    # In an additive model a feature's step depends on its own endpoint only.
    def additive(z: np.ndarray) -> np.ndarray:
        return (z**2).sum(axis=1)

    x = np.full((2, N), 0.25)
    every = call(x, additive, deltas=[1.0])
    mask = np.arange(N) % 3 != 0
    part = call(x, additive, deltas=[1.0], mask=mask)
    np.testing.assert_allclose(part.value[:, mask], every.value[:, mask], rtol=1e-12)


# ---- min_step


def test_min_step_reaches_the_walks_and_is_recorded() -> None:
    # |d| of sqrt at its corner is 1 / sqrt(e): without steps below .5, at most 1 / sqrt(.5).
    def root(z: np.ndarray) -> np.ndarray:
        return np.sqrt(z).sum(axis=1)

    free = call(np.zeros((1, 3)), root, deltas=[1.0], n_walks=400)
    r = call(np.zeros((1, 3)), root, deltas=[1.0], n_walks=400, min_step=0.5)
    assert r.params["min_step"] == 0.5
    assert free.params["min_step"] == 0
    # E 1 / sqrt(e) over [.5, 1] = 2 (1 - sqrt(.5)) / .5; 4 standard errors, of about .003 each.
    np.testing.assert_allclose(r.value, 4 * (1 - np.sqrt(0.5)), atol=4 * r.se.max() + 1e-9)
    assert (free.value > 1.7).all()  # E 1 / sqrt(e) over [0, 1] = 2
