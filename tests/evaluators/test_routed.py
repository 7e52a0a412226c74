"""Binary classifiers in a mapping: each has the evaluator that fits it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import sensx_sc as sx
from sensx_sc.evaluators.choose import choose_evaluator
from sensx_sc.evaluators.dense import DenseEvaluator
from sensx_sc.evaluators.routed import RoutedEvaluator
from sensx_sc.evaluators.walk_set import WalkSet
from sensx_sc.models.qoi import make_response

N = 30


@pytest.fixture
def members() -> dict[str, nn.Module]:
    torch.manual_seed(1)
    return {
        "stem": nn.Sequential(nn.Linear(N, 6), nn.ReLU(), nn.Linear(6, 1)).eval(),
        "dense": nn.Sequential(nn.LayerNorm(N), nn.Linear(N, 1)).eval(),
    }


def test_each_member_is_explained_as_on_its_own(members: dict[str, nn.Module]) -> None:
    x = np.random.default_rng(0).random((4, N))
    target = ["stem", "dense", "dense", "stem"]
    both = sx.core.explain(
        x, members, lower=0, upper=3, target=target, tau=0.01, n_walks=40, precision="float64"
    )
    assert both.params["evaluator"] == "stem/dense"
    for i, name in enumerate(target):
        alone = sx.core.explain(
            x[i : i + 1], members[name], lower=0, upper=3, tau=0.01, n_walks=40, keys=[i],
            precision="float64",
        )  # fmt: skip
        assert both.status[i] == alone.status[0]
        assert both.delta_star[i] == alone.delta_star[0]
        np.testing.assert_allclose(both.value[i], alone.value[0], rtol=1e-9)


def test_another_quantity_than_the_probability_is_evaluated_whole(
    members: dict[str, nn.Module], rng: np.random.Generator
) -> None:
    model = sx.models.as_model(members)
    probes = rng.random((5, N))
    chosen, _ = choose_evaluator(make_response(model, "auto"), np.dtype(np.float64), 64, probes)
    assert isinstance(chosen, RoutedEvaluator)
    whole, why = choose_evaluator(make_response(model, "logit"), np.dtype(np.float64), 64, probes)
    assert not isinstance(whole, RoutedEvaluator)
    assert "black box" in why
    np.testing.assert_allclose(
        whole.at(probes, np.ones(5, dtype=np.int64)),
        np.log(chosen.at(probes, np.ones(5, dtype=np.int64)))
        - np.log1p(-chosen.at(probes, np.ones(5, dtype=np.int64))),
        rtol=1e-6,
    )


def test_one_feature_moves_the_member_that_is_asked_for(
    members: dict[str, nn.Module], rng: np.random.Generator
) -> None:
    response, x = make_response(sx.models.as_model(members), "auto"), rng.random((2, N))
    chosen, _ = choose_evaluator(response, np.dtype(np.float64), 64, rng.random((5, N)))
    target, cell = np.array([1, 0]), np.array([0, 1, 1])
    features, values = np.array([3, 7, 2]), rng.random((3, 4))
    rows = np.repeat(x[cell], 4, axis=0)
    rows[np.arange(12), np.repeat(features, 4)] = values.ravel()
    got = chosen.one_at_a_time(x, target, cell, features, values)
    expected = chosen.at(rows, np.repeat(target[cell], 4)).reshape(3, 4)
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_groups_move_the_member_that_is_asked_for(
    members: dict[str, nn.Module], rng: np.random.Generator
) -> None:
    response, x = make_response(sx.models.as_model(members), "auto"), rng.random((2, N))
    chosen, _ = choose_evaluator(response, np.dtype(np.float64), 64, rng.random((5, N)))
    whole = DenseEvaluator(response, np.dtype(np.float64), 64)
    target, cell, free = np.array([1, 0]), np.array([0, 1, 1]), np.arange(0, N, 2)
    member = np.arange(len(free)) % 4  # four groups
    order = np.stack([rng.permutation(4) for _ in cell])
    end, q_x = rng.random((3, len(free))), whole.at(x, target)
    walks = WalkSet(x, target, q_x, cell, free, end, order, member)
    np.testing.assert_allclose(chosen.walks(walks), whole.walks(walks), rtol=1e-9)
    of_some = np.array([2, 0])
    got, expected = (each.steps(walks, of_some) for each in (chosen, whole))
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)
