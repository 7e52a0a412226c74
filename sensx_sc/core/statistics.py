"""What walks yield: running statistics of elementary effects, ranks, intervals."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import t as student

if TYPE_CHECKING:
    from sensx_sc.core.arrays import Floats, Ints
    from sensx_sc.words import RankBy, Statistic


@dataclass
class Tally:
    """Running sums over the blocks of walks of one input, each of shape (F,), in float64.

    The mean and spread of the signed effect are merged pairwise (Chan, Golub and LeVeque 1983);
    block sums are taken about the mean of the first blocks, so that nothing cancels.
    """

    n_walks: Ints
    n: Ints
    sum_abs: Floats
    mean: Floats
    squares: Floats
    sum_dq: Floats
    sum_abs_dq: Floats
    largest_dq: Floats
    centre: Floats
    centre_dq: Floats
    n_blocks: Ints
    block_tt: Floats
    block_tn: Floats
    block_nn: Floats
    blocks_dq: Ints
    block_dq: Floats

    @classmethod
    def empty(cls, size: int) -> Tally:
        """Nothing seen yet."""
        whole = ("n_walks", "n", "n_blocks", "blocks_dq")
        zeros: dict[str, Any] = {
            part.name: np.zeros(size, np.int64 if part.name in whole else np.float64)
            for part in fields(cls)
        }
        return cls(**zeros)

    def add_to(self, at: Ints, dq: Floats, dx: Floats, block: int) -> None:
        """Take in whole blocks of walks that were made for some features only, (walks, len(at))."""
        part = Tally(**{each.name: getattr(self, each.name)[at] for each in fields(self)})
        part.add(dq, dx, block)
        for each in fields(self):
            getattr(self, each.name)[at] = getattr(part, each.name)

    def replace(self, at: Ints, other: Tally) -> None:
        """Take what another tally knows of some features."""
        for each in fields(self):
            getattr(self, each.name)[at] = getattr(other, each.name)[at]

    def add(self, dq: Floats, dx: Floats, block: int) -> None:
        """Take in whole blocks of walks.

        Parameters
        ----------
        dq
            Change of q at each feature's step, (walks, F).
        dx
            The step itself, (walks, F). A step of zero is no elementary effect: it is not counted.
        block
            Walks a block.
        """
        valid = dx != 0
        effect = np.divide(dq, dx, out=np.zeros_like(dq), where=valid)
        size = np.abs(effect)
        count = valid.sum(axis=0)
        total = self.n + count
        mean = _ratio(effect.sum(axis=0), count, empty=0.0)
        squares = np.where(valid, (effect - mean) ** 2, 0.0).sum(axis=0)
        shift = mean - self.mean
        share = _ratio(count, total, empty=0.0)
        self.squares += squares + shift**2 * self.n * share
        self.mean += shift * share
        absolute = np.abs(dq)
        first = self.n_walks == 0
        self.centre = np.where(first, _ratio(size.sum(axis=0), count, empty=0.0), self.centre)
        self.centre_dq = np.where(first, absolute.mean(axis=0), self.centre_dq)
        self.n = total
        self.n_walks = self.n_walks + len(dq)
        self.sum_abs += size.sum(axis=0)
        self.sum_dq += dq.sum(axis=0)
        self.sum_abs_dq += absolute.sum(axis=0)
        self.largest_dq = np.maximum(self.largest_dq, absolute.max(axis=0))
        in_block = valid.reshape(-1, block, valid.shape[1]).sum(axis=1)
        about = size.reshape(-1, block, size.shape[1]).sum(axis=1) - self.centre * in_block
        self.n_blocks += (in_block > 0).sum(axis=0)
        self.block_tt += (about**2).sum(axis=0)
        self.block_tn += (about * in_block).sum(axis=0)
        self.block_nn += (in_block**2).sum(axis=0)
        moved = absolute.reshape(-1, block, absolute.shape[1]).sum(axis=1)
        self.blocks_dq = self.blocks_dq + len(moved)
        self.block_dq += ((moved - block * self.centre_dq) ** 2).sum(axis=0)

    def statistics(self) -> dict[Statistic, Floats | Ints]:
        """The statistics of each feature; NaN where no step was valid."""
        return {
            "value": self.value(),
            "mean": np.where(self.n > 0, self.mean, np.nan),
            "std": np.sqrt(_ratio(self.squares, self.n - 1)),
            "change": self.change(),
            "shapley": self._a_walk(-self.sum_dq),
            "se": self.value_error(),
            "change_se": np.where(self.n > 0, self.change_error(), np.nan),
            "n": self.n,
        }

    def value(self) -> Floats:
        """Mean absolute elementary effect."""
        return _ratio(self.sum_abs, self.n)

    def change(self) -> Floats:
        """Mean absolute change of q."""
        return self._a_walk(self.sum_abs_dq)

    def _a_walk(self, total: Floats) -> Floats:
        """Mean over the walks, a step of zero included."""
        return np.where(self.n > 0, _ratio(total, self.n_walks), np.nan)

    def value_error(self) -> Floats:
        """Standard error of ``value`` from the means of blocks."""
        off = self.value() - self.centre
        spread = self.block_tt - 2 * off * self.block_tn + off**2 * self.block_nn
        correction = _ratio(self.n_blocks, self.n_blocks - 1)
        return np.sqrt(np.maximum(spread, 0.0) * correction) / np.maximum(self.n, 1)

    def change_error(self) -> Floats:
        """Standard error of ``change`` from the means of blocks."""
        n_blocks = self.blocks_dq
        block = _ratio(self.n_walks, n_blocks)
        off = _ratio(self.sum_abs_dq, n_blocks) - block * self.centre_dq
        spread = _ratio(np.maximum(self.block_dq - n_blocks * off**2, 0.0), n_blocks - 1)
        return np.sqrt(_ratio(spread, n_blocks)) / block


def _ratio(numerator: Floats | Ints, denominator: Ints, empty: float = np.nan) -> Floats:
    out = np.full(numerator.shape, empty)
    np.divide(numerator, denominator, out=out, where=denominator > 0)
    return out


def ranks(scores: Floats) -> Ints:
    """Ranks of each row, 1 = largest, ties by position, 0 where the score is NaN (A13).

    Examples
    --------
    >>> import numpy as np
    >>> from sensx_sc.core import ranks
    >>> ranks(np.array([[0.2, np.nan, 0.9, 0.2]])).tolist()
    [[2, 0, 1, 3]]
    """
    order = np.argsort(np.where(np.isnan(scores), np.inf, -scores), axis=-1, kind="stable")
    places = np.empty(scores.shape, dtype=np.int64)
    np.put_along_axis(places, order, np.arange(1, scores.shape[-1] + 1), axis=-1)
    return np.where(np.isnan(scores), 0, places)


def ranking_score(statistic: Floats, rank_by: RankBy) -> Floats:
    """What a ranking sorts by: a signed statistic by its size."""
    return np.abs(statistic) if rank_by in ("mean", "shapley") else statistic


def interval(
    value: Floats, se: Floats, n_blocks: int | Floats, coverage: float = 0.95
) -> tuple[Floats, Floats]:
    """Student's t interval of ``value`` from the means of ``n_blocks`` independent blocks.

    Parameters
    ----------
    value, se
        Arrays of one shape.
    n_blocks
        Blocks of walks (walks, for the uniform design): at least two. Of all, or of each value.
    coverage
        Between 0 and 1.

    Returns
    -------
    Lower and upper ends.

    Examples
    --------
    >>> import numpy as np
    >>> from sensx_sc.core import interval
    >>> low, high = interval(np.array([1.0]), np.array([0.1]), n_blocks=10)
    >>> round(float(high[0]), 3)
    1.226
    """
    fewest = np.min(n_blocks)
    if fewest < 2:
        msg = f"an interval needs at least two blocks of walks; there are {fewest:g}."
        raise ValueError(msg)
    if not 0 < coverage < 1:
        msg = f"`coverage` must lie between 0 and 1; got {coverage}."
        raise ValueError(msg)
    half = student.ppf((1 + coverage) / 2, n_blocks - 1) * se
    return value - half, value + half
