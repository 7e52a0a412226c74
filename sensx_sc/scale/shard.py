"""A part of a job array."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Shard:
    """Part ``i`` of ``n`` of a run, counted from 1: every n-th block.

    Parts that lie side by side may take very different times; every n-th block of all takes about
    the same.
    """

    i: int
    n: int

    def has(self, place: int) -> bool:
        """Whether the block at a place, from 0, is of this part."""
        return place % self.n == self.i - 1

    def __str__(self) -> str:
        return f"{self.i}/{self.n}"


def parse_shard(shard: object) -> Shard | None:
    """A shard from text such as ``"2/8"``, or None.

    Raises
    ------
    ValueError
        Anything else, or a number out of its range.

    Examples
    --------
    >>> from sensx_sc.scale.shard import parse_shard
    >>> parse_shard("2/8")
    Shard(i=2, n=8)
    """
    if shard is None:
        return None
    found = re.fullmatch(r"(\d+)/(\d+)", shard) if isinstance(shard, str) else None
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        msg = f"`shard` must be 'i/n' with i from 1 to n, such as '2/8'; got {shard!r}."
        raise ValueError(msg)
    return Shard(int(found[1]), int(found[2]))
