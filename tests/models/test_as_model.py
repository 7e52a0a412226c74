"""Which form each thing takes, and what is no model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from sensx_sc.models import Model, as_model
from sensx_sc.models.function import FunctionModel
from sensx_sc.models.model import as_matrix, as_names
from sensx_sc.models.sklearn_estimator import SklearnModel
from sensx_sc.models.torch_module import TorchModel


def fitted() -> LogisticRegression:
    return LogisticRegression().fit([[0.0, 1.0], [1.0, 0.0], [2.0, 0.5]], ["a", "b", "b"])


def total(z: np.ndarray) -> np.ndarray:
    return z.sum(axis=1)


@pytest.mark.parametrize(
    ("model", "kind", "means"),
    [
        (torch.nn.Linear(2, 1), TorchModel, "logit"),
        (fitted(), SklearnModel, "probability"),
        (total, FunctionModel, "value"),
        (fitted().predict_proba, FunctionModel, "value"),
    ],
)
def test_each_kind_of_model(model: Any, kind: type, means: str) -> None:
    made = as_model(model, n_features=2)
    assert isinstance(made, kind)
    assert isinstance(made, Model)
    assert made.kind == means
    assert made.source is model or made.source == model
    assert as_model(made) is made


@pytest.mark.parametrize("model", [torch.nn.Linear(2, 1), fitted(), total])
def test_what_the_caller_says_holds(model: Any) -> None:
    made = as_model(
        model, n_features=2, outputs="probability", feature_names=["A", np.str_("B")],
        output_names=np.array([7]),
    )  # fmt: skip
    assert made.kind == "probability"
    assert made.feature_names == ("A", "B")
    assert made.output_names == ("7",)
    assert all(type(name) is str for name in made.feature_names)


@pytest.mark.parametrize("model", [3, None, torch.nn.Linear, StandardScaler(), object()])
def test_what_is_no_model(model: object) -> None:
    with pytest.raises(TypeError, match=r"`model` must be a torch\.nn\.Module, an estimator"):
        as_model(model, n_features=2)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"outputs": "odds"}, r"`outputs` must be one of \('logit', 'probability', 'value'\); got"),
        ({"n_features": None}, "`n_features` is needed to make a bare callable ready"),
        ({"device": "cuda:77"}, "`device` 'cuda:77' cannot be used here"),
        ({"device": "toaster"}, "`device` 'toaster' cannot be used here"),
    ],
)
def test_arguments_that_are_refused(arguments: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        as_model(total, **{"n_features": 2, **arguments})


@pytest.mark.parametrize(
    ("shape", "n_rows", "matrix"),
    [((5,), 5, (5, 1)), ((5, 3), 5, (5, 3)), ((1,), 1, (1, 1)), ((1, 4), 1, (1, 4)),
     ((), 1, (1, 1)), ((4,), 1, (1, 4))],
)  # fmt: skip
def test_outputs_that_make_sense(
    shape: tuple[int, ...], n_rows: int, matrix: tuple[int, int]
) -> None:
    assert as_matrix(shape, n_rows, "net") == matrix


@pytest.mark.parametrize(
    ("shape", "n_rows"), [((), 2), ((3,), 2), ((3, 2), 2), ((2, 1, 1), 2), ((1, 1, 1), 1)]
)
def test_outputs_that_do_not(shape: tuple[int, ...], n_rows: int) -> None:
    with pytest.raises(ValueError, match=rf"\(net\) must return one row.* for B = {n_rows} it ret"):
        as_matrix(shape, n_rows, "net")


def test_names_are_plain_strings() -> None:
    assert as_names(None) is None
    assert as_names(np.array(["a", "b"])) == ("a", "b")
    assert as_names([1, "x"]) == ("1", "x")
