"""The layers of a head whose units are linear but for a bend at zero, such as ReLU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn

from sensx_sc.evaluators.graph.layers import normalization
from sensx_sc.evaluators.graph.operations import (
    DROPOUTS,
    SAME_MODULES,
    argument,
    is_switched_off,
    name_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_WIDEST = 4096  # units whose maps are written out


@dataclass(frozen=True)
class Affine:
    """From rows (B, m) to ``rows @ weight + bias``, (B, k): weight (m, k), bias (k,)."""

    weight: Tensor
    bias: Tensor

    def then(self, other: Affine) -> Affine | None:
        """One map, and another after it; None if the two are less to write out than both in one."""
        both = self.weight.shape[0] * other.weight.shape[1]
        if both > self.weight.numel() + other.weight.numel():
            return None
        return Affine(self.weight @ other.weight, self.bias @ other.weight + other.bias)


@dataclass(frozen=True)
class Scaling:
    """From rows (B, m) to ``rows * scale + shift``, each (m,)."""

    scale: Tensor
    shift: Tensor

    def after(self, layer: Affine | None) -> Affine | None:
        """It, after a layer or on its own; None if it is too wide to be written out."""
        if layer is not None:
            return Affine(layer.weight * self.scale, layer.bias * self.scale + self.shift)
        return Affine(torch.diag(self.scale), self.shift) if len(self.scale) <= _WIDEST else None


@dataclass(frozen=True)
class Bend:
    """Units u that give max(u, 0) + slope * min(u, 0), and the affine map of all of them.

    Attributes
    ----------
    slope
        Of negative units; not negative.
    after
        What the next units are of these.
    """

    slope: float
    after: Affine


@dataclass(frozen=True)
class Bends:
    """A head that starts with bent units.

    Attributes
    ----------
    entry
        From the states of the stem to the first units; None where they are the first units.
    layers
        The bent units, layer by layer.
    rest
        The module that makes the model's outputs of what the last affine map gives.
    """

    entry: Affine | None
    layers: tuple[Bend, ...]
    rest: nn.Module


def find_bends(head: fx.GraphModule, width: int) -> Bends | None:
    """Read the bent layers with which a head starts, if all it reads goes through them.

    Parameters
    ----------
    head
        Of a model with one affine layer: its inputs are the parts of that layer, which it sums.
    width
        Outputs of that layer.
    """
    if width > _WIDEST:
        return None
    node = end = _sum_of_inputs(head.graph)
    path = _Path(head)
    while len(node.users) == 1:
        node = next(iter(node.users))
        if not path.take(node):
            break
        if path.is_whole:
            end = node
    return Bends(path.entry, tuple(path.whole), _rest(head, end)) if path.whole else None


def _sum_of_inputs(graph: fx.Graph) -> fx.Node:
    """The node that sums all inputs: these sums are the first things that a head does."""
    node: fx.Node
    node, *others = graph.find_nodes(op="placeholder")
    for _ in others:
        node = next(iter(node.users))
    return node


class _Path:
    """Layers from the inputs of a head on, a node at a time.

    Attributes
    ----------
    entry
        What comes before the first bend.
    whole
        Bends, each with a layer after it.
    """

    def __init__(self, head: fx.GraphModule) -> None:
        self.head = head
        self.entry: Affine | None = None
        self.whole: list[Bend] = []
        self._slope: float | None = None  # of units that no layer has followed yet

    @property
    def is_whole(self) -> bool:
        return bool(self.whole) and self._slope is None

    def take(self, node: fx.Node) -> bool:
        """Go on over a node; False where that is not possible."""
        found = self._read(node)
        if isinstance(found, float):
            if self._slope is not None or found < 0:
                return False
            self._slope = found
        elif isinstance(found, Affine | Scaling):
            return self._take_layer(found)
        return found is not None

    def _take_layer(self, found: Affine | Scaling) -> bool:
        before = self.entry
        if self._slope is not None:
            before = None
        elif self.whole:
            before = self.whole[-1].after
        if isinstance(found, Scaling):
            layer = found.after(before)
        else:
            layer = found if before is None else before.then(found)
        if layer is None:
            return False
        if self._slope is not None:
            self.whole.append(Bend(self._slope, layer))
            self._slope = None
        elif self.whole:
            self.whole[-1] = Bend(self.whole[-1].slope, layer)
        else:
            self.entry = layer
        return True

    def _read(self, node: fx.Node) -> Affine | Scaling | float | str | None:
        """A layer, the slope of a bend, "same" for what changes nothing, None for all else."""
        if node.op == "call_module":
            plain = len(node.args) == 1 and not node.kwargs
            return _of_module(self.head.get_submodule(str(node.target))) if plain else None
        if node.op not in ("call_function", "call_method"):
            return None
        name = name_of(node.target)
        if name in DROPOUTS:
            return "same" if is_switched_off(node.args, node.kwargs) else None
        if name in ("relu", "relu_"):
            return 0.0
        if name in ("leaky_relu", "leaky_relu_"):
            slope = argument(node.args, node.kwargs, 1, "negative_slope", 0.01)
            return float(slope) if isinstance(slope, int | float) else None
        if name == "linear":
            weight = self._constant(argument(node.args, node.kwargs, 1, "weight"))
            given = argument(node.args, node.kwargs, 2, "bias")
            bias = self._constant(given)
            unread = weight is None or (given is not None and bias is None)
            return None if unread else _affine(weight, bias)
        return None

    def _constant(self, node: Any) -> Tensor | None:
        if not isinstance(node, fx.Node) or node.op != "get_attr":
            return None
        found: Any = self.head
        for part in str(node.target).split("."):
            found = getattr(found, part)
        return found if isinstance(found, Tensor) else None


def _of_module(module: nn.Module) -> Affine | Scaling | float | str | None:
    kind: Callable[..., Any] = type(module)
    parts: Any = module
    if kind in SAME_MODULES:
        return None if module.training and kind is not nn.Identity else "same"
    if kind is nn.ReLU:
        return 0.0
    if kind is nn.LeakyReLU:
        return float(parts.negative_slope)
    if getattr(kind, "forward", None) is nn.Linear.forward:
        return _affine(parts.weight, parts.bias)
    if kind is nn.BatchNorm1d:
        found = normalization(module)
        return None if found is None else Scaling(*found)
    return None


def _affine(weight: Any, bias: Tensor | None) -> Affine | None:
    if weight.ndim != 2 or (bias is not None and bias.shape != (len(weight),)):
        return None
    weight = weight.detach()
    bias = weight.new_zeros(len(weight)) if bias is None else bias.detach()
    return Affine(weight.T, bias)


def _rest(head: fx.GraphModule, end: fx.Node) -> fx.GraphModule:
    """What is left of a head behind a node that all its inputs go through."""
    graph = fx.Graph()
    copies = {end: graph.placeholder("bent")}
    passed, waiting = {end}, [end]
    while waiting:
        before = waiting.pop().all_input_nodes
        waiting += before
        passed |= set(before)
    for node in head.graph.nodes:
        if node not in passed or node.op == "get_attr":
            copies[node] = graph.node_copy(node, copies.__getitem__)
    made = fx.GraphModule(head, graph)
    made.graph.eliminate_dead_code()
    made.recompile()
    return made
