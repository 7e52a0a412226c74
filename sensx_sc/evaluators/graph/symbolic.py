"""What torch's operations make of columns and of constant rows; None where that is not known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from sensx_sc.evaluators.graph.columns import (
    Columns,
    Rows,
    affordable,
    constant,
    elementwise,
    pooled,
)
from sensx_sc.evaluators.graph.operations import BATCH, Batch, leaves_rows_apart

Call = Callable[..., Any]
Arguments = Sequence[Any]
Keywords = Mapping[str, Any]

_ATTRIBUTES = frozenset({"device", "dtype", "is_cuda", "is_mps", "layout", "requires_grad"})
_METHODS = frozenset({"get_device", "is_complex", "is_floating_point"})


def leaves(value: Any) -> Iterator[Any]:
    """What a value holds."""
    if isinstance(value, tuple | list):
        for part in value:
            yield from leaves(part)
    elif isinstance(value, Mapping):
        yield from leaves(list(value.values()))
    elif isinstance(value, slice):
        yield from leaves([value.start, value.stop, value.step])
    else:
        yield value


def about(name: str, value: Any, args: Arguments) -> Any:
    """What does not depend on the numbers of a value: its shape, its type."""
    whole = (BATCH, *value.shape)
    if name == "getattr":
        if args[0] in _ATTRIBUTES:
            return getattr(value.sample, args[0])
        return {"shape": whole, "ndim": len(whole), "data": value}.get(args[0])
    if name in ("dim", "ndimension"):
        return len(whole)
    if name == "size":
        return whole[args[0]] if args else whole
    return getattr(value.sample, name)() if name in _METHODS else None


def combined(name: str, call: Call, args: Arguments, kwargs: Keywords) -> Columns | Rows | None:
    """An elementwise function."""
    names = [key for key in kwargs if key != "inplace"]
    operands = [*args, *(kwargs[key] for key in names)]
    if any(isinstance(part, Batch) for part in leaves(operands)) or (
        name == "where" and len(operands) != 3
    ):
        return None
    shape = _common_shape(operands)
    if shape is None:
        return None
    ndim = 1 + len(shape)
    operands = [_without_batch(operand, ndim) for operand in operands]

    def function(*values: Any) -> Tensor:
        n = len(args)
        returned: Tensor = call(*values[:n], **dict(zip(names, values[n:], strict=True)))
        return returned

    if not any(isinstance(operand, Columns) for operand in operands):
        return Rows(function(*operands).expand(shape)[None])
    straight = None if names else _affine(name, operands, shape)
    return straight or elementwise(function, operands, shape)


def _common_shape(operands: Arguments) -> tuple[int, ...] | None:
    """The shape of a row that operands broadcast to, if they do so row by row."""
    values = [operand for operand in operands if isinstance(operand, Columns | Rows)]
    ndim = 1 + len(values[0].shape)
    tensors = [operand for operand in operands if isinstance(operand, Tensor)]
    if any(len(value.shape) != ndim - 1 for value in values) or any(
        tensor.ndim > ndim or (tensor.ndim == ndim and len(tensor) != 1) for tensor in tensors
    ):
        return None
    rows = [tensor.shape[1:] if tensor.ndim == ndim else tensor.shape for tensor in tensors]
    shapes = [*(value.shape for value in values), *rows]
    return tuple(torch.broadcast_shapes(*shapes))  # type: ignore[no-untyped-call]


def _without_batch(operand: Any, ndim: int) -> Any:
    if isinstance(operand, Rows):
        return operand.row[0]
    if isinstance(operand, Tensor) and operand.ndim == ndim:
        return operand[0]
    return operand


def _affine(name: str, operands: list[Any], shape: tuple[int, ...]) -> Columns | None:
    """Sums of columns; sums, products and quotients with constants."""
    if any(isinstance(operand, Columns) and operand.curve for operand in operands):
        return None
    if name == "neg":
        name, operands = "mul", [*operands, -1]
    if name not in ("add", "sub", "mul", "div") or len(operands) != 2:
        return None
    left, right = (
        operand.spread(shape) if isinstance(operand, Columns) else operand for operand in operands
    )
    if isinstance(left, Columns) and isinstance(right, Columns):
        return _sum(name, left, right)
    turned = isinstance(right, Columns)
    columns, other = (right, left) if turned else (left, right)
    value = torch.as_tensor(other, dtype=columns.scale.dtype, device=columns.scale.device)
    value = value.expand(shape).reshape(-1)
    one, zero = torch.ones_like(value), torch.zeros_like(value)
    if name == "add":
        return columns.scaled(one, value)
    if name == "sub":
        return columns.scaled(-one, value) if turned else columns.scaled(one, -value)
    if name == "mul":
        return columns.scaled(value, zero)
    return None if turned else columns.scaled(1 / value, zero)


def _sum(name: str, left: Columns, right: Columns) -> Columns | None:
    source = torch.maximum(left.source, right.source)
    if name not in ("add", "sub") or any(
        ((part.source != source) & (part.source >= 0)).any() for part in (left, right)
    ):
        return None
    sign = 1 if name == "add" else -1
    scale, shift = left.scale + sign * right.scale, left.shift + sign * right.shift
    return Columns(left.shape, source, scale, shift, left.curved)


def moved(name: str, call: Call, args: Arguments, kwargs: Keywords) -> Any:
    """An operation that moves numbers about: it is read off from what it does to their places.

    The places are those of a batch of two rows, so that what rows exchange would show, too.
    """
    parts = list(leaves(args[0]))
    ndim = 1 + len(parts[0].shape)
    if any(not isinstance(part, Columns | Rows) or 1 + len(part.shape) != ndim for part in parts):
        return None
    if _any_columns([args[1:], kwargs]) or not leaves_rows_apart(name, args, kwargs, ndim):
        return None
    device = parts[0].sample.device
    counts = [part.row.numel() if isinstance(part, Rows) else len(part.source) for part in parts]
    total = sum(counts)
    ends = torch.tensor([0, *counts]).cumsum(0).tolist()
    waiting = iter(zip(parts, ends, strict=False))

    def places(value: Any) -> Any:
        if isinstance(value, Batch):
            return 2
        if not isinstance(value, Columns | Rows):
            return value
        part, start = next(waiting)
        own = torch.arange(start, start + torch.Size(part.shape).numel(), device=device)
        own = own.reshape(part.shape)
        return torch.stack([own, own + total])

    result = _mapped(call, places, args, kwargs)
    pool = _pool(parts)
    found = [
        _picked(pool, one, total) for one in ([result] if isinstance(result, Tensor) else result)
    ]
    if any(one is None for one in found):
        return None
    return found[0] if isinstance(result, Tensor) else tuple(found)


def _pool(parts: Sequence[Columns | Rows]) -> Columns | Tensor:
    like = next((part.scale for part in parts if isinstance(part, Columns)), None)
    if like is None:
        return torch.cat([part.row.reshape(-1) for part in parts if isinstance(part, Rows)])
    return pooled([constant(part, like) if isinstance(part, Rows) else part for part in parts])


def _picked(pool: Columns | Tensor, places: Tensor, total: int) -> Columns | Rows | None:
    affordable(places.numel())
    if places.ndim == 0 or len(places) != 2 or not (places[1] - places[0] == total).all():
        return None
    if isinstance(pool, Columns):
        return pool.picked(places[0])
    return Rows(pool[places[0].reshape(-1)].reshape(1, *places.shape[1:]))


def cast(call: Call, args: Arguments, kwargs: Keywords) -> Columns | Rows | None:
    """A change of type; nothing is changed where values are of that type."""
    value: Columns | Rows = args[0]
    others = [part.sample if isinstance(part, Columns | Rows) else part for part in args[1:]]
    returned = call(value.sample, *others, **kwargs)
    if returned.device != value.sample.device:
        return None
    if returned.dtype == value.sample.dtype:
        return value
    return combined("", lambda values: call(values, *others, **kwargs), (value,), {})


def row_by_row(call: Call, args: Arguments, kwargs: Keywords) -> Rows | None:
    """A function that treats each row of its first argument alone."""
    if not isinstance(args[0], Rows) or _any_columns([args[1:], kwargs]):
        return None
    rows = call(args[0].row, *args[1:], **kwargs)
    return Rows(rows) if rows.ndim and len(rows) == 1 else None


def created(
    call: Call, args: Arguments, kwargs: Keywords, *, sizes: Any, like: int | None = None
) -> Any:
    """Constants: rows of a size, or of the shape of something.

    Parameters
    ----------
    sizes
        Arguments that begin with the first size, if any.
    like
        Place of the argument that only its type and shape matter of, if any.
    """
    given = [_empty(arg) if place == like else arg for place, arg in enumerate(args)]
    batches = sum(isinstance(part, Batch) for part in leaves([given, kwargs]))
    first = next(leaves(sizes), None)
    if _any_columns([given, kwargs]) or batches > 1 or (batches and first is not BATCH):
        return None
    result = _mapped(call, _one, given, kwargs)
    if sizes and not batches:
        return result
    return Rows(result) if result.ndim and len(result) == 1 else None


def _empty(value: Any) -> Any:
    return value.sample.new_zeros((1, *value.shape)) if isinstance(value, Columns | Rows) else value


def _mapped(call: Call, change: Callable[[Any], Any], args: Arguments, kwargs: Keywords) -> Any:
    """The result of a call with something else for some values, however deep they are."""
    given: Any = fx.node.map_aggregate(tuple(args), change)
    options: Any = fx.node.map_aggregate(dict(kwargs), change)
    return call(*given, **options)


def _one(value: Any) -> Any:
    return 1 if isinstance(value, Batch) else value


def _any_columns(values: Any) -> bool:
    return any(isinstance(value, Columns | Rows) for value in leaves(values))
