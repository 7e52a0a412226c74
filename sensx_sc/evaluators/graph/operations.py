"""What is known of torch's operations: which are elementwise, and which only move numbers about."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch._ops import OpOverload
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence


class Batch:
    """The number of rows of a batch, whatever it is."""

    def __repr__(self) -> str:
        return "batch"


BATCH = Batch()

_OPERATORS: dict[Callable[..., Any], str] = {
    operator.add: "add", operator.sub: "sub", operator.mul: "mul", operator.truediv: "div",
    operator.neg: "neg", operator.pow: "pow", operator.abs: "abs",
    operator.floordiv: "floor_divide", operator.mod: "remainder", operator.gt: "gt",
    operator.ge: "ge", operator.lt: "lt", operator.le: "le", operator.eq: "eq", operator.ne: "ne",
    operator.and_: "bitwise_and", operator.or_: "bitwise_or", operator.xor: "bitwise_xor",
    operator.invert: "bitwise_not", operator.matmul: "matmul", operator.getitem: "getitem",
    operator.iadd: "add_", operator.isub: "sub_", operator.imul: "mul_",
    operator.itruediv: "div_", operator.ifloordiv: "floor_divide_", operator.ipow: "pow_",
    operator.imod: "remainder_", operator.iand: "bitwise_and_", operator.ior: "bitwise_or_",
    operator.ixor: "bitwise_xor_", operator.setitem: "setitem_", getattr: "getattr",
}  # fmt: skip
_SPECIAL = {
    "__setitem__", "__delitem__", "__iadd__", "__isub__", "__imul__", "__itruediv__",
    "__ifloordiv__", "__imod__", "__ipow__", "__iand__", "__ior__", "__ixor__",
}  # fmt: skip
_SYNONYMS = {
    "absolute": "abs", "clip": "clamp", "concat": "cat", "concatenate": "cat", "divide": "div",
    "greater": "gt", "greater_equal": "ge", "less": "lt", "less_equal": "le", "mm": "matmul",
    "multiply": "mul", "negative": "neg", "not_equal": "ne", "subtract": "sub",
    "swapaxes": "transpose", "swapdims": "transpose", "true_divide": "div", "mv": "matmul",
    "__and__": "bitwise_and", "__or__": "bitwise_or",
}  # fmt: skip

ELEMENTWISE = frozenset({
    "abs", "acos", "acosh", "add", "addcdiv", "addcmul", "arccos", "arccosh", "arcsin", "arcsinh",
    "arctan", "arctan2", "arctanh", "asin", "asinh", "atan", "atan2", "atanh", "bitwise_and",
    "bitwise_not", "bitwise_or", "bitwise_xor", "celu", "ceil", "clamp", "clamp_max", "clamp_min",
    "copysign", "cos", "cosh", "div", "elu", "eq", "erf", "erfc", "exp", "exp2", "expm1", "fix",
    "float_power", "floor", "floor_divide", "fmax", "fmin", "fmod", "frac", "ge", "gelu", "gt",
    "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "heaviside", "hypot", "isfinite", "isinf",
    "isnan", "le", "leaky_relu", "lerp", "log", "log10", "log1p", "log2", "logaddexp",
    "logical_and", "logical_not", "logical_or", "logical_xor", "logit", "logsigmoid", "lt",
    "masked_fill", "maximum", "minimum", "mish", "mul", "nan_to_num", "ne", "neg", "pow",
    "reciprocal", "relu", "relu6", "remainder", "round", "rsqrt", "rsub", "selu", "sgn", "sigmoid",
    "sign", "silu", "sin", "sinh", "softplus", "softshrink", "softsign", "sqrt", "square", "sub",
    "tan", "tanh", "tanhshrink", "threshold", "trunc", "where", "xlogy", "bool", "double", "float",
    "half", "int", "long", "to",
})  # fmt: skip
"""Each number of the result depends on the number at its place in each argument."""

COPIES = frozenset({"clone", "contiguous", "detach"})
CASTS = frozenset({"bool", "double", "float", "half", "int", "long", "to"})
DROPOUTS = frozenset(
    {"dropout", "alpha_dropout", "dropout1d", "dropout2d", "feature_alpha_dropout"}
)
FACTORIES = frozenset({"zeros", "ones", "full"})
NEW = frozenset({"new_zeros", "new_ones", "new_full", "new_tensor"})
LIKE = frozenset({"zeros_like", "ones_like", "full_like"})
REPEATS = frozenset({"expand", "repeat"})
LAYERS = frozenset({"linear", "matmul", "addmm", "sum", "mean", "conv1d", "conv2d"})
ROW_BY_ROW = frozenset({"embedding", "one_hot"})

SAME_MODULES = (
    nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout, nn.FeatureAlphaDropout,
)  # fmt: skip
ELEMENTWISE_MODULES = (
    nn.ReLU, nn.ReLU6, nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU, nn.ELU, nn.SELU, nn.CELU,
    nn.LeakyReLU, nn.Softplus, nn.Softsign, nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish, nn.Mish,
    nn.LogSigmoid, nn.Tanhshrink, nn.Softshrink, nn.Hardshrink, nn.Threshold,
)  # fmt: skip
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
CONVOLUTIONS = {nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3}
POOLS = {
    nn.AvgPool1d: 1, nn.AvgPool2d: 2, nn.AvgPool3d: 3, nn.AdaptiveAvgPool1d: 1,
    nn.AdaptiveAvgPool2d: 2, nn.AdaptiveAvgPool3d: 3,
}  # fmt: skip

# Where an operation that moves numbers about says which dimensions it works on.
_DIMENSIONS: dict[str, tuple[slice, tuple[str, ...]]] = {
    **dict.fromkeys(
        ("unsqueeze", "squeeze", "unbind", "select", "narrow", "index_select", "unflatten"),
        (slice(1, 2), ("dim",)),
    ),
    **dict.fromkeys(
        ("split", "chunk", "tensor_split", "split_with_sizes", "repeat_interleave"),
        (slice(2, 3), ("dim",)),
    ),
    **dict.fromkeys(("cat", "stack"), (slice(1, 2), ("dim", "axis"))),
    "flatten": (slice(1, 2), ("start_dim",)),
    "flip": (slice(1, None), ("dims",)),
    "unfold": (slice(1, 2), ("dimension",)),
    "roll": (slice(2, 3), ("dims",)),
    "transpose": (slice(1, 3), ("dim0", "dim1")),
    "movedim": (slice(1, 3), ("source", "destination")),
}
_ONE_MORE = ("unsqueeze", "stack")
_SIZED = ("view", "reshape", "expand", "repeat", "tile", "permute")
MOVES = frozenset({*_DIMENSIONS, *_SIZED, "getitem"})
"""The result holds numbers of the argument at other places, whatever they are."""


def _names() -> dict[Any, str]:
    # Of one name, functions of the two modules may differ: torch.embedding, functional.unfold.
    both = ELEMENTWISE | {"linear"}
    own = {
        torch: both | COPIES | FACTORIES | LIKE | MOVES | _SYNONYMS.keys() | LAYERS,
        functional: both | DROPOUTS | ROW_BY_ROW,
    }
    return {
        getattr(space, name): _SYNONYMS.get(name, name)
        for space, known in own.items()
        for name in known
        if callable(getattr(space, name, None))
    } | _OPERATORS


_NAMES = _names()


def name_of(target: Any) -> str:
    """The one name of a function or method; empty if it is not known. In place: with a ``_``."""
    if target in _NAMES:
        return _NAMES[target]
    if isinstance(target, OpOverload):
        return _name_in_aten(target)
    if not isinstance(target, str):
        target = getattr(target, "__name__", "")
        if not is_in_place(target):
            return ""
    stem = target.removesuffix("_") if target[-1:] == "_" != target[-2:-1] else target
    return f"{_SYNONYMS.get(stem, stem)}{target[len(stem) :]}"


def _name_in_aten(target: OpOverload) -> str:
    """The name of what exported programs call, if it takes the arguments of torch's function."""
    space, _, name = target._schema.name.partition("::")
    stem = name.removesuffix("_")
    stem = _SYNONYMS.get(stem, stem)
    known = stem in ELEMENTWISE | LAYERS | MOVES | DROPOUTS
    if space != "aten" or not known:
        return ""
    return f"{stem}_" if name.endswith("_") else stem


