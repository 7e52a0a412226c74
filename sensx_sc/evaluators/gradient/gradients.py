"""q and its gradient at rows, by automatic differentiation.

One backward pass gives the derivative of q by every feature, so models that are differentiable
can be screened without walking. The chain is cut at the outputs of the model: what the quantity
of interest makes of them is differentiated by hand in float64, so q is the number that every other
evaluator returns and saturated probabilities keep their slopes.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.special import expit, softmax
from torch import nn

from sensx_sc.evaluators.dense import TILE
from sensx_sc.evaluators.full_precision import full_precision
from sensx_sc.evaluators.graph.columns import NoStemError
from sensx_sc.evaluators.graph.composed import composed
from sensx_sc.evaluators.graph.sklearn_linear import as_module
from sensx_sc.evaluators.graph.sklearn_parts import Untranslatable
from sensx_sc.models.by_name import ByName
from sensx_sc.models.chain import Chain
from sensx_sc.models.function import FunctionModel
from sensx_sc.models.model import InTorch, as_matrix
from sensx_sc.models.one_vs_rest import BinaryResponse, OneVsRest
from sensx_sc.models.qoi import is_independent
from sensx_sc.models.quantities import Distance, Margin
from sensx_sc.models.sklearn_estimator import SklearnModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from sensx_sc.evaluators.protocol import Floats, Ints
    from sensx_sc.models.model import Model
    from sensx_sc.models.qoi import Response


class NotDifferentiableError(Exception):
    """Why a response has no gradients: the end of a sentence."""


class Gradients:
    """q and its gradient at complete rows.

    Parameters
    ----------
    response
        Model and quantity of interest.
    dtype
        float32 or float64.
    rows
        Rows of one forward and backward pass. In float32 they are padded to whole tiles, as
        :class:`~sensx_sc.evaluators.dense.DenseEvaluator` does, so that results do not depend
        on the batch.

    Raises
    ------
    NotDifferentiableError
        The inside of the model is not torch's, or the quantity of interest is a function of
        arrays.
    """

    name = "gradient"

    def __init__(self, response: Response, dtype: np.dtype[np.floating], rows: int) -> None:
        if callable(response.qoi) and not isinstance(response.qoi, Margin | Distance):
            msg = "its `qoi` is a function of numpy arrays, which have no gradients"
            raise NotDifferentiableError(msg)
        self.response = response
        self.dtype = np.dtype(dtype)
        self._tile = TILE if self.dtype == np.float32 else 1
        self.rows = max(rows // self._tile, 1) * self._tile
        self._torch_dtype = torch.float32 if self.dtype == np.float32 else torch.float64
        self._device = response.model.device(self._torch_dtype)
        model = response.model
        own = model.own if isinstance(model, ByName) else _all
        model = model.inner if isinstance(model, ByName) else model
        self._apart = isinstance(model, OneVsRest)
        each = [(response, model)]
        if isinstance(model, OneVsRest):
            each = [(part, part.model) for part in model.responses]
        with full_precision(gradients=True):
            self._parts = [
                _Part(part, _module(member, self._torch_dtype), own) for part, member in each
            ]

    def at(self, x: Floats, target: Ints) -> tuple[Floats, Floats]:
        """Q and its gradient at rows (B, n), each for its own target (B,).

        Returns
        -------
        (B,) and (B, n), float64.

        Raises
        ------
        NotDifferentiableError
            The outputs do not depend on the rows through anything that has a gradient.
        """
        q, gradient = np.empty(len(x)), np.empty(x.shape)
        with full_precision(gradients=True):
            for part, rows in self._batches(target):
                q[rows], back, size = self._differentiate(part, x[rows], target[rows])
                gradient[rows] = back[: len(size)]
                gradient[rows] *= size[:, None]
        return q, gradient

    def q(self, x: Floats, target: Ints) -> Floats:
        """Q of rows (B, n), by forward passes alone; (B,)."""
        q = np.empty(len(x))
        with full_precision():
            for part, rows in self._batches(target):
                values = _numbers(part.outputs(self._tensor(x[rows])))
                q[rows] = self._settle(part, values[: len(target[rows])], target[rows])[0]
        return q

    def _batches(self, target: Ints) -> Iterator[tuple[_Part, slice | Ints]]:
        """Rows that share a pass, and the part of the model that answers for their targets."""
        if not self._apart:
            for start in range(0, len(target), self.rows):
                yield self._parts[0], slice(start, start + self.rows)
            return
        for k in np.unique(target):
            rows = np.flatnonzero(target == k)
            for start in range(0, len(rows), self.rows):
                yield self._parts[k], rows[start : start + self.rows]

    def _tensor(self, x: Floats) -> Tensor:
        """Rows on the device, in whole tiles."""
        padded = np.empty((-(-len(x) // self._tile) * self._tile, x.shape[1]), dtype=self.dtype)
        padded[: len(x)] = x
        padded[len(x) :] = x[-1]
        return torch.as_tensor(padded, device=self._device)

    def _differentiate(
        self, part: _Part, x: Floats, target: Ints
    ) -> tuple[Floats, NDArray[np.floating], Floats]:
        """Q (B,), and gradients in units of a size for each row; the latter may be padded."""
        rows = self._tensor(x).requires_grad_()
        outputs = part.outputs(rows.clone())  # a clone, as a model may change its rows in place
        if not outputs.requires_grad:
            raise NotDifferentiableError(_NO_PATH)
        q, slopes = self._settle(part, _numbers(outputs)[: len(x)], target)
        # Of size one on the way back, so that flat slopes do not underflow in float32.
        size = np.abs(slopes).max(axis=1)
        size[~(np.isfinite(size) & (size > 0))] = 1.0
        upstream = np.zeros(outputs.shape)
        upstream[: len(x)] = slopes / size[:, None]
        (back,) = torch.autograd.grad(
            outputs,
            rows,
            torch.as_tensor(upstream, dtype=outputs.dtype).to(outputs.device),
            allow_unused=True,
        )
        if back is None:
            raise NotDifferentiableError(_NO_PATH)
        return q, back.cpu().numpy(), size

    def _settle(self, part: _Part, outputs: Floats, target: Ints) -> tuple[Floats, Floats]:
        """Q of a part's outputs (B, K), and its derivatives by them, (B, K)."""
        q = part.response.of_outputs(outputs, target)
        by_output = slope(part.response, outputs, target)
        if part.response is self.response:
            return q, by_output
        # What the part says is one output of the whole.
        first = np.zeros(len(q), dtype=np.int64)
        by_part = slope(self.response, q[:, None], first)
        return self.response.of_outputs(q[:, None], first), by_output * by_part


