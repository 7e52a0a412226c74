"""The states of an affine stem just before and just after the steps of some features.

Between those steps nothing is evaluated: what a stretch of steps moves a state is one sum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import embedding_bag

from sensx_sc.evaluators.stem.segments import Segments, in_shared_order, totals_of, wide
from sensx_sc.evaluators.stem.turns import cut

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from sensx_sc.evaluators.protocol import Ints
    from sensx_sc.evaluators.stem.stem import Stem
    from sensx_sc.evaluators.stem.turns import Turns

    Pairs = tuple[Ints, Tensor, Tensor, Tensor]
    """Which of the chosen features, (U,); states on both sides of their steps, (U, W, width); and
    1 for walks that step from the first to the second, -1 for the others, (W,)."""

_BYTES = 2**21  # states on one side of some steps: they should stay in cache
_PARTS = 16  # so many of them are what is kept of one passage along the walks


def step_states(
    stem: Stem,
    start: Tensor,
    moves: list[Tensor],
    features: Tensor,
    order: Ints,
    turns: Turns | None,
    chosen: Ints,
) -> Iterator[Pairs]:
    """States on both sides of the steps of the chosen features, a few features at a time.

    Parameters
    ----------
    chosen
        Positions into ``features``, (U,); the other parameters are those of
        :func:`~sensx_sc.evaluators.stem.walks.walk_states`.
    """
    many = max(_BYTES // (8 * len(start) * stem.width), 1)
    most = many * _PARTS
    for part in cut(len(chosen), most):
        if turns is None:
            pairs = _apart(stem, start, moves, features, order, chosen[part], many)
        else:
            pairs = _together(stem, start, moves, features, turns, chosen[part], many)
        for some, *states in pairs:
            yield some + part.start, *states


def _own(stem: Stem, moves: list[Tensor], features: Tensor, chosen: Ints) -> Tensor:
    """How far the steps of the chosen features move a state, (U, W, width)."""
    at = torch.as_tensor(chosen, device=features.device)
    parts = [
        branch.weight[features[at]][:, None] * move[:, at].T[:, :, None]
        for branch, move in zip(stem.branches, moves, strict=True)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)


def _together(
    stem: Stem,
    start: Tensor,
    moves: list[Tensor],
    features: Tensor,
    turns: Turns,
    chosen: Ints,
    many: int,
) -> Iterator[Pairs]:
    """Walks of related orders, along the order that they share."""
    n_steps = len(turns.base)
    position = np.empty(n_steps, dtype=np.int64)
    position[turns.base] = np.arange(n_steps)
    where = position[chosen]
    cuts = np.unique(np.concatenate([[0, n_steps], turns.turn, where]))
    shared = in_shared_order(moves, turns.base, np.arange(len(start)))
    base = features[torch.as_tensor(turns.base, device=features.device)]
    totals = totals_of(stem, shared, base, cuts)
    segments = Segments(wide(start), totals, cuts, turns)
    number = torch.as_tensor(np.searchsorted(cuts, where), device=features.device)
    for part in cut(len(chosen), many):
        low = segments.lower(number[part])
        high = low + segments.signs * _own(stem, moves, features, chosen[part])
        which = np.arange(part.start, part.stop)
        yield which, low.to(start.dtype), high.to(start.dtype), segments.signs[:, 0]


def _apart(
    stem: Stem,
    start: Tensor,
    moves: list[Tensor],
    features: Tensor,
    order: Ints,
    chosen: Ints,
    many: int,
) -> Iterator[Pairs]:
    """Walks of unrelated orders: all steps are forward."""
    forward = wide(start.new_ones(len(start)))
    before = _before_apart(stem, start, moves, features, order, chosen)
    for part in cut(len(chosen), many):
        after = before[part] + _own(stem, moves, features, chosen[part])
        which = np.arange(part.start, part.stop)
        yield which, before[part].to(start.dtype), after.to(start.dtype), forward


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
