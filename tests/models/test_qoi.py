"""The quantity of interest and the target."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import special

from sensx_sc.models import as_model
from sensx_sc.models.qoi import make_response, resolve_target

ROWS = torch.as_tensor(np.random.default_rng(0).normal(size=(6, 3)) * 5)
TARGET = np.array([0, 1, 2, 0, 1, 2])


def model(outputs: str = "value", k: int = 3, names: Any = None) -> Any:
    def function(z: np.ndarray) -> np.ndarray:
        return special.softmax(z, axis=1)[:, :k] if outputs == "probability" else z[:, :k]

    return as_model(function, n_features=3, outputs=outputs, output_names=names, rows="numpy")


@pytest.mark.parametrize(
    ("outputs", "qoi", "expected"),
    [
        ("logit", "auto", special.softmax(ROWS.numpy(), axis=1)),
        ("logit", "probability", special.softmax(ROWS.numpy(), axis=1)),
        ("logit", "logit", ROWS.numpy()),
        ("logit", "value", ROWS.numpy()),
        ("probability", "auto", special.softmax(ROWS.numpy(), axis=1)),
        ("probability", "value", special.softmax(ROWS.numpy(), axis=1)),
        ("probability", "logit", special.logit(special.softmax(ROWS.numpy(), axis=1))),
        ("value", "auto", ROWS.numpy()),
        ("value", "value", ROWS.numpy()),
    ],
)
def test_each_quantity(outputs: str, qoi: Any, expected: np.ndarray) -> None:
    q = make_response(model(outputs), qoi)(ROWS, TARGET)
    assert q.shape == (6,)
    assert q.dtype == np.float64
    np.testing.assert_allclose(q, expected[np.arange(6), TARGET], rtol=1e-9)


def test_a_single_logit_is_that_of_the_positive_class() -> None:
    response = make_response(model("logit", 1), "probability")
    extreme = torch.tensor([[-800.0, 0, 0], [0, 0, 0], [2, 0, 0], [800, 0, 0]], dtype=torch.float64)
    q = response(extreme, np.zeros(4, dtype=np.int64))
    np.testing.assert_allclose(q, [0, 0.5, special.expit(2), 1], rtol=1e-12)


def test_softmax_of_large_logits_does_not_overflow() -> None:
    rows = torch.tensor([[1000.0, 999, -1000]], dtype=torch.float64)
    q = make_response(model("logit"), "auto")(rows, np.array([1]))
    np.testing.assert_allclose(q, special.expit(-1), rtol=1e-12)


def test_a_callable_sees_all_outputs() -> None:
    response = make_response(model("logit"), lambda out: out[:, 0] - out[:, 1])
    q = response(ROWS, TARGET)
    np.testing.assert_allclose(q, (ROWS[:, 0] - ROWS[:, 1]).numpy())
    target, names = resolve_target(None, response, response.outputs(ROWS))
    np.testing.assert_array_equal(target, 0)
    assert names[0] == "qoi"


@pytest.mark.parametrize(
    ("qoi", "match"),
    [
        ("odds", r"`qoi` must be one of \('auto', 'probability', 'logit', 'value'\) or a callable"),
        (None, "`qoi` must be one of"),
        ("probability", "qoi='probability' needs a classifier with probabilities or logits"),
        ("logit", r"qoi='logit' needs a classifier.*sx\.models\.as_model\(model, outputs='logit'"),
    ],
)
def test_quantities_that_are_refused(qoi: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        make_response(model("value"), qoi)


@pytest.mark.parametrize("wrong", [lambda out: out, lambda out: 1.0, lambda out: out[:2, 0]])
def test_a_callable_must_return_one_number_a_row(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"`qoi` must return one number a row, shape \(6,\)"):
        make_response(model(), wrong)(ROWS, TARGET)


# ---- targets

OUT = np.array([[0.2, 0.5, 0.3], [0.9, 0.0, 0.1]])


def resolve(target: object, at: np.ndarray = OUT, **how: Any) -> tuple[Any, Any]:
    made = model(**{"outputs": "probability", "names": ["NK", "B", "T"], **how})
    return resolve_target(target, make_response(made, "auto"), at)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (None, [1, 0]),
        ("B", [1, 1]),
        (np.str_("B"), [1, 1]),
        (2, [2, 2]),
        (np.int64(2), [2, 2]),
        (["T", "NK"], [2, 0]),
        (np.array(["T", "NK"]), [2, 0]),
        (np.array([1, 2]), [1, 2]),
        (["B", 2], [1, 2]),
    ],
)
def test_targets(target: object, expected: list[int]) -> None:
    index, names = resolve(target)
    assert names == ("NK", "B", "T")
    assert index.dtype == np.int64
    np.testing.assert_array_equal(index, expected)


@pytest.mark.parametrize(
    ("target", "error", "match"),
    [
        ("NKs", KeyError, "it has 'NK', 'B', 'T'. Did you mean 'NK'?"),
        ("Mono", KeyError, "`target` 'Mono' is not an output of the model; it has 'NK', 'B', 'T'"),
        (3, KeyError, "`target` 3 is not an output"),
        (-1, KeyError, "`target` -1 is not an output"),
        ([True, False], KeyError, "`target` True is not an output"),
        (["NK", "X"], KeyError, "`target` 'X' is not an output"),
        (["NK"], ValueError, "`target` must have one entry a cell, 2; got 1"),
        (["NK"] * 3, ValueError, "one entry a cell, 2; got 3"),
    ],
)
def test_targets_that_are_refused(target: object, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        resolve(target)


def test_outputs_that_are_no_classes_need_a_target() -> None:
    with pytest.raises(ValueError, match="`target` must name one of the 3 outputs of function"):
        resolve_target(None, make_response(model("value"), "auto"), OUT)


def test_names_must_fit_the_outputs() -> None:
    with pytest.raises(ValueError, match=r"names 2 outputs \('NK', 'B'\) but returns 3"):
        resolve(None, names=["NK", "B"])


@pytest.mark.parametrize(
    ("outputs", "k", "names"),
    [("logit", 1, ("1",)), ("probability", 1, ("1",)), ("value", 1, ("0",)),
     ("logit", 3, ("0", "1", "2"))],
)  # fmt: skip
def test_default_names(outputs: str, k: int, names: tuple[str, ...]) -> None:
    index, got = resolve(
        "1" if names == ("1",) else 0, OUT[:, :k], outputs=outputs, k=k, names=None
    )
    assert got == names
    np.testing.assert_array_equal(index, 0)
