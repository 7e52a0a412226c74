"""The layers of a head whose units are linear but for a bend at zero, such as ReLU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn

from sensx_sc.evaluators.graph.operations import DROPOUTS, SAME_MODULES, argument, name_of

if TYPE_CHECKING:
    from collections.abc import Callable


_WIDEST = 4096  # units of the first layer, whose maps are written out


@dataclass(frozen=True)
class Affine:
    """From rows (B, m) to ``rows @ weight + bias``, (B, k): weight (m, k), bias (k,)."""

    weight: Tensor
    bias: Tensor

    def then(self, other: Affine) -> Affine:
        """One map, and another after it."""
        return Affine(self.weight @ other.weight, self.bias @ other.weight + other.bias)


@dataclass(frozen=True)
class Bend:
    """Units u that give max(u, 0) + slope * min(u, 0), and the affine map of all of them.

    Attributes
    ----------
    slope
        Below zero; at least 0.
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
        Its inputs are summed first, (B, width).
    """
    first = _sum_of_inputs(head.graph)
    if first is None or width > _WIDEST:
        return None
    path = _Path(head)
    node = end = first
    while len(node.users) == 1 and path.take(user := next(iter(node.users))):
        node = user
        if path.is_whole:
            end = node
    return Bends(path.entry, tuple(path.whole), _rest(head, end)) if path.whole else None


def _sum_of_inputs(graph: fx.Graph) -> fx.Node | None:
    """The node that sums all inputs, if nothing else reads them."""
    node: fx.Node
    node, *others = graph.find_nodes(op="placeholder")
    for other in others:
        users = set(node.users) | set(other.users)
        if len(users) != 1:
            return None
        (total,) = users
        if total.target != "add" or total.args != (node, other):
            return None
        node = total
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
        elif isinstance(found, Affine):
            if self._slope is not None:
                self.whole.append(Bend(self._slope, found))
                self._slope = None
            elif self.whole:
                last = self.whole[-1]
                self.whole[-1] = Bend(last.slope, last.after.then(found))
            else:
                self.entry = found if self.entry is None else self.entry.then(found)
        return found is not None

    def _read(self, node: fx.Node) -> Affine | float | str | None:
        """A layer, the slope of a bend, "same" for what changes nothing, None for all else."""
        if node.op == "call_module":
            plain = len(node.args) == 1 and not node.kwargs
            return _of_module(self.head.get_submodule(str(node.target))) if plain else None
        if node.op not in ("call_function", "call_method"):
            return None
        name = name_of(node.target)
        if name in DROPOUTS:
            return "same" if node.kwargs.get("training") is False else None
        if name in ("relu", "relu_"):
            return 0.0
        if name in ("leaky_relu", "leaky_relu_"):
            slope = argument(node.args, node.kwargs, 1, "negative_slope", 0.01)
            return float(slope) if isinstance(slope, int | float) else None
        if name == "linear":
            return self._linear(node)
        return None

    def _linear(self, node: fx.Node) -> Affine | None:
        weight = self._constant(argument(node.args, node.kwargs, 1, "weight"))
        given = argument(node.args, node.kwargs, 2, "bias")
        bias = self._constant(given)
        if weight is None or (given is not None and bias is None):
            return None
        return _affine(weight, bias)

    def _constant(self, node: Any) -> Tensor | None:
        if not isinstance(node, fx.Node) or node.op != "get_attr":
            return None
        found: Any = self.head
        for part in str(node.target).split("."):
            found = getattr(found, part)
        return found.detach() if isinstance(found, Tensor) else None


def _of_module(module: nn.Module) -> Affine | float | str | None:
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
    if kind is nn.BatchNorm1d and parts.running_var is not None and not module.training:
        scale = torch.rsqrt(parts.running_var + parts.eps)
        scale = scale if parts.weight is None else scale * parts.weight
        shift = -parts.running_mean * scale
        shift = shift if parts.bias is None else shift + parts.bias
        return Affine(torch.diag(scale).detach(), shift.detach())
    return None


def _affine(weight: Tensor, bias: Tensor | None) -> Affine:
    weight = weight.detach()
    bias = weight.new_zeros(len(weight)) if bias is None else bias.detach()
    return Affine(weight.T.contiguous(), bias)


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
    made.recompile()
    return made
