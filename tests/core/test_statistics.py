"""Running statistics against plain numpy over all walks at once; ranks; intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sensx_sc.core.statistics import Tally, interval, ranking_score, ranks
from sensx_sc.words import STATISTICS


def oracle(dq: np.ndarray, dx: np.ndarray, block: int) -> dict[str, np.ndarray]:
    """Feature by feature, from the definitions of METHOD section 3."""
    out: dict[str, list[float]] = {name: [] for name in STATISTICS}
    for j in range(dq.shape[1]):
        keep = dx[:, j] != 0
        d = dq[keep, j] / dx[keep, j]
        some = len(d) > 0
        out["value"].append(np.abs(d).mean() if some else np.nan)
        out["mean"].append(d.mean() if some else np.nan)
        out["std"].append(d.std(ddof=1) if len(d) > 1 else np.nan)
        out["change"].append(np.abs(dq[:, j]).mean() if some else np.nan)
        out["shapley"].append(-dq[:, j].mean() if some else np.nan)
        moved = np.abs(dq[:, j]).reshape(-1, block).mean(axis=1)
        known = some and len(moved) > 1
        out["change_se"].append(moved.std(ddof=1) / np.sqrt(len(moved)) if known else np.nan)
        out["n"].append(len(d))
        means = np.array([b.mean() for b in np.abs(dq / dx)[:, j].reshape(-1, block)])
        enough = keep.all() and len(means) > 1
        out["se"].append(means.std(ddof=1) / np.sqrt(len(means)) if enough else np.nan)
    return {name: np.array(values) for name, values in out.items()}


@pytest.mark.parametrize("block", [1, 4])
@pytest.mark.parametrize("pieces", [[24], [4, 16, 4], [8, 8, 8]])
def test_pieces_add_up_to_numpy(rng: np.random.Generator, block: int, pieces: list[int]) -> None:
    dq, dx = rng.normal(size=(24, 5)), rng.normal(size=(24, 5))
    tally = Tally.empty(5)
    for stop, size in zip(np.cumsum(pieces), pieces, strict=True):
        tally.add(dq[stop - size : stop], dx[stop - size : stop], block)
    got = tally.statistics()
    for name, expected in oracle(dq, dx, block).items():
        np.testing.assert_allclose(got[name], expected, rtol=1e-12, err_msg=name)


def test_a_step_of_zero_is_not_an_effect(rng: np.random.Generator) -> None:
    dq, dx = rng.normal(size=(12, 3)), rng.normal(size=(12, 3))
    dx[::3, 1] = dq[::3, 1] = 0
    dx[:, 2] = dq[:, 2] = 0
    tally = Tally.empty(3)
    tally.add(dq, dx, 1)
    got = tally.statistics()
    with np.errstate(invalid="ignore"):
        expected = oracle(dq, dx, 1)
    np.testing.assert_array_equal(got["n"], [12, 8, 0])
    for name in ("value", "mean", "std", "change", "shapley"):
        np.testing.assert_allclose(got[name], expected[name], rtol=1e-12, err_msg=name)
    d = np.abs(dq[:, 1] / np.where(dx[:, 1] == 0, 1, dx[:, 1]))[dx[:, 1] != 0]
    assert got["se"][1] == pytest.approx(d.std(ddof=1) / np.sqrt(8), rel=1e-12)
    assert np.isnan(got["se"][2])


def test_nothing_cancels_beside_a_large_common_effect(rng: np.random.Generator) -> None:
    d = 1e8 + rng.normal(size=(64, 1))
    tally = Tally.empty(1)
    for part in np.split(d, 8):
        tally.add(part, np.ones_like(part), 4)
    got = tally.statistics()
    assert got["std"][0] == pytest.approx(d.std(ddof=1), rel=1e-6)
    means = d.reshape(16, 4).mean(axis=1)
    assert got["se"][0] == pytest.approx(means.std(ddof=1) / 4, rel=1e-6)


def test_one_walk_has_no_spread() -> None:
    tally = Tally.empty(2)
    tally.add(np.array([[2.0, -3.0]]), np.array([[1.0, 1.0]]), 1)
    got = tally.statistics()
    np.testing.assert_array_equal(got["value"], [2, 3])
    np.testing.assert_array_equal(got["mean"], [2, -3])
    assert np.isnan(got["std"]).all()
    assert np.isnan(got["se"]).all()


def test_ranks_break_ties_by_index_and_leave_nan_out() -> None:
    scores = np.array([[1.0, 3.0, 3.0, np.nan, 0.0], [np.nan] * 5])
    np.testing.assert_array_equal(ranks(scores), [[3, 1, 2, 0, 4], [0] * 5])
    np.testing.assert_array_equal(ranks(np.array([2.0, 5.0])), [2, 1])
    np.testing.assert_array_equal(ranks(np.array([-np.inf, np.inf, 0.0])), [3, 1, 2])


@given(st.lists(st.one_of(st.integers(-3, 3), st.just(None)), min_size=1, max_size=12))
def test_ranks_are_a_sorted_list(scores: list[int | None]) -> None:
    values = np.array([np.nan if s is None else s for s in scores], dtype=float)
    known = [j for j, s in enumerate(scores) if s is not None]
    expected = sorted(known, key=lambda j: (-values[j], j))
    got = ranks(values)
    assert [int(np.flatnonzero(got == k + 1)[0]) for k in range(len(known))] == expected
    assert (got == 0).sum() == len(scores) - len(known)


def test_signed_statistics_rank_by_size() -> None:
    signed = np.array([-3.0, 2.0])
    for name in ("mean", "shapley"):
        np.testing.assert_array_equal(ranks(ranking_score(signed, name)), [1, 2])
    np.testing.assert_array_equal(ranks(ranking_score(np.abs(signed), "change")), [1, 2])


def test_interval_is_students() -> None:
    low, high = interval(np.array([2.0]), np.array([0.5]), n_blocks=8, coverage=0.9)
    expected = stats.t.interval(0.9, 7, loc=2.0, scale=0.5)
    np.testing.assert_allclose([low[0], high[0]], expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"n_blocks": 1}, "at least two blocks of walks; there are 1"),
        ({"coverage": 1.0}, "`coverage` must lie between 0 and 1; got 1.0"),
        ({"coverage": 0}, "`coverage` must lie between 0 and 1"),
    ],
)
def test_intervals_that_are_refused(wrong: dict[str, float], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        interval(np.ones(1), np.ones(1), **{"n_blocks": 5, **wrong})
