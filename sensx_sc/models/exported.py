"""Programs of ``torch.export`` that are bound to a number of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor


class FixedBatch(nn.Module):
    """A module that takes ``batch`` rows, made to take any number: the last call is filled up."""

    def __init__(self, module: nn.Module, batch: int) -> None:
        super().__init__()
        self.module = module
        self.batch = batch

    def forward(self, rows: Tensor) -> Tensor:
        missing = -len(rows) % self.batch
        filled = torch.cat([rows, rows[-1:].expand(missing, -1)])
        parts = [
            self.module(filled[start : start + self.batch])
            for start in range(0, len(filled), self.batch)
        ]
        return torch.cat(parts)[: len(rows)]