def is_switched_off(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether a dropout lets everything pass."""
    return argument(args, kwargs, 2, "training", kwargs.get("train", True)) is False


def is_in_place(name: str) -> bool:
    """Whether a function of torch changes its first argument, by its name."""
    return (name.endswith("_") and not name.endswith("__")) or name in _SPECIAL


def argument(
    args: Sequence[Any], kwargs: Mapping[str, Any], at: int, name: str, default: Any = None
) -> Any:
    """An argument that is given by place or by name."""
    return args[at] if len(args) > at else kwargs.get(name, default)


def sizes(args: Sequence[Any], kwargs: Mapping[str, Any], first: int) -> tuple[Any, ...]:
    """Sizes that are given as one argument or one by one."""
    given = [kwargs[key] for key in ("size", "shape", "sizes", "repeats", "dims") if key in kwargs]
    found = given[0] if given else args[first:]
    if len(found) == 1 and isinstance(found[0], tuple | list):
        found = found[0]
    return tuple(found)


def leaves_rows_apart(name: str, args: Sequence[Any], kwargs: Mapping[str, Any], ndim: int) -> bool:
    """Whether an operation of :data:`MOVES` leaves the first dimension alone, of any size.

    Parameters
    ----------
    ndim
        Dimensions of what is moved.
    """
    if name == "getitem":
        return _indexes_rows_apart(args[1], ndim)
    if name in _SIZED:
        found = sizes(args, kwargs, 1)
        if not found or BATCH in found[1:]:
            return False
        if name == "permute":
            return bool(found[0] == 0)
        rows = found[0] is BATCH or found[0] == -1
        if name in ("view", "reshape"):
            return rows
        return len(found) == ndim and (rows if name == "expand" else found[0] == 1)
    place, keywords = _DIMENSIONS[name]
    dims = list(_integers([*args[place], *(kwargs[key] for key in keywords if key in kwargs)]))
    total = ndim + (name in _ONE_MORE)
    return bool(dims) and all(
        isinstance(dim, int) and (dim >= 1 or -total < dim < 0) for dim in dims
    )


def _integers(values: Any) -> Iterator[Any]:
    for value in values:
        if isinstance(value, tuple | list):
            yield from _integers(value)
        else:
            yield value


def _indexes_rows_apart(index: Any, ndim: int) -> bool:
    """Whether an index takes all rows."""
    index = index if isinstance(index, tuple) else (index,)
    if isinstance(index[0], slice):
        return index[0] == slice(None)
    if index[0] is not Ellipsis:
        return False
    taken = [part.ndim if _is_mask(part) else 1 for part in index[1:] if part is not None]
    return sum(taken) < ndim


def _is_mask(part: Any) -> bool:
    return isinstance(part, torch.Tensor) and part.dtype in (torch.bool, torch.uint8)
