"""Lengths of group steps: the facts about linear models that make groups comparable."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from scipy.integrate import dblquad

from sensx_sc.core import explain, make_groups
from sensx_sc.core.group_norms import l2_factor, step_lengths, summed, why_not_comparable


def test_sums_over_groups() -> None:
    values = np.array([[1.0, 2.0, 3.0, 4.0]])
    assert summed(values, np.array([1, 0, 1, 0]), 2).tolist() == [[6.0, 4.0]]
    assert summed(values, np.array([3, 0, 1, 2]), 4).tolist() == [[2.0, 3.0, 4.0, 1.0]]
    some = summed(np.array([[True, True, False]]), np.array([0, 0, 1]), 2)
    assert some.dtype == bool
    assert some.tolist() == [[True, False]]


@pytest.mark.parametrize(
    ("norm", "lengths"), [("l2", [5.0, -2.0]), ("density", [7.0, -2.0]), ("none", [1.0, -1.0])]
)
def test_lengths(norm: Any, lengths: list[float]) -> None:
    steps = np.array([[3.0, -2.0, -4.0], [0.0, 0.0, 0.0]])
    member, sizes = np.array([0, 1, 0]), np.array([2, 1])
    assert step_lengths(steps, member, sizes, norm).tolist() == [lengths, [0.0, 0.0]]


def test_the_factor_of_a14() -> None:
    found = l2_factor([1, 2, 3, 10, 100, 1000])
    np.testing.assert_allclose(found, [1, np.pi / 2, 2, 3.866, 12.502, 39.623], rtol=2e-4)
    np.testing.assert_allclose(l2_factor(1e6) / 1e3, np.sqrt(np.pi / 2), rtol=1e-6)


def grouped(w: np.ndarray, size: int, x: float, norm: str = "l2", n_walks: int = 4000) -> Any:
    return explain(
        np.full((1, len(w)), x), lambda z: z @ w, lower=0, upper=1, deltas=[0.6], tau=1e-9,
        n_walks=n_walks, n_samples=10, seed=3, groups=np.arange(len(w)) // size, group_norm=norm,
    )  # fmt: skip


@pytest.mark.parametrize("size", [10, 30])
def test_a14_of_linear_models_is_the_root_mean_square_weight_times_0798(size: int) -> None:
    # On a box .798 to .866, the latter where one weight is all; 4 se of the walks are below 2 %.
    w = np.random.default_rng(0).normal(size=90)
    r = grouped(w, size, 0.5)
    length = np.sqrt((w.reshape(-1, size) ** 2).sum(axis=1))
    ratio = r.value[0] / (length / np.sqrt(size))
    assert ((ratio > 0.98 * np.sqrt(2 / np.pi)) & (ratio < 1.02 * np.sqrt(3 / 4))).all()
    assert ratio.mean() == pytest.approx(np.sqrt(2 / np.pi), rel=0.04)
    factor = np.sqrt(np.pi / 2 * size)  # that of large groups
    assert l2_factor(size) == pytest.approx(factor, rel=0.5 / size)
    heavy = grouped(np.where(np.arange(size) == 0, 1.0, 1e-9), size, 0.5).value[0, 0]
    assert heavy * np.sqrt(size) == pytest.approx(np.sqrt(3 / 4), rel=0.03)


def test_a14_of_two_features_against_its_integral() -> None:
    w = np.array([0.7, -1.9])
    r = grouped(w, 2, 0.5)

    def effect(a: float, b: float) -> float:
        return abs(w[0] * a + w[1] * b) / max(np.hypot(a, b), 1e-9) / 4

    # The integrand jumps nowhere but at the origin; 1e-4 is far below the walks' error.
    expected, _ = dblquad(effect, -1, 1, -1, 1, epsabs=1e-4)
    assert abs(r.value[0, 0] - expected) < 4 * r.se[0, 0] + 1e-4
    assert r.se[0, 0] < 0.02 * expected


def test_one_sided_steps_grow_with_the_square_root_of_the_size_but_not_their_density() -> None:
    w = np.full(320, 0.3)
    a14 = [grouped(w, size, 0.0).value[0, 0] for size in (10, 40, 160)]
    np.testing.assert_allclose(np.divide(a14[1:], a14[:-1]), 2, rtol=0.02)
    for size in (1, 10, 40, 160):
        r = grouped(w, size, 0.0, "density", n_walks=8)
        np.testing.assert_allclose(r.value, 0.3, rtol=1e-9)  # of every walk
        assert np.nanmax(r.std) < 1e-9


def test_without_a_norm_value_is_change() -> None:
    r = grouped(np.random.default_rng(0).normal(size=30), 10, 0.2, "none", n_walks=40)
    np.testing.assert_allclose(r.value, r.change, rtol=1e-12)


# ---- closed forms, and the definition integrated directly, for every norm and size


def mean_size(a: np.ndarray, c: float = 0.0) -> float:
    """E |c + sum a_i U_i|, U_i uniform on (-1, 1), by the d-th antiderivative of |x|."""
    d = len(a)
    signs = np.array(list(itertools.product([-1.0, 1.0], repeat=d)))
    at = c + signs @ a
    antiderivative = np.sign(at) ** d * np.abs(at) ** (d + 1) / math.factorial(d + 1)
    return float(signs.prod(axis=1) @ antiderivative / np.prod(2 * a))


SIZES = (1, 2, 3, 6)
MIXED = np.array([1.2, -0.7, 1.9, 0.4, -1.1, 0.8, -0.3, 1.5, 0.9, -0.6, 0.5, 1.0])
OF_SIZES = np.repeat(np.arange(4), SIZES)


def unequal(x: float, norm: str, n_walks: int = 4000) -> Any:
    """A linear model of groups of 1, 2, 3 and 6 features; delta* is .3 of [0, 1]."""
    return explain(
        np.full((1, 12), x), lambda z: z @ MIXED, lower=0, upper=1, deltas=[0.3], tau=1e-9,
        n_walks=n_walks, n_samples=10, seed=5, groups=OF_SIZES, group_norm=norm,
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore:groups have 1 to 6 features")
@pytest.mark.parametrize("norm", ["l2", "density", "none"])
@pytest.mark.parametrize("x", [0.5, 0.0], ids=["symmetric", "one-sided"])
def test_change_and_shapley_of_linear_models_in_closed_form(x: float, norm: str) -> None:
    r = unequal(x, norm)
    middle = 0.15 if x == 0.0 else 0.0  # of a step
    half = 0.15 if x == 0.0 else 0.3
    for g in range(4):
        w = MIXED[g == OF_SIZES]
        expected = mean_size(half * w, middle * w.sum())
        assert abs(r.change[0, g] - expected) < 4 * r.change_se[0, g] + 1e-9
        assert r.shapley[0, g] == pytest.approx(-middle * w.sum(), abs=0.01)
    assert (r.change_se[0] < 0.03 * r.change[0] + 1e-9).all()  # 4 of them: 12 % off is seen


@pytest.mark.filterwarnings("ignore:groups have 1 to 6 features")
@pytest.mark.parametrize("norm", ["l2", "density"])
@pytest.mark.parametrize("x", [0.5, 0.0], ids=["symmetric", "one-sided"])
def test_value_of_linear_models_is_the_definition_integrated_directly(x: float, norm: str) -> None:
    r = unequal(x, norm)
    rng = np.random.default_rng(8)
    for g in range(4):
        w = MIXED[g == OF_SIZES]
        s = rng.uniform(0.0 if x == 0.0 else -0.3, 0.3, (400_000, len(w)))
        length = np.sqrt((s**2).sum(axis=1)) if norm == "l2" else np.abs(s).sum(axis=1)
        d = np.abs(s @ w) / length
        se = np.hypot(d.std() / np.sqrt(len(d)), r.se[0, g])
        assert abs(r.value[0, g] - d.mean()) < 4 * se + 1e-9


def test_products_over_groups_in_closed_form() -> None:
    # q = prod_G h_G, h_G = c_G + w_G.z_G > 0: the others are a mean of their two ends.
    sizes, c = (1, 2, 3), np.array([2.0, 3.0, 4.0])
    label = np.repeat(np.arange(3), sizes)
    w = np.array([1.0, -0.8, 0.6, 0.5, -0.7, 0.9])
    x = np.array([0.3, 0.9, 0.0, 0.5, 0.2, 1.0])

    def h(z: np.ndarray) -> np.ndarray:
        return np.stack([c[g] + z[:, label == g] @ w[label == g] for g in range(3)], axis=1)

    r = explain(
        x[None], lambda z: h(z).prod(axis=1), lower=0, upper=1, deltas=[1.0], tau=1e-9,
        n_walks=8000, n_samples=10, seed=2, groups=label, group_norm="none",
    )  # fmt: skip
    own = h(x[None])[0]
    end = np.array([c[g] + w[label == g].sum() / 2 for g in range(3)])
    t, weight = np.polynomial.legendre.leggauss(8)
    t, weight = (t + 1) / 2, weight / 2
    for g in range(3):
        at = label == g
        others = [(1 - t) * own[k] + t * end[k] for k in range(3) if k != g]
        size = mean_size(w[at] / 2, float(w[at] @ (0.5 - x[at])))
        expected = size * float(weight @ np.prod(others, axis=0))
        assert abs(r.value[0, g] - expected) < 4 * r.se[0, g]
        drift = (own[g] - end[g]) * float(weight @ np.prod(others, axis=0))
        assert r.shapley[0, g] == pytest.approx(drift, abs=4 * r.change_se[0, g] + 0.02)
    # Endpoints of a block are a hypercube, so that q(e) has little noise.
    assert r.shapley.sum() == pytest.approx(own.prod() - end.prod(), abs=0.05)


def test_a_group_that_cannot_move_has_no_size() -> None:
    groups = make_groups([0, 0, 1, 1, 2, 2], 6)
    upper = np.array([0.0, 0.0, 1.0, 1.0, 1.0, 1.0])  # the first group is constant
    assert why_not_comparable(groups, np.zeros((3, 6)), np.zeros(6), upper) is None
    upper[5] = 0.0
    assert "groups have 1 to 2 features" in str(
        why_not_comparable(groups, np.zeros((3, 6)), np.zeros(6), upper)
    )


def test_sizes_are_comparable_by_density_where_steps_go_one_way() -> None:
    groups = make_groups([0, 1, 1, 1], 4, norm="density")
    at_bound, inside = np.zeros((3, 4)), np.full((3, 4), 0.5)
    assert why_not_comparable(groups, at_bound, np.zeros(4), np.ones(4)) is None
    assert "can move both ways" in str(why_not_comparable(groups, inside, np.zeros(4), np.ones(4)))
