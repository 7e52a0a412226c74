"""The explained response as a torch module, for methods that go through the graph."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import nn

from sensx_sc.evaluators.graph.sklearn_linear import as_module
from sensx_sc.evaluators.graph.sklearn_parts import Untranslatable
from sensx_sc.metrics.baselines.question import NotApplicableError
from sensx_sc.models.one_vs_rest import OneVsRest
from sensx_sc.models.sklearn_estimator import SklearnModel
from sensx_sc.models.torch_module import TorchModel

if TYPE_CHECKING:
    from torch import Tensor

    from sensx_sc.core.arrays import Floats
    from sensx_sc.models.model import Model
    from sensx_sc.models.qoi import Response


class ResponseModule(nn.Module):
    """Rows to q for each output, (B, n) to (B, K).

    What the quantity of interest makes of the outputs is made of modules, as methods that
    propagate through activations need them.
    """

    def __init__(self, module: nn.Module, last: nn.Module, *, columns: slice) -> None:
        super().__init__()
        self.module, self.last, self.columns = module, last, columns

    def forward(self, rows: Tensor) -> Tensor:
        outputs = self.module(rows)
        found: Tensor = self.last(outputs.reshape(len(rows), -1))[:, self.columns]
        return found


class LogOdds(nn.Module):
    """Log-odds of probabilities."""

    def forward(self, p: Tensor) -> Tensor:
        return torch.log(p) - torch.log1p(-p)


def response_module(response: Response, target: int, example: Floats) -> tuple[ResponseModule, int]:
    """The response in double precision, and which of its outputs a target is.

    Parameters
    ----------
    example
        A row, (1, n): how many outputs there are decides what a logit means.

    Raises
    ------
    NotApplicableError
        The inside of the model is not torch's, or the quantity of interest is a function of arrays.
    """
    if callable(response.qoi):
        msg = "needs gradients, but `qoi` is a function of numpy arrays"
        raise NotApplicableError(msg)
    model, qoi = response.model, response.qoi
    if isinstance(model, OneVsRest):
        if qoi != "probability":
            msg = f"needs one graph, but {model.name} are combined to a {qoi}"
            raise NotApplicableError(msg)
        own = model.responses[target]
        return _wrapped(own.model, "probability", example, columns=slice(-1, None)), 0
    return _wrapped(model, qoi, example, columns=slice(None)), target


def _wrapped(model: Model, qoi: str, example: Floats, *, columns: slice) -> ResponseModule:
    module = _module(model)
    last: nn.Module = nn.Identity()
    if qoi == "probability" and model.kind == "logit":
        with torch.no_grad():
            row = torch.as_tensor(example, device=model.device(torch.float64))
            width = module(row).reshape(len(row), -1).shape[1]
        last = nn.Sigmoid() if width == 1 else nn.Softmax(dim=1)
    elif qoi == "logit" and model.kind == "probability":
        last = LogOdds()
    made = ResponseModule(module, last, columns=columns)
    return made.eval()


def _module(model: Model) -> nn.Module:
    if isinstance(model, TorchModel):
        # Of its own: the model's copies are made where nothing is differentiated.
        clone = copy.deepcopy(model.source).to(device=model.device(torch.float64))
        return clone.double().requires_grad_(requires_grad=False)
    if isinstance(model, SklearnModel):
        try:
            return as_module(model).requires_grad_(requires_grad=False)
        except Untranslatable as estimator:
            msg = f"needs gradients, and {estimator} has none"
            raise NotApplicableError(msg) from estimator
    msg = f"needs the model's graph, and {model.name} is a black box"
    raise NotApplicableError(msg)
