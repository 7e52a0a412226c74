"""Random numbers that depend on nothing but (seed, cell, purpose, walk or sample, feature).

A counter-based generator (Philox, from numpy) is asked for exactly the rows that are needed, so
results are the same for any batch, order of cells, subset of cells, worker or resumption.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import qmc

from sensx_sc.words import DESIGNS

if TYPE_CHECKING:
    from sensx_sc.core.arrays import Floats, Ints
    from sensx_sc.words import DesignName

BLOCK = 20
"""Walks a balanced block, fewer where n_walks leaves less than four blocks."""
SOBOL_BLOCK = 16
"""Walks a Sobol block, a smaller power of two where n_walks leaves less than four blocks."""
SOBOL_FEATURES: int = qmc.Sobol.MAXDIM
"""Dimensions for which scipy has direction numbers."""
MIN_BLOCKS = 4

_PURPOSES = {"calibration": 0, "order": 1, "stratum": 2, "endpoint": 3, "state": 4, "time": 5,
             "audit": 6, "shuffle": 7, "perturbation": 8, "control": 9}  # fmt: skip
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


def make_design(name: DesignName, n_walks: int, n_features: int = 1) -> Design:
    """Choose the blocks for a number of walks.

    ``"uniform"`` is blocks of one walk, the paper's. ``"balanced"`` has blocks of 20 walks, or of
    the largest even number that leaves four blocks, ``"sobol"`` of 16 or the largest power of
    two. The number of walks is rounded up to whole blocks. Below eight walks there is nothing to
    balance.

    Parameters
    ----------
    name
        ``"balanced"``, ``"uniform"`` or ``"sobol"``.
    n_walks
        Walks an input.
    n_features
        Features of an input, tested or not.

    Raises
    ------
    ValueError
        An unknown design, fewer than one walk, or more features than Sobol points have dimensions.

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
    if name == "sobol" and n_features > SOBOL_FEATURES:
        msg = (
            f"`design` 'sobol' is possible for at most {SOBOL_FEATURES} features; the inputs have "
            f"{n_features}. Use 'balanced', which has no such limit."
        )
        raise ValueError(msg)
    n_walks, block = int(n_walks), 1
    if n_walks >= 2 * MIN_BLOCKS and name != "uniform":
        most = n_walks // MIN_BLOCKS
        if name == "balanced":
            block = min(BLOCK, most // 2 * 2)
        else:
            block = min(SOBOL_BLOCK, 1 << (most.bit_length() - 1))
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
    both = np.stack([column, column[:, ::-1]], axis=1).reshape(design.block, size)
    if design.name != "sobol":
        return base[:, both].reshape(-1, size)
    # The k-th Sobol points of any two blocks are alike, so their walks take the orders at random.
    keys = uniforms(seed, cell, "shuffle", blocks.start, blocks.stop, design.block)
    shuffled = both[np.argsort(keys, axis=1, kind="stable")]  # (blocks, m, F)
    return np.take_along_axis(base[:, None, :], shuffled, axis=2).reshape(-1, size)


def endpoints(seed: int, cell: int, design: Design, blocks: range, n: int, free: Ints) -> Floats:
    """Where in its neighbourhood each walk ends, as fractions of the way through it.

    Each walk's endpoint on its own is uniform. Those of a balanced block are for every feature a
    Latin hypercube, one in each of ``block`` equal strata, arranged to go with the orders (see
    :func:`_mirrored`). Those of a Sobol block are the first points of a scrambled Sobol sequence.

    Returns
    -------
    float64 in [0, 1], shape (len(blocks) * block, F).
    """
    m = design.block
    if m == 1:
        return uniforms(seed, cell, "endpoint", blocks.start, blocks.stop, n)[:, free]
    if design.name == "sobol":
        return _sobol(seed, cell, m, blocks, n, free)
    return _mirrored(seed, cell, m, blocks, n, free)


def _strata(seed: int, cell: int, m: int, blocks: range, n: int, free: Ints) -> tuple[Ints, Floats]:
    """For each feature ``m`` strata in random order, and a place in each, (blocks, m, F)."""
    start, stop = blocks.start * m, blocks.stop * m
    shape = (len(blocks), m, len(free))
    keys = uniforms(seed, cell, "stratum", start, stop, n)[:, free].reshape(shape)
    inside = uniforms(seed, cell, "endpoint", start, stop, n)[:, free].reshape(shape)
    return np.argsort(keys, axis=1, kind="stable"), inside


def _mirrored(seed: int, cell: int, m: int, blocks: range, n: int, free: Ints) -> Floats:
    """Endpoints of balanced blocks.

    An order and its reversal end in the same stratum of each feature, at places that mirror each
    other inside it: what a step does early and late in a walk is seen at one endpoint. If there
    is an even number of such pairs, every second one, whose order is the next rotation, ends at
    the mirror images u and 1 - u of the one before: with its own step, what the other features
    have done until then is balanced. The strata are then those of the distance from 1/2.
    """
    pairs = m // 2
    if pairs % 2:
        stratum, inside = _strata(seed, cell, pairs, blocks, n, free)
        u = np.stack([stratum + inside, stratum + 1 - inside], axis=2) / pairs
        return u.reshape(-1, len(free))
    stratum, inside = _strata(seed, cell, pairs // 2, blocks, n, free)
    side, inside = np.copysign(1 / pairs, inside - 0.5), np.abs(2 * inside - 1)
    there, back = side * (stratum + inside), side * (stratum + 1 - inside)
    return (0.5 + np.stack([there, back, -there, -back], axis=2)).reshape(-1, len(free))


def _sobol(seed: int, cell: int, m: int, blocks: range, n: int, free: Ints) -> Floats:
    """Scrambled Sobol points: feature j has dimension j, whatever else is tested."""
    inside = uniforms(seed, cell, "endpoint", blocks.start * m, blocks.stop * m, n)[:, free]
    keys = uniforms(seed, cell, "stratum", blocks.start, blocks.stop, n)[:, None, free]
    bits = (keys * 2 ** (m - 1)).astype(np.int64)
    stratum = _scrambled(_sobol_points(m, n)[:, free], bits, digits=m.bit_length() - 1)
    return (stratum.reshape(inside.shape) + inside) / m


@lru_cache(maxsize=4)
def _sobol_points(m: int, n: int) -> Ints:
    """The first ``m`` points of the Sobol sequence in ``n`` dimensions, in units of 1 / m."""
    points: Ints = (qmc.Sobol(n, scramble=False).random(m) * m).astype(np.int64)
    return points


def _scrambled(points: Ints, bits: Ints, digits: int) -> Ints:
    """Nested uniform scrambling of binary digits (Owen 1995).

    Each digit is flipped or not by a random bit of its own for every value of the digits before.

    Parameters
    ----------
    points
        Whole numbers of so many binary digits, (m, F).
    bits
        2**digits - 1 random bits for every block and feature, (blocks, 1, F).

    Returns
    -------
    (blocks, m, F)
    """
    out = np.zeros_like(bits)
    for level in range(digits):
        flip = bits >> ((1 << level) - 1 + (points >> (digits - level)))
        out = 2 * out + (((points >> (digits - 1 - level)) ^ flip) & 1)
    return out
