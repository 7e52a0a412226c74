"""Finding the affine stem of a torch module in its graph.

The graph is read symbolically from the input on. A value is *columns*, each number of which is a
function of one feature; or constant; or it has passed an affine layer. Everything an affine layer
returns belongs to the head. If any other operation reads columns, there is no stem: the input has
a consumer that is not understood.
"""

from __future__ import annotations

import functools
import warnings
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from sensx_sc.evaluators.graph import operations, symbolic
from sensx_sc.evaluators.graph.bends import find_bends
from sensx_sc.evaluators.graph.columns import Columns, NoStemError, Rows, features
from sensx_sc.evaluators.graph.head import make_head
from sensx_sc.evaluators.graph.layers import Layer, function_layer, module_layer, normalization
from sensx_sc.evaluators.graph.operations import Batch, is_in_place, name_of
from sensx_sc.evaluators.graph.tracing import UNKNOWN, Tracer, Unknown, stand_alone, trace
from sensx_sc.evaluators.stem.stem import Stem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_SYMBOLS = (Columns, Rows, Layer, Batch, Unknown)


def find_stem(
    module: nn.Module, n_features: int, dtype: torch.dtype, device: torch.device, *, widest: int
) -> Stem:
    """Take a module apart at its affine layers.

    Parameters
    ----------
    module
        In eval mode, in the type and on the device given.
    widest
        The most outputs that the stem may have.

    Raises
    ------
    NoStemError
        The module cannot be traced, or something other than an affine layer reads the input, or
        the stem is too wide.
    """
    # Tracing runs the user's code on stand-ins, which may fail in any way.
    try:
        with warnings.catch_warnings():  # torch's own parts warn of each other
            warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
            return _find(module, features(n_features, dtype, device), widest)
    except NoStemError:
        raise
    except Exception as error:
        msg = f"its graph cannot be traced ({type(error).__name__})"
        raise NoStemError(msg) from error


def _find(module: nn.Module, rows: Columns, widest: int) -> Stem:
    n_features = len(rows.source)
    reader, again = (_Reader(stand_alone(module), rows) for _ in range(2))
    nodes, values = reader.read_whole(), reader.values
    if not _same(zip(nodes, again.read_whole(), strict=False), values, again.values):
        msg = "its graph is another each time"
        raise NoStemError(msg)
    layers = {node: layer for node in nodes if isinstance(layer := values[node], Layer)}
    if not layers:
        msg = "no affine layer reads the input"
        raise NoStemError(msg)
    _check_width(sum(layer.width for layer in layers.values()), n_features, widest)
    branches = {node: layer.branches(n_features) for node, layer in layers.items()}
    head = make_head(nodes, values, branches, reader.root)
    (parts, *others) = branches.values()
    bends = None if others else find_bends(head, len(parts[0].bias))
    stem = Stem(tuple(branch for parts in branches.values() for branch in parts), head, bends)
    _check_width(stem.width, n_features, widest)
    _try(stem, rows)
    return stem


def _same(
    pairs: Iterable[tuple[fx.Node, fx.Node]], values: dict[fx.Node, Any], others: dict[fx.Node, Any]
) -> bool:
    """Whether two readings agree: what is drawn at random would pass for a constant."""
    for one, other in pairs:
        mine, yours = values[one], others[other]
        if one.format_node() != other.format_node():
            return False
        if isinstance(mine, Tensor) and mine is not yours and not torch.equal(mine, yours):
            return False
    return True


def _try(stem: Stem, rows: Columns) -> None:
    """Let a head that fails do so here; when called as a module it would print why."""
    states = stem.states(rows.scale.new_zeros(3, len(rows.source)))
    parts = torch.split(states, [len(branch.bias) for branch in stem.branches], dim=1)
    if not isinstance(stem.head.forward(*parts), Tensor):
        msg = "it does not return a tensor"
        raise NoStemError(msg)