_NO_PATH = "its outputs do not depend on its inputs through anything that has a gradient"


@dataclass(frozen=True)
class _Part:
    """A differentiable function of rows, and the response that is made of its outputs."""

    response: Response
    function: Callable[[Tensor], Any]
    own: Callable[[Tensor], Tensor]

    def outputs(self, rows: Tensor) -> Tensor:
        """Outputs (B, K)."""
        returned = self.function(self.own(rows))
        if not isinstance(returned, torch.Tensor):
            msg = f"{self.response.model.name} does not return a tensor"
            raise NotDifferentiableError(msg)
        shape = as_matrix(tuple(returned.shape), len(rows), self.response.model.name)
        return returned.reshape(shape)


def _all(rows: Tensor) -> Tensor:
    return rows


def _module(model: Model, dtype: torch.dtype) -> Callable[[Tensor], Any]:
    """What maps rows to a model's outputs, as a function that torch can differentiate."""
    if isinstance(model, InTorch):
        return _saveable(model.module(dtype))
    if isinstance(model, Chain):
        try:
            return _saveable(composed(model, dtype, parts=True))
        except NoStemError as reason:
            raise NotDifferentiableError(str(reason)) from reason
    if isinstance(model, FunctionModel) and model.rows == "torch":
        return model.source
    if isinstance(model, SklearnModel):
        try:
            return as_module(model).requires_grad_(requires_grad=False)
        except Untranslatable as estimator:
            msg = f"{estimator} is neither a linear model nor a perceptron"
            raise NotDifferentiableError(msg) from estimator
    msg = f"{model.name} is a black box"
    raise NotDifferentiableError(msg)


def _saveable(module: nn.Module) -> nn.Module:
    """A module whose weights can take part in a backward pass: itself, if they can."""
    if any(weight.is_inference() for weight in chain(module.parameters(), module.buffers())):
        return copy.deepcopy(module)
    return module


def _numbers(values: Tensor) -> Floats:
    # Converted on the CPU: not every device has float64.
    numbers: Floats = values.detach().cpu().double().numpy()
    return numbers


def slope(response: Response, outputs: Floats, target: Ints) -> Floats:
    """Derivatives of q by the outputs of the model.

    Parameters
    ----------
    outputs
        Outputs (B, K) in float64.
    target
        The explained output of each row, (B,).

    Returns
    -------
    (B, K)
    """
    kind, size = response.model.kind, outputs.shape[1]
    if isinstance(response.qoi, Distance):
        return response.qoi.slopes(outputs)
    if isinstance(response.qoi, Margin) and response.qoi.response is not None:
        own, places = response.qoi.response, response.qoi.places(size)
        first, second = (slope(own, outputs, np.full(len(outputs), k)) for k in places)
        return first - second
    if isinstance(response, BinaryResponse):
        target = np.full(len(outputs), size - 1)
    rows = np.arange(len(outputs))
    chosen = outputs[rows, target]
    by_output = np.zeros_like(outputs)
    independent = size == 1 or is_independent(response.model)
    if response.qoi == "probability" and kind == "logit" and not independent:
        p = softmax(outputs, axis=1)
        by_output = -p[rows, target, None] * p
        # 1 - p without the cancellation: the probability of all others.
        p_others = p.copy()
        p_others[rows, target] = 0.0
        by_output[rows, target] = p[rows, target] * p_others.sum(axis=1)
    elif response.qoi == "probability" and kind == "logit":
        by_output[rows, target] = expit(chosen) * expit(-chosen)
    elif response.qoi == "logit" and kind == "probability":
        with np.errstate(divide="ignore"):
            by_output[rows, target] = 1 / (chosen * (1 - chosen))
    else:
        by_output[rows, target] = 1.0
    return by_output
