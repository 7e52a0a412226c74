"""Random numbers that depend on nothing but (seed, cell, purpose, walk or sample, feature).

A counter-based generator (Philox, from numpy) is asked for exactly the rows that are needed, so
results are the same for any batch, order of cells, subset of cells, worker or resumption.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sensx_sc.words import DESIGNS

if TYPE_CHECKING:
    from sensx_sc.core.arrays import Floats, Ints
    from sensx_sc.words import DesignName

BLOCK = 20
"""Walks a balanced block, fewer where n_walks leaves less than four blocks."""
MIN_BLOCKS = 4

_PURPOSES = {"calibration": 0, "order": 1, "stratum": 2, "endpoint": 3}
_WORDS_A_COUNT = 4  # Philox yields four 64-bit words for each value of its counter


def cell_key(name: str | int) -> int:
    """A 64-bit key of a cell's name, or of its row for a bare array."""
    kind = "row" if isinstance(name, int | np.integer) else "name"
    text = f"{kind}:{name}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def uniforms(seed: int, cell: int, purpose: str, start: int, stop: int, n: int) -> Floats:
    """Rows ``start`` to ``stop`` of an endless matrix of uniform numbers with ``n`` columns.

    Parameters
    ----------
    seed, cell
        The run's seed and the cell's key, each below 2**64.
    purpose
        What the numbers are for: every purpose has a stream of its own.
    start, stop
        Rows (walks, blocks or samples) wanted.
    n
        Features.

    Returns
    -------
    float64 in [0, 1), shape (stop - start, n).
    """
    stride = -(-n // _WORDS_A_COUNT)
    bits = np.random.Philox(
        key=np.array([seed, cell], dtype=np.uint64),
        counter=np.array([start * stride, 0, _PURPOSES[purpose], 0], dtype=np.uint64),
    )
    words = np.random.Generator(bits).random((stop - start, stride * _WORDS_A_COUNT))
    return words[:, :n]


@dataclass(frozen=True)
class Design:
    """How walks are drawn: ``n_blocks`` independent blocks of ``block`` walks each."""

    name: DesignName
    block: int
    n_blocks: int

    @property
    def n_walks(self) -> int:
        return self.block * self.n_blocks


def make_design(name: DesignName, n_walks: int) -> Design:
    """Choose the blocks for a number of walks.

    ``"uniform"`` is blocks of one walk, the paper's. ``"balanced"`` has blocks of 20, or of the
    largest even size that leaves four blocks; the number of walks is rounded up to whole blocks.
    Below eight walks there is nothing to balance.

    Raises
    ------
    ValueError
        An unknown design or fewer than one walk.

    Examples
    --------
    >>> from sensx_sc.core import make_design
    >>> make_design("balanced", 200)
    Design(name='balanced', block=20, n_blocks=10)
    >>> make_design("balanced", 50).n_walks
    60
    """
    if name not in DESIGNS:
        msg = f"`design` must be one of {DESIGNS}; got {name!r}."
        raise ValueError(msg)
    if not isinstance(n_walks, int | np.integer) or isinstance(n_walks, bool) or n_walks < 1:
        msg = f"`n_walks` must be a whole number of at least 1; got {n_walks!r}."
        raise ValueError(msg)
    n_walks, block = int(n_walks), 1
    if name == "balanced" and n_walks >= 2 * MIN_BLOCKS:
        block = min(BLOCK, n_walks // MIN_BLOCKS // 2 * 2)
    return Design(name, block, -(-n_walks // block))


def orders(seed: int, cell: int, design: Design, blocks: range, n: int, free: Ints) -> Ints:
    """Feature orders of whole blocks of walks.

    A block has one random order, its rotations by k F / (m / 2), k = 0 .. m/2 - 1, and each
    rotation reversed: every feature is met early, late and in between. Each order on its own is
    uniformly random.

    Parameters
    ----------
    blocks
        Consecutive blocks wanted.
    n, free
        Number of features, and the F tested ones among them.

    Returns
    -------
    Positions into ``free``, shape (len(blocks) * block, F).
    """
    keys = uniforms(seed, cell, "order", blocks.start, blocks.stop, n)[:, free]
    base = np.argsort(keys, axis=1, kind="stable")
    if design.block == 1:
        return base
    size, half = len(free), design.block // 2
    turns = np.arange(half) * size // half
    column = (np.arange(size)[None, :] + turns[:, None]) % size  # (half, F)
    rotated = base[:, column]  # (blocks, half, F)
    both = np.stack([rotated, rotated[:, :, ::-1]], axis=2)
    return both.reshape(len(blocks) * design.block, size)


def endpoints(seed: int, cell: int, design: Design, blocks: range, n: int, free: Ints) -> Floats:
    """Where in its neighbourhood each walk ends, as fractions in [0, 1).

    Inside a block every feature's fractions are a Latin hypercube: one in each of ``block`` equal
    strata, in an order of its own. Each walk's endpoint on its own is uniform.

    Returns
    -------
    float64, shape (len(blocks) * block, F).
    """
    m = design.block
    start, stop = blocks.start * m, blocks.stop * m
    inside = uniforms(seed, cell, "endpoint", start, stop, n)[:, free]
    if m == 1:
        return inside
    keys = uniforms(seed, cell, "stratum", start, stop, n)[:, free]
    stratum = np.argsort(keys.reshape(len(blocks), m, -1), axis=1, kind="stable")
    return (stratum.reshape(inside.shape) + inside) / m
