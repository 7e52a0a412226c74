"""Margins between outputs and distances in an embedding."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial import distance as scipy_distance
from sklearn.linear_model import LogisticRegression
from torch import nn

import sensx_sc as sx
from sensx_sc.evaluators.gradient.gradients import Gradients
from sensx_sc.models import Distance, Margin
from sensx_sc.models.qoi import make_response, resolve_target

N = 5
X = np.random.default_rng(0).random((80, N))
Y = np.array(["B", "NK", "T"])[np.digitize(X[:, 0] - X[:, 1], [-0.2, 0.2])]
HOW: dict[str, Any] = {"lower": 0, "upper": 1, "n_walks": 20, "n_samples": 50, "tau": 0.02}


def net() -> nn.Module:
    torch.manual_seed(1)
    made = nn.Sequential(nn.Linear(N, 2), nn.Tanh(), nn.Linear(2, 3)).eval()
    made.output_names = ["a", "b", "c"]
    return made


def softmax(z: np.ndarray) -> np.ndarray:
    weights = np.exp(z - z.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("of", ["auto", "logit", "value", "probability"])
def test_margins_of_a_net(of: Any) -> None:
    model = sx.models.as_model(net())
    response = make_response(model, Margin("c", "a", of=of))
    rows = torch.as_tensor(X[:6])
    z = model.outputs(rows).numpy()
    p = softmax(z)
    expected = p[:, 2] - p[:, 0] if of == "probability" else z[:, 2] - z[:, 0]
    np.testing.assert_allclose(response(rows, np.zeros(6, int)), expected, rtol=1e-12)
    assert resolve_target(None, response, z)[1][0] == "c - a"


def test_margins_of_an_estimator() -> None:
    fitted = LogisticRegression().fit(X, Y)
    p = fitted.predict_proba(X[:4])
    rows = torch.as_tensor(X[:4])
    of_p = make_response(sx.models.as_model(fitted), Margin("NK", "B"))
    np.testing.assert_allclose(of_p(rows, np.zeros(4, int)), p[:, 1] - p[:, 0])
    of_odds = make_response(sx.models.as_model(fitted), Margin(1, 0, of="logit"))
    odds = np.log(p / (1 - p))
    np.testing.assert_allclose(of_odds(rows, np.zeros(4, int)), odds[:, 1] - odds[:, 0])


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_distances_are_scipys(metric: Any) -> None:
    reference = np.array([0.3, -1.0, 2.0])
    outputs = np.random.default_rng(1).normal(size=(7, 3))
    expected = [getattr(scipy_distance, metric)(row, reference) for row in outputs]
    np.testing.assert_allclose(Distance(reference, metric)(outputs), expected)


QUANTITIES = {
    "margin": Margin("c", "a"),
    "margin of probabilities": Margin("b", "c", of="probability"),
    "distance": Distance([0.1, 0.2, 0.3]),
    "angle": Distance([0.1, 0.2, 0.3], "cosine"),
}


@pytest.mark.parametrize("name", QUANTITIES)
def test_explained_as_a_function_of_the_outputs(name: str) -> None:
    """By the fast evaluator, and with gradients that are those of differences."""
    q = QUANTITIES[name]
    found = sx.core.explain(X[:2], net(), qoi=q, precision="float64", **HOW)
    assert found.params["evaluator"] == "stem"
    assert found.params["qoi"] == q.label
    assert found.output_names[0] == q.label
    bound = q.bound(sx.models.as_model(net()))
    double = net().double()

    def plain(rows: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return bound(double(torch.as_tensor(rows)).numpy())

    expected = sx.core.explain(X[:2], plain, **HOW)
    np.testing.assert_allclose(found.value, expected.value, rtol=1e-7)
    np.testing.assert_allclose(found.delta_star, expected.delta_star)
    response = make_response(sx.models.as_model(net()), q)
    at, gradient = Gradients(response, np.dtype(np.float64), 8).at(X[:3], np.zeros(3, int))
    np.testing.assert_allclose(at, plain(X[:3]), rtol=1e-10)
    for j in range(N):
        moved = X[:3].copy()
        moved[:, j] += 1e-6
        np.testing.assert_allclose(gradient[:, j], (plain(moved) - at) / 1e-6, atol=1e-5)
    by_slopes = sx.core.explain(X[:2], net(), qoi=q, estimator="gradient", **HOW)
    assert all(audit is not None for audit in by_slopes.audits)


def test_into_anndata(adata: Any) -> None:
    model = sx.models.fit_mlp(adata, "cell_type", hidden=(8,), epochs=20, progress=False)
    sx.tl.sensx(adata, model, qoi=Margin("A", "B"), n_walks=20, n_samples=60)
    assert set(adata.obs["sensx_target"]) == {"A - B"}
    top = sx.get.rankings(adata, n_genes=6, rank_by="change")["names"]
    assert {"gene_0", "gene_1", "gene_2"} & set(top)
    assert adata.uns["sensx"]["params"]["qoi"] == "A - B"


@pytest.mark.parametrize("name", QUANTITIES)
def test_they_travel(name: str) -> None:
    q = QUANTITIES[name]
    assert pickle.loads(pickle.dumps(q)) == q  # noqa: S301


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: Margin("a", "a"), ValueError, "the margin is between two outputs; got 'a' twice"),
        (lambda: Distance([[1.0]]), ValueError, r"vector of finite numbers; got shape \(1, 1\)"),
        (lambda: Distance([]), ValueError, "vector of finite numbers"),
        (lambda: Distance([np.nan]), ValueError, "vector of finite numbers"),
        (lambda: Distance(["x"]), TypeError, "`reference` must be a vector of numbers; got list"),
        (lambda: Distance([1.0], "taxi"), ValueError, "`metric` must be one of .* got 'taxi'"),
        (lambda: Distance([0.0, 0.0], "cosine"), ValueError, "`reference` must not be zero"),
        (lambda: Margin("a", "b")(np.ones((1, 2))), ValueError, "must be told the model first"),
    ],
)
def test_what_is_no_quantity(make: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        make()


@pytest.mark.parametrize(
    ("q", "error", "match"),
    [
        (Margin("a", "z"), KeyError, "`target` 'z' is not an output of the model; it has 'a', 'b'"),
        (Margin("a", 0), ValueError, "the margin is between two outputs; 'a - 0' is one"),
        (Margin("a", "b", of="odds"), ValueError, "`qoi` must be one of"),
        (Distance([1.0]), ValueError, "`reference` has 1 numbers; the model gives 3"),
    ],
)
def test_what_a_model_does_not_have(q: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        sx.core.explain(X[:1], net(), qoi=q, **HOW)
    with pytest.raises(ValueError, match="`target` has no meaning beside a callable `qoi`"):
        sx.core.explain(X[:1], net(), qoi=Margin("a", "b"), target=0, **HOW)
