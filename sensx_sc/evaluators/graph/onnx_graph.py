"""ONNX graphs of simple operations as torch modules, so that their stem can be found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from sensx_sc.evaluators.graph.columns import NoStemError
from sensx_sc.evaluators.graph.sklearn_parts import Affine, Clamp, Elementwise

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from sensx_sc.models.onnx import Onnx

_ELEMENTWISE: dict[str, Callable[[Tensor], Tensor]] = {
    "Abs": torch.abs,
    "Exp": torch.exp,
    "Log": torch.log,
    "Neg": torch.neg,
    "Relu": torch.relu,
    "Sigmoid": torch.sigmoid,
    "Sqrt": torch.sqrt,
    "Tanh": torch.tanh,
    "Softplus": nn.functional.softplus,
    "Erf": torch.erf,
}
_PAIRS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Add": torch.add,
    "Sub": torch.sub,
    "Mul": torch.mul,
    "Div": torch.div,
}
_SAME = ("Identity", "Dropout")
_FLOATS = (1, 11)  # float and double, as ONNX numbers its types


def onnx_module(model: Onnx, dtype: torch.dtype) -> nn.Module:
    """A module with the output of an ONNX graph, for rows of a type.

    Raises
    ------
    NoStemError
        The graph is not at hand, has several inputs, or an operation that is none of those known.
    """
    if model.content is None:
        msg = "a session of onnxruntime does not show its graph; pass the path of its file"
        raise NoStemError(msg)
    try:
        import onnx
    except ImportError as error:
        msg = "its graph is read by the library onnx, which is not installed"
        raise NoStemError(msg) from error
    proto = onnx.load_model_from_string(model.content)
    entries = [entry.name for entry in proto.graph.input]
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer}
    inputs = [name for name in entries if name not in constants]
    if len(inputs) != 1:
        msg = f"its graph has {len(inputs)} inputs"
        raise NoStemError(msg)
    steps: list[_Step] = []
    for node in _needed(proto.graph.node, model.explained):
        told = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "Constant" and "value" in told:
            constants[node.output[0]] = onnx.numpy_helper.to_array(told["value"])
            continue
        steps.append(_step(node, told, constants))
    return _Graph(inputs[0], model.explained, steps).to(dtype).eval()


def _needed(nodes: Any, output: str) -> list[Any]:
    """The nodes that an output depends on, in their order."""
    wanted, found = {output}, []
    for node in reversed(nodes):
        if wanted & set(node.output):
            wanted |= set(node.input)
            found.append(node)
    return found[::-1]


class _Step:
    """An operation: what it reads, what it makes, and a module that does it."""

    def __init__(self, module: nn.Module, reads: list[str], makes: str) -> None:
        self.module, self.reads, self.makes = module, reads, makes


class _Graph(nn.Module):
    """Operations one after the other."""

    def __init__(self, source: str, output: str, steps: list[_Step]) -> None:
        super().__init__()
        self.source, self.output = source, output
        self.parts = nn.ModuleList([step.module for step in steps])
        self.wires = [(step.reads, step.makes) for step in steps]

    def forward(self, rows: Tensor) -> Tensor:
        values = {self.source: rows}
        for part, (reads, makes) in zip(self.parts, self.wires, strict=True):
            values[makes] = part(*(values[name] for name in reads))
        return values[self.output]


def _step(node: Any, told: dict[str, Any], constants: dict[str, NDArray[Any]]) -> _Step:
    """One node as a step.

    Raises
    ------
    NoStemError
        It is none of those known.
    """
    reads = [name for name in node.input if name and name not in constants]
    given = {k: constants[name] for k, name in enumerate(node.input) if name in constants}
    makes, kind = node.output[0], node.op_type
    module: nn.Module | None = None
    if node.domain not in ("", "ai.onnx", "ai.onnx.ml"):
        module = None
    elif kind in _PAIRS and len(reads) == 2:
        module = _Pair(_PAIRS[kind])
    elif kind == "Concat" and len(reads) == len(node.input) and told.get("axis") in (1, -1):
        module = _Concat()
    elif len(reads) == 1:
        module = _of_one(kind, told, given)
    if module is None:
        msg = f"its node {kind} is none of those that are known"
        raise NoStemError(msg)
    return _Step(module, reads, makes)


def _of_one(kind: str, told: dict[str, Any], given: dict[int, NDArray[Any]]) -> nn.Module | None:
    """What an operation with one input that is no constant does to it; None: not known."""
    if kind in _SAME or (kind == "Cast" and told.get("to") in _FLOATS):
        return nn.Identity()
    if kind == "Flatten" and told.get("axis", 1) == 1:
        return nn.Flatten()
    if kind in _ELEMENTWISE:
        return Elementwise(_ELEMENTWISE[kind])
    if kind in _PAIRS:
        return _with_constant(kind, given)
    if kind in ("Softmax", "LogSoftmax") and told.get("axis", -1) in (1, -1):
        return nn.Softmax(dim=1) if kind == "Softmax" else nn.LogSoftmax(dim=1)
    if kind in ("LeakyRelu", "Elu"):
        slope = float(told.get("alpha", 0.01 if kind == "LeakyRelu" else 1.0))
        return nn.LeakyReLU(slope) if kind == "LeakyRelu" else nn.ELU(slope)
    if kind == "Gelu":
        return nn.GELU(approximate=told.get("approximate", b"none").decode())
    if kind == "Clip":
        low, high = given.get(1, told.get("min", -np.inf)), given.get(2, told.get("max", np.inf))
        return Clamp(float(low), float(high))
    if kind == "Scaler":  # of scikit-learn's
        scale, offset = (np.array(told[name], dtype=float) for name in ("scale", "offset"))
        return Affine(scale, -offset * scale)
    if kind == "BatchNormalization" and set(given) == {1, 2, 3, 4}:
        weight, bias, mean, variance = (given[k].astype(float) for k in range(1, 5))
        scale = weight / np.sqrt(variance + float(told.get("epsilon", 1e-5)))
        return Affine(scale, bias - mean * scale)
    return _affine(kind, told, given)


def _affine(kind: str, told: dict[str, Any], given: dict[int, NDArray[Any]]) -> nn.Module | None:
    """A product with a constant matrix on the right."""
    if 1 not in given or given[1].ndim != 2:
        return None
    if kind == "MatMul":
        return _linear(given[1], np.zeros(1))
    if kind == "Gemm" and not told.get("transA", 0):
        weight = given[1].T if told.get("transB", 0) else given[1]
        shift = given.get(2, np.zeros(1)) * float(told.get("beta", 1.0))
        return _linear(weight * float(told.get("alpha", 1.0)), shift)
    return None


def _linear(weight: NDArray[Any], bias: NDArray[Any]) -> nn.Linear | None:
    """Rows times weights (n, K) plus numbers that are the same for all rows."""
    n, k = weight.shape
    if bias.size not in (1, k):
        return None
    layer = nn.Linear(n, k, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(np.ascontiguousarray(weight.T, dtype=np.float64)))
        layer.bias.copy_(torch.tensor(np.broadcast_to(bias.astype(np.float64).ravel(), (k,))))
    return layer


def _with_constant(kind: str, given: dict[int, NDArray[Any]]) -> nn.Module | None:
    """A sum, difference, product or quotient with numbers that are the same for all rows."""
    (place, value), *_ = given.items()
    values = value.astype(np.float64)
    if values.ndim > 2 or (values.ndim == 2 and values.shape[0] != 1):
        return None
    values = values.reshape(-1) if values.size > 1 else values.reshape(())
    return _WithConstant(_PAIRS[kind], values, first=place == 0)


class _WithConstant(nn.Module):
    """An operation with a constant."""

    value: Tensor

    def __init__(
        self, pair: Callable[[Tensor, Tensor], Tensor], value: NDArray[Any], *, first: bool
    ) -> None:
        super().__init__()
        self.pair, self.first = pair, first
        self.register_buffer("value", torch.tensor(value))

    def forward(self, rows: Tensor) -> Tensor:
        return self.pair(self.value, rows) if self.first else self.pair(rows, self.value)


class _Pair(nn.Module):
    """An operation on two values."""

    def __init__(self, pair: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.pair = pair

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return self.pair(first, second)


class _Concat(nn.Module):
    """Columns side by side."""

    def forward(self, *parts: Tensor) -> Tensor:
        return torch.cat(parts, dim=1)
