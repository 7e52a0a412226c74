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

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from sensx_sc.evaluators.protocol import Ints
    from sensx_sc.evaluators.stem.stem import Stem

_LEAST_FOR_GROUPS = 16  # outputs of a stem: the same whatever walks are beside each other
_GROUP = 8  # steps
_LEAST_RELATED = 4  # walks whose orders are worth unrolling together
_GLANCE = 16  # steps that are compared first


@dataclass(frozen=True)
class Turns:
    """Orders that are one order, rotated and perhaps reversed.

    Attributes
    ----------
    base
        The order, (F,).
    turn
        Where in it each walk starts, (W,).
    backward
        Which walks go the other way: from just before their turn downwards, (W,).
    """

    base: Ints
    turn: Ints
    backward: NDArray[np.bool_]


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


def families(order: Ints, most: int) -> Iterator[tuple[slice, Turns | None]]:
    """Cut walks (W, F) into consecutive ones of related orders, or at most ``most`` of others."""
    first, alone = 0, 0
    while first < len(order):
        turns = _related(order[first:])
        if len(turns.turn) >= _LEAST_RELATED:
            for part in cut(first, most, alone):
                yield part, None
            yield slice(first, first + len(turns.turn)), turns
            alone = first + len(turns.turn)
        first += len(turns.turn) if len(turns.turn) >= _LEAST_RELATED else 1
    for part in cut(len(order), most, alone):
        yield part, None


def cut(stop: int, most: int, start: int = 0) -> Iterator[slice]:
    """Consecutive parts of at most ``most`` each."""
    for first in range(start, stop, most):
        yield slice(first, min(first + most, stop))


def _related(order: Ints) -> Turns:
    """The walks from the first on whose orders are the first's, rotated or reversed."""
    base = order[0]
    size = len(base)
    position = np.empty(size, dtype=np.int64)
    position[base] = np.arange(size)
    turn, backward = [0], [False]
    for other in order[1:]:
        start = int(position[other[0]])
        for sign in (1, -1):
            steps = (start + sign * np.arange(min(_GLANCE, size))) % size
            if np.array_equal(base[steps], other[: len(steps)]) and np.array_equal(
                base[(start + sign * np.arange(size)) % size], other
            ):
                turn.append(start if sign == 1 else (start + 1) % size)
                backward.append(sign == -1)
                break
        else:
            break
    return Turns(base, np.array(turn), np.array(backward))


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


def wide(values: Tensor) -> Tensor:
    """A copy in float64, or in what the device has."""
    return values.to(torch.float32 if values.device.type == "mps" else torch.float64, copy=True)


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
    totals = totals_of(room.stem, moves, features, cuts, length)
    start = room.start[torch.as_tensor(walks, device=features.device)]
    before = lower_states(start, totals, cuts[:-1], turns)
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


def in_shared_order(moves: list[Tensor], base: Ints, walks: Ints) -> list[Tensor]:
    """Moves (F, walks) of some walks, in the order that they share."""
    order = torch.as_tensor(base, device=moves[0].device)
    at = torch.as_tensor(walks, device=moves[0].device)
    return [move[at][:, order].T.contiguous() for move in moves]


def lower_states(start: Tensor, totals: Tensor, starts: Ints, turns: Turns) -> Tensor:
    """The state of each walk at the lower end of each segment, (S, W, width).

    For a walk that goes backward that is the end at which it leaves the segment.

    Parameters
    ----------
    start
        States of the inputs, (W, width).
    totals
        How far the segments move each walk, (S, W, width).
    starts
        Where the segments start in the shared order, (S,); every turn is one of them.
    """
    n = len(starts)
    passed = torch.cat([torch.zeros_like(totals[:1]), totals.cumsum(dim=0)])
    turned = np.searchsorted(starts, turns.turn)
    at = torch.as_tensor(turned, device=totals.device)
    since = passed[:n] - passed[at, torch.arange(len(at), device=totals.device)]
    around = (np.arange(n)[:, None] >= turned) == turns.backward  # past the end of the order
    sign = signs(turns, totals)
    more = torch.as_tensor(around, device=totals.device).to(totals.dtype)
    return start + sign * since + more[:, :, None] * passed[-1]


def signs(turns: Turns, like: Tensor) -> Tensor:
    """1 for walks that go forward along the shared order, -1 for the others, (W, 1)."""
    sign = np.where(turns.backward, -1.0, 1.0)
    return torch.as_tensor(sign, dtype=like.dtype, device=like.device)[:, None]


def totals_of(stem: Stem, moves: list[Tensor], features: Tensor, cuts: Ints, length: int) -> Tensor:
    """How far the segments between cuts move each walk, (S, W, width).

    Parameters
    ----------
    moves, features
        In the shared order: (F, W) for each branch, and (F,).
    length
        Steps whose rows of A are in memory together.
    """
    totals = []
    for a, b in itertools.pairwise(cuts.tolist()):
        parts = []
        for part in cut(b, length, a):
            moved = [
                move[part].T @ branch.weight.index_select(0, features[part])
                for branch, move in zip(stem.branches, moves, strict=True)
            ]
            parts.append(wide(torch.cat(moved, dim=1)))
        totals.append(parts[0] if len(parts) == 1 else torch.stack(parts).sum(dim=0))
    return torch.stack(totals)


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
