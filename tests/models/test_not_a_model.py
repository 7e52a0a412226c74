"""What users pass by mistake, and what they are told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from sklearn.preprocessing import StandardScaler
from torch import nn

import sensx_sc as sx
from sensx_sc.models.not_a_model import is_weights, not_a_model

ANNOTATED = type("AnnotationResult", (), {"__module__": "celltypist.classifier"})


@pytest.mark.parametrize(
    ("model", "match"),
    [
        (
            nn.Linear(3, 1).state_dict(),
            "got a state_dict, which holds weights only: load them into",
        ),
        (nn.Linear, "got the class Linear itself: pass an object of it"),
        ([nn.Linear(3, 1)], r"got a list\. Stages that follow each other are a sx.models.Chain"),
        (StandardScaler(), "got the transformer StandardScaler, which predicts nothing: pass the"),
        (ANNOTATED(), "got a AnnotationResult of CellTypist: pass the model that made it"),
        (None, r"must be a torch.nn.Module, .* or the path of a model file; got None\."),
        (SimpleNamespace(a="x" * 500), r"got namespace\(a='x{50,100}\.\.\."),
    ],
)
def test_what_is_got_is_said(model: Any, match: str) -> None:
    with pytest.raises(TypeError, match=match):
        sx.models.as_model(model)
    assert "\n" not in not_a_model(model)


def test_weights_are_told_from_a_mapping_of_models() -> None:
    assert is_weights(nn.Linear(3, 1).state_dict())
    assert not is_weights({"a": nn.Linear(3, 1)})
    assert not is_weights({})
