"""A torch module's graph, by running it on stand-ins."""

from __future__ import annotations

import builtins
import contextlib
import copy
import functools
import inspect
import itertools
import operator
import threading
from typing import TYPE_CHECKING, Any

import torch
from torch import fx, nn
from torch.nn.utils import parametrize

from sensx_sc.evaluators.graph.columns import Columns, NoStemError, Rows
from sensx_sc.evaluators.graph.operations import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Tracing replaces methods of torch's classes for its time, so that one thread traces at a time.
_LOCK = threading.Lock()

_REFUSING = ("arange", "cat", "concat", "hstack", "ones", "stack", "vstack", "zeros")
_CHOICE = "a choice in its code depends on the rows"


class Unknown:
    """What is said of a stand-in whose value is not known before the model runs."""


UNKNOWN = Unknown()


class Tracer(fx.Tracer):
    """Traces what a call of the module does: its hooks, and choices that hang on shapes.

    Parameters
    ----------
    known
        The value of a node of the graph so far: a constant, columns, ..., or ``UNKNOWN``.
    """

    proxy_buffer_attributes = True

    def __init__(self, known: Callable[[fx.Node], Any], device: torch.device) -> None:
        super().__init__()
        self._known = known
        self._device = device
        self._thread: int | None = threading.get_ident()
        self.refusal: Exception | None = None  # which the module's code may have caught

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        known = super().is_leaf_module(m, module_qualified_name)
        return known and _as_torch_made_it(m) and not isinstance(m, nn.DataParallel)

    def known(self, node: fx.Node) -> Any:
        """What is known of a node of the graph; what is called to find out is not recorded."""
        thread, self._thread = self._thread, None
        try:
            return self._known(node)
        except Exception as error:
            self.refusal = error
            raise
        finally:
            self._thread = thread

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if threading.get_ident() != self._thread:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        if threading.get_ident() != self._thread:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        if torch.is_autocast_enabled(self._device.type):
            msg = "it switches autocast on"
            raise NoStemError(msg)
        return super().create_node(*args, **kwargs)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _StandIn(node, self)

    def to_bool(self, obj: fx.Proxy) -> bool:
        return bool(self.constant(obj, object))

    def iter(self, obj: Any) -> Iterator[Any]:
        return (obj[i] for i in range(len(self.constant(obj, tuple, list))))

    def constant(self, proxy: fx.Proxy, *kinds: type) -> Any:
        """What a stand-in stands for, if that does not depend on the rows."""
        value = self.known(proxy.node)
        if not is_constant(value) or not isinstance(value, kinds):
            self.refusal = NoStemError(_CHOICE)
            raise self.refusal
        return value


def is_constant(value: Any) -> bool:
    """Whether a value that is known is the same whatever the rows are, and however many."""
    return not isinstance(value, Unknown | Columns | Rows | Batch)


class _StandIn(fx.Proxy):
    """Stands for a value; is the number that it stands for where that is constant."""

    tracer: Tracer

    def __index__(self) -> int:
        value = self.tracer.known(self.node)
        if is_constant(value):
            return operator.index(value)
        msg = "it depends on the rows"  # torch then records the call
        raise TypeError(msg)

    def __setitem__(self, place: Any, value: Any) -> None:
        self.tracer.create_proxy("call_function", operator.setitem, (self, place, value), {})

    def __len__(self) -> int:
        return len(self.tracer.constant(self, tuple, list))

    def __int__(self) -> int:
        return int(self.tracer.constant(self, int, float, torch.Tensor))

    def __float__(self) -> float:
        return float(self.tracer.constant(self, int, float, torch.Tensor))


def _in_place(function: Callable[[Any, Any], Any]) -> Callable[[fx.Proxy, Any], fx.Proxy]:
    def method(self: fx.Proxy, other: Any) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", function, (self, other), {})

    return method


# Without these `h += x` would be read as `h = h + x`, which leaves other names of h as they were.
for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor"):
    setattr(_StandIn, f"__i{_name}__", _in_place(getattr(operator, f"i{_name}")))


def _as_torch_made_it(module: nn.Module) -> bool:
    """Whether calling a module of torch does what its class says, and nothing more."""
    own = vars(module)
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    changed = "forward" in own or any(own.get(name) for name in hooks)
    return not (changed or parametrize.is_parametrized(module))


