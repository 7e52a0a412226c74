"""Where walks and scales turn nodes: against a look at every state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sensx_sc.core import make_domain
from sensx_sc.evaluators.trees.courses import Scales, Walks, bends, is_sweep
from sensx_sc.evaluators.trees.ensemble import Tree, TreeEnsemble, make_ensemble, single

if TYPE_CHECKING:
    from sensx_sc.evaluators.trees.courses import Course

SEEDS = st.integers(0, 2**32 - 1)


def stumps(thresholds: np.ndarray, missing: float | None = None) -> TreeEnsemble:
    """A tree of one node for each feature."""
    trees = [
        Tree(
            np.array([1, -1, -1]),
            np.array([2, -1, -1]),
            np.array([j, 0, 0]),
            np.array([threshold, 0, 0]),
            np.array([0.0, 1.0, 2.0]),
            missing_left=np.array([j % 2 == 0, False, False]),
        )
        for j, threshold in enumerate(thresholds)
    ]
    return make_ensemble(trees, np.zeros(1), lambda sums: sums, single, missing=missing)


def every_turn(right: np.ndarray, low: np.ndarray, high: np.ndarray) -> list[tuple[int, int]]:
    """The states (run, state) in which decisions (run, state) change inside their runs."""
    return [
        (run, state)
        for run in range(len(right))
        for state in range(low[run] + 1, high[run])
        if right[run, state] != right[run, state - 1]
    ]


def check(course: Course, right: np.ndarray, rng: np.random.Generator) -> int:
    """Compare with decisions (feature, line, state); returns how many turns there were."""
    n_features, n_lines, n_states = right.shape
    feature, line = (part.ravel() for part in np.indices((n_features, n_lines)))
    low = rng.integers(0, n_states, size=len(line))
    high = low + 1 + (rng.random(len(line)) * (n_states - low)).astype(np.int64)
    decided = right.reshape(-1, n_states)
    found = course.turns(3 * feature, line, low, high)
    np.testing.assert_array_equal(found.right, decided[np.arange(len(line)), low])
    expected = every_turn(decided, low, high)
    assert list(zip(found.run.tolist(), found.state.tolist(), strict=True)) == expected
    return len(expected)


@pytest.mark.parametrize("missing", [None, 0.0])
@given(seed=SEEDS)
def test_walks_turn_where_a_look_at_every_state_says(seed: int, missing: float | None) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 4, size=(2, 5, 6)) / 2  # many on thresholds, many zero
    moved = np.argsort(rng.random((5, 6)), axis=1) + 1
    ensemble = stumps(rng.integers(0, 4, size=6) / 2, missing)
    course = Walks(ensemble, values[0], values[1], moved, 7)
    states = np.where(np.arange(7) < moved[..., None], *values[..., None])  # (line, feature, state)
    right = states > ensemble.threshold[ensemble.root][:, None]
    if missing is not None:
        right = np.where(states == missing, np.arange(6)[:, None] % 2 == 1, right)
    check(course, right.transpose(1, 0, 2), rng)


@given(seed=SEEDS)
def test_scales_turn_where_a_look_at_every_scale_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 12
    x = np.where(rng.random(n) < 0.3, 0.0, rng.random(n))
    x[0] = 1.0
    domain = make_domain(0, 1, n)
    deltas = np.unique(np.geomspace(0.01, 1, 17).round(rng.integers(2, 9)))
    down, up = (np.stack(part) for part in zip(*(domain.reach(x, d) for d in deltas), strict=True))
    assert is_sweep(down, up)
    ensemble = stumps(rng.random(n))
    u = rng.random((9, n))
    course = Scales(ensemble, x, down, up, u)
    z = torch.addcmul(
        *(torch.as_tensor(part) for part in ((x - down)[:, None], u, (down + up)[:, None]))
    )
    right = single(z.numpy()) > ensemble.threshold[ensemble.root]  # (scale, line, feature)
    assert check(course, right.transpose(2, 1, 0), rng) > 0


def test_a_feature_may_turn_and_return() -> None:
    """Down to the bound and up again: two turns of one node."""
    x, deltas = np.array([0.3]), np.linspace(0.05, 1, 20)
    down, up = np.minimum(x, deltas[:, None]), np.minimum(1 - x, deltas[:, None])
    assert bends(down, up).tolist() == [6]  # the first scale beyond 0.3
    course = Scales(stumps(np.array([0.205])), x, down, up, np.array([[0.3]]))
    one = np.zeros(1, dtype=np.int64)
    turns = course.turns(one, one, one, one + 20)
    z = x - down + 0.3 * (down + up)
    changes = np.flatnonzero(np.diff((z > 0.205).ravel())) + 1
    assert len(changes) == 2
    assert turns.right.tolist() == [True]
    assert turns.state.tolist() == changes.tolist()


@pytest.mark.parametrize(
    ("down", "up"),
    [
        ([0.1, 0.2, 0.1], [0.1, 0.2, 0.3]),  # shrinks
        ([0.1, 0.2, 0.3], [0.1, 0.1, 0.3]),  # its sides leave their ratio, and neither is held
    ],
)
def test_other_reaches_are_no_sweep(down: list[float], up: list[float]) -> None:
    assert not is_sweep(np.array(down)[:, None], np.array(up)[:, None])
