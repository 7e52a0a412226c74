"""Composite models as one torch module, so that their stem can be found and slopes can be taken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from sensx_sc.evaluators.graph.columns import NoStemError
from sensx_sc.evaluators.graph.onnx_graph import onnx_module
from sensx_sc.evaluators.graph.sklearn_linear import as_module, pipeline_steps
from sensx_sc.evaluators.graph.sklearn_parts import Untranslatable
from sensx_sc.evaluators.graph.sklearn_transformers import transformer
from sensx_sc.models.each import Each
from sensx_sc.models.model import InTorch
from sensx_sc.models.onnx import Onnx
from sensx_sc.models.sklearn_estimator import SklearnModel
from sensx_sc.models.stages import OfModel, Transforms

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from sensx_sc.models.chain import Chain
    from sensx_sc.models.stages import Stage


def composed(chain: Chain, dtype: torch.dtype, *, parts: bool = False) -> nn.Module:
    """A module with the outputs of a chain, on its device and for rows of a type.

    Parameters
    ----------
    parts
        Whether stages that treat parts alone belong to it: what they keep of the parts that a step
        does not change is then given up.

    Raises
    ------
    NoStemError
        A stage that is no torch module, or none that is known as one.
    """
    stages = chain.stages_in(dtype)
    made: list[nn.Module] = [] if chain.shape is None else [_Shaped(chain.shape)]
    made += [_module(stage, title, dtype, parts=parts) for title, stage in stages.items()]
    whole = nn.Sequential(*made).to(device=chain.device(dtype), dtype=dtype)
    return whole.eval().requires_grad_(requires_grad=False)


def _module(stage: Stage, title: str, dtype: torch.dtype, *, parts: bool) -> nn.Module:
    if isinstance(stage, nn.Module):
        return stage
    if isinstance(stage, Each):
        if parts:
            return _Called(stage)
        msg = f"its stage {title!r} keeps what parts are encoded as, which is faster"
        raise NoStemError(msg)
    try:
        if isinstance(stage, Transforms):
            return _transformed(stage.transformer)
        if isinstance(stage, OfModel):
            return _of_model(stage, title, dtype, tried=not parts)
    except Untranslatable as estimator:
        msg = f"{estimator}, its stage {title!r}, has no affine stem that is known"
        raise NoStemError(msg) from estimator
    return _Called(stage)


def _transformed(step: Any) -> nn.Module:
    steps = pipeline_steps(step)
    for one in steps:
        if not type(one).__module__.startswith("sklearn."):
            raise Untranslatable(type(one).__name__)
    return nn.Sequential(*(part for one in steps for part in transformer(one)))


def _of_model(stage: OfModel, title: str, dtype: torch.dtype, *, tried: bool) -> nn.Module:
    model = stage.model
    if dtype in model.dtypes and isinstance(model, InTorch):
        return model.module(dtype)
    if dtype in model.dtypes and isinstance(model, SklearnModel):
        return as_module(model)
    # What is made of a graph is only believed where it is held against the model on rows.
    if tried and dtype in model.dtypes and isinstance(model, Onnx):
        return onnx_module(model, dtype)
    msg = f"its stage {title!r}, {model.name}, is a black box"
    raise NoStemError(msg)


class _Shaped(nn.Module):
    """Rows as inputs of a shape."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, rows: Tensor) -> Tensor:
        return rows if len(self.shape) == 1 else rows.reshape(rows.shape[0], *self.shape)


class _Called(nn.Module):
    """A function of tensors."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, values: Any) -> Any:
        return self.function(values)