def stand_alone(module: nn.Module) -> nn.Module:
    """A module that calls a copy of a module; weights are shared.

    What tracing leaves in the attributes of modules stays in the copy; and the hooks of the
    module itself are called like those of its parts.
    """
    # Of other tensors only those that cannot be copied.
    made = [
        value
        for part in module.modules()
        for value in vars(part).values()
        if isinstance(value, torch.Tensor) and not value.is_leaf
    ]
    tensors = itertools.chain(module.parameters(), module.buffers(), made)
    clone = copy.deepcopy(module, {id(tensor): tensor for tensor in tensors})
    for part in clone.modules():
        _keep_as_buffers(part)
    whole = nn.Sequential(clone)
    whole.training = False
    return whole


def _keep_as_buffers(part: nn.Module) -> None:
    """Make buffers of tensors that are plain attributes: torch.fx only records those."""
    plain = {name: value for name, value in vars(part).items() if type(value) is torch.Tensor}
    for name, value in plain.items():
        delattr(part, name)
        part.register_buffer(name, value)


def trace(root: nn.Module, tracer: Tracer) -> fx.Graph:
    """Run a module on stand-ins.

    Raises
    ------
    NoStemError
        Its code asks for what only rows can tell, or all modules of this process have hooks.
    """
    hooks = torch.nn.modules.module
    if hooks._global_forward_hooks or hooks._global_forward_pre_hooks:
        msg = "all modules have hooks"
        raise NoStemError(msg)
    with _LOCK, _answering(root):
        graph = tracer.trace(root)
    if tracer.refusal is not None:
        raise tracer.refusal
    return graph


@contextlib.contextmanager
def _answering(root: nn.Module) -> Iterator[None]:
    """Let functions that torch.fx cannot record take stand-ins, as `torch.fx.wrap` does."""
    with contextlib.ExitStack() as stack:
        for part in root.modules():
            space = getattr(inspect.unwrap(type(part).forward), "__globals__", {})
            if not str(space.get("__name__")).startswith("torch."):
                stack.enter_context(_defined(space, len=_length, isinstance=_is_instance))
        torch.overrides.get_overridable_functions()  # which torch remembers, without ours
        for name in _REFUSING:
            stack.enter_context(_replaced(torch, name, _recorded(getattr(torch, name))))
        stack.enter_context(_replaced(torch, "is_tensor", _is_tensor))
        stack.enter_context(_replaced(nn.Module, "__setattr__", _set))
        yield


@contextlib.contextmanager
def _defined(space: dict[str, Any], **functions: Any) -> Iterator[None]:
    """Functions of these names in a module's code, where it has not its own."""
    new = functions.keys() - space.keys()
    space.update({name: functions[name] for name in new})
    try:
        yield
    finally:
        for name in new:
            del space[name]


@contextlib.contextmanager
def _replaced(owner: Any, name: str, function: Any) -> Iterator[None]:
    own = getattr(owner, name)
    setattr(owner, name, function)
    try:
        yield
    finally:
        setattr(owner, name, own)


def _tracer(proxy: Any) -> Tracer:
    found: Tracer = proxy.tracer
    return found


def _known(proxy: fx.Proxy) -> Any:
    return _tracer(proxy).known(proxy.node)


def _length(of: Any) -> Any:
    if not isinstance(of, fx.Proxy):
        return builtins.len(of)
    value = _known(of)
    return len(value) if isinstance(value, tuple | list) else of.size(0)


def _is_instance(of: Any, kinds: Any) -> bool:
    if not isinstance(of, fx.Proxy):
        return builtins.isinstance(of, kinds)
    value = _known(of)
    if isinstance(value, Columns | Rows):
        return isinstance(value.sample, kinds)
    return isinstance(_tracer(of).constant(of, object), kinds)


def _is_tensor(of: Any) -> bool:
    return _is_instance(of, torch.Tensor)


def _recorded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Record a call with stand-ins, of which torch's own code would not take some, or older ones.

    Sizes that are given one by one become one argument.
    """

    @functools.wraps(function)
    def record(*args: Any, **keywords: Any) -> Any:
        given = [*args, *keywords.values()]
        given += [part for value in given if isinstance(value, tuple | list) for part in value]
        proxy = next((value for value in given if isinstance(value, fx.Proxy)), None)
        if proxy is None:
            return function(*args, **keywords)
        first = args[0] if args else ()
        several = isinstance(_known(first) if isinstance(first, fx.Proxy) else first, tuple | list)
        if function.__name__ in ("ones", "zeros") and not several:
            args = (args,)
        return _tracer(proxy).create_proxy("call_function", function, args, keywords)

    return record


def _set(module: nn.Module, name: str, value: Any, own: Any = nn.Module.__setattr__) -> None:
    """Set an attribute; a buffer may be a stand-in, which older versions of torch refuse."""
    if isinstance(value, fx.Proxy) and name in module._buffers:
        module._buffers[name] = value  # type: ignore[assignment]
    else:
        own(module, name, value)
