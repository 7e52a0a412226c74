"""XGBoost's own boosters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import xgboost
from sklearn.linear_model import LogisticRegression

import sensx_sc as sx
from sensx_sc.models.xgboost_booster import is_xgboost_booster

N = 8
GENES = [f"g{j}" for j in range(N)]
X = np.random.default_rng(0).random((200, N))
SCORE = X[:, 1] - X[:, 4] * X[:, 6]
Y = {"two": SCORE > 0.25, "three": np.digitize(SCORE, [0.1, 0.4]), "score": SCORE + 1}

OBJECTIVES = [
    ("binary:logistic", "two", "probability"),
    ("multi:softprob", "three", "probability"),
    ("multi:softmax", "three", "probability"),
    ("binary:logitraw", "two", "value"),
    ("reg:squarederror", "score", "value"),
    ("count:poisson", "three", "value"),
]


def train(objective: str, y: str, *, names: bool = True, **more: Any) -> Any:
    data = xgboost.DMatrix(X, Y[y], feature_names=GENES if names else None)
    classes = {"num_class": 3} if objective.startswith("multi") else {}
    return xgboost.train(
        {"objective": objective, "nthread": 1, "max_depth": 3, **classes}, data, 10, **more
    )


def own(booster: Any, rows: np.ndarray, *, names: bool = True) -> np.ndarray:
    return booster.predict(xgboost.DMatrix(rows, feature_names=GENES if names else None))


@pytest.mark.parametrize(("objective", "y", "kind"), OBJECTIVES)
def test_outputs_are_its_predictions(objective: str, y: str, kind: str) -> None:
    booster = train(objective, y)
    model = sx.models.as_model(booster)
    assert is_xgboost_booster(booster)
    assert model.name == "xgboost Booster"
    assert model.kind == kind
    assert model.feature_names == tuple(GENES)
    found = model.outputs(torch.as_tensor(X)).numpy()
    expected = own(booster, X)
    if objective == "multi:softmax":
        np.testing.assert_array_equal(found.argmax(axis=1), expected)
        expected = own(train("multi:softprob", "three"), X)
    if objective == "binary:logistic":
        expected = np.stack([1 - expected, expected], axis=1)
        assert model.output_names == ("0", "1")
    np.testing.assert_allclose(found, expected.reshape(found.shape), atol=1e-7)


@pytest.mark.parametrize(("objective", "y"), [case[:2] for case in OBJECTIVES if case[1] != "two"])
def test_explained_as_a_plain_function_around_it(objective: str, y: str) -> None:
    booster = train(objective, y)
    if objective == "multi:softmax":  # the function returns labels; explain what they come from
        objective, expected_of = "multi:softprob", train("multi:softprob", y)
    else:
        expected_of = booster
    how = {
        "lower": 0, "upper": 1, "n_walks": 20, "n_samples": 50, "tau": 0.01, "names": GENES,
        "target": 1 if objective.startswith("multi") else 0,
    }  # fmt: skip
    found = sx.core.explain(X[:3], booster, **how)
    expected = sx.core.explain(X[:3], lambda rows: own(expected_of, rows), **how)
    assert found.params["evaluator"] == "trees"
    assert expected.params["evaluator"] == "dense"
    np.testing.assert_allclose(found.value, expected.value, rtol=1e-6, atol=1e-9)
    assert (found.value > 0).any()


def test_all_trees_count_unless_it_is_cut() -> None:
    """As `Booster.predict` does, whatever round was the best."""
    held_out = xgboost.DMatrix(X[:50], Y["two"][:50][::-1].copy(), feature_names=GENES)
    booster = train(
        "binary:logistic", "two", evals=[(held_out, "x")], early_stopping_rounds=9,
        verbose_eval=False,
    )  # fmt: skip
    assert 0 <= booster.best_iteration < booster.num_boosted_rounds() - 1
    for used in (booster, booster[: booster.best_iteration + 1]):
        found = sx.models.as_model(used).outputs(torch.as_tensor(X))[:, 1]
        np.testing.assert_allclose(found, own(used, X), atol=1e-7)
    assert booster.attr("best_iteration") is not None  # the user's own is left as it was


def test_genes_are_matched_by_name() -> None:
    booster = train("binary:logistic", "two")
    how = {"lower": 0, "upper": 1, "n_walks": 8}
    with pytest.raises(ValueError, match="another order than the model's"):
        sx.core.explain(X[:1], booster, names=GENES[::-1], **how)
    with pytest.raises(ValueError, match="1 missing: g7; 1 unknown to the model: other"):
        sx.core.explain(X[:1], booster, names=[*GENES[:7], "other"], **how)
    reordered = sx.models.as_model(booster, columns=[*GENES[::-1], "other"])
    x = np.concatenate([X[:1, ::-1], [[0.5]]], axis=1)
    r = sx.core.explain(x, reordered, names=[*GENES[::-1], "other"], **how)
    assert r.params["evaluator"] == "trees"
    assert r.value[0, -1] == 0
    np.testing.assert_allclose(r.qoi, own(booster, X[:1]).clip(0.5, 1), atol=0.5)
    unnamed = sx.models.as_model(train("binary:logistic", "two", names=False))
    assert unnamed.feature_names is None


def test_what_it_is_not() -> None:
    assert not is_xgboost_booster(LogisticRegression())
    assert not is_xgboost_booster("Booster")
