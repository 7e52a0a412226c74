"""Where units of a ReLU keep their side of zero along some walks, the head is narrower.

Such a unit is linear there, or gives nothing. What it hands to the next layer is then affine in the
input, like the stem itself: it can be summed up along a walk without the unit. Walks of a cell
flip few units, so a state needs these few, those of the next layer that flip, and the last
layer's outputs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sensx_sc.evaluators.stem.reach import Reach, bent, reach_of_walks
from sensx_sc.evaluators.stem.segments import wide
from sensx_sc.evaluators.stem.stem import Branch, Stem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sensx_sc.evaluators.graph.bends import Bends
    from sensx_sc.evaluators.stem.turns import Turns

_LEAST_UNITS = 32
_NARROWER = 0.8  # of the work of a whole head: above it nothing is gained
_CARRIED = 10  # what it costs to carry a number of a state along, in multiply-adds
_SAME = {torch.float64: 1e-10, torch.float32: 1e-5}  # outputs, relative to the largest


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
    ) -> tuple[Stem, Tensor]:
        """A narrower stem that serves related walks, and its states at their start.

        Parameters
        ----------
        start, moves, features, turns
            As in :func:`~sensx_sc.evaluators.stem.walks.walk_states`.

        Returns
        -------
        The whole stem and ``start`` where narrowing would not pay, or not give the same numbers.
        """
        stem, bends, n_walks = self.stem, self.stem.bends, len(start)
        whole = stem, start
        if bends is None or stem.width < _LEAST_UNITS * len(stem.branches):
            return whole
        none = [0] * len(bends.layers)
        if not _pays(stem, bends, none, n_walks) or not start.isfinite().all():
            return whole
        sides = sides_of(bends, reach_of_walks(stem, start, moves, features, turns))
        if not _pays(stem, bends, [int((side == 0).sum()) for side in sides], n_walks):
            return whole
        expected = stem.outputs(start.clone())  # a head may work in place
        narrow = self._with_sides(bends, sides, expected.shape[1])
        states = narrow.states(start)
        found = narrow.stem.outputs(states.clone())
        near = _SAME[start.dtype] * expected.abs().max()
        # Composed weights may overflow, or be infinite, where the layers one by one are not.
        return (narrow.stem, states) if ((found - expected).abs() <= near).all() else whole

    def _with_sides(self, bends: Bends, sides: list[Tensor], n_outputs: int) -> _Narrow:
        key = torch.cat(sides).cpu().numpy().tobytes()
        last = self._last
        if last is None or last[0] != key:
            last = self._last = key, with_sides(self.stem, bends, sides, n_outputs)
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


def _pays(stem: Stem, bends: Bends, mixed: Sequence[int], n_walks: int) -> bool:
    """Whether a head with so many units that change sides is less work, its making included.

    In multiply-adds a step. Every unit is carried along, and reads all those of earlier layers.
    """
    layers = [bend.after.weight.shape for bend in bends.layers]
    whole = _CARRIED * stem.width + sum(a * b for a, b in layers)
    if bends.entry is not None:
        whole += bends.entry.weight.numel()
    sizes = [*mixed, layers[-1][1]]
    width = sum(sizes) * len(stem.branches)
    reads = sum(size * sum(sizes[:k]) for k, size in enumerate(sizes))
    making = stem.width * (2 + sum(sizes) / n_walks)
    narrow = _CARRIED * width + reads + making
    return width < stem.width and narrow < _NARROWER * whole


def sides_of(bends: Bends, states: Reach) -> list[Tensor]:
    """On which side of zero the units of each layer stay: 1, -1, or 0 for both."""
    box = states if bends.entry is None else states.mapped(bends.entry)
    sides = [box.sides()]
    for bend in bends.layers[:-1]:
        box = box.bent(bend.slope).mapped(bend.after)
        sides.append(box.sides())
    return sides


def with_sides(stem: Stem, bends: Bends, sides: Sequence[Tensor], n_outputs: int) -> _Narrow:
    """The stem whose units keep to some sides, (units,) for each layer.

    Parameters
    ----------
    n_outputs
        Of the model.
    """
    dtype = stem.branches[0].bias.dtype
    bias = wide(stem.branches[0].bias)
    # What the units of a layer are of the stem's states, and of each earlier layer's mixed units.
    into, shift = torch.eye(len(bias), dtype=bias.dtype, device=bias.device), torch.zeros_like(bias)
    if bends.entry is not None:
        into, shift = wide(bends.entry.weight), wide(bends.entry.bias)
    reads: list[Tensor] = []
    columns, shifts, layers = [], [], []
    for bend, side in zip(bends.layers, sides, strict=True):
        mixed = torch.nonzero(side == 0).flatten()
        columns.append(into[:, mixed])
        shifts.append(shift[mixed])
        own = [read[:, mixed].to(dtype) for read in reads]
        layers.append(_Mixed(bend.slope, len(mixed), own))
        factor = (side > 0) + bend.slope * (side < 0).to(bias.dtype)  # 0 where it changes
        weight = wide(bend.after.weight)
        into = (into * factor) @ weight
        shift = (shift * factor) @ weight + bend.after.bias
        reads = [*((read * factor) @ weight for read in reads), weight[mixed]]
    into = torch.cat([*columns, into], dim=1).to(dtype)
    shift = torch.cat([*shifts, shift]).to(dtype)
    first, *others = (
        Branch(branch.weight @ into, branch.bias @ into, branch.phi) for branch in stem.branches
    )
    head = _Head(layers, [read.to(dtype) for read in reads], bends.rest)
    beside = len(bends.layers[-1].after.bias) + n_outputs
    made = Stem((replace(first, bias=first.bias + shift), *others), head, beside=beside)
    return _Narrow(made, into, shift)


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
