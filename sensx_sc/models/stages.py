"""What a stage of a composite model may be: a module, a function, or a model of any framework."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch

from sensx_sc.models.as_model import as_model
from sensx_sc.models.model import Model, as_names
from sensx_sc.models.sklearn_estimator import is_estimator, refuse_unfitted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

Stage: TypeAlias = Any
"""A module, a callable on tensors, a model of any framework, or :class:`~sensx_sc.models.Each`."""


class OfModel:
    """A model of any framework as a stage: tensors (B, ...) in, its outputs (B, K) out."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def __call__(self, values: Tensor) -> Tensor:
        rows = values.reshape(len(values), -1)
        dtype = rows.dtype if rows.dtype in self.model.dtypes else self.model.dtypes[0]
        found = self.model.outputs(rows.to(device=self.model.device(dtype), dtype=dtype))
        return found.to(device=values.device, dtype=values.dtype)


class Transforms:
    """A fitted transformer as a stage: tensors (B, n) in, what it makes of them out.

    Raises
    ------
    ValueError
        It is not fitted.
    """

    def __init__(self, transformer: Any) -> None:
        refuse_unfitted(transformer)
        self.transformer = transformer
        self.columns = getattr(transformer, "feature_names_in_", None)

    def __call__(self, values: Tensor) -> Tensor:
        table: Any = values.reshape(len(values), -1).cpu().double().numpy()
        if self.columns is not None:
            import pandas as pd

            table = pd.DataFrame(table, columns=self.columns, copy=False)
        made = self.transformer.transform(table)
        made = made.toarray() if hasattr(made, "toarray") else np.require(made, requirements="W")
        return torch.as_tensor(made).to(device=values.device, dtype=values.dtype)


def as_stage(stage: Any, title: str, *, last: bool, device: str | torch.device = "auto") -> Stage:
    """A stage that is called with tensors.

    Parameters
    ----------
    last
        Whether an estimator that can transform and predict is asked to predict.

    Raises
    ------
    TypeError
        What is no stage.
    ValueError
        A model that cannot be used, as :func:`~sensx_sc.models.as_model` says.
    """
    if isinstance(stage, Model):
        return OfModel(stage)
    if callable(stage) and not isinstance(stage, type):
        return stage
    transforms = hasattr(stage, "get_params") and callable(getattr(stage, "transform", None))
    if transforms and not (last and is_estimator(stage)):
        return Transforms(stage)
    try:
        return OfModel(as_model(stage, device=device))
    except TypeError as error:
        msg = (
            f"the stage {title!r} must be a module, a callable on tensors, a fitted transformer, a "
            f"model that sx.models.as_model takes, or Each; got {stage!r}."
        )
        raise TypeError(msg) from error


def types_of(stages: Iterable[Stage]) -> tuple[torch.dtype, ...]:
    """Types of rows that all stages compute in; single precision where they do not agree."""
    both = (torch.float32, torch.float64)
    named = [_types(stage) for stage in stages]
    common = tuple(dtype for dtype in both if all(dtype in types for types in named))
    return common or (torch.float32,)


def _types(stage: Stage) -> tuple[torch.dtype, ...]:
    if isinstance(stage, OfModel):
        return stage.model.dtypes
    return (torch.float64,) if isinstance(stage, Transforms) else (torch.float32, torch.float64)


def names_in(stage: Stage) -> tuple[str, ...] | None:
    """Names of the features that a stage knows."""
    if isinstance(stage, OfModel):
        return stage.model.feature_names
    return as_names(stage.columns) if isinstance(stage, Transforms) else None
