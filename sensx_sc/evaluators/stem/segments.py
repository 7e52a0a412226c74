"""Segments of an order that walks share: what they move, and the states at their ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from sensx_sc.evaluators.stem.turns import cut

if TYPE_CHECKING:
    from torch import Tensor

    from sensx_sc.evaluators.protocol import Ints
    from sensx_sc.evaluators.stem.stem import Stem
    from sensx_sc.evaluators.stem.turns import Turns


_READ = 512  # rows of A that are read, and summed in their own precision, together


class Segments:
    """The states of walks of related orders at the ends of segments of the order they share.

    Parameters
    ----------
    start
        States of the inputs, (W, width).
    totals
        How far the segments move each walk, (S, W, width).
    cuts
        Where the segments start and end in the shared order, (S + 1,); every turn is one of them.
    turns
        How the walks go along it.
    """

    def __init__(self, start: Tensor, totals: Tensor, cuts: Ints, turns: Turns) -> None:
        device = totals.device
        self.signs = signs(turns, totals)
        self._passed = torch.cat([torch.zeros_like(totals[:1]), totals.cumsum(dim=0)])
        turned = np.searchsorted(cuts[:-1], turns.turn)
        walks = torch.arange(len(turned), device=device)
        at_turn = self._passed[torch.as_tensor(turned, device=device), walks]
        self._offset = start - self.signs * at_turn
        # Where a walk is past the end of the order, it has moved by all of it.
        around = (np.arange(len(totals))[:, None] >= turned) == turns.backward
        self._around = torch.as_tensor(around, device=device).to(totals.dtype)[:, :, None]

    def lower(self, segments: slice | Tensor = slice(None)) -> Tensor:
        """The state of each walk at the lower end of some segments, (segments, W, width).

        For a walk that goes backward that is the end at which it leaves the segment.
        """
        states = self._passed[:-1][segments] * self.signs
        states += self._offset
        return states.addcmul_(self._around[segments], self._passed[-1])


def in_shared_order(moves: list[Tensor], base: Ints, walks: Ints) -> list[Tensor]:
    """Moves (F, walks) of some walks, in the order that they share."""
    order = torch.as_tensor(base, device=moves[0].device)
    at = torch.as_tensor(walks, device=moves[0].device)
    return [move[at][:, order].T.contiguous() for move in moves]


def signs(turns: Turns, like: Tensor) -> Tensor:
    """1 for walks that go forward along the shared order, -1 for the others, (W, 1)."""
    sign = np.where(turns.backward, -1.0, 1.0)
    return torch.as_tensor(sign, dtype=like.dtype, device=like.device)[:, None]


def totals_of(stem: Stem, moves: list[Tensor], features: Tensor, cuts: Ints) -> Tensor:
    """How far the segments between cuts move each walk, (S, W, width), in float64.

    Some hundred rows at most are summed in their own type first.

    Parameters
    ----------
    moves, features
        In the shared order: (F, W) for each branch, and (F,).
    cuts
        (S + 1,)
    """
    n_walks = moves[0].shape[1]
    totals = wide(moves[0].new_zeros(len(cuts) - 1, n_walks, stem.width))
    parts = torch.split(totals, [len(branch.bias) for branch in stem.branches], dim=2)
    for branch, move, part in zip(stem.branches, moves, parts, strict=True):
        first = 0
        for read in cut(len(features), _READ):
            rows = branch.weight.index_select(0, features[read])
            for k in range(first, len(part)):
                low, high = max(int(cuts[k]), read.start), min(int(cuts[k + 1]), read.stop)
                part[k] += move[low:high].T @ rows[low - read.start : high - read.start]
                if cuts[k + 1] >= read.stop:
                    break  # the segment may go on in what is read next
                first = k + 1
    return totals


def wide(values: Tensor) -> Tensor:
    """A copy in float64, or in what the device has."""
    return values.to(torch.float32 if values.device.type == "mps" else torch.float64, copy=True)
