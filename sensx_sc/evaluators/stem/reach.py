"""Boxes that hold all states of some walks, and what the layers of a head make of them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from sensx_sc.evaluators.stem.segments import Segments, in_shared_order

if TYPE_CHECKING:
    from torch import Tensor

    from sensx_sc.evaluators.graph.bends import Affine
    from sensx_sc.evaluators.protocol import Ints
    from sensx_sc.evaluators.stem.stem import Stem
    from sensx_sc.evaluators.stem.turns import Turns

_STRETCH = 256  # steps between states that are known, at least
_BYTES = 2**25  # of the states at the ends of stretches, beside those that begin at turns


@dataclass(frozen=True)
class Reach:
    """For each stretch of steps and walk a box: centre -+ radius, (stretches, walks, units)."""

    centre: Tensor
    radius: Tensor

    def mapped(self, layer: Affine) -> Reach:
        """The boxes of what a layer makes of the states."""
        return Reach(self.centre @ layer.weight + layer.bias, self.radius @ layer.weight.abs())

    def bent(self, slope: float) -> Reach:
        """The boxes of what bent units give."""
        low = bent(self.centre - self.radius, slope)
        high = bent(self.centre + self.radius, slope)
        return Reach(high / 2 + low / 2, high / 2 - low / 2)

    def sides(self) -> Tensor:
        """1 for units that are never negative, -1 for those never positive, else 0."""
        low = (self.centre - self.radius).amin(dim=(0, 1))
        high = (self.centre + self.radius).amax(dim=(0, 1))
        known = low.isfinite() & high.isfinite()
        above, below = known & (low >= 0), known & (high <= 0) & (low < 0)
        return above.to(torch.int8) - below.to(torch.int8)


def bent(units: Tensor, slope: float) -> Tensor:
    """What bent units give."""
    if slope == 0.0:
        return units.clamp(min=0)
    return torch.where(units > 0, units, slope * units)


def reach_of_walks(
    stem: Stem, start: Tensor, moves: list[Tensor], features: Tensor, turns: Turns
) -> Reach:
    """Boxes around the states, summed over all branches, of walks of related orders.

    Within a stretch of steps a state is that at one end and some of the moves: it lies between the
    end less all negative and the end plus all positive moves, whatever their order.

    Parameters
    ----------
    stem, start, moves, features, turns
        As in :func:`~sensx_sc.evaluators.stem.walks.walk_states`.
    """
    n_walks, width = start.shape[0], start.shape[1] // len(stem.branches)
    most = max(_BYTES // (start.element_size() * n_walks * width), 1)
    cuts = _cuts(turns, max(_STRETCH, -(-len(turns.base) // most)))
    along = features[torch.as_tensor(turns.base, device=features.device)]
    shared = in_shared_order(moves, turns.base, np.arange(n_walks))
    net = start.new_zeros(len(cuts) - 1, n_walks, width)
    total = torch.zeros_like(net)
    for branch, move in zip(stem.branches, shared, strict=True):
        for k, (a, b) in enumerate(itertools.pairwise(cuts.tolist())):
            rows, here = branch.weight.index_select(0, along[a:b]), move[a:b].T
            net[k].addmm_(here, rows)
            total[k].addmm_(here.abs(), rows.abs_())
    first = torch.stack(torch.split(start, width, dim=1)).sum(dim=0)
    segments = Segments(first, net, cuts, turns)
    return Reach(segments.lower().add_(net.mul_(segments.signs / 2)), total.div_(2))


def _cuts(turns: Turns, length: int) -> Ints:
    """Where stretches begin and end: at every turn, and at most every ``length`` steps."""
    ends = np.unique(np.concatenate([[0, len(turns.base)], turns.turn]))
    parts = [np.arange(a, b, length) for a, b in itertools.pairwise(ends.tolist())]
    return np.concatenate([*parts, ends[-1:]])
