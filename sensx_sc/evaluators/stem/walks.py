"""The states of an affine stem along walks, a chunk of steps at a time.

A state is h_k = h_{k-1} + A[:, j] (phi_j(e_j) - phi_j(x_j)). Rows of A are read at random along a
walk, which takes longer than what is then done with them. Walks of a balanced block meet the same
features in rotated or reversed order, so each row of A is read once for all of them.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from sensx_sc.evaluators.stem.segments import Segments, in_shared_order, totals_of, wide
from sensx_sc.evaluators.stem.turns import Turns, cut

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from sensx_sc.evaluators.protocol import Ints
    from sensx_sc.evaluators.stem.stem import Stem

_LEAST_FOR_GROUPS = 16  # outputs of a stem: the same whatever walks are beside each other
_GROUP = 8  # steps


@dataclass(frozen=True)
class Chunk:
    """States after some consecutive steps of some walks.

    Attributes
    ----------
    states
        (steps, walks, width)
    rows
        The same memory in whole tiles of rows, (at least steps * walks, width).
    walks, first
        Which walks these are, and the number of the first step of each, (walks,).
    """

    states: Tensor
    rows: Tensor
    walks: Ints
    first: Ints


def walk_states(
    stem: Stem,
    start: Tensor,
    moves: list[Tensor],
    features: Tensor,
    order: Ints,
    turns: Turns | None,
    length: int,
    tile: int,
) -> Iterator[Chunk]:
    """States after every step of some walks.

    Parameters
    ----------
    stem
        The stem, of the given ``start`` (W, width) at the walks' inputs.
    moves
        How far phi moves at each feature's step, (W, F) for each branch.
    features
        The F features that change.
    order
        Positions into ``features`` in the order in which they change, (W, F).
    turns
        How the orders are related, if they are.
    length
        Steps a chunk.
    tile
        Rows that the head is given at once are a multiple of this.

    Yields
    ------
    Chunks that share memory: each is good until the next.
    """
    room = _Room(stem, start, length, tile)
    if turns is None:
        return _apart(room, moves, features, order, length)
    return _together(room, moves, features[torch.as_tensor(turns.base)], turns, length)


class _Room:
    """Memory for the states of a chunk, and the states before it.

    Between chunks states are kept in float64 where the device has it: rounding does not add up.
    """

    def __init__(self, stem: Stem, start: Tensor, length: int, tile: int) -> None:
        self.stem = stem
        self.tile = tile
        self.n_walks = len(start)
        shape = (_whole(length * self.n_walks, tile), stem.width)
        self.rows = torch.zeros(shape, dtype=start.dtype, device=start.device)
        self.widths = [len(branch.bias) for branch in stem.branches]
        self.start = wide(start)

    def states(self, size: int) -> Tensor:
        return self.rows[: size * self.n_walks].view(size, self.n_walks, -1)

    def chunk(self, size: int, walks: Ints, first: Ints) -> Chunk:
        rows = self.rows[: _whole(size * self.n_walks, self.tile)]
        return Chunk(self.states(size), rows, walks, first)


def _whole(rows: int, tile: int) -> int:
    return -(-rows // tile) * tile


def _apart(
    room: _Room, moves: list[Tensor], features: Tensor, order: Ints, length: int
) -> Iterator[Chunk]:
    """Walks of unrelated orders, side by side."""
    n_walks, n_steps = order.shape
    steps = torch.as_tensor(order, device=features.device)
    moves = [move.gather(1, steps).T.contiguous() for move in moves]
    column = features[steps.T].contiguous()
    state = room.start
    for part in cut(n_steps, length):
        size = part.stop - part.start
        states, index = room.states(size), column[part].reshape(-1)
        parts = torch.split(states, room.widths, dim=2)
        for branch, move, moved in zip(room.stem.branches, moves, parts, strict=True):
            rows = branch.weight.index_select(0, index).view(moved.shape)
            torch.mul(rows, move[part, :, None], out=moved)
        state = _accumulate(states, state)
        yield room.chunk(size, np.arange(n_walks), np.full(n_walks, part.start))


def _together(
    room: _Room, moves: list[Tensor], features: Tensor, turns: Turns, length: int
) -> Iterator[Chunk]:
    """Walks of related orders, along the order that they share.

    The order is cut where a walk turns. Within a segment the walks are taken forward and backward
    over the same chunk of features, whose rows of A are read once.
    """
    walks = np.argsort(turns.backward, kind="stable")
    turns = Turns(turns.base, turns.turn[walks], turns.backward[walks])
    ahead = int(np.count_nonzero(~turns.backward))
    moves = in_shared_order(moves, turns.base, walks)
    n_steps = len(turns.base)
    cuts = np.unique(np.concatenate([[0, n_steps], turns.turn]))
    totals = totals_of(room.stem, moves, features, cuts)
    start = room.start[torch.as_tensor(walks, device=features.device)]
    before = Segments(start, totals, cuts, turns).lower()
    for (low, high), state in zip(itertools.pairwise(cuts.tolist()), before, strict=True):
        for part in cut(high, length, low):
            size = part.stop - part.start
            states = room.states(size)
            total = []
            parts = torch.split(states, room.widths, dim=2)
            for branch, move, moved in zip(room.stem.branches, moves, parts, strict=True):
                rows, here = branch.weight.index_select(0, features[part]), move[part]
                torch.mul(rows[:, None], here[:, :ahead, None], out=moved[:, :ahead])
                back = here[:, ahead:].flip(0)
                torch.mul(rows.flip(0)[:, None], back[:, :, None], out=moved[:, ahead:])
                total.append(here[:, ahead:].T @ rows)
            state[ahead:] -= torch.cat(total, dim=1)
            state[:ahead] = _accumulate(states, state)[:ahead]
            first = (part.start - turns.turn) % n_steps
            first[ahead:] = n_steps - 1 - (part.stop - 1 - turns.turn[ahead:]) % n_steps
            yield room.chunk(size, walks, first)


def _accumulate(states: Tensor, before: Tensor) -> Tensor:
    """Turn moves into states by running sums over the steps, in place; returns the last state."""
    if states.device.type != "cpu" or states.shape[-1] < _LEAST_FOR_GROUPS:
        torch.cumsum(states, dim=0, out=states)
        last = wide(states[-1])
        states += before.to(states.dtype)
        return before + last
    # On a CPU a few large additions are fastest: sums inside groups of steps, then over groups.
    size = len(states)
    whole = size - size % _GROUP
    for part, group in ((states[:whole], _GROUP), (states[whole:], size - whole)):
        if not len(part):
            continue
        grouped = part.view(-1, group, *states.shape[1:])
        for step in range(1, group):
            grouped[:, step] += grouped[:, step - 1]
        ends = wide(grouped[:, -1]).cumsum(dim=0).add_(before)
        grouped[0] += before.to(states.dtype)
        grouped[1:] += ends[:-1, None].to(states.dtype)
        before = ends[-1]
    return before
