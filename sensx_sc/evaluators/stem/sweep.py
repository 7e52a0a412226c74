"""How far an affine stem moves from an input to the points of its neighbourhoods."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from sensx_sc.evaluators.protocol import Floats
    from sensx_sc.evaluators.stem.stem import Branch

_ON_LINE = 1e-12  # relative rounding of a reach that is still on its line


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
    scale = _line(np.concatenate([down, up], axis=1))
    low, high = down[0] / scale[0], up[0] / scale[0]
    # u up - (1 - u) down = u (up + down) - down
    linear = (u * _like(low + high, u)) @ weight
    linear -= _like(low, u) @ weight
    total = torch.zeros_like(linear)
    ends = [(u, up, high, np.zeros_like(high)), (u - 1, down, low, np.zeros_like(low))]
    for k in range(len(scale)):
        for fraction, reach, slope, held in ends:
            expected = slope * scale[k] + held
            off = np.flatnonzero(np.abs(reach[k] - expected) > _ON_LINE * reach[k])
            if off.size:
                # Off its line for good: what it has reached is kept apart from what grows.
                at = torch.as_tensor(off, device=u.device)
                chosen, rows = fraction[:, at], weight[at]
                linear -= (chosen * _like(slope[off], u)) @ rows
                total += (chosen * _like(reach[k][off] - held[off], u)) @ rows
                slope[off], held[off] = 0.0, reach[k][off]
        yield scale[k] * linear + total


def rows_of(weight: Tensor, features: Tensor) -> Tensor:
    """Rows of some features, in ascending order; of all without a copy."""
    return weight if len(features) == len(weight) else weight[features]


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
