"""How far an affine stem moves from an input to the points of its neighbourhoods."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from sensx_sc.evaluators.protocol import Floats, Ints
    from sensx_sc.evaluators.stem.stem import Branch

    Bools = NDArray[np.bool_]

_ON_LINE = 1e-12  # relative rounding of a reach that is still on its line
_KEPT = 2**24  # numbers that the products of all scales may take


def affine_sweep(weight: Tensor, u: Tensor, down: Floats, up: Floats) -> Iterator[Tensor]:
    """A (z - x) for each scale, (S, H), where z - x = u up - (1 - u) down.

    Along the grid a reach is a line through zero until it meets its bound, and constant from
    there. So each feature is multiplied twice, whatever the number of scales: by how fast it
    grows, and by where it stays. Features that leave their lines at the same scale are one
    product, and a scale is a sum of products. Nothing is subtracted, so that what goes on growing
    does not drown in the rounding of what has stopped.

    Parameters
    ----------
    weight
        Rows of A transposed for the F features, (F, H).
    u
        (S, F); :func:`samples_at_once` says how many may be wise.
    down, up
        (K, F)
    """
    scale = _line(np.concatenate([down, up], axis=1))  # from 1
    ends = [_End(u, up, scale), _End(u - 1, down, scale)]
    # Of what leaves its line at each scale: how fast it grows, and where it stays.
    kept = weight.new_zeros(2, len(scale) + 1, len(u), weight.shape[1])
    for end in ends:
        for k in np.unique(end.leaves[end.leaves >= 0]):
            found = end.products(k, weight)
            kept[: len(found), k] += found
    growing, staying = kept
    for k in range(len(scale) - 1, 0, -1):
        growing[k] += growing[k + 1]
    still = torch.zeros_like(staying[0])
    for k in range(len(scale)):
        still += staying[k]
        moved = scale[k] * growing[k + 1] + still
        for end in ends:
            moved += end.elsewhere(k, weight)
        yield moved


def samples_at_once(n_scales: int, width: int) -> int:
    """Samples whose products of all scales fit into some hundred MiB."""
    return max(_KEPT // (2 * (n_scales + 1) * width), 1)


class _End:
    """One of the two ends of a neighbourhood, and the way to it: fraction times reach.

    ``leaves`` is the scale from which each feature is off its line, K if none and -1 for those
    that never move and for the few that ``wander``, whose reach is no such line.
    """

    def __init__(self, fraction: Tensor, reach: Floats, scale: Floats) -> None:
        self.fraction, self.reach = fraction, reach
        some = np.flatnonzero(reach[-1])
        leaves, held, wander = _course(reach[:, some], scale)
        self.leaves = np.full(reach.shape[1], -1)
        self.leaves[some] = np.where(wander, -1, leaves)
        self.held = np.zeros(reach.shape[1])
        self.held[some] = held
        self.wander = some[wander]

    def products(self, k: int, weight: Tensor) -> Tensor:
        """What features that leave at scale k move a state: a unit of scale, and for good.

        (2, S, H), or (1, S, H) of those that never leave.
        """
        leaving = self.leaves == k
        ends = np.stack([self.reach[0], self.held][: 1 + (k < len(self.reach))])
        # Most of them are multiplied with the others, at a length of zero: no copy of the weights.
        some = np.flatnonzero(leaving)
        whole = 2 * len(some) > len(leaving)
        at = slice(None) if whole else torch.as_tensor(some, device=weight.device)
        lengths = _like(np.where(leaving, ends, 0.0) if whole else ends[:, some], weight)
        ways = self.fraction[:, at] * lengths[:, None]
        moved = ways.flatten(0, 1) @ weight[at]
        return moved.reshape(len(ends), -1, moved.shape[1])

    def elsewhere(self, k: int, weight: Tensor) -> Tensor | float:
        """What the features that wander move a state at a scale."""
        if not self.wander.size:
            return 0.0
        at = torch.as_tensor(self.wander, device=weight.device)
        return (self.fraction[:, at] * _like(self.reach[k][self.wander], weight)) @ weight[at]


def _course(reach: Floats, scale: Floats) -> tuple[Ints, Floats, Bools]:
    """Where each reach leaves its line (K: nowhere), what it then is, and whether that changes."""
    off = np.abs(reach - scale[:, None] * reach[0]) > _ON_LINE * reach
    leaves = np.where(off.any(axis=0), off.argmax(axis=0), len(scale))
    held = reach[np.minimum(leaves, len(scale) - 1), np.arange(reach.shape[1])]
    after = np.arange(len(scale))[:, None] >= leaves
    changes = np.asarray((after & (np.abs(reach - held) > _ON_LINE * reach)).any(axis=0))
    return leaves, held, changes


def rows_of(weight: Tensor, features: Tensor) -> Tensor:
    """Rows of some features; of all in their order without a copy."""
    whole = torch.arange(len(weight), device=weight.device)
    return weight if torch.equal(features, whole) else weight[features]


def _like(values: Floats, other: Tensor) -> Tensor:
    return torch.as_tensor(values, dtype=other.dtype, device=other.device)


def _line(reach: Floats) -> Floats:
    """How far a reach that has not met its bound has grown at each scale, (K,), from 1."""
    moving = reach[:, reach[0] > 0]
    if not moving.size:
        return np.ones(len(reach))
    growth: Floats = (moving / moving[0]).max(axis=1)
    return growth


def general_sweep(
    branch: Branch, features: Tensor, x: Tensor, u: Tensor, down: Tensor, up: Tensor
) -> Iterator[Tensor]:
    """A (phi(z) - phi(x)) for each scale, (S, H), for a stem that is not linear in the input."""
    centre = x[features]
    weight = rows_of(branch.weight, features)
    start = branch.transformed(centre, features)
    for lower, upper in zip(down, up, strict=True):
        z = torch.addcmul(centre - lower, u, lower + upper)
        yield (branch.transformed(z, features) - start) @ weight
