"""The states of an affine stem just before and just after the steps of some features.

Between those steps nothing is evaluated: what a stretch of steps moves a state is one sum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import embedding_bag

from sensx_sc.evaluators.stem.walks import (
    in_shared_order,
    lower_states,
    signs,
    totals_of,
    wide,
)

if TYPE_CHECKING:
    from torch import Tensor

    from sensx_sc.evaluators.protocol import Ints
    from sensx_sc.evaluators.stem.stem import Stem
    from sensx_sc.evaluators.stem.walks import Turns


def step_states(
    stem: Stem,
    start: Tensor,
    moves: list[Tensor],
    features: Tensor,
    order: Ints,
    turns: Turns | None,
    chosen: Ints,
    length: int,
) -> tuple[Tensor, Tensor]:
    """States before and after the steps of the U chosen features, each (U, W, width).

    Parameters
    ----------
    chosen
        Positions into ``features``, (U,).
    length
        Steps whose rows of A are in memory together; the other parameters are those of
        :func:`~sensx_sc.evaluators.stem.walks.walk_states`.
    """
    at = torch.as_tensor(chosen, device=features.device)
    own = torch.cat(
        [
            branch.weight[features[at]][:, None] * move[:, at].T[:, :, None]
            for branch, move in zip(stem.branches, moves, strict=True)
        ],
        dim=2,
    )
    if turns is None:
        before = _before_apart(stem, start, moves, features, order, chosen)
        return before.to(start.dtype), (before + own).to(start.dtype)
    low = _low_together(stem, start, moves, features, turns, chosen, length)
    sign = signs(turns, low)
    high = low + sign * own
    ahead = sign > 0
    before, after = torch.where(ahead, low, high), torch.where(ahead, high, low)
    return before.to(start.dtype), after.to(start.dtype)


def _low_together(
    stem: Stem,
    start: Tensor,
    moves: list[Tensor],
    features: Tensor,
    turns: Turns,
    chosen: Ints,
    length: int,
) -> Tensor:
    """States on the lower side of each chosen feature in the order that the walks share."""
    n_steps = len(turns.base)
    position = np.empty(n_steps, dtype=np.int64)
    position[turns.base] = np.arange(n_steps)
    where = position[chosen]
    cuts = np.unique(np.concatenate([[0, n_steps], turns.turn, where, where + 1]))
    shared = in_shared_order(moves, turns.base, np.arange(len(start)))
    base = features[torch.as_tensor(turns.base, device=features.device)]
    totals = totals_of(stem, shared, base, cuts, length)
    lower = lower_states(wide(start), totals, cuts[:-1], turns)
    return lower[torch.as_tensor(np.searchsorted(cuts, where), device=lower.device)]


def _before_apart(
    stem: Stem, start: Tensor, moves: list[Tensor], features: Tensor, order: Ints, chosen: Ints
) -> Tensor:
    """States before the steps of each chosen feature on walks of unrelated orders."""
    n_walks, n_steps = order.shape
    position = np.empty_like(order)
    np.put_along_axis(position, order, np.arange(n_steps)[None], axis=1)
    where = position[:, chosen]  # (W, U)
    along = np.argsort(where, axis=1)
    # A bag of steps up to each chosen one; what follows the last goes into a bag of its own.
    ends = np.take_along_axis(where, along, axis=1)
    bags = np.concatenate([np.zeros((n_walks, 1), np.int64), ends], axis=1)
    offsets = (bags + n_steps * np.arange(n_walks)[:, None]).ravel()
    steps = torch.as_tensor(order, device=features.device)
    offset = torch.as_tensor(offsets, device=features.device)
    moved = [
        embedding_bag(
            features[steps.reshape(-1)],
            branch.weight,
            offset,
            mode="sum",
            per_sample_weights=move.gather(1, steps).reshape(-1),
        )
        for branch, move in zip(stem.branches, moves, strict=True)
    ]
    bag = wide(torch.cat(moved, dim=1)).view(n_walks, len(chosen) + 1, -1)[:, :-1]
    before = wide(start)[:, None] + bag.cumsum(dim=1)  # in the order of each walk
    back = torch.as_tensor(np.argsort(along, axis=1), device=before.device)
    return torch.take_along_dim(before, back[:, :, None], dim=1).transpose(0, 1)
