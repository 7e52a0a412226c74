"""Parts of the torch modules that stand for scikit-learn estimators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor


class Untranslatable(Exception):
    """An estimator that is none of those that are known, exactly as they come from scikit-learn."""


class Affine(nn.Module):
    """Rows times a scale plus a shift, column by column."""

    scale: Tensor
    shift: Tensor

    def __init__(self, scale: Any, shift: Any) -> None:
        super().__init__()
        self.register_buffer("scale", torch.as_tensor(np.array(scale, dtype=np.float64)))
        self.register_buffer("shift", torch.as_tensor(np.array(shift, dtype=np.float64)))

    def forward(self, rows: Tensor) -> Tensor:
        return rows * self.scale + self.shift


class Clamp(nn.Module):
    """Values below and above two numbers are set to them."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = low, high

    def forward(self, rows: Tensor) -> Tensor:
        return rows.clamp(self.low, self.high)


class Columns(nn.Module):
    """Some of the columns."""

    index: Tensor

    def __init__(self, index: Any) -> None:
        super().__init__()
        self.register_buffer("index", torch.as_tensor(np.array(index, dtype=np.int64)))

    def forward(self, rows: Tensor) -> Tensor:
        return rows[:, self.index]


class Elementwise(nn.Module):
    """A function of each value."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, rows: Tensor) -> Tensor:
        return self.function(rows)


class BothClasses(nn.Module):
    """Probabilities of the two classes from the logit of the second."""

    def forward(self, logit: Tensor) -> Tensor:
        return torch.cat([torch.sigmoid(-logit), torch.sigmoid(logit)], dim=1)


class Shares(nn.Module):
    """Rows divided by their sums; equal shares where all are zero."""

    def forward(self, rows: Tensor) -> Tensor:
        total = rows.sum(dim=1, keepdim=True)
        return torch.where(total > 0, rows / total, 1.0 / rows.shape[1])


class OneEach(nn.Module):
    """The last output of each of several models of the same rows."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, rows: Tensor) -> Tensor:
        return torch.cat([member(rows)[:, -1:] for member in self.members], dim=1)


class Mean(nn.Module):
    """The weighted mean of the outputs of several models of the same rows."""

    def __init__(self, members: Sequence[nn.Module], weights: Sequence[float] | None) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        given = np.ones(len(members)) if weights is None else np.asarray(weights, dtype=float)
        self.shares = (given / given.sum()).tolist()

    def forward(self, rows: Tensor) -> Tensor:
        total: Tensor = self.members[0](rows) * self.shares[0]
        for member, share in zip(list(self.members)[1:], self.shares[1:], strict=True):
            total = total + member(rows) * share
        return total


def linear(weight: Any, bias: Any) -> nn.Linear:
    """An affine layer of float64 arrays: weights (K, n) or (n,), and a number for each output."""
    matrix = np.atleast_2d(np.asarray(weight, dtype=np.float64))
    layer = nn.Linear(matrix.shape[1], matrix.shape[0], dtype=torch.float64)
    offset = np.broadcast_to(np.asarray(bias, dtype=np.float64).ravel(), (matrix.shape[0],))
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(matrix))
        layer.bias.copy_(torch.tensor(offset))
    return layer
