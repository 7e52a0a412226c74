"""What to say of an object that is no model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

_TAKEN = (
    "a torch.nn.Module, an estimator or Pipeline of scikit-learn, an estimator or booster of "
    "XGBoost or LightGBM, a model of CellTypist or scvi-tools, a callable on rows, a mapping from "
    "class names to binary classifiers, or the path of a model file"
)
_SHOWN = 100


def not_a_model(model: Any) -> str:
    """The sentence that says what was got, and what to pass instead.

    Examples
    --------
    >>> from sensx_sc.models.not_a_model import not_a_model
    >>> not_a_model([1, 2]).partition("; got ")[2]
    'a list. Stages that follow each other are a sx.models.Chain.'
    """
    return f"`model` must be {_TAKEN}; got {_found(model)}."


def is_weights(model: object) -> bool:
    """Whether an object is a ``state_dict``: weights without the module that they are of."""
    values = list(model.values()) if isinstance(model, Mapping) else []
    return bool(values) and all(isinstance(value, torch.Tensor) for value in values)


def _found(model: Any) -> str:
    kind = type(model)
    if isinstance(model, type):
        return f"the class {model.__name__} itself: pass an object of it"
    if is_weights(model):
        return "a state_dict, which holds weights only: load them into their module and pass that"
    if isinstance(model, list | tuple):
        return f"a {kind.__name__}. Stages that follow each other are a sx.models.Chain"
    if hasattr(model, "transform") and hasattr(model, "get_params"):
        return (
            f"the transformer {kind.__name__}, which predicts nothing: pass the Pipeline or "
            "sx.models.Chain that it is part of"
        )
    if kind.__module__.partition(".")[0] == "celltypist":
        return f"a {kind.__name__} of CellTypist: pass the model that made it"
    text = " ".join(repr(model).split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
