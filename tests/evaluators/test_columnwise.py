"""Behind a choice of columns every evaluator gives the numbers of full evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from torch import nn

import sensx_sc as sx
from sensx_sc.evaluators.choose import choose_evaluator
from sensx_sc.evaluators.columnwise import ColumnwiseEvaluator
from sensx_sc.evaluators.dense import DenseEvaluator
from sensx_sc.evaluators.gradient.gradients import Gradients
from sensx_sc.evaluators.routed import RoutedEvaluator
from sensx_sc.evaluators.walk_set import WalkSet
from sensx_sc.models.qoi import make_response

if TYPE_CHECKING:
    from sensx_sc.models.by_name import ByName

N, OWN = 12, 7
COLUMNS = [f"g{j}" for j in range(N)]
GENES = ["g8", "g1", "g11", "g0", "g4", "g9", "g2"]


def stem() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(OWN, 3), nn.Tanh(), nn.Linear(3, 2)).eval()


def forest() -> Any:
    X = np.random.default_rng(0).random((80, OWN))
    return RandomForestClassifier(6, max_depth=3, random_state=0).fit(
        X, X[:, 0] > X[:, 1] * X[:, 2]
    )


def box(rows: np.ndarray) -> np.ndarray:
    return np.stack([np.sort(rows, axis=1)[:, 2], rows[:, 0] * rows[:, 3]], axis=1)


def each() -> dict[str, Any]:
    other = nn.Sequential(nn.Linear(OWN, 3), nn.ReLU(), nn.Linear(3, 1)).eval()
    return {"a": nn.Sequential(nn.Linear(OWN, 1)).eval(), "b": other}


MODELS = {"stem": stem, "trees": forest, "dense": lambda: box, "one a class": each}


def behind_columns(name: str) -> ByName | Any:
    made = MODELS[name]()
    if isinstance(made, dict):
        known = {k: sx.models.as_model(member, feature_names=GENES) for k, member in made.items()}
        return sx.models.as_model(known, columns=COLUMNS)
    return sx.models.as_model(made, n_features=OWN, feature_names=GENES, columns=COLUMNS)


@pytest.fixture(params=MODELS)
def evaluators(request: pytest.FixtureRequest) -> tuple[Any, DenseEvaluator]:
    """The chosen one, and full evaluation of the same rows."""
    response = make_response(behind_columns(request.param))
    probes = np.random.default_rng(1).random((5, N))
    fast, _ = choose_evaluator(response, np.dtype(np.float64), 64, probes)
    assert isinstance(fast, ColumnwiseEvaluator)
    assert fast.name == {"one a class": "stem"}.get(request.param, request.param)
    assert isinstance(fast.inner, RoutedEvaluator) == (request.param == "one a class")
    return fast, DenseEvaluator(response, np.dtype(np.float64), 64)


# All columns; some, in any order; only such as the model does not read.
FREE = [np.arange(N), np.array([3, 8, 1, 5, 11, 6]), np.array([3, 5, 7])]


@pytest.mark.parametrize("free", FREE, ids=["all", "some", "none read"])
def test_numbers_are_those_of_full_evaluation(evaluators: tuple[Any, Any], free: Any) -> None:
    fast, slow = evaluators
    rng = np.random.default_rng(2)
    x, target = rng.random((3, N)), np.array([0, 1, 1])
    cell = np.array([0, 0, 1, 2, 2])
    endpoint = rng.random((5, len(free)))
    order = np.argsort(rng.random((5, len(free))), axis=1)
    q_x = slow.at(x, target)
    np.testing.assert_allclose(fast.at(x, target), q_x, rtol=1e-12)
    np.testing.assert_allclose(fast.outputs(x), slow.outputs(x), rtol=1e-12)
    walks = WalkSet(x, target, q_x, cell, free, endpoint, order)
    np.testing.assert_allclose(fast.walks(walks), slow.walks(walks), rtol=1e-9)
    chosen = np.arange(len(free))[::-2]
    stepped = [each.steps(walks, chosen) for each in (fast, slow)]
    np.testing.assert_allclose(*stepped, rtol=1e-9, atol=1e-12)
    lines = np.repeat(np.arange(len(x)), len(free)), np.tile(free[::-1], len(x))
    values = rng.random((len(lines[0]), 3))
    np.testing.assert_allclose(
        fast.one_at_a_time(x, target, *lines, values),
        slow.one_at_a_time(x, target, *lines, values),
        rtol=1e-9,
    )
    down, up = rng.random((2, 4, len(free))) * 0.2
    u = rng.random((6, len(free)))
    np.testing.assert_allclose(
        fast.sweep(x[1], 1, free, down, up, u), slow.sweep(x[1], 1, free, down, up, u), rtol=1e-9
    )


def test_columns_that_are_not_read_are_dead(evaluators: tuple[Any, Any]) -> None:
    fast, _ = evaluators
    alive = fast.alive(np.arange(N))
    read = np.isin(COLUMNS, GENES)
    assert not alive[~read].any()
    assert alive[read].sum() >= 3
    assert fast.complete_rows(np.array([3, 5]), 10, 0) <= 10
    assert fast.rows >= 1
    assert fast.walks_together(5) >= 1


@pytest.mark.parametrize("name", ["stem", "one a class"])
def test_gradients_go_to_the_columns_that_are_read(name: str) -> None:
    response = make_response(behind_columns(name))
    x, target, step = np.random.default_rng(3).random((2, N)), np.array([1, 0]), 1e-6
    q, gradient = Gradients(response, np.dtype(np.float64), 8).at(x, target)
    for j in range(N):
        moved = x.copy()
        moved[:, j] += step
        after = response(torch.as_tensor(moved), target)
        np.testing.assert_allclose(gradient[:, j], (after - q) / step, atol=1e-6)
    assert (gradient[:, ~np.isin(COLUMNS, GENES)] == 0).all()
