"""Finding the affine stem of a torch module in its graph.

The graph is read symbolically from the input on. A value that depends on the input is either
*columns*, each an elementwise function of one feature (or constant), or it has passed an affine
layer. Everything an affine layer returns belongs to the head. If any other operation reads
columns, there is no stem: the input has a consumer that is not understood.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from sensx_sc.evaluators.stem import Branch, Stem

if TYPE_CHECKING:
    from collections.abc import Callable

    Step = Callable[[Tensor, Tensor], Tensor]
    """Values (..., m) and the columns they are of (m,) -> values."""


class NoStemError(Exception):
    """Why a module has no affine stem that can be proved."""


@dataclass(frozen=True)
class Columns:
    """A value (B, m) whose columns depend on one feature each.

    Attributes
    ----------
    source
        Feature of each column, (m,); -1 for a constant column.
    scale, shift
        The affine part that comes first: column c holds steps(scale_c x + shift_c), (m,).
    steps
        Elementwise functions after it; empty while everything is affine.
    """

    source: Tensor
    scale: Tensor
    shift: Tensor
    steps: tuple[Step, ...] = ()

    def affine(self, scale: Tensor, shift: Tensor) -> Columns:
        """Scale, then shift; (m,) or one number."""
        if not self.steps:
            return Columns(self.source, self.scale * scale, self.shift * scale + shift)
        m = len(self.source)
        factor, offset = scale.expand(m), shift.expand(m)
        return self.then(lambda values, columns: values * factor[columns] + offset[columns])

    def then(self, step: Step) -> Columns:
        """Apply an elementwise function."""
        return Columns(self.source, self.scale, self.shift, (*self.steps, step))

    def values(self, x: Tensor, columns: Tensor) -> Tensor:
        """Values of some columns, given those of their features, both (..., m)."""
        out = x * self.scale[columns] + self.shift[columns]
        for step in self.steps:
            out = step(out, columns)
        return out

    def branch(self, weight: Tensor, bias: Tensor | None, n_features: int) -> Branch:
        """What a linear layer, weight (H, m), makes of the columns."""
        offset = weight.new_zeros(len(weight)) if bias is None else bias.clone()
        constant = (self.source < 0).nonzero().ravel()
        if len(constant):
            fixed = self.values(self.scale.new_zeros(len(constant)), constant)
            offset = offset + weight[:, constant] @ fixed
        used = (self.source >= 0).nonzero().ravel()
        feature = self.source[used]
        if self.steps and len(torch.unique(feature)) != len(feature):
            msg = "a feature enters an affine layer twice, after a nonlinear function"
            raise NoStemError(msg)
        rows = weight.new_zeros(n_features, len(weight))
        if not self.steps:
            offset = offset + weight[:, used] @ self.shift[used]
            rows.index_add_(0, feature, (weight[:, used] * self.scale[used]).T.contiguous())
            return Branch(rows, offset, None)
        rows[feature] = weight[:, used].T
        column = torch.zeros(n_features, dtype=torch.long, device=feature.device)
        column[feature] = used
        return Branch(rows, offset, lambda x, features: self.values(x, column[features]))


_UNARY: dict[Any, Callable[[Tensor], Tensor]] = {
    name: getattr(torch, name)
    for name in (
        "log1p", "log", "sqrt", "exp", "expm1", "tanh", "sigmoid", "relu", "abs", "square", "sign",
    )
}  # fmt: skip
_UNARY |= {function: function for function in list(_UNARY.values())}
_UNARY |= {functional.relu: torch.relu, functional.sigmoid: torch.sigmoid, operator.neg: torch.neg}
_UNARY |= {functional.tanh: torch.tanh, functional.gelu: functional.gelu}
_UNARY_MODULES = (nn.ReLU, nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU, nn.ELU, nn.LeakyReLU, nn.Softplus)
_BINARY: dict[Any, str] = {
    operator.add: "add", torch.add: "add", "add": "add",
    operator.sub: "sub", torch.sub: "sub", "sub": "sub",
    operator.mul: "mul", torch.mul: "mul", "mul": "mul",
    operator.truediv: "div", torch.div: "div", torch.true_divide: "div", "div": "div",
}  # fmt: skip
_PRODUCTS = (operator.matmul, torch.matmul, torch.mm, "matmul", "mm")
_CONCATENATIONS = (torch.cat, torch.concat)
_SAME = (nn.Identity, nn.Dropout, nn.AlphaDropout)


def find_stem(module: nn.Module, n_features: int, dtype: torch.dtype, device: torch.device) -> Stem:
    """Take a module apart at its affine layers.

    Parameters
    ----------
    module
        In eval mode, in the type and on the device given.

    Raises
    ------
    NoStemError
        The module cannot be traced, or something other than an affine layer reads the input.
    """
    # Tracing runs the user's code on stand-ins, which may fail in any way.
    try:
        traced = fx.symbolic_trace(module)
    except Exception as error:
        msg = f"its graph cannot be traced ({type(error).__name__})"
        raise NoStemError(msg) from error
    reader = _Reader(traced, n_features, dtype, device)
    reader.read()
    return Stem(tuple(reader.branches.values()), reader.head())


class _Reader:
    """One pass over a graph: the value of each node, and the branches that were met."""

    def __init__(
        self, traced: fx.GraphModule, n_features: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.traced = traced
        self.n_features = n_features
        self.columns: dict[fx.Node, Columns] = {}
        self.constants: dict[fx.Node, Any] = {}
        self.branches: dict[fx.Node, Branch] = {}
        self.dtype, self.device = dtype, device

    def read(self) -> None:
        inputs = [node for node in self.traced.graph.nodes if node.op == "placeholder"]
        if len(inputs) != 1:
            msg = f"it has {len(inputs)} inputs"
            raise NoStemError(msg)
        for node in self.traced.graph.nodes:
            self._read(node)
        if not self.branches:
            msg = "no affine layer reads the input"
            raise NoStemError(msg)

    def _read(self, node: fx.Node) -> None:
        if node.op == "placeholder":
            ones = torch.ones(self.n_features, dtype=self.dtype, device=self.device)
            source = torch.arange(self.n_features, device=self.device)
            self.columns[node] = Columns(source, ones, torch.zeros_like(ones))
        elif node.op == "get_attr":
            value: Any = self.traced
            for part in str(node.target).split("."):
                value = getattr(value, part)
            self.constants[node] = value
        elif not any(used in self.columns for used in node.all_input_nodes):
            self._constant(node)
        elif node.op == "call_module":
            self._module(node, self.traced.get_submodule(str(node.target)))
        elif node.op in ("call_function", "call_method"):
            self._function(node)
        else:
            self._refuse(node)

    def _refuse(self, node: fx.Node) -> None:
        what = (
            type(self.traced.get_submodule(str(node.target))).__name__
            if (node.op == "call_module")
            else getattr(node.target, "__name__", str(node.target))
        )
        msg = f"'{what}' reads the input, and is not affine"
        raise NoStemError(msg)

    def _constant(self, node: fx.Node) -> None:
        """Work out what depends on constants only; what depends on a branch is the head's."""
        inputs = node.all_input_nodes
        if node.op != "call_function" or not all(used in self.constants for used in inputs):
            return
        arguments = fx.map_arg(node.args, lambda used: self.constants[used])
        keywords = fx.map_arg(node.kwargs, lambda used: self.constants[used])
        self.constants[node] = node.target(*arguments, **keywords)  # type: ignore[operator]

    def _module(self, node: fx.Node, module: nn.Module) -> None:
        columns = self.columns[node.all_input_nodes[0]]
        if type(module) is nn.Linear:
            self.branches[node] = columns.branch(module.weight, module.bias, self.n_features)
        elif type(module) is nn.BatchNorm1d and module.running_var is not None:
            scale = torch.rsqrt(module.running_var + module.eps)
            if module.weight is not None:
                scale = scale * module.weight
            shift = -module.running_mean * scale  # type: ignore[operator]
            if module.bias is not None:
                shift = shift + module.bias
            self.columns[node] = columns.affine(scale, shift)
        elif isinstance(module, _SAME) or (type(module) is nn.Flatten and module.start_dim == 1):
            self.columns[node] = columns
        elif isinstance(module, _UNARY_MODULES):
            self.columns[node] = columns.then(lambda values, _: module(values))
        else:
            self._refuse(node)

    def _function(self, node: fx.Node) -> None:
        target = node.target
        if target in _UNARY and len(node.args) == 1 and not node.kwargs:
            function = _UNARY[target]
            columns = self.columns[node.all_input_nodes[0]]
            self.columns[node] = columns.then(lambda values, _: function(values))
        elif target in _BINARY and len(node.args) == 2 and not node.kwargs:
            self._binary(node, _BINARY[target])
        elif target is functional.linear:
            weight, bias, *_ = (*node.args[1:], node.kwargs.get("bias"), None)
            self._linear(node, self._value(weight), self._value(bias))
        elif target in _PRODUCTS and len(node.args) == 2:
            factor = self._value(node.args[1])
            if not isinstance(factor, Tensor) or factor.ndim != 2:
                self._refuse(node)
            self._linear(node, factor.T, None)
        elif target is operator.getitem:
            self._select(node)
        elif target in _CONCATENATIONS:
            self._concatenate(node)
        elif target is functional.dropout and not node.kwargs.get("training", True):
            self.columns[node] = self.columns[node.all_input_nodes[0]]
        else:
            self._refuse(node)

    def _value(self, argument: Any) -> Any:
        """A constant argument; refuses what depends on the input."""
        if not isinstance(argument, fx.Node):
            return argument
        if argument not in self.constants:
            self._refuse(argument)
        return self.constants[argument]

    def _linear(self, node: fx.Node, weight: Tensor, bias: Tensor | None) -> None:
        if node.args[0] not in self.columns:
            self._refuse(node)
        columns = self.columns[node.args[0]]  # type: ignore[index]
        self.branches[node] = columns.branch(weight, bias, self.n_features)

    def _binary(self, node: fx.Node, kind: str) -> None:
        left, right = node.args
        if left in self.columns and right in self.columns:
            self._refuse(node)
        turned = right in self.columns
        other = left if turned else right
        if isinstance(other, fx.Node) and other not in self.constants:
            self._refuse(node)
        columns = self.columns[right if turned else left]  # type: ignore[index]
        number = self._value(other)
        value = torch.as_tensor(number, dtype=self.dtype, device=self.device)
        if value.ndim == 2 and value.shape[0] == 1:
            value = value[0]
        if value.ndim > 1 or (value.ndim == 1 and len(value) not in (1, len(columns.source))):
            self._refuse(node)
        one, zero = torch.ones_like(value), torch.zeros_like(value)
        if kind == "div" and turned:
            m = len(columns.source)
            spread = value.expand(m)
            self.columns[node] = columns.then(lambda values, at: spread[at] / values)
            return
        scale, shift = {
            "add": (one, value),
            "sub": (-one, value) if turned else (one, -value),
            "mul": (value, zero),
            "div": (1 / value, zero),
        }[kind]
        self.columns[node] = columns.affine(scale, shift)

    def _select(self, node: fx.Node) -> None:
        columns, where = self.columns[node.args[0]], node.args[1]  # type: ignore[index]
        if not (
            isinstance(where, tuple)
            and len(where) == 2
            and where[0] in (slice(None), Ellipsis)
            and columns.steps == ()
        ):
            self._refuse(node)
        at: Any = self._value(where[1])  # type: ignore[index]
        if not isinstance(at, slice | list | Tensor) or any(
            isinstance(part, fx.Node) for part in (getattr(at, "start", 0), getattr(at, "stop", 0))
        ):
            self._refuse(node)
        self.columns[node] = Columns(columns.source[at], columns.scale[at], columns.shift[at])

    def _concatenate(self, node: fx.Node) -> None:
        dim = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
        parts: Any = node.args[0]
        if dim not in (1, -1) or not all(part in self.columns for part in parts):
            self._refuse(node)
        found = [self.columns[part] for part in parts]
        if any(columns.steps for columns in found):
            self._refuse(node)
        source, scale, shift = (
            torch.cat([getattr(part, name) for part in found])
            for name in ("source", "scale", "shift")
        )
        self.columns[node] = Columns(source, scale, shift)

    def head(self) -> nn.Module:
        """The rest of the graph, with an input for each branch."""
        graph = fx.Graph()
        copies: dict[fx.Node, fx.Node] = {
            node: graph.placeholder(f"branch_{i}") for i, node in enumerate(self.branches)
        }
        for node in self.traced.graph.nodes:
            if node in copies or node in self.columns or node.op == "placeholder":
                continue
            if any(used not in copies for used in node.all_input_nodes):
                self._refuse(node)
            copies[node] = graph.node_copy(node, lambda used: copies[used])
        head = fx.GraphModule(self.traced, graph)
        graph.eliminate_dead_code()
        head.recompile()
        return head.eval()