def _check_width(width: int, n_features: int, widest: int) -> None:
    if width > widest:
        msg = f"its affine stem has {width} outputs for {n_features} features, so rows are as cheap"
        raise NoStemError(msg)


class _Reader:
    """What is known of the values of a graph's nodes before the model runs."""

    def __init__(self, root: nn.Module, rows: Columns) -> None:
        self.root = root
        self.rows = rows
        self.values: dict[fx.Node, Any] = {}

    def known(self, node: fx.Node) -> Any:
        """The value of a node of a graph that is still growing."""
        self._read([node])
        value = self.values[node]
        return UNKNOWN if isinstance(value, Layer) else value

    def read_whole(self) -> list[fx.Node]:
        """Read what the outputs depend on, and whatever has effects; these nodes, in order."""
        graph = trace(self.root, Tracer(self.known, self.rows.scale.device))
        nodes = self._read([node for node in graph.nodes if self._has_effects(node)])
        for node in nodes:
            if self._changes_input(node) and not self._is_fresh(node.args[0]):
                self._refuse(node)
        return nodes

    def _read(self, targets: list[fx.Node]) -> list[fx.Node]:
        found: set[fx.Node] = set()
        waiting = list(targets)
        while waiting:
            node = waiting.pop()
            if node not in found:
                found.add(node)
                waiting += node.all_input_nodes
        nodes = [node for node in targets[0].graph.nodes if node in found]
        for node in nodes:
            if node not in self.values:
                self.values[node] = self._value(node)
        return nodes

    def _value(self, node: fx.Node) -> Any:
        if node.op == "placeholder":
            return self.rows
        if node.op == "get_attr":
            return functools.reduce(getattr, str(node.target).split("."), self.root)
        held = list(symbolic.leaves([self.values[used] for used in node.all_input_nodes]))
        args = fx.map_arg(node.args, self.values.__getitem__)
        kwargs = fx.map_arg(node.kwargs, self.values.__getitem__)
        if self._changes_input(node) and isinstance(args[0], Tensor | Rows):
            self._refuse(node)  # a constant would not stay what it is
        found = None
        if node.op != "output":
            call, name = self._call(node), self._name(node)
            if not any(isinstance(value, _SYMBOLS) for value in held):
                return call(*args, **kwargs)
            if not any(isinstance(value, Unknown | Layer) for value in held):
                found = _result(name, call, args, kwargs)
            elif args and isinstance(args[0], Layer):
                found = symbolic.about(name, args[0], args[1:])
        if found is None and any(isinstance(value, Columns) for value in held):
            self._refuse(node)
        return UNKNOWN if found is None else found

    def _call(self, node: fx.Node) -> Callable[..., Any]:
        """The function or module that a node calls."""
        if node.op == "call_module":
            return self._module(node)
        if node.op == "call_method":
            method = str(node.target)
            return lambda first, *rest, **kw: getattr(first, method)(*rest, **kw)
        return node.target  # type: ignore[return-value]

    def _name(self, node: fx.Node) -> str:
        return name_of(node.target) if node.op in ("call_function", "call_method") else ""

    def _module(self, node: fx.Node) -> nn.Module:
        return self.root.get_submodule(str(node.target))

    def _refuse(self, node: fx.Node) -> NoReturn:
        if node.op == "call_module":
            what = type(self._module(node)).__name__
        else:
            what = getattr(node.target, "__name__", str(node.target))
        msg = f"'{what}' reads the input, and is not affine"
        raise NoStemError(msg)

    def _has_effects(self, node: fx.Node) -> bool:
        impure = node.op == "call_function" and node.is_impure()
        return node.op == "output" or impure or self._changes_input(node)

    def _changes_input(self, node: fx.Node) -> bool:
        """Whether a node changes its first input in place."""
        if not node.args or node.op in ("get_attr", "output", "placeholder"):
            return False
        if node.op == "call_module":
            return bool(getattr(self._module(node), "inplace", False))
        given = node.kwargs.get("inplace") is True or "out" in node.kwargs
        return given or is_in_place(self._name(node))

    def _is_fresh(self, argument: Any) -> bool:
        """Whether nothing else can see a value that is changed in place."""
        if not isinstance(argument, fx.Node) or not isinstance(self.values[argument], Columns):
            return True
        if argument.op == "call_module":
            own = type(self._module(argument)) in operations.ELEMENTWISE_MODULES
        else:
            name = self._name(argument).removesuffix("_")
            own = name in operations.ELEMENTWISE - operations.CASTS
        return (own or argument.op == "placeholder") and len(argument.users) == 1


