"""Where units of a ReLU keep their side of zero along some walks, the head is narrower.

Such a unit is linear there, or gives nothing. What it hands to the next layer is then affine in the
input, like the stem itself: it can be summed up along a walk without the unit. Walks of a cell
flip few units, so a state needs these few, those of the next layer that flip, and the last
layer's outputs.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sensx_sc.evaluators.stem.reach import Reach, bent, reach_of_walks
from sensx_sc.evaluators.stem.stem import Branch, Stem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sensx_sc.evaluators.graph.bends import Bends
    from sensx_sc.evaluators.stem.turns import Turns

_LEAST_UNITS = 32
_NARROWER = 0.8  # of the work of a whole head: above it nothing is gained
_CARRIED = 10  # what it costs to carry a number of a state along, in multiply-adds


class Narrower:
    """Makes narrow stems of one that starts with bent units.

    Parameters
    ----------
    stem
        The whole stem.
    """

    def __init__(self, stem: Stem) -> None:
        self.stem = stem
        self._last: tuple[bytes, _Narrow] | None = None  # cells flip the same units again and again

    def narrowed(
        self, start: Tensor, moves: list[Tensor], features: Tensor, turns: Turns
    ) -> tuple[Stem, Tensor] | None:
        """A narrower stem that serves related walks, and its states at their start.

        Parameters
        ----------
        start, moves, features, turns
            As in :func:`~sensx_sc.evaluators.stem.walks.walk_states`.

        Returns
        -------
        None where it would not pay.
        """
        bends = self.stem.bends
        if bends is None or len(self.stem.branches[0].bias) < _LEAST_UNITS:
            return None
        sides = sides_of(bends, reach_of_walks(self.stem, start, moves, features, turns))
        mixed = [int((side == 0).sum()) for side in sides]
        whole = [len(side) for side in sides]
        outputs = len(bends.layers[-1].after.bias)
        if _narrow_work(mixed, outputs) > _NARROWER * _whole_work(whole, outputs):
            return None
        narrow = self._with_sides(bends, sides)
        return narrow.stem, narrow.states(start)

    def _with_sides(self, bends: Bends, sides: list[Tensor]) -> _Narrow:
        key = torch.cat(sides).cpu().numpy().tobytes()
        last = self._last
        if last is None or last[0] != key:
            last = self._last = key, with_sides(self.stem, bends, sides)
        return last[1]


@dataclass(frozen=True)
class _Narrow:
    """A narrow stem, and the map from each branch's states to its own."""

    stem: Stem
    into: Tensor
    shift: Tensor

    def states(self, whole: Tensor) -> Tensor:
        """Its states for those of the whole stem."""
        first, *others = (part @ self.into for part in torch.split(whole, len(self.into), dim=1))
        return torch.cat([first + self.shift, *others], dim=1)


def _narrow_work(mixed: Sequence[int], outputs: int) -> int:
    """Multiply-adds a step: every unit is carried along and reads all those of earlier layers."""
    sizes = [*mixed, outputs]
    reads = sum(size * sum(sizes[:k]) for k, size in enumerate(sizes))
    return _CARRIED * sum(sizes) + reads


def _whole_work(units: Sequence[int], outputs: int) -> int:
    sizes = [*units, outputs]
    return _CARRIED * sizes[0] + sum(a * b for a, b in itertools.pairwise(sizes))


def sides_of(bends: Bends, states: Reach) -> list[Tensor]:
    """On which side of zero the units of each layer stay: 1, -1, or 0 for both."""
    box = states if bends.entry is None else states.mapped(bends.entry)
    sides = []
    for bend in bends.layers:
        sides.append(box.sides())
        box = box.bent(bend.slope).mapped(bend.after)
    return sides


def with_sides(stem: Stem, bends: Bends, sides: Sequence[Tensor]) -> _Narrow:
    """The stem whose units keep to some sides, (units,) for each layer."""
    bias = stem.branches[0].bias
    # What the units of a layer are of the stem's states, and of each earlier layer's mixed units.
    into = torch.eye(len(bias), dtype=bias.dtype, device=bias.device)
    shift = torch.zeros_like(bias)
    if bends.entry is not None:
        into, shift = bends.entry.weight, bends.entry.bias
    reads: list[Tensor] = []
    columns, shifts, layers = [], [], []
    for bend, side in zip(bends.layers, sides, strict=True):
        mixed = torch.nonzero(side == 0).flatten()
        columns.append(into[:, mixed])
        shifts.append(shift[mixed])
        layers.append(_Mixed(bend.slope, len(mixed), [read[:, mixed] for read in reads]))
        factor = (side > 0) + bend.slope * (side < 0).to(bias.dtype)  # 0 where it changes
        after = bend.after
        into = (into * factor) @ after.weight
        shift = (shift * factor) @ after.weight + after.bias
        reads = [*((read * factor) @ after.weight for read in reads), after.weight[mixed]]
    into, shift = torch.cat([*columns, into], dim=1), torch.cat([*shifts, shift])
    first, *others = (
        Branch(branch.weight @ into, branch.bias @ into, branch.phi) for branch in stem.branches
    )
    branches = (replace(first, bias=first.bias + shift), *others)
    return _Narrow(Stem(branches, _Head(layers, reads, bends.rest)), into, shift)


@dataclass(frozen=True)
class _Mixed:
    """The units of a layer that change sides, and how they read those of each layer before."""

    slope: float
    size: int
    reads: list[Tensor]


class _Head(nn.Module):
    """From narrow states to the outputs of the model.

    Parameters
    ----------
    layers
        Units that change sides.
    reads
        How the last layer's outputs read those of each layer.
    rest
        From those outputs to the model's.
    """

    def __init__(self, layers: list[_Mixed], reads: list[Tensor], rest: nn.Module) -> None:
        super().__init__()
        self.layers, self.reads, self.rest = layers, reads, rest

    def forward(self, *parts: Tensor) -> Tensor:
        state = parts[0] if len(parts) == 1 else torch.stack(parts).sum(dim=0)
        *own, last = torch.split(
            state, [*(layer.size for layer in self.layers), self.reads[0].shape[1]], dim=1
        )
        units: list[Tensor] = []
        for layer, part in zip(self.layers, own, strict=True):
            units.append(bent(_read(part, units, layer.reads), layer.slope))
        outputs: Tensor = self.rest(_read(last, units, self.reads))
        return outputs


def _read(own: Tensor, units: list[Tensor], reads: list[Tensor]) -> Tensor:
    """What units are in themselves, and of the units of earlier layers."""
    for part, weight in zip(units, reads, strict=True):
        own = torch.addmm(own, part, weight)
    return own
