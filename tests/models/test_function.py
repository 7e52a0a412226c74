"""Any callable on rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from sensx_sc.core import explain
from sensx_sc.models import as_model

CALLABLES: list[tuple[Any, str]] = [
    (lambda z: z.sum(axis=1), "numpy"),
    (lambda z: np.sin(z), "numpy"),
    (lambda z: [float(row.sum()) for row in z], "numpy"),
    (lambda z: z.copy()[:, 0], "numpy"),
    (lambda z: torch.sigmoid(z), "torch"),
    (lambda z: z.unsqueeze(0)[0].clone(), "torch"),
]


@pytest.mark.parametrize(("function", "kind"), CALLABLES)
def test_arrays_or_tensors_are_found_out(function: Any, kind: str) -> None:
    made = as_model(function, n_features=3)
    assert made.rows == kind
    rows = torch.arange(6, dtype=torch.float64).reshape(2, 3)
    out = made.outputs(rows)
    assert isinstance(out, torch.Tensor)
    assert out.shape[0] == 2
    assert out.ndim == 2


def test_float64_comes_first_and_float32_where_nothing_else_goes() -> None:
    assert as_model(lambda z: z.sum(axis=1), n_features=2).dtypes == (torch.float64, torch.float32)
    weights = torch.ones(2, dtype=torch.float32)
    assert as_model(lambda z: z @ weights, n_features=2).dtypes == (torch.float32,)


def test_what_the_caller_says_is_taken() -> None:
    seen: list[type] = []

    def either(z: Any) -> Any:
        seen.append(type(z))
        return z[:, 0]

    assert as_model(either, n_features=2, rows="torch").rows == "torch"
    assert set(seen) == {torch.Tensor}


def test_both_kinds_explain_alike() -> None:
    x = np.array([[0.1, 0.8]])
    arguments = {"lower": 0, "upper": 1, "n_walks": 20, "deltas": [1.0]}
    a = explain(x, lambda z: np.exp(z[:, 0] * z[:, 1]), **arguments)
    b = explain(x, lambda z: torch.exp(z[:, 0] * z[:, 1]), **arguments)
    np.testing.assert_allclose(a.value, b.value, rtol=1e-9)


def test_a_callable_object_is_a_model() -> None:
    class Scorer:
        def __call__(self, z: np.ndarray) -> np.ndarray:
            return z[:, 0]

    assert as_model(Scorer(), n_features=2).name == "Scorer"


def test_a_model_that_squeezes_single_rows_works() -> None:
    x = np.array([[0.1, 0.8]])
    for batch_size in (1, 64):
        r = explain(x, lambda z: np.squeeze(z @ [[1.0], [2.0]]), lower=0, upper=1, n_walks=8,
                    deltas=[1.0], batch_size=batch_size)  # fmt: skip
        np.testing.assert_allclose(r.value, [[1, 2]], rtol=1e-9)
        r = explain(x, lambda z: np.squeeze(np.stack([z[:, 0], 3 * z[:, 1]], 1)), target=1,
                    lower=0, upper=1, n_walks=8, deltas=[1.0], batch_size=batch_size)  # fmt: skip
        np.testing.assert_allclose(r.value, [[0, 3]], rtol=1e-9)


@pytest.mark.parametrize(
    ("function", "match"),
    [
        (
            lambda z: z.nonsense,
            r"failed on example rows of 3 features: Attr.*\(rows: numpy float64, numpy float32\)",
        ),
        (lambda z: z[:1], r"for B = 2 it returned shape \(1, 3\)"),
        (lambda z: None, "failed on example rows of 3 features"),
        (lambda z: ["a"] * len(z), "must return numbers, one row for each input row; got list"),
    ],
)
def test_a_failure_is_passed_on(function: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        as_model(function, n_features=3)


def test_genes_are_matched_by_name() -> None:
    """A function has no names of its own; those that are said for it are held to."""
    model = as_model(lambda rows: rows[:, 0] - rows[:, 1], n_features=2, feature_names=["a", "b"])
    how = {"lower": 0, "upper": 1, "n_walks": 8, "n_samples": 50}
    with pytest.raises(ValueError, match="position 0 holds 'b', the model expects 'a'"):
        explain([[0.5, 0.5]], model, names=["b", "a"], **how)


def test_labels_are_no_numbers() -> None:
    with pytest.raises(ValueError, match="got text: explain scores or probabilities, not labels"):
        as_model(lambda rows: np.array(["NK"] * len(rows)), n_features=2)
