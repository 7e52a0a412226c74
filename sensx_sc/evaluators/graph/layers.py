"""Affine layers that read columns: their outputs are states of the stem."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sensx_sc.evaluators.graph.columns import Columns, Rows, affordable
from sensx_sc.evaluators.graph.operations import CONVOLUTIONS, POOLS, argument

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sensx_sc.evaluators.stem.stem import Branch

_TOGETHER = 2**22  # numbers of the unit rows that a layer is given at once


@dataclass(frozen=True)
class Layer:
    """What an affine layer returns, (B, *shape).

    Attributes
    ----------
    columns
        What it reads.
    shape
        Of a row.
    rows
        Makes its weights, (numbers of the columns, numbers of ``shape``).
    bias
        Broadcasts to ``shape``, if there is one.
    """

    columns: Columns
    shape: tuple[int, ...]
    rows: Callable[[], Tensor]
    bias: Tensor | None = None

    @property
    def sample(self) -> Tensor:
        """No numbers, of the type and on the device of these, (0,)."""
        return self.columns.sample

    @property
    def width(self) -> int:
        """Outputs."""
        return math.prod(self.shape)

    def branches(self, n_features: int) -> tuple[Branch, ...]:
        """Branches whose sum it is."""
        bias = None if self.bias is None else self.bias.expand(self.shape).reshape(-1)
        return self.columns.branches(self.rows(), bias, n_features)


def normalization(module: Any) -> tuple[Tensor, Tensor] | None:
    """By what a batch norm in eval mode multiplies its inputs, and what it adds, (channels,)."""
    if module.running_var is None or module.training:
        return None
    scale = torch.rsqrt(module.running_var + module.eps)
    scale = scale if module.weight is None else scale * module.weight
    shift = -module.running_mean * scale
    shift = shift if module.bias is None else shift + module.bias
    return scale.detach(), shift.detach()


def module_layer(module: nn.Module, columns: Columns) -> Layer | None:
    """What a module of torch makes of columns, if it is affine."""
    kind, ndim = type(module), len(columns.shape)
    if columns.sample.dtype != columns.scale.dtype:
        return None
    parts: Any = module
    if kind.forward is nn.Linear.forward:
        return _linear(columns, parts.weight, parts.bias)
    # Without its batch dimension a convolution takes what it is given for channels.
    if kind in CONVOLUTIONS and ndim == 1 + CONVOLUTIONS[kind]:
        bias = None if parts.bias is None else _of_channels(parts.bias, ndim)
        return _of_unit_rows(columns, lambda x: parts._conv_forward(x, parts.weight, None), bias)
    if kind in POOLS and ndim >= POOLS[kind]:
        return _of_unit_rows(columns, module)
    return None


def function_layer(
    name: str, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Layer | None:
    """What a function makes of columns and constants, if it is affine in the columns."""
    at = 1 if name == "addmm" else 0
    columns, others = args[at], [*args[:at], *args[at + 1 :]]
    values = [*others, *kwargs.values()]
    if not isinstance(columns, Columns) or any(isinstance(v, Columns | Rows) for v in values):
        return None
    if not columns.shape or columns.sample.dtype != columns.scale.dtype:
        return None
    if name == "linear":
        return _linear(
            columns, argument(args, kwargs, 1, "weight"), argument(args, kwargs, 2, "bias")
        )
    if name == "addmm" and not kwargs and others[0].ndim <= len(columns.shape):
        return _product(columns, others[1], others[0])
    if name == "matmul":
        return _product(columns, argument(args, kwargs, 1, "other"), None)
    if name in ("sum", "mean") and "dtype" not in kwargs:
        return _total(name, columns, argument(args, kwargs, 1, "dim"), function, args, kwargs)
    if name in ("conv1d", "conv2d"):
        return _convolution(columns, function, args, kwargs)
    return None


def _convolution(
    columns: Columns, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Layer | None:
    weight, bias = argument(args, kwargs, 1, "weight"), argument(args, kwargs, 2, "bias")
    if not isinstance(weight, Tensor) or weight.ndim != 1 + len(columns.shape):
        return None
    options = {key: value for key, value in kwargs.items() if key not in ("weight", "bias")}
    offset = None if bias is None else _of_channels(bias, len(columns.shape))
    return _of_unit_rows(columns, lambda x: function(x, weight, None, *args[3:], **options), offset)


def _of_channels(values: Tensor, ndim: int) -> Tensor:
    """Values of the first of ``ndim`` dimensions, to broadcast over the others."""
    return values.reshape(-1, *(1 for _ in range(ndim - 1)))


def _linear(columns: Columns, weight: Any, bias: Any) -> Layer | None:
    if not columns.shape or not isinstance(weight, Tensor) or weight.ndim != 2:
        return None
    if len(columns.shape) == 1:
        return Layer(columns, (len(weight),), lambda: weight.T, bias)
    return _of_unit_rows(columns, lambda x: functional.linear(x, weight), bias)


def _product(columns: Columns, factor: Any, bias: Tensor | None) -> Layer | None:
    if not isinstance(factor, Tensor) or factor.ndim not in (1, 2):
        return None
    if len(columns.shape) == 1:
        return Layer(
            columns, tuple(factor.shape[1:]), lambda: factor.reshape(len(factor), -1), bias
        )
    return _of_unit_rows(columns, lambda x: x @ factor, bias)


def _total(
    name: str,
    columns: Columns,
    dim: Any,
    function: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> Layer | None:
    """A sum or mean over given dimensions of the rows."""
    ndim = 1 + len(columns.shape)
    dims = dim if isinstance(dim, tuple | list) else (dim,)
    if not dims or not all(isinstance(d, int) and (d >= 1 or -ndim < d < 0) for d in dims):
        return None
    device = columns.source.device
    example = columns.scale.new_zeros(1, *columns.shape)
    shape = tuple(function(example, *args[1:], **kwargs).shape[1:])
    width = math.prod(shape)
    kept = [1 if d in {e % ndim for e in dims} else size for d, size in enumerate(example.shape)]
    place = torch.arange(width, device=device).reshape(kept).expand(example.shape).reshape(-1)
    share = 1.0 if name == "sum" else width / len(place)

    def rows() -> Tensor:
        affordable(len(place) * width)
        made = columns.scale.new_zeros(len(place), width)
        return made.scatter_(1, place[:, None], share)

    return Layer(columns, shape, rows)


def _of_unit_rows(
    columns: Columns, function: Callable[[Tensor], Any], bias: Tensor | None = None
) -> Layer | None:
    """A layer whose weights are what it makes of the rows of the identity.

    Parameters
    ----------
    function
        Linear, and each row of the result depends on one row.
    """
    m = len(columns.source)
    shape = tuple(function(columns.scale.new_zeros(1, *columns.shape)).shape[1:])

    def rows() -> Tensor:
        affordable(m * math.prod(shape))
        size = max(1, _TOGETHER // m)
        parts = []
        for first in range(0, m, size):
            places = torch.arange(first, min(first + size, m), device=columns.source.device)
            unit = columns.scale.new_zeros(len(places), m).scatter_(1, places[:, None], 1)
            parts.append(function(unit.reshape(-1, *columns.shape)).reshape(len(places), -1))
        return torch.cat(parts)

    return Layer(columns, shape, rows, bias)
