"""``n_walks="auto"``: walk until the ranking is stable, or a budget ends.

The criterion: two halves of the walks, every second block each, must agree. Their rank correlation,
corrected for their length (Spearman-Brown), must reach :data:`RELIABILITY`, and they must share
:data:`OVERLAP` of their top k, which is the harder of the two and is not corrected: all walks
together do better than the halves. It is looked at after ever more blocks, for each input alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.core.agreement import spearman, spearman_brown, tied, top_k_overlap
from sensx_sc.core.racing import looks
from sensx_sc.core.statistics import Tally, ranking_score
from sensx_sc.core.walks import walk

if TYPE_CHECKING:
    from collections.abc import Callable

    from sensx_sc.core.arrays import Floats
    from sensx_sc.core.domain import Domain
    from sensx_sc.core.sampling import Design
    from sensx_sc.core.walks import Walker
    from sensx_sc.evaluators.protocol import Evaluator
    from sensx_sc.words import RankBy

RELIABILITY = 0.99
"""Rank correlation that all walks would have with as many others."""
OVERLAP = 0.8
"""Share of the top k that the two halves of the walks have in common."""
MOST_TOP = 50
"""The k of the criterion, or a fifth of the tested features where they are fewer than 250."""


@dataclass(frozen=True)
class Stability:
    """How stable the ranking of an input is.

    Attributes
    ----------
    reliability
        Rank correlation of the halves, corrected for their length.
    overlap
        Share of their top k in common.
    settled
        Both have reached what is asked for.
    """

    reliability: float
    overlap: float
    settled: bool


def top_of(n_features: int) -> int:
    """The k whose agreement is asked for.

    Examples
    --------
    >>> from sensx_sc.core.stopping import top_of
    >>> top_of(27_399), top_of(10), top_of(3)
    (50, 2, 1)
    """
    return max(1, min(MOST_TOP, n_features // 5))


def walk_until_stable(
    walkers: list[Walker],
    evaluator: Evaluator,
    domain: Domain,
    design: Design,
    rank_by: RankBy,
    *,
    seed: int,
    min_step: float = 0.0,
    advance: Callable[[int], object] = lambda _: None,
) -> list[Stability]:
    """Walk every input until its ranking is stable, or all walks of the design are made.

    Parameters
    ----------
    walkers
        Inputs; their tallies are filled.
    rank_by
        The statistic that ranks.
    advance
        Told of all steps that are settled, made or not.

    Returns
    -------
    One for each input; NaN where there is only one block, or a response was not finite.
    """
    size = domain.n_steps
    halves = [(Tally.empty(size), Tally.empty(size)) for _ in walkers]
    found = [Stability(np.nan, np.nan, settled=False)] * len(walkers)
    schedule = looks(design.n_blocks, design.block)
    going = list(range(len(walkers)))
    how: dict[str, Any] = {"seed": seed, "min_step": min_step}
    for before, now in zip([0, *schedule], schedule, strict=False):

        def keep(walker: int, dq: Floats, dx: Floats, among: list[int] = going) -> None:
            _halve(halves[among[walker]], dq, dx, design.block)

        blocks = range(before, now)
        chosen = [walkers[i] for i in going]
        walk(chosen, evaluator, domain, design, blocks=blocks, keep=keep, advance=advance, **how)
        for i in going:
            found[i] = _stability(halves[i], rank_by)
        done = [i for i in going if found[i].settled or walkers[i].not_finite]
        advance(len(done) * (design.n_blocks - now) * design.block * size)
        going = [i for i in going if i not in done]
        if not going:
            break
    return found


def _halve(halves: tuple[Tally, Tally], dq: Floats, dx: Floats, block: int) -> None:
    """Give every second block to each half."""
    first = int(halves[0].n_walks[0] + halves[1].n_walks[0]) // block
    number = first + np.arange(len(dq)) // block
    for parity, half in enumerate(halves):
        mine = number % 2 == parity
        if mine.any():
            half.add(dq[mine], dx[mine], block)


def _stability(halves: tuple[Tally, Tally], rank_by: RankBy) -> Stability:
    if not (halves[1].n_walks > 0).all():
        return Stability(np.nan, np.nan, settled=False)
    one, other = (
        tied(ranking_score(np.asarray(half.statistics()[rank_by], dtype=np.float64), rank_by))
        for half in halves
    )
    r = spearman_brown(spearman(one, other))
    shared = top_k_overlap(one, other, top_of(len(one)))
    return Stability(r, shared, settled=bool(r >= RELIABILITY and shared >= OVERLAP))
