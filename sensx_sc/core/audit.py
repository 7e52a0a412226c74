"""The audit of an estimate: exact values of a few features against what was estimated.

Walks that evaluate single features (two points a walk) give the exact statistic of the candidates,
the top features by the estimate, and of a random sample of all others. Their noise is known from
blocks of walks, so it can be told from the error of the estimate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import hypergeom

from sensx_sc.core.agreement import TIE, spearman, tied

if TYPE_CHECKING:
    from collections.abc import Callable

    from sensx_sc.core.arrays import Floats, Ints

RATIO = (0.9, 1.1)
"""Sum of exact over sum of estimated values that passes."""
SPEARMAN = 0.95
"""Least rank correlation of estimated and exact values over the random sample."""
AGREEMENT = 0.8
"""Least share of the top k that estimated and exact values have in common."""
CLOSE = 0.05
"""Values that differ by so little (root mean square, relative) agree, however they are ranked."""
NOISIEST = 0.8
"""Least agreement that the noise of exact values is believed to let an estimate reach.

Standard errors also hold what all features of a walk have in common, which moves none past
another, so noise is no excuse beyond that.
"""
CONFIDENCE = 0.95
"""Of ``missed_at_most``."""

_FEWEST = 20  # sampled features; fewer are joined by the candidates
_REPETITIONS = 64
_SIGMAS = 1.645
_SHOWN = 0.01  # standard errors of the ratio below this are not worth a word


@dataclass(frozen=True)
class Audit:
    """How far an estimated statistic of one input can be trusted.

    Attributes
    ----------
    ratio
        Sum of exact over sum of estimated values, over all features as the sample stands for them.
    ratio_se
        Its standard error, from the choice of the sample and the noise of each exact value. What
        all features of a walk have in common is not in it.
    spearman
        Rank correlation of the two over the random sample, free of the noise of the exact values.
    top_k_agreement
        Share of the top k by the estimate that are among the exact top k of what was audited, of
        what a repetition of the exact values would reach.
    n_sampled
        Size of the random sample.
    missed_at_most
        Upper confidence bound on how many features that are no candidates exceed the k-th largest
        exact value of the candidates.
    passed
        All of the first three are within the limits of this module.
    message
        One sentence on why.
    """

    ratio: float
    ratio_se: float
    spearman: float
    top_k_agreement: float
    n_sampled: int
    missed_at_most: int
    passed: bool
    message: str


def choose_audited(estimated: Floats, u: Floats, n_top: int, n_sampled: int) -> tuple[Ints, Ints]:
    """Choose the candidates and a random sample of the others.

    Parameters
    ----------
    estimated
        Estimated statistic, (F,), at least 0; NaN for features that are not to be audited.
    u
        A uniform number for each feature, (F,): those with the smallest are sampled.
    n_top, n_sampled
        How many of each, if there are as many.

    Returns
    -------
    Positions of the candidates, the largest first, and of the sample, ascending.

    Examples
    --------
    >>> import numpy as np
    >>> from sensx_sc.core.audit import choose_audited
    >>> top, sampled = choose_audited(
    ...     np.array([1.0, 5.0, np.nan, 3.0, 2.0]), np.array([0.7, 0.1, 0.0, 0.9, 0.2]), 2, 1
    ... )
    >>> top.tolist(), sampled.tolist()
    ([1, 3], [4])
    """
    order = np.argsort(np.where(np.isnan(estimated), np.inf, -estimated), kind="stable")
    order = order[: np.count_nonzero(~np.isnan(estimated))]
    top, others = order[:n_top], order[n_top:]
    return top, np.sort(others[np.argsort(u[others], kind="stable")[:n_sampled]])


def audit(estimated: Floats, exact: Floats, se: Floats, top: Ints, sampled: Ints, k: int) -> Audit:
    """Hold an estimate against exact values.

    Parameters
    ----------
    estimated
        Estimated statistic of one input, ``value`` or ``change``, (F,), at least 0; NaN for
        features that were not tested, or whose value is known without an estimate.
    exact, se
        Exact statistic and its standard error, (F,); read at ``top`` and ``sampled`` only. NaN
        where the exact walks had no valid step: such features are left out.
    top
        Candidates: the largest by the estimate, at least k if there are so many.
    sampled
        A random sample of the others, all equally likely.
    k
        How many features at the top matter.

    Raises
    ------
    ValueError
        Negative or missing estimates, a feature that is named twice, k below 1.
    """
    _check(estimated, top, sampled, k)
    n_others = int(np.count_nonzero(~np.isnan(estimated))) - len(top)
    known = np.isfinite(exact) & np.isfinite(se)
    top, sampled = top[known[top]], sampled[known[sampled]]
    if not len(top) + len(sampled):
        msg = "no feature has an exact value with a standard error to hold it against"
        return Audit(np.nan, np.nan, np.nan, np.nan, 0, n_others, passed=False, message=msg)
    at = np.concatenate([top, sampled])
    a, b = tied(estimated[at]), tied(exact[at])
    # Each sampled feature stands for as many of the others.
    stands_for = n_others / len(sampled) if len(sampled) else 0.0
    weight = np.concatenate([np.ones(len(top)), np.full(len(sampled), stands_for)])
    ratio = _ratio(float(weight @ b), float(weight @ a))
    ratio_se = _ratio_error(a, b, se[at], weight, len(top), ratio)
    fits = RATIO[0] <= ratio <= RATIO[1]
    may_fit = RATIO[0] - _SIGMAS * ratio_se <= ratio <= RATIO[1] + _SIGMAS * ratio_se
    about = f"{ratio:.3g} of the estimate"
    if ratio_se > _SHOWN:
        about = f"{ratio:.3g} (standard error {ratio_se:.2g}) of the estimate"
    of_sample = slice(len(top) if len(sampled) >= _FEWEST else 0, None)
    spearman, ranked, clear = _rank_correlation(a[of_sample], b[of_sample], se[at][of_sample])
    agreement, placed, clear_top = _top_in_common(a, b, se[at], k, len(top))
    failures = [
        sentence
        for fine, sentence in (
            (fits, f"exact values sum to {about}"),
            (fits or not may_fit, "more audited features may clear them"),
            (ranked, f"Spearman {spearman:.3f} on the sample"),
            (placed, f"{agreement:.0%} of the top {k} in common"),
            ((ranked or clear) and (placed or clear_top), "more walks may tell them from noise"),
        )
        if not fine
    ]
    return Audit(
        ratio=ratio,
        ratio_se=ratio_se,
        spearman=spearman,
        top_k_agreement=agreement,
        n_sampled=len(sampled),
        missed_at_most=_missed(exact, se, top, sampled, k, n_others),
        passed=not failures,
        message="; ".join(failures)
        or f"exact values sum to {about}, Spearman {spearman:.3f} on the "
        f"sample, {agreement:.0%} of the top {k} in common",
    )


def _check(estimated: Floats, top: Ints, sampled: Ints, k: int) -> None:
    if k < 1:
        msg = f"`k` must be at least 1; got {k}."
        raise ValueError(msg)
    chosen = np.concatenate([top, sampled])
    if len(np.unique(chosen)) < len(chosen):
        msg = "`top` and `sampled` must name each feature once."
        raise ValueError(msg)
    values = estimated[chosen]
    if not (values >= 0).all():
        j = int(chosen[np.flatnonzero(~(values >= 0))[0]])
        msg = f"`estimated` must be at least 0 where it is audited; got {estimated[j]} at {j}."
        raise ValueError(msg)


def _ratio(exact: float, estimated: float) -> float:
    if estimated > 0:
        return exact / estimated
    return 1.0 if exact == 0 else np.inf


def _ratio_error(
    a: Floats, b: Floats, noise: Floats, weight: Floats, n_top: int, ratio: float
) -> float:
    """Standard error of the ratio of two totals: all of the top, a sample of the others.

    The residuals of a sample hold what was drawn and the noise of what was measured (the ratio
    estimator of survey sampling); of the top, which is there whole, only the noise counts.
    """
    if not (weight @ a > 0 and np.isfinite(ratio)):
        return 0.0
    n = len(a) - n_top
    own = (b - ratio * a)[n_top:]
    of_sample = n / (n - 1) * float((weight[n_top:] * own) @ (weight[n_top:] * own)) if n > 1 else 0
    return float(np.sqrt(noise[:n_top] @ noise[:n_top] + of_sample) / (weight @ a))


def _difference(estimated: Floats, exact: Floats) -> float:
    """Root mean square difference, relative to the exact values."""
    return _ratio(
        float(np.sqrt(np.mean((exact - estimated) ** 2))), float(np.sqrt(np.mean(exact**2)))
    )


def _in_common(a: Floats, b: Floats, k: int) -> float:
    """Share of the top k by ``a`` that are in the top k by ``b``, ties counted in."""
    k = min(k, len(a))
    first = np.argsort(-a, kind="stable")[:k]
    return float(np.mean(b[first] >= np.sort(b)[-k]))


def _rank_correlation(a: Floats, b: Floats, noise: Floats) -> tuple[float, bool, bool]:
    """Spearman correlation without the noise of the exact values; is it fine, is it clear.

    The correction for attenuation: with c the correlation of b and b with its noise once more,
    c^2 = 1 / (1 + r), a share r of b is noise, and sqrt(1 - r) the most that any a can reach.
    """
    again = _repeated(spearman, b, noise)
    reach = float(np.sqrt(max(2 - again**-2, 0.0))) if again > 0 else 0.0
    corrected = min(spearman(a, b) / max(reach, NOISIEST), 1.0)
    fine = corrected >= SPEARMAN or _difference(a, b) <= CLOSE
    return corrected, fine, reach >= NOISIEST


def _top_in_common(
    a: Floats, b: Floats, noise: Floats, k: int, n_top: int
) -> tuple[float, bool, bool]:
    """Share of the top k in common, of what a repetition would have; is it fine, is it clear.

    Where a repetition would have little in common with itself the top k are near ties, and it is
    the values of the candidates that must agree.
    """

    def in_common(one: Floats, other: Floats) -> float:
        return _in_common(one, other, k)

    reach = _repeated(in_common, b, noise)
    corrected = min(in_common(a, b) / max(reach, NOISIEST), 1.0)
    clear = reach >= NOISIEST
    fine = corrected >= AGREEMENT or (not clear and _difference(a[:n_top], b[:n_top]) <= CLOSE)
    return corrected, fine, clear


def _repeated(agreement: Callable[[Floats, Floats], float], exact: Floats, noise: Floats) -> float:
    """Agreement of exact values with themselves, their noise added once more."""
    if not noise.any():
        return 1.0
    rng = np.random.default_rng(0)
    noisy = (exact + noise * rng.standard_normal(len(exact)) for _ in range(_REPETITIONS))
    return float(np.mean([agreement(exact, values) for values in noisy]))


def _missed(exact: Floats, se: Floats, top: Ints, sampled: Ints, k: int, n_others: int) -> int:
    """Upper bound on the others that exceed the k-th candidate.

    The sample is drawn without replacement from the others, so the number that exceed in it is
    hypergeometric. The bound is the largest total that does not make the number seen, or less,
    improbable.
    """
    if not len(top):
        return n_others
    threshold = np.sort(exact[top])[-min(k, len(top))]
    could = exact[sampled] + _SIGMAS * se[sampled] > threshold * (1 + 10.0**-TIE)
    seen = int(np.count_nonzero(could))
    low, high = seen, n_others - (len(sampled) - seen)
    while low < high:  # the largest total that is still possible
        middle = (low + high + 1) // 2
        if hypergeom.cdf(seen, n_others, middle, len(sampled)) > 1 - CONFIDENCE:
            low = middle
        else:
            high = middle - 1
    return low
