"""Scores of traces: exact on simple shapes, and what the published ones miss."""

from __future__ import annotations

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from sensx_sc.companions.traces import count_flips, epgm, paper_epgm, shuffle_test, trace_scores

M = np.linspace(0, 1, 101)


def test_a_line() -> None:
    found = trace_scores(M, 3 - 2 * M, origin=50)
    assert found.epgm == pytest.approx(2)
    assert found.net == pytest.approx(-2)
    assert found.monotonicity == pytest.approx(1)
    assert found.max_slope == pytest.approx(-2)
    assert found.local == pytest.approx(-2)


def test_there_and_back() -> None:
    found = trace_scores(M, np.abs(M - 0.5), origin=50)
    assert found.epgm == pytest.approx(1)
    assert found.net == pytest.approx(0, abs=1e-12)
    assert found.monotonicity == pytest.approx(0, abs=1e-12)
    assert found.local == pytest.approx(0, abs=1e-10)


def test_oscillation_is_seen() -> None:
    """0, 1, 0, 1, ...: every step is a whole unit; central differences see the two ends only."""
    q = np.arange(100) % 2.0
    found = trace_scores(np.arange(100.0), q)
    assert found.epgm == pytest.approx(1)
    assert epgm(np.arange(100.0), q) == pytest.approx(1)
    assert found.monotonicity == pytest.approx(1 / 99)
    assert paper_epgm(q) == pytest.approx(0.02)


@hypothesis.given(scale=st.floats(1e-6, 1e6), n=st.sampled_from([11, 41, 200]))
def test_the_unit_is_that_of_the_property(scale: float, n: int) -> None:
    """Neither the number of steps nor the editor's own scale matters, for a response of one way."""
    m = np.linspace(0, 1, n) ** 2
    q = np.sin(m)
    found = trace_scores(scale * m, q)
    np.testing.assert_allclose(found.epgm * scale, np.sin(1), rtol=1e-9)
    np.testing.assert_allclose(found.net * scale, np.sin(1), rtol=1e-9)


def test_the_steepest_step_and_where() -> None:
    m = np.array([0.0, 1.0, 1.5, 3.0])
    found = trace_scores(m, np.array([0.0, 1.0, -1.0, 0.0]))
    assert found.max_slope == -4
    assert found.at == 1.25
    backwards = trace_scores(m[::-1], np.array([0.0, -1.0, 1.0, 0.0]))
    assert backwards.max_slope == -4


def test_steps_in_which_the_property_stays_count_for_the_response_only() -> None:
    found = trace_scores(np.array([0.0, 0.0, 1.0]), np.array([0.0, 2.0, 3.0]))
    assert found.epgm == 3
    assert found.max_slope == 1


def test_a_property_that_does_not_move_has_no_gradient() -> None:
    found = trace_scores(np.ones(5), np.arange(5.0), origin=2)
    assert all(np.isnan(score) for score in found)
    assert np.isnan(epgm(np.ones(5), np.arange(5.0)))
    # And one that returns has no net.
    found = trace_scores(np.array([0.0, 1.0, 0.0]), np.array([0.0, 1.0, 3.0]))
    assert np.isnan(found.net)
    assert found.epgm == 1.5


def test_a_constant_response() -> None:
    found = trace_scores(M, np.full(101, 0.3), origin=0)
    assert found.epgm == 0
    assert found.net == 0
    assert np.isnan(found.monotonicity)
    assert found.local == 0


def test_many_traces_at_once(rng: np.random.Generator) -> None:
    m, q = rng.normal(size=(2, 3, 4, 9)).cumsum(axis=-1)
    found = trace_scores(m, q, origin=4)
    for i, j in np.ndindex(3, 4):
        for name, value in trace_scores(m[i, j], q[i, j], origin=4)._asdict().items():
            np.testing.assert_allclose(getattr(found, name)[i, j], value, err_msg=name)


@pytest.mark.parametrize("origin", [0, 1, 50, 99, 100])
def test_the_slope_at_the_original_is_exact_for_a_parabola(origin: int) -> None:
    m = 5 + 0.1 * M**1.5
    found = trace_scores(m, 2 * (m - 5) ** 2 - m, origin=origin)
    np.testing.assert_allclose(found.local, 4 * (m[origin] - 5) - 1, atol=1e-8)
    assert np.isnan(trace_scores(m, m).local)


def test_noise_does_not_grow_with_steps_when_replicates_are_averaged(
    rng: np.random.Generator,
) -> None:
    """Independent noise at every step inflates a total variation; the mean of many has less."""
    m = np.linspace(-1, 1, 41)
    noise = 0.02 * rng.normal(size=(64, 41))
    once = trace_scores(m, m + noise[0]).epgm
    averaged = trace_scores(m, m + noise.mean(axis=0)).epgm
    assert averaged < once
    assert averaged < 1.1


def test_flips() -> None:
    assert count_flips(np.array([0, 0, 1, 1, 0, 2])) == 3
    assert count_flips(np.array([[0, 1], [1, 1]])).tolist() == [1, 0]


# ------------------------------------------------------------------ as published


def test_the_published_score_is_numpys_gradient(rng: np.random.Generator) -> None:
    q = rng.normal(size=50)
    inner = np.abs(q[2:] - q[:-2]) / 2
    ends = np.abs([q[1] - q[0], q[-1] - q[-2]])
    assert paper_epgm(q) == pytest.approx((inner.sum() + ends.sum()) / 50)


def test_the_published_test_asks_for_smoothness_not_influence() -> None:
    """A slope of 1e-9 is significant, a constant is not."""
    assert shuffle_test(np.full(30, 0.7)) == 1.0
    for slope in (1.0, 1e-3, 1e-9):
        assert shuffle_test(slope * np.arange(30.0), n_permutations=2000) == 0.0
    assert shuffle_test(np.sin(np.linspace(0, 6, 101)), n_permutations=2000) == 0.0


def test_the_published_test_keeps_its_level_on_noise(rng: np.random.Generator) -> None:
    """400 traces of independent noise: p below .05 in 5 %, known to 1.1 %."""
    p = [shuffle_test(rng.normal(size=21), n_permutations=500, seed=i) for i in range(400)]
    assert abs(np.mean(np.array(p) < 0.05) - 0.05) < 0.033
