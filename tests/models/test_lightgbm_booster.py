"""LightGBM's own boosters."""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

import sensx_sc as sx
from sensx_sc.models.lightgbm_booster import is_lightgbm_booster

N = 8
GENES = [f"g{j}" for j in range(N)]
X = np.random.default_rng(0).random((200, N))
SCORE = X[:, 1] - X[:, 4] * X[:, 6]
Y = {"two": SCORE > 0.25, "three": np.digitize(SCORE, [0.1, 0.4]), "score": SCORE + 1}

OBJECTIVES = [
    ("binary", "two", "probability", "trees"),
    ("multiclass", "three", "probability", "trees"),
    ("multiclassova", "three", "probability", "trees"),
    ("regression", "score", "value", "trees"),
    ("poisson", "three", "value", "trees"),
    ("cross_entropy", "two", "value", "used features"),
]


def train(objective: str, y: str, *, names: bool = True) -> Any:
    data = lightgbm.Dataset(X, Y[y].astype(float), feature_name=GENES if names else "auto")
    params = {"objective": objective, "num_threads": 1, "verbose": -1, "num_leaves": 6}
    if objective.startswith("multi"):
        params["num_class"] = 3
    return lightgbm.train(params, data, 10)


def own(booster: Any, rows: np.ndarray) -> np.ndarray:
    returned = booster.predict(rows)
    if booster.dump_model()["objective"].startswith("binary"):
        return np.stack([1 - returned, returned], axis=1)
    return returned


@pytest.mark.parametrize(("objective", "y", "kind", "evaluator"), OBJECTIVES)
def test_explained_as_a_plain_function_around_it(
    objective: str, y: str, kind: str, evaluator: str
) -> None:
    booster = train(objective, y)
    model = sx.models.as_model(booster)
    assert is_lightgbm_booster(booster)
    assert model.kind == kind
    assert model.feature_names == tuple(GENES)
    found = model.outputs(torch.as_tensor(X)).numpy()
    np.testing.assert_allclose(found, own(booster, X).reshape(found.shape), rtol=1e-12)
    named = None if kind == "value" else tuple("012"[: found.shape[1]])
    assert model.output_names == named
    how = {
        "lower": 0, "upper": 1, "n_walks": 20, "n_samples": 50, "tau": 0.01, "names": GENES,
        "target": found.shape[1] - 1,
    }  # fmt: skip
    explained = sx.core.explain(X[:3], booster, **how)
    expected = sx.core.explain(X[:3], lambda rows: own(booster, rows), **how)
    assert explained.params["evaluator"] == evaluator
    assert expected.params["evaluator"] == "dense"
    np.testing.assert_allclose(explained.value, expected.value, rtol=1e-6, atol=1e-9)
    assert (explained.value > 0).any()


def test_the_rounds_up_to_the_best_count() -> None:
    booster = train("binary", "two")
    all_rounds = booster.predict(X[:2])
    booster.best_iteration = 4  # what a callback for early stopping sets
    assert (booster.predict(X[:2]) != all_rounds).all()
    r = sx.core.explain(X[:2], booster, lower=0, upper=1, n_walks=20, n_samples=50, target="1")
    np.testing.assert_allclose(r.qoi, booster.predict(X[:2]), rtol=1e-9)
    assert r.params["evaluator"] == "trees"


def test_what_the_caller_says() -> None:
    booster = train("cross_entropy", "two", names=False)
    model = sx.models.as_model(
        booster, outputs="probability", feature_names=GENES, output_names=["NK"]
    )
    assert model.kind == "probability"
    assert model.feature_names == tuple(GENES)
    assert model.output_names == ("NK",)
    assert sx.models.as_model(booster).feature_names is None


def test_genes_are_matched_by_name() -> None:
    booster = train("binary", "two")
    how = {"lower": 0, "upper": 1, "n_walks": 8}
    with pytest.raises(ValueError, match="another order than the model's"):
        sx.core.explain(X[:1], booster, names=GENES[::-1], **how)
    with pytest.raises(ValueError, match="1 missing: g7; 1 unknown to the model: other"):
        sx.core.explain(X[:1], booster, names=[*GENES[:7], "other"], **how)


def test_what_it_is_not() -> None:
    assert not is_lightgbm_booster(LogisticRegression())
    assert not is_lightgbm_booster("Booster")
