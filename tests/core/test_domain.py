"""The admissible domain, neighbourhoods (equation 1) and inputs outside."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from sensx_sc.core.domain import admit, clip, make_domain

finite = st.floats(-100, 100)


@given(
    st.lists(st.tuples(finite, finite, st.floats(0, 1)), min_size=1, max_size=6), st.floats(0, 1)
)
def test_reach_is_equation_1(features: list[tuple[float, float, float]], delta: float) -> None:
    ends = np.array([sorted(f[:2]) for f in features])
    ends[:, 1] += 1e-3  # a range above zero
    lower, upper = ends.T
    x = np.clip(lower + np.array([f[2] for f in features]) * (upper - lower), lower, upper)
    down, up = make_domain(lower, upper, len(x)).reach(x, delta)
    for j in range(len(x)):
        r = upper[j] - lower[j]
        assert x[j] - down[j] == pytest.approx(max(lower[j], x[j] - delta * r), abs=1e-12)
        assert x[j] + up[j] == pytest.approx(min(upper[j], x[j] + delta * r), abs=1e-12)
    assert (down >= 0).all()
    assert (up >= 0).all()


def test_a_feature_at_its_bound_reaches_delta_r_inwards() -> None:
    down, up = make_domain([0, 0], [4, 8], 2).reach(np.array([0.0, 8.0]), 0.25)
    np.testing.assert_array_equal(down, [0, 2])
    np.testing.assert_array_equal(up, [1, 0])


def test_reach_lists_tested_features_only() -> None:
    domain = make_domain(0, [1, 0, 2, 3], 4, mask=[True, True, False, True])
    np.testing.assert_array_equal(domain.free, [0, 3])
    np.testing.assert_array_equal(domain.tested, [True, False, False, True])
    down, up = domain.reach(np.zeros(4), 1.0)
    np.testing.assert_array_equal(up, [1, 3])
    np.testing.assert_array_equal(down, [0, 0])


def test_scalar_bounds_hold_for_every_feature() -> None:
    domain = make_domain(-1, 2, 3)
    np.testing.assert_array_equal(domain.lower, [-1, -1, -1])
    np.testing.assert_array_equal(domain.upper, [2, 2, 2])
    assert domain.n_features == 3


@pytest.mark.parametrize(
    ("wrong", "error", "match"),
    [
        (
            {"lower": [0, 5, 0]},
            ValueError,
            r"`lower` must not exceed `upper`.*1 features: 1 \(lowe",
        ),
        ({"lower": [0, 0]}, ValueError, r"`lower` must be a number or have shape \(3,\).*\(2,\)"),
        ({"upper": np.ones((1, 3))}, ValueError, r"`upper` must be a number or have shape"),
        ({"upper": [1, np.nan, 1]}, ValueError, "`upper` must be finite; it is nan for feature 1"),
        ({"lower": -np.inf}, ValueError, "`lower` must be finite; it is -inf for feature 0"),
        ({"lower": "low"}, TypeError, "`lower` must be a number or an array of 3 numbers"),
        ({"mask": [1, 0, 1]}, ValueError, r"mask must be a bool array of shape \(3,\); got int64"),
        ({"mask": [True]}, ValueError, r"mask must be a bool array of shape \(3,\).*\(1,\)"),
        ({"mask": [False] * 3}, ValueError, "no feature is left to perturb"),
        ({"upper": 0}, ValueError, "no feature is left to perturb"),
    ],
)
def test_bounds_that_are_refused(wrong: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        make_domain(**{"lower": 0, "upper": 1, "n_features": 3, **wrong})


def test_crossed_bounds_are_named() -> None:
    with pytest.raises(ValueError, match=r"2 features: A \(lower 2, upper 1\), C \(lower 3, upper"):
        make_domain([2, 0, 3], [1, 1, 1], 3, names=["A", "B", "C"])


OUTSIDE = np.array([[0.5, -2.0, 0.5], [0.5, 0.5, 7.0]])


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix])
def test_inputs_outside_are_named_with_values_and_bounds(kind: type) -> None:
    domain = make_domain(0, 1, 3)
    with pytest.raises(
        ValueError, match=r"2 features lie outside the domain: B -2 \(allowed 0 to 1\), C 7 \(allow"
    ):
        admit(kind(OUTSIDE), domain, names=["A", "B", "C"])


def test_only_the_first_five_are_listed() -> None:
    with pytest.raises(ValueError, match="8 features lie outside") as caught:
        admit(np.full((1, 8), 3.5), make_domain(0, 1, 8))
    assert str(caught.value).count("allowed") == 5


def test_expand_widens_to_the_inputs() -> None:
    wide = admit(OUTSIDE, make_domain(0, 1, 3), out_of_domain="expand")
    np.testing.assert_array_equal(wide.lower, [0, -2, 0])
    np.testing.assert_array_equal(wide.upper, [1, 1, 7])


def test_clip_moves_inputs_to_the_nearest_point() -> None:
    domain = make_domain(0, 1, 3)
    assert admit(OUTSIDE, domain, out_of_domain="clip") == domain
    np.testing.assert_array_equal(clip(OUTSIDE, domain), [[0.5, 0, 0.5], [0.5, 0.5, 1]])


def test_a_feature_that_is_not_tested_may_lie_anywhere() -> None:
    domain = make_domain(0, 1, 3, mask=[True, False, False])
    assert admit(OUTSIDE, domain) is domain
    np.testing.assert_array_equal(clip(OUTSIDE, domain), OUTSIDE)
    wide = admit(OUTSIDE, domain, out_of_domain="expand")
    np.testing.assert_array_equal(wide.upper, domain.upper)


def test_a_float32_copy_of_a_bound_is_on_the_bound() -> None:
    bound = 0.1 + 1e-9
    x = np.full((1, 1), np.float32(0.1))  # one rounding beyond
    assert float(x[0, 0]) > bound
    domain = make_domain(0, bound, 1)
    assert admit(x, domain) is domain
    assert clip(x.astype(float), domain)[0, 0] == bound
    with pytest.raises(ValueError, match="outside"):
        admit(x + 1e-4, domain)


def test_raw_counts_are_recognised() -> None:
    counts = np.array([[0, 3, 250], [1, 0, 12]])
    with pytest.raises(ValueError, match="The values look like raw counts"):
        admit(sparse.csr_matrix(counts), make_domain(0, 8, 3))
    with pytest.raises(ValueError, match="outside the domain") as caught:
        admit(counts * 1.5 + 0.1, make_domain(0, 8, 3))
    assert "raw counts" not in str(caught.value)


def test_an_unknown_way_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`out_of_domain` must be one of .*; got 'ignore'"):
        admit(OUTSIDE, make_domain(0, 1, 3), out_of_domain="ignore")
