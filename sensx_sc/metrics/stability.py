"""How stable a ranking is: convergence with the number of walks, and resampling of whole blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sensx_sc.core.agreement import spearman, spearman_brown, tied, top_k_overlap
from sensx_sc.core.statistics import ranks

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from sensx_sc.core.arrays import Floats

_TOGETHER = 2**23  # numbers of resampled scores that are in memory together


@dataclass(frozen=True)
class BlockSums:
    r"""What each independent block of walks has yielded of one statistic, of one input.

    Attributes
    ----------
    total
        Sums over the walks of a block, (blocks, F): of \\|d\\| for ``value``, \\|dq\\| for
        ``change``, d for ``mean``, dq for ``shapley``.
    weight
        What they are divided by, (blocks, F): steps that count, or walks.
    walks
        Walks a block.
    """

    total: Floats
    weight: Floats
    walks: int

    @property
    def n_blocks(self) -> int:
        return len(self.total)

    def scores(self, times: ArrayLike) -> Floats:
        """The statistic by size, each block counted so often: (R, blocks) to (R, F)."""
        often = np.asarray(times, dtype=np.float64)
        weight = often @ self.weight
        mean = np.full(weight.shape, np.nan)
        np.divide(often @ self.total, weight, out=mean, where=weight > 0)
        size: Floats = np.abs(mean)
        return size

    def first(self, n: int) -> BlockSums:
        """The first blocks."""
        return BlockSums(self.total[:n], self.weight[:n], self.walks)

    def errors(self, times: ArrayLike) -> Floats:
        """Standard errors of :meth:`scores` from the spread of blocks, (R, F)."""
        often = np.asarray(times, dtype=np.float64)
        n = often.sum(axis=1, keepdims=True)
        weight = often @ self.weight
        whole = self.weight.sum(axis=0)
        centre = np.divide(self.total.sum(axis=0), whole, out=np.zeros_like(whole), where=whole > 0)
        rest = self.total - centre * self.weight  # so that nothing cancels
        off = np.divide(often @ rest, weight, out=np.zeros_like(weight), where=weight > 0)
        spread = (
            often @ rest**2
            - 2 * off * (often @ (rest * self.weight))
            + off**2 * (often @ self.weight**2)
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            error: Floats = np.sqrt(np.maximum(spread, 0) * n / (n - 1)) / weight
        return np.where((weight > 0) & (n > 1), error, np.nan)


def convergence_curve(sums: BlockSums, *, k: int, step: int = 20) -> pd.DataFrame:
    """How far the ranking of the first n walks agrees with itself, for growing n.

    ``successive`` is the paper's curve, the rank correlation of n walks with the first n - step of
    them: the two share all but ``step`` walks, so pure noise comes close to 1 (.983 at 600).
    The others compare two halves of the n walks, every second block each, which share none.

    Parameters
    ----------
    sums
        Blocks in the order in which they were walked.
    k
        Size of the top.
    step
        Walks between the rows; rounded up to whole blocks.

    Returns
    -------
    DataFrame ``n_walks, successive, split_half, reliability, overlap, relative_error``:
    Spearman of the halves, the same corrected for their length (Spearman-Brown), share of their
    top k in common, and the median over the top k of standard error / score.

    Examples
    --------
    >>> import numpy as np, sensx_sc as sx
    >>> noise = np.random.default_rng(0).random((600, 500))
    >>> sums = sx.metrics.BlockSums(noise, np.ones_like(noise), walks=1)
    >>> last = sx.metrics.convergence_curve(sums, k=50).iloc[-1]
    >>> bool(last["successive"] > 0.97), bool(abs(last["split_half"]) < 0.1)
    (True, True)

    References
    ----------
    Aggarwal, Cogan, Periwal (2026), SensX, TMLR, fig. E1 and E2.
    """
    _check(k, step)
    blocks_a_step = max(1, -(-step // sums.walks))
    rows = []
    before = None
    for n in range(blocks_a_step, sums.n_blocks + 1, blocks_a_step):
        first = sums.first(n)
        score = tied(first.scores(np.ones((1, n)))[0])
        halves = first.scores(_halves(n)) if n > 1 else np.full((2, len(score)), np.nan)
        r = shared = np.nan
        if n > 1:
            one, other = tied(halves[0]), tied(halves[1])
            r, shared = spearman(one, other), top_k_overlap(one, other, k)
        rows.append(
            {
                "n_walks": n * sums.walks,
                "successive": np.nan if before is None else spearman(score, before),
                "split_half": r,
                "reliability": spearman_brown(r) if n > 1 else np.nan,
                "overlap": shared,
                "relative_error": _relative_error(first, score, k),
            }
        )
        before = score
    return pd.DataFrame(rows)


def _halves(n: int) -> Floats:
    odd = np.arange(n) % 2
    return np.stack([1 - odd, odd]).astype(np.float64)


def _relative_error(sums: BlockSums, score: Floats, k: int) -> float:
    if sums.n_blocks < 2:
        return np.nan
    error = sums.errors(np.ones((1, sums.n_blocks)))[0]
    place = ranks(score)
    top = (place > 0) & (place <= k) & (score > 0) & np.isfinite(error)
    return float(np.median(error[top] / score[top])) if top.any() else np.nan


def _check(k: object, step: object = 1) -> None:
    for name, value in (("k", k), ("step", step)):
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
            msg = f"`{name}` must be a whole number of at least 1; got {value!r}."
            raise ValueError(msg)


@dataclass(frozen=True)
class Resampled:
    """What resampling the blocks of walks says of each feature, (F,) each.

    Attributes
    ----------
    p_top_k
        Share of the samples in which the feature is among the top k: P(rank <= k).
    rank_low, rank_high
        Ends of the central interval of its rank; NaN for features that are not known.
    low, high
        Studentised interval of its score.
    """

    p_top_k: Floats
    rank_low: Floats
    rank_high: Floats
    low: Floats
    high: Floats


def bootstrap_ranks(
    sums: BlockSums,
    *,
    k: int,
    n_boot: int = 200,
    coverage: float = 0.95,
    seed: int | NDArray[np.int64] = 0,
) -> Resampled:
    """Resample whole blocks of walks, the same for all features, and rank anew.

    Features of a walk are not independent, so their ranks can only be resampled together.

    Parameters
    ----------
    sums
        At least two blocks.
    k
        Size of the top.
    n_boot
        Samples.
    coverage
        Of the intervals, between 0 and 1.
    seed
        Of the samples.

    Examples
    --------
    >>> import numpy as np, sensx_sc as sx
    >>> effects = np.random.default_rng(0).random((40, 3)) * [1.0, 1.0, 0.1]
    >>> sums = sx.metrics.BlockSums(effects, np.ones_like(effects), walks=1)
    >>> found = sx.metrics.bootstrap_ranks(sums, k=2)
    >>> found.p_top_k.tolist(), found.rank_low.tolist(), found.rank_high.tolist()
    ([1.0, 1.0, 0.0], [1.0, 1.0, 3.0], [2.0, 2.0, 3.0])
    """
    _check(k)
    _check(n_boot)
    if not 0 < coverage < 1:
        msg = f"`coverage` must lie between 0 and 1; got {coverage}."
        raise ValueError(msg)
    n = sums.n_blocks
    if n < 2:
        msg = f"resampling needs at least two blocks of walks; there are {n}."
        raise ValueError(msg)
    rng = np.random.default_rng(seed)
    times = rng.multinomial(n, np.full(n, 1 / n), size=n_boot)
    whole = np.ones((1, n))
    score, error = sums.scores(whole)[0], sums.errors(whole)[0]
    size = sums.total.shape[1]
    place = np.empty((n_boot, size), dtype=np.int64)
    pivot = np.empty((n_boot, size))
    together = max(1, _TOGETHER // size)
    for first in range(0, n_boot, together):
        part = times[first : first + together]
        drawn = sums.scores(part)
        place[first : first + together] = ranks(drawn)
        with np.errstate(divide="ignore", invalid="ignore"):
            pivot[first : first + together] = (drawn - score) / sums.errors(part)
    tails = np.array([1 - coverage, 1 + coverage]) / 2
    low_t, high_t = np.quantile(np.nan_to_num(pivot, posinf=0, neginf=0), tails, axis=0)
    known = ~np.isnan(score)
    rank_low, rank_high = np.quantile(
        place, tails, axis=0, method="inverted_cdf", keepdims=False
    ).astype(np.float64)
    return Resampled(
        ((place > 0) & (place <= k)).mean(axis=0),
        np.where(known, rank_low, np.nan),
        np.where(known, rank_high, np.nan),
        score - high_t * error,
        score - low_t * error,
    )
