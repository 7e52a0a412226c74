"""Parts of a set of walks are what they are in the whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sensx_sc.evaluators import DenseEvaluator
from sensx_sc.evaluators.dead import skip_dead
from sensx_sc.evaluators.walk_set import WalkSet
from sensx_sc.models import as_model
from sensx_sc.models.qoi import make_response

N, FREE = 9, np.array([0, 2, 3, 4, 6, 8])
MEMBER = np.array([1, 0, 2, 1, 3, 0])


def drawn(*, grouped: bool, walks: int = 5) -> WalkSet:
    rng = np.random.default_rng(4)
    n_steps = 4 if grouped else len(FREE)
    return WalkSet(
        x=rng.normal(size=(3, N)),
        target=np.array([1, 0, 1]),
        q_x=rng.normal(size=3),
        cell=np.array([0, 0, 2, 1, 2])[:walks],
        free=FREE,
        endpoint=rng.normal(size=(walks, len(FREE))),
        order=np.stack([rng.permutation(n_steps) for _ in range(walks)]),
        member=MEMBER if grouped else None,
    )


def moved(walks: WalkSet) -> list[list[dict[int, float]]]:
    """For each walk and step: the features of the input that it moves, and where to."""
    return [
        [
            {int(walks.free[j]): float(walks.endpoint[w, j])
             for j in np.flatnonzero(walks.groups == k)}
            for k in walks.order[w]
        ]
        for w in range(len(walks.order))
    ]  # fmt: skip


@pytest.fixture(params=[False, True], ids=["features", "groups"])
def walks(request: pytest.FixtureRequest) -> WalkSet:
    return drawn(grouped=request.param)


def test_what_is_said_of_all_walks(walks: WalkSet) -> None:
    assert walks.n_steps == walks.order.shape[1]
    assert walks.targets.tolist() == [1, 1, 1, 0, 1]
    for w, row in enumerate(walks.ends()):
        expected = walks.x[walks.cell[w]].copy()
        for step in moved(walks)[w]:
            for feature, value in step.items():
                expected[feature] = value
        np.testing.assert_array_equal(row, expected)
    steps = np.broadcast_to(np.arange(walks.n_steps), walks.order.shape)
    np.testing.assert_array_equal(np.take_along_axis(walks.order, walks.turn(), axis=1), steps)


@pytest.mark.parametrize("which", [slice(1, 4), np.array([4, 0]), np.arange(0)], ids=str)
def test_some_walks(walks: WalkSet, which: slice | np.ndarray) -> None:
    numbers, some = np.arange(5)[which], walks.some(which)
    assert moved(some) == [moved(walks)[w] for w in numbers]
    np.testing.assert_array_equal(some.ends(), walks.ends()[which])
    assert some.x is walks.x
    if isinstance(which, slice):  # large arrays are not copied
        assert np.shares_memory(some.endpoint, walks.endpoint)
        assert np.shares_memory(some.order, walks.order)


@pytest.mark.parametrize("features", [[0, 1, 4], [4, 0, 1], [2], [5, 4, 3, 2, 1, 0], []], ids=str)
def test_walks_of_some_features(walks: WalkSet, features: list[int]) -> None:
    at = np.array(features, dtype=np.int64)
    found, kept = walks.of(at), set(FREE[at].tolist())
    assert found.free.tolist() == FREE[at].tolist()
    alone = [[{j: v for j, v in step.items() if j in kept} for step in walk]
             for walk in moved(walks)]  # fmt: skip
    assert moved(found) == [[step for step in walk if step] for walk in alone]
    # Numbers that are told beforehand are those that the walks then have.
    number = walks.numbers(at)
    for w, walk in enumerate(alone):
        named = [number[k] for k, step in zip(walks.order[w], walk, strict=True) if step]
        assert named == found.order[w].tolist()
    assert sorted(number[number >= 0].tolist()) == list(range(found.n_steps))


def test_all_features_as_they_are_cost_no_copy(walks: WalkSet) -> None:
    assert walks.of(np.arange(len(FREE))) is walks


@pytest.mark.parametrize("live", ["110010", "000000", "111111", "000001"])
def test_steps_of_dead_features_change_nothing(walks: WalkSet, live: str) -> None:
    read = np.array([digit == "1" for digit in live])
    weight = np.zeros(N)
    weight[FREE] = np.where(read, np.arange(1.0, 7.0), 0.0)
    weight[1] = 3.0  # read, and never moved

    def model(rows: np.ndarray) -> np.ndarray:
        return np.stack([np.sin(rows @ weight), (rows @ weight) ** 2], axis=1)

    response = make_response(as_model(model, n_features=N), "value")
    whole = DenseEvaluator(response, np.dtype(np.float64), 64)
    q_x = whole.at(walks.x, walks.target)
    walks = replace(walks, q_x=q_x)
    given: list[WalkSet] = []
    found = skip_dead(walks, read, lambda some: (given.append(some), whole.walks(some))[1])
    np.testing.assert_allclose(found, whole.walks(walks), rtol=1e-12, atol=1e-12)
    assert [some.free.tolist() for some in given] == ([FREE[read].tolist()] if read.any() else [])
