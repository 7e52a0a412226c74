"""Racing: after some walks on all features, later walks resolve only those still in doubt.

A feature is decided once a threshold separates its interval from those on the other side. The
others are evaluated at two points a walk, just before and just after their steps, on the walks
that all features would have made: the law and the numbers are those of exhaustive walks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq
from scipy.special import digamma, polygamma
from scipy.stats import f as fisher
from scipy.stats import t as student

from sensx_sc.core.domain import typical_lengths
from sensx_sc.core.sampling import MIN_BLOCKS
from sensx_sc.core.statistics import ranks
from sensx_sc.core.walks import walk, walk_chosen

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from sensx_sc.core.arrays import Floats, Ints
    from sensx_sc.core.domain import Domain
    from sensx_sc.core.sampling import Design
    from sensx_sc.core.walks import Walker
    from sensx_sc.evaluators.protocol import Evaluator

    Bools = NDArray[np.bool_]

_FIRST_WALKS = 80  # before the first look: rare effects must have had a chance to be seen
_GROWTH = 1.5  # blocks at one look, of those at the look before
_NEAR = 4  # times k: features whose spreads tell what is usual near the threshold
_LEAST_NEAR = 200
_LARGEST_DOF = 1e6
_USUAL = 0.999
_ROUNDING = 1e-7  # of the range of the response


@dataclass(frozen=True)
class Race:
    """What is raced for.

    Attributes
    ----------
    top_k
        Features wanted.
    alpha
        Probability that the set is allowed to be wrong.
    rank_by
        ``"value"`` or ``"change"``.
    """

    top_k: int
    alpha: float
    rank_by: str


@dataclass(frozen=True)
class Verdict:
    """How sure the top k of an input are.

    Attributes
    ----------
    certified
        A threshold separates the intervals of the top k from those of all others.
    gap
        Largest upper end among the others less smallest lower end among the top k, as a fraction
        of the k-th score: at most 0 where certified.
    n_undecided
        Features that are on neither side for sure.
    """

    certified: bool
    gap: float
    n_undecided: int


def certify(score: Floats, low: Floats, high: Floats, k: int) -> tuple[Verdict, Ints]:
    """Whether a threshold separates the intervals of the top k from those of all others.

    If all intervals hold at once (with a level of alpha / F each, say), so does the certificate.

    Parameters
    ----------
    score, low, high
        Scores and the ends of their intervals, (F,); NaN for features that are not known.
    k
        Size of the top.

    Returns
    -------
    The verdict, and the features whose side is in doubt: indices, ascending.

    Examples
    --------
    >>> import numpy as np
    >>> from sensx_sc.core import certify
    >>> score = np.array([5.0, 4.0, 1.0])
    >>> certify(score, score - 1, score + 1, 2)[0]
    Verdict(certified=True, gap=-0.25, n_undecided=0)
    """
    place = ranks(score)
    inside = (place > 0) & (place <= k)
    known = place > k
    if not inside.any() or not ((place > k) | (place == 0)).any():
        return Verdict(certified=True, gap=-np.inf, n_undecided=0), np.arange(0)
    highest = float(high[known].max(initial=-np.inf))
    lowest = float(low[inside].min())
    # Ties of exact scores are decided by the rank, as everywhere.
    doubtful = np.flatnonzero((inside & (low < highest)) | (known & (high > lowest)))
    size = float(score[inside].min())
    gap = (highest - lowest) / size if size > 0 else highest - lowest
    return Verdict(len(doubtful) == 0, gap, len(doubtful)), doubtful


def looks(n_blocks: int, block: int = 20) -> list[int]:
    """Blocks of walks after which the race is looked at, in ever larger steps.

    Examples
    --------
    >>> from sensx_sc.core.racing import looks
    >>> looks(20)
    [4, 6, 9, 13, 19, 20]
    """
    found = [min(max(MIN_BLOCKS, -(-_FIRST_WALKS // block)), n_blocks)]
    while found[-1] < n_blocks:
        found.append(min(int(found[-1] * _GROWTH), n_blocks))
    return found


def race(
    walkers: list[Walker],
    evaluator: Evaluator,
    domain: Domain,
    design: Design,
    wanted: Race,
    *,
    seed: int,
    min_step: float = 0.0,
    advance: Callable[[int], object] = lambda _: None,
) -> list[Verdict]:
    """Walk until the top k of every input are certified, or all walks of the design are made.

    Parameters
    ----------
    walkers
        Inputs; their tallies are filled, with more walks for features that were long in doubt.
    advance
        Told of all steps that are settled, evaluated or not.

    Returns
    -------
    A verdict for each input.
    """
    size = domain.n_steps
    schedule = looks(design.n_blocks, design.block)
    level = wanted.alpha / len(schedule)
    walk(
        walkers,
        evaluator,
        domain,
        design,
        seed=seed,
        min_step=min_step,
        blocks=range(schedule[0]),
        advance=advance,
    )
    alive = evaluator.alive(domain.free)
    races = [
        _Standing(walker, wanted, level, design, _largest(walker, domain, wanted, alive))
        for walker in walkers
    ]
    for before, now in zip(schedule, [*schedule[1:], None], strict=True):
        racing = [
            i for i, standing in enumerate(races) if standing.look() and not walkers[i].not_finite
        ]
        if now is None or not racing:
            break
        blocks = range(before, now)
        # Evaluating all steps of a walk once is cheaper than most of them twice.
        many = [i for i in racing if 2 * len(races[i].doubtful) >= size]
        few = [i for i in racing if 2 * len(races[i].doubtful) < size]
        walk(
            [walkers[i] for i in many],
            evaluator,
            domain,
            design,
            seed=seed,
            min_step=min_step,
            blocks=blocks,
        )
        walk_chosen(
            [walkers[i] for i in few],
            [races[i].doubtful for i in few],
            evaluator,
            domain,
            design,
            seed=seed,
            min_step=min_step,
            blocks=blocks,
        )
        advance(len(racing) * len(blocks) * design.block * size)
        settled = len(walkers) - len(racing)
        advance(settled * len(blocks) * design.block * size)
    return [standing.verdict for standing in races]


def _largest(walker: Walker, domain: Domain, wanted: Race, alive: Bools) -> Floats:
    """What a step would score that went through all of the response every time, (S,).

    0 for features that the model provably never reads.
    """
    low, high = walker.envelope
    size = np.full(domain.n_steps, max(high - low, 0.0))
    if wanted.rank_by == "value":
        length = typical_lengths(domain, walker.x, walker.delta_star)
        np.divide(size, length, where=length > 0, out=size)
    return np.where(alive, size, 0.0)


class _Standing:
    """The race of one input: who is in, who is out, who is in doubt.

    Attributes
    ----------
    doubtful
        Features in doubt, positions into the tally.
    verdict
        That of the last look.
    """

    def __init__(
        self, walker: Walker, wanted: Race, level: float, design: Design, largest: Floats
    ) -> None:
        tally = walker.tally
        self.largest = largest
        self.range = walker.envelope[1] - walker.envelope[0]
        self.tally = tally
        self.wanted = wanted
        self.level = level
        self.design = design
        self.verdict = Verdict(certified=False, gap=np.nan, n_undecided=len(tally.n))
        self.doubtful: Ints = np.arange(len(tally.n))
        self._usual: tuple[float, float] | None = None

    def look(self) -> bool:
        """Draw the intervals anew; whether any feature is in doubt."""
        if self.wanted.rank_by == "value":
            score, se = self.tally.value(), self.tally.value_error()
        else:
            score = self.tally.change()
            se = self.tally.change_error()
        n_blocks = self.tally.n_walks // self.design.block
        if self._usual is None:
            self._usual = self._spreads(score, se, n_blocks)
        low, high = self._interval(score, se, n_blocks)
        self.verdict, self.doubtful = certify(score, low, high, self.wanted.top_k)
        return not self.verdict.certified

    def _interval(self, score: Floats, se: Floats, n_blocks: Ints) -> tuple[Floats, Floats]:
        """Simultaneous intervals of all scores, by shrinkage of their variances."""
        usual, dof = self._usual or (np.nan, 0.0)
        own = np.maximum(n_blocks - 1, 0)
        spread = np.nan_to_num(se**2 * n_blocks)  # variance of the mean of one block
        a_block, worth = spread, own.astype(np.float64)
        if dof > 0:
            # A spread that does not belong to the usual ones is left as it is.
            common = usual * score**2
            strange = (own > 0) & (spread > common * fisher.ppf(_USUAL, np.maximum(own, 1), dof))
            a_block = np.where(strange, spread, (own * spread + dof * common) / (own + dof))
            worth = np.where(strange, own, own + dof)
        share = 1 - self.level / (2 * max(1, int((~np.isnan(score)).sum())))
        wide = np.full(len(score), np.inf)
        known = worth > 0
        wide[known] = student.ppf(share, np.minimum(worth, _LARGEST_DOF)[known])
        # A feature whose response is exact has no spread, whatever is usual; one that has shown
        # none at all may have an effect that is rare.
        with np.errstate(invalid="ignore"):  # an unknown spread of unknown worth
            half = np.where(se == 0, 0.0, wide * np.sqrt(a_block / np.maximum(n_blocks, 1)))
        half = np.where(np.isnan(se) & ~np.isnan(score), np.inf, half)
        rare = self.largest * np.minimum(-np.log(1 - share) / np.maximum(self.tally.n_walks, 1), 1)
        return score - half, np.where(self._silent(), np.maximum(score + half, rare), score + half)

    def _silent(self) -> Bools:
        """Features that have moved the response by no more than rounding."""
        silent: Bools = self.tally.largest_dq <= _ROUNDING * self.range
        return silent

    def _spreads(self, score: Floats, se: Floats, n_blocks: Ints) -> tuple[float, float]:
        """Usual squared relative spread of a block near the threshold, and its worth in blocks.

        The spreads of single features, each from a few blocks, are taken for draws from a scaled
        inverse chi-square law whose two parameters are matched (Smyth 2004).
        """
        near = np.argsort(-np.nan_to_num(score))[: max(_NEAR * self.wanted.top_k, _LEAST_NEAR)]
        own = int(n_blocks.max()) - 1
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = se[near] ** 2 * n_blocks[near] / score[near] ** 2
        spread = spread[np.isfinite(spread) & (spread > 0)]
        if own < 1 or len(spread) < 10:
            return np.nan, 0.0
        logs = np.log(spread) - float(digamma(own / 2)) + np.log(own / 2)
        excess = float(logs.var(ddof=1)) - float(polygamma(1, own / 2))
        dof = _LARGEST_DOF if excess <= 0 else 2 * _inverse_trigamma(excess)
        dof = min(dof, _LARGEST_DOF)
        return float(np.exp(logs.mean() + float(digamma(dof / 2)) - np.log(dof / 2))), dof


def _inverse_trigamma(value: float) -> float:
    """The x > 0 whose trigamma is ``value``."""

    def off(log_x: float) -> float:
        return float(np.log(polygamma(1, np.exp(log_x))) - np.log(value))

    return float(np.exp(brentq(off, -20.0, 20.0)))
