"""The rank-sum test against scipy, one feature at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu, norm

from sensx_sc.metrics import rank_test


@given(st.integers(0, 10_000))
def test_p_effect_and_z_are_scipys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, m = rng.integers(2, 30, 2)
    a, b = rng.integers(0, 9, (n, 3)).astype(float), rng.integers(0, 9, (m, 3)).astype(float)
    found = rank_test(a, b)
    for j in range(3):
        if np.ptp(np.concatenate([a[:, j], b[:, j]])) == 0:
            continue
        whole = mannwhitneyu(a[:, j], b[:, j])
        assert found.p[j] == pytest.approx(whole.pvalue, rel=1e-9)
        assert found.effect[j] == pytest.approx(2 * whole.statistic / (n * m) - 1)
        plain = mannwhitneyu(a[:, j], b[:, j], method="asymptotic", use_continuity=False)
        assert 2 * norm.sf(abs(found.z[j])) == pytest.approx(plain.pvalue, rel=1e-9)
        assert np.sign(found.z[j]) == np.sign(found.effect[j])


def test_no_difference_and_no_values() -> None:
    a, b = np.ones((5, 2)), np.ones((6, 2))
    a[:, 1] = np.nan
    found = rank_test(a, b)
    assert (found.z[0], found.effect[0], found.p[0]) == (0, 0, 1)
    assert np.isnan([found.z[1], found.effect[1], found.p[1]]).all()


def test_few_cells_have_exact_p_values() -> None:
    found = rank_test(np.array([[4.0], [5.0], [6.0]]), np.array([[1.0], [2.0], [3.0]]))
    assert found.p[0] == pytest.approx(2 / 20)  # 2 of the (6 choose 3) arrangements


@pytest.mark.parametrize(
    "shapes", [((3,), (3,)), ((3, 2), (3, 4)), ((0, 2), (3, 2)), ((3, 2), (0, 2))]
)
def test_refused(shapes: Any) -> None:
    with pytest.raises(ValueError, match=r"two groups \(cells, features\)"):
        rank_test(*(np.ones(shape) for shape in shapes))
