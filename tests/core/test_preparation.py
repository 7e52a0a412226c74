"""Arguments: each wrong one gets its sentence before any work; right ones are recorded."""

from __future__ import annotations

import json
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from scipy import sparse

import sensx_sc as sx
from sensx_sc.core import explain
from sensx_sc.core.arguments import split_options
from sensx_sc.core.preparation import outputs, prepare

if TYPE_CHECKING:
    from sensx_sc.core.run import Run

X = np.array([[0.2, 0.5, 0.0], [0.9, 0.1, 0.4]])


def total(z: np.ndarray) -> np.ndarray:
    return z.sum(axis=1)


class Classifier(torch.nn.Module):
    feature_names = ("A", "B", "C")
    output_names = ("NK", "B cell")

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return torch.stack([z.sum(dim=1), -z[:, 0]], dim=1)


def call(X: object = X, model: object = total, **arguments: Any) -> sx.core.Explanation:
    return explain(X, model, **{"lower": 0, "upper": 1, "n_walks": 8, "n_samples": 50, **arguments})


NAN = np.array([[0.2, np.nan, 0.0]])
WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"X": NAN}, ValueError, r"1 values that are NaN or infinite, the first in row 0, column 1"),
    ({"X": sparse.csr_matrix(NAN)}, ValueError, r"NaN or infinite.*row 0, column 1"),
    ({"X": [["a", "b", "c"]]}, TypeError, "`X` must be numeric"),
    ({"X": X[0]}, ValueError, "`X` must be two-dimensional"),
    ({"X": X[:0]}, ValueError, "`X` has no inputs"),
    ({"X": X[:, :0]}, ValueError, "`X` has no features"),
    ({"X": X + 0.5}, ValueError, r"1 feature lies outside the domain: 0 1\.4 \(allowed 0 to 1\)"),
    ({"X": X + 0.5, "names": list("ABC")}, ValueError, r"outside the domain: A 1\.4"),
    ({"lower": 2}, ValueError, "`lower` must not exceed `upper`; it does for 3 features"),
    ({"lower": [0, 0]}, ValueError, r"`lower` must be a number or have shape \(3,\)"),
    ({"upper": [1, np.inf, 1]}, ValueError, "`upper` must be finite; it is inf for feature 1"),
    ({"upper": 0, "X": 0 * X}, ValueError, "no feature is left to perturb"),
    ({"mask": [1, 1, 0]}, ValueError, "feature mask must be a bool array"),
    ({"mask": [False] * 3}, ValueError, "no feature is left to perturb"),
    ({"model": 3}, TypeError, "`model` must be a torch.nn.Module, an estimator or Pipeline"),
    ({"model": Classifier}, TypeError, "`model` must be a torch.nn.Module"),
    ({"model": Classifier().eval(), "target": "T cell"}, KeyError, "it has 'NK', 'B cell'"),
    ({"model": Classifier().eval(), "target": 2}, KeyError, "`target` 2 is not an output"),
    ({"model": Classifier().eval(), "target": ["NK"]}, ValueError, "one entry a cell, 2; got 1"),
    ({"model": Classifier().eval(), "names": list("ACB")}, ValueError, "in another order"),
    ({"model": Classifier().eval(), "names": list("ABX")}, ValueError, "1 missing: C"),
    ({"model": Classifier().eval(), "X": X[:, :2]}, ValueError, "fitted on 3 features; the inputs"),
    ({"qoi": "odds"}, ValueError, r"`qoi` must be one of .* or a callable.*got 'odds'"),
    ({"qoi": "probability"}, ValueError, "needs a classifier with probabilities or logits"),
    ({"qoi": lambda out: out}, ValueError, r"`qoi` must return one number a row, shape \(2,\)"),
    ({"qoi": lambda out: out[:, 0], "target": 0}, ValueError, "`target` has no meaning beside"),
    ({"deltas": "fine"}, ValueError, "`deltas` must be 'auto', 'linear' or an array"),
    ({"deltas": [0.5, 0.1]}, ValueError, "`deltas` must increase strictly"),
    ({"deltas": [0, 1]}, ValueError, r"lie in \(0, 1\]"),
    ({"n_walks": 0}, ValueError, "`n_walks` must be a whole number of at least 1; got 0"),
    ({"n_walks": 10.0}, ValueError, "`n_walks` must be a whole number"),
    ({"n_samples": 1}, ValueError, "`n_samples` must be a whole number of at least 2; got 1"),
    ({"design": "sobolev"}, ValueError, "`design` must be one of"),
    ({"tau": 0}, ValueError, "`tau` must be a positive number, in units of q; got 0"),
    ({"tau": np.nan}, ValueError, "`tau` must be a positive number"),
    ({"refine_tol": 0}, ValueError, "`refine_tol` must be None or positive; got 0"),
    ({"min_step": 1}, ValueError, "`min_step` must be at least 0 and below 1; got 1"),
    ({"min_step": -0.1}, ValueError, "`min_step` must be at least 0 and below 1"),
    ({"audit_features": 0}, ValueError, "`audit_features` must be a whole number of at least 1"),
    ({"audit_walks": 1}, ValueError, "`audit_walks` must be None or a whole number of at least 2"),
    ({"audit_walks": 2.5}, ValueError, "`audit_walks` must be None or a whole number"),
    ({"rank_by": "std"}, ValueError, "`rank_by` must be one of .*; got 'std'"),
    ({"out_of_domain": "drop"}, ValueError, "`out_of_domain` must be one of .*; got 'drop'"),
    ({"names": ["A", "B"]}, ValueError, "`names` must name each of the 3 features; got 2"),
    ({"keys": ["c1"]}, ValueError, "`keys` must name each of the 2 inputs; got 1"),
    ({"batch_size": 0}, ValueError, "`batch_size` must be 'auto' or a whole number"),
    ({"batch_size": "big"}, ValueError, "`batch_size` must be 'auto' or .*; got 'big'"),
    ({"batch_size": 1.5}, ValueError, "`batch_size` must be 'auto' or a whole number"),
    ({"device": "cuda:99"}, ValueError, "`device` 'cuda:99' cannot be used here"),
    ({"device": "gpu"}, ValueError, "`device` 'gpu' cannot be used here"),
    ({"precision": "half"}, ValueError, "`precision` must be one of"),
    ({"seed": -1}, ValueError, r"`seed` must be a whole number from 0 to 2\*\*64 - 1; got -1"),
    ({"seed": 1.5}, ValueError, "`seed` must be a whole number"),
    ({"seed": 2**64}, ValueError, "`seed` must be a whole number"),
]
UNREADABLE: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"tau": "small"}, TypeError, "`tau`"),
    ({"min_step": "small"}, TypeError, "`min_step`"),
    ({"refine_tol": "small"}, TypeError, "`refine_tol`"),
    ({"deltas": ["small"]}, Exception, "`deltas`"),
    ({"device": 3.5}, TypeError, "`device`"),
    ({"keys": iter("a")}, ValueError, "`keys` must name each of the 2 inputs; got 1"),
]


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [*WRONG, *UNREADABLE],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_wrong_arguments_get_a_sentence(
    arguments: dict[str, Any], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        call(**arguments)


@pytest.mark.parametrize(
    ("model", "error", "match"),
    [
        (lambda z: z[:1], ValueError, "failed on example rows of 3 features.*one row of outputs"),
        (lambda z: z[:, :, None], ValueError, r"must return one row of outputs for each input row"),
        (lambda z: "yes", ValueError, "must return numbers"),
        (lambda z: (z, z), ValueError, "failed on example rows"),
        (lambda z: z @ np.ones(4), ValueError, "failed on example rows of 3 features"),
        (lambda z: np.full(len(z), np.nan), ValueError, "only NaN or infinite values"),
        (lambda z: z, ValueError, r"`target` must name one of the 3 outputs of <lambda>: '0', '1'"),
    ],
)
def test_wrong_models_get_a_sentence(model: object, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call(model=model)


def test_nothing_runs_before_the_arguments_are_checked() -> None:
    calls: list[int] = []

    def model(z: np.ndarray) -> np.ndarray:
        calls.append(len(z))
        return total(z)

    for arguments in ({"X": NAN}, {"tau": 0}, {"deltas": "x"}, {"lower": 2}, {"n_walks": 0}):
        with pytest.raises(ValueError, match=r"."):
            call(model=model, **arguments)
    assert calls == []


def test_parameters_are_recorded_json_safe() -> None:
    r = call(
        seed=5, tau=0.2, min_step=0.1, rank_by="change", design="uniform", refine_tol=0.01,
        out_of_domain="clip", precision="float64",
    )  # fmt: skip
    params = json.loads(json.dumps(r.params))
    expected = {
        "seed": 5, "tau": 0.2, "min_step": 0.1, "rank_by": "change", "design": "uniform",
        "refine_tol": 0.01, "n_walks": 8, "n_samples": 50, "qoi": "value", "out_of_domain": "clip",
        "n_features": 3, "n_tested": 3, "precision": "float64", "model": "total",
    }  # fmt: skip
    assert expected.items() <= params.items()


def test_numpy_scalars_are_recorded_json_safe() -> None:
    r = call(seed=np.int64(5), tau=np.float32(0.2), n_samples=np.int32(50), n_walks=np.int64(8))
    json.dumps(r.params)


def test_an_expanded_domain_is_recorded() -> None:
    assert call(X + 0.5, out_of_domain="expand").params["out_of_domain"] == "expand"


def test_settings_stand_in_for_what_is_not_given() -> None:
    with sx.settings.override(seed=9, precision="float64"):
        r = call()
    assert (r.params["seed"], r.params["precision"]) == (9, "float64")
    np.testing.assert_array_equal(r.change, call(seed=9).change)
    assert not np.array_equal(r.change, call(seed=8).change)


def test_the_memory_budget_bounds_a_batch() -> None:
    with sx.settings.override(memory_budget=16 * 8 * 3 * 40):  # a sixteenth: 40 rows of float64
        assert call().params["rows_a_batch"]["float64"] == 40


def test_a_missing_type_is_named() -> None:
    from sklearn.linear_model import LinearRegression

    fitted = LinearRegression().fit(X, X[:, 0])
    with pytest.raises(
        ValueError, match="`precision` 'float32' is not possible with LinearRegress"
    ):
        call(model=fitted, precision="float32")


def test_a_callable_is_never_given_rows_outside_the_domain() -> None:
    def logarithm(z: np.ndarray) -> np.ndarray:
        if (z < 1).any():
            msg = "the logarithm of zero"
            raise FloatingPointError(msg)
        return np.log(z).sum(axis=1)

    assert call(np.full((1, 3), 2.0), logarithm, lower=1, upper=4).status == ("unsaturated",)


def prepared_run(rows: np.ndarray, model: object, **how: Any) -> Run:
    options, others = split_options({"n_walks": 8, "design": "balanced", "qoi": "auto"})
    return prepare(
        rows, model, lower=0, upper=1, options=options, deltas="auto", mask=None,
        out_of_domain="raise", names=None, batch_size="auto", device="cpu", **others, **how,
    )  # fmt: skip


def test_outputs_where_the_model_raises_are_missing() -> None:
    rows = np.array([[0.1], [0.9], [0.2], [0.8], [0.95]])

    def low_only(z: np.ndarray) -> np.ndarray:
        if (z > 0.5).any():
            msg = "too high"
            raise ArithmeticError(msg)
        return np.concatenate([z, 2 * z], axis=1)

    run = prepared_run(rows, low_only, mark=True)
    for together in (1, 2, 5):
        found = outputs(rows, run, together, mark=True)
        np.testing.assert_allclose(
            found, [[0.1, 0.2], [np.nan] * 2, [0.2, 0.4], [np.nan] * 2, [np.nan] * 2]
        )
    with pytest.raises(ArithmeticError):
        outputs(rows, run, 5)


def test_a_model_that_returns_a_part_of_its_rows_does_not_keep_them() -> None:
    rows = np.zeros((2000, 300))
    run = prepared_run(rows, lambda z: z[:, 0])
    tracemalloc.start()
    found = outputs(rows, run, 20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.shape == (2000, 1)
    assert peak < rows.nbytes / 4