def _result(
    name: str, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """What a function or module makes of columns and constant rows; None if that is not known."""
    if not args or "out" in kwargs:
        return None
    first = args[0]
    if isinstance(call, nn.Module):
        return None if kwargs or len(args) != 1 else _of_module(call, first)
    if is_in_place(name):
        name = name.removesuffix("_")  # and its twin that is not
        call = getattr(torch if hasattr(torch, name) else functional, name, call)
    if isinstance(first, Columns | Rows):
        found = symbolic.about(name, first, args[1:])
        if found is not None:
            return found
    if isinstance(first, tuple) and name in ("getitem", "add"):
        return call(*args)
    if name in operations.DROPOUTS:
        return first if operations.is_switched_off(args, kwargs) else None
    if name in operations.COPIES:
        return first
    if name in operations.CASTS:
        return symbolic.cast(call, args, kwargs)
    if name in operations.ELEMENTWISE:
        return symbolic.combined(name, call, args, kwargs)
    if name in operations.MOVES and not isinstance(first, Tensor):
        return symbolic.moved(name, call, args, kwargs)
    if name in operations.LAYERS and any(isinstance(arg, Columns) for arg in args):
        return function_layer(name, call, args, kwargs)
    if name in operations.ROW_BY_ROW:
        return symbolic.row_by_row(call, args, kwargs)
    return _created(name, call, args, kwargs)


def _created(
    name: str, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    if name == "full":
        return symbolic.created(call, args, kwargs, sizes=args[0])
    if name in operations.FACTORIES:
        return symbolic.created(call, args, kwargs, sizes=args)
    if name in operations.REPEATS:
        return symbolic.created(call, args, kwargs, sizes=args[1:])
    if name in operations.NEW:
        return symbolic.created(call, args, kwargs, sizes=args[1:], like=0)
    if name in operations.LIKE:
        return symbolic.created(call, args, kwargs, sizes=None, like=0)
    if name == "expand_as":
        return symbolic.created(call, args, kwargs, sizes=None, like=1)
    return None


def _of_module(module: nn.Module, value: Any) -> Any:
    kind = type(module)
    if kind in operations.SAME_MODULES:
        return None if module.training and kind is not nn.Identity else value
    if kind in operations.ELEMENTWISE_MODULES:
        return symbolic.combined("", module, (value,), {})
    if kind is nn.Flatten:
        return symbolic.moved("flatten", lambda x, *_: module(x), (value, module.start_dim), {})
    if kind is nn.Unflatten:
        return symbolic.moved("unflatten", lambda x, *_: module(x), (value, module.dim), {})
    if isinstance(value, Rows):
        known = kind is nn.Embedding or (kind is nn.Linear and value.shape)
        return symbolic.row_by_row(module, (value,), {}) if known else None
    if not isinstance(value, Columns):
        return None
    if kind in operations.BATCH_NORMS:
        return _normalized(module, value)
    return module_layer(module, value)


def _normalized(module: Any, value: Columns) -> Any:
    found = normalization(module) if value.shape else None
    if found is None:
        return None
    scale, shift = (part.reshape(-1, *(1 for _ in value.shape[1:])) for part in found)
    scaled = symbolic.combined("mul", torch.mul, (value, scale), {})
    return symbolic.combined("add", torch.add, (scaled, shift), {})
