"""How far an affine stem moves from an input to the points of its neighbourhoods."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from sensx_sc.evaluators.protocol import Floats, Ints
    from sensx_sc.evaluators.stem.stem import Branch

_ON_LINE = 1e-12  # relative rounding of a reach that is still on its line
_LITTLE = 0.1


def affine_sweep(weight: Tensor, u: Tensor, down: Floats, up: Floats) -> Iterator[Tensor]:
    """A (z - x) for each scale, (S, H), where z - x = u up - (1 - u) down.

    Along the grid a reach is a line through zero until it meets its bound, and constant from
    there. One product over all features serves every scale; after it, only features that leave
    their line are looked at again.

    Parameters
    ----------
    weight
        Rows of A transposed for the F features, (F, H).
    u
        (S, F)
    down, up
        (K, F)
    """
    scale = _line(np.concatenate([down, up], axis=1))  # from 1
    size = weight.abs().amax(dim=1).cpu().double().numpy()
    ends = [_End(u, up), _End(u - 1, down)]
    linear, mass = _moving(ends, weight), _mass(ends, size)
    total = torch.zeros_like(linear)
    for k in range(len(scale)):
        for end in ends:
            off = end.off_line(scale[k], k)
            if off.size:
                # Off its line for good: what it has reached is kept apart from what grows.
                linear -= end.product(end.slope, off, weight)
                total += end.product(end.reach[k] - end.held, off, weight)
                end.slope[off], end.held[off] = 0.0, end.reach[k][off]
        left = _mass(ends, size)
        if left < _LITTLE * mass:  # what is left would drown in the rounding of what has gone
            linear, mass = _moving(ends, weight), left
        yield scale[k] * linear + total


class _End:
    """One of the two ends of a neighbourhood, and the way to it: fraction times reach.

    ``slope`` is how fast the reach of each feature grows, ``held`` what it has reached where it
    met its bound.
    """

    def __init__(self, fraction: Tensor, reach: Floats) -> None:
        self.fraction, self.reach = fraction, reach
        self.slope = reach[0].copy()
        self.held = np.zeros_like(self.slope)

    def off_line(self, scale: float, k: int) -> Ints:
        expected = self.slope * scale + self.held
        return np.flatnonzero(np.abs(self.reach[k] - expected) > _ON_LINE * self.reach[k])

    def product(self, length: Floats, some: Ints, weight: Tensor) -> Tensor:
        """What some features move a state, each by a length for a fraction of 1, (S, H)."""
        whole = len(some) == len(length)
        at = slice(None) if whole else torch.as_tensor(some, device=weight.device)
        return (self.fraction[:, at] * _like(length[some], weight)) @ weight[at]


def _moving(ends: list[_End], weight: Tensor) -> Tensor:
    """What the features that are still on their lines move a state at scale 1."""
    return torch.stack([e.product(e.slope, np.flatnonzero(e.slope), weight) for e in ends]).sum(0)


def _mass(ends: list[_End], size: Floats) -> float:
    return float(sum((end.slope * size).sum() for end in ends))


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
