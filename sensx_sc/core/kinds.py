"""Features that are no continuous numbers: counts, ordered levels, categories, one-hot blocks.

At a scale delta a count ends at the nearest whole number of where a continuous feature would; an
ordinal feature at the nearest level, its levels being equally far apart; a category switches to
another, each as likely, with probability delta. What a step divides the change of q by is the
difference of counts, the difference of ranks over the largest one, or 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.words import FEATURE_KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sensx_sc.core.arrays import Bools, Floats, Ints


@dataclass(frozen=True)
class Kinds:
    """What values features take.

    Attributes
    ----------
    kind
        Of each feature, positions into ``FEATURE_KINDS``, (n,).
    levels
        The values of ordinal features (in their order), of binary ones (two) and of categories
        that are codes in one column.
    blocks
        Columns of each one-hot block, by its name: one is 1, the others are 0.
    """

    kind: Ints
    levels: Mapping[int, Floats] = field(default_factory=dict)
    blocks: Mapping[str, Ints] = field(default_factory=dict)

    @classmethod
    def continuous(cls, n: int) -> Kinds:
        """Those of n continuous features."""
        return cls(np.zeros(n, dtype=np.int64))

    def of(self, kind: str) -> Bools:
        """Which features are of a kind, (n,)."""
        found: Bools = self.kind == FEATURE_KINDS.index(kind)
        return found

    @property
    def in_blocks(self) -> Ints:
        """All columns of blocks."""
        return np.concatenate([np.empty(0, np.int64), *self.blocks.values()])

    def counted(self) -> dict[str, int]:
        """How many features are of each kind but continuous ones; a block is one."""
        columns = self.in_blocks
        single = np.ones(len(self.kind), dtype=bool)
        single[columns] = False
        found = {name: int((self.of(name) & single).sum()) for name in FEATURE_KINDS[1:]}
        found["categorical"] += len(self.blocks)
        return {name: number for name, number in found.items() if number}

    def fingerprint(self, n: int) -> Ints:
        """What tells other kinds of the first n features from these, as whole numbers."""
        levels = [values.view(np.int64) for j, values in sorted(self.levels.items()) if j < n]
        blocks = [columns[columns < n] for columns in self.blocks.values()]
        return np.concatenate([self.kind[:n], *levels, *blocks])

    def beside(self, other: Kinds) -> Kinds:
        """The kinds of these features and, behind them, of others."""
        n = len(self.kind)
        levels = {j + n: values for j, values in other.levels.items()}
        blocks = {name: columns + n for name, columns in other.blocks.items()}
        return Kinds(
            np.concatenate([self.kind, other.kind]),
            {**self.levels, **levels},
            {**self.blocks, **blocks},
        )

    # ---- where walks end, and how long their steps are

    def place(self, moved: Floats, u: Floats, x: Floats, free: Ints, delta: float) -> Floats:
        """The ends of walks on the values that features take.

        Parameters
        ----------
        moved
            Where continuous features would end, (..., F).
        u
            The fractions that say so, (..., F).
        x
            The input, (n,).
        free
            The tested features.
        """
        ends = np.where(self.of("count")[free], np.rint(moved), moved)
        column = self._column(free)
        pairs, low, high = self._pairs
        f = column[pairs]
        there = f >= 0
        pairs, low, high, f = pairs[there], low[there], high[there], f[there]
        upper = x[pairs] > (low + high) / 2
        other = np.where(upper, low, high)
        ends[..., f] = np.where(1 - u[..., f] <= delta, other, x[pairs])
        for j, levels in self._several:
            if (f := column[j]) >= 0:
                own = int(_rank(x[j], levels))
                move = _nearest_rank if self.of("ordinal")[j] else _switched
                at = move(own, len(levels), u[..., f], delta)
                ends[..., f] = np.where(at == own, x[j], levels[at])
        for columns in self.blocks.values():
            if (f := column[columns[0]]) >= 0:
                at = _switched(int(x[columns].argmax()), len(columns), u[..., f], delta)
                ends[..., column[columns]] = at[..., None] == np.arange(len(columns))
        return ends

    def _column(self, free: Ints) -> Ints:
        """Where among the tested features each is, (n,); -1 where it is not."""
        column = np.full(len(self.kind), -1)
        column[free] = np.arange(len(free))
        return column

    @cached_property
    def _pairs(self) -> tuple[Ints, Floats, Floats]:
        """The binary features, and their two levels."""
        at = np.array([j for j in self.levels if self.of("binary")[j]], dtype=np.int64)
        pairs = np.array([self.levels[j] for j in at.tolist()]).reshape(-1, 2)
        return at, pairs[:, 0], pairs[:, 1]

    @cached_property
    def _several(self) -> list[tuple[int, Floats]]:
        """The other features with levels."""
        return [(j, levels) for j, levels in self.levels.items() if not self.of("binary")[j]]

    def steps(self, start: Floats, end: Floats, free: Ints) -> Floats:
        """How long the steps of features are, with their sign where values are ordered, (W, F).

        The step of a one-hot block is that of its first column; the others have none.
        """
        steps = end - start
        column = self._column(free)
        pairs, low, high = self._pairs
        f = column[pairs]
        steps[:, f[f >= 0]] /= (high - low)[f >= 0]
        for j, levels in self._several:
            if (f := column[j]) >= 0:
                ranks = _rank(end[:, f], levels) - _rank(start[:, f], levels)
                ordered = self.of("ordinal")[j]
                steps[:, f] = ranks / (len(levels) - 1) if ordered else ranks != 0
        for columns in self.blocks.values():
            if column[columns[0]] >= 0:
                at = column[columns]
                switched = (steps[:, at] != 0).any(axis=1)
                steps[:, at] = 0.0
                steps[:, at[0]] = switched
        return steps

    def least_steps(self, usual: Floats, free: Ints) -> Floats:
        """A small step of each feature, (F,), from the usual ones of continuous features."""
        steps = np.where(self.of("count")[free], np.maximum(usual, 1.0), usual)
        column = self._column(free)
        for j, levels in self.levels.items():
            if column[j] >= 0:
                steps[column[j]] = 1 / (len(levels) - 1) if self.of("ordinal")[j] else 1.0
        steps[np.isin(free, self.in_blocks)] = 0.0
        first = np.array([columns[0] for columns in self.blocks.values()], dtype=np.int64)
        steps[np.isin(free, first)] = 1.0
        return steps


def _rank(values: Any, levels: Floats) -> Any:
    """Which level values are nearest to."""
    return np.searchsorted((levels[1:] + levels[:-1]) / 2, values)


def _nearest_rank(own: int, n_levels: int, u: Floats, delta: float) -> Ints:
    reach = delta * (n_levels - 1)
    down, up = min(own, reach), min(n_levels - 1 - own, reach)
    return np.rint(own - down + u * (down + up)).astype(np.int64)


def _switched(own: int, n_levels: int, u: Floats, delta: float) -> Ints:
    """Another level with probability delta, all others as likely."""
    beyond = (1 - u) / delta  # uniform on (0, 1] where it switches
    other = np.minimum(((1 - beyond) * (n_levels - 1)).astype(np.int64), n_levels - 2)
    other += other >= own
    return np.where(beyond <= 1, other, own)
