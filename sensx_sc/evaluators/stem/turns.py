"""Walks whose orders are one order, rotated or reversed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from sensx_sc.evaluators.protocol import Ints

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
