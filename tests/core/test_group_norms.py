"""Lengths of group steps: the facts about linear models that make groups comparable."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.integrate import dblquad

from sensx_sc.core import explain
from sensx_sc.core.group_norms import l2_factor, step_lengths, summed


def test_sums_over_groups() -> None:
    values = np.array([[1.0, 2.0, 3.0, 4.0]])
    assert summed(values, np.array([1, 0, 1, 0]), 2).tolist() == [[6.0, 4.0]]
    assert summed(values, np.array([3, 0, 1, 2]), 4).tolist() == [[2.0, 3.0, 4.0, 1.0]]
    some = summed(np.array([[True, True, False]]), np.array([0, 0, 1]), 2)
    assert some.dtype == bool
    assert some.tolist() == [[True, False]]


@pytest.mark.parametrize(
    ("norm", "lengths"), [("l2", [5.0, -2.0]), ("density", [7.0, -2.0]), ("none", [1.0, 1.0])]
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
