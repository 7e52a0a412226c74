"""How likely chance does as well: placebo edits, signs over cells, many properties at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import false_discovery_control

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sensx_sc.core.arrays import Floats, Ints

_AT_ONCE = 2**22
_N_BINS, _LEAST_OF_BIN = 25, 10  # as many bins as scanpy's score_genes


def placebo_p(observed: Floats, placebo: Floats) -> Floats:
    """P-values against placebos: (1 + number that do as well) / (1 + K).

    Parameters
    ----------
    observed, placebo
        Scores (...) and those of K placebos, (K, ...); NaN counts as no score.

    Examples
    --------
    >>> import numpy as np
    >>> from sensx_sc.companions.significance import placebo_p
    >>> placebo_p(np.array([3.0]), np.array([[1.0], [4.0], [2.0]]))
    array([0.5])
    """
    k = np.isfinite(placebo).sum(axis=0)
    with np.errstate(invalid="ignore"):
        better = (placebo >= observed).sum(axis=0)
    p = (1 + better) / (1 + k)
    return np.where(np.isfinite(observed) & (k > 0), p, np.nan)


def sign_flip_p(values: Floats, *, n_flips: int = 9999, seed: int = 0) -> float:
    """Two-sided p-value for a mean of zero over cells, by flipping signs at random.

    Parameters
    ----------
    values
        One a cell, (C,); NaN is left out.

    Examples
    --------
    >>> import numpy as np
    >>> from sensx_sc.companions.significance import sign_flip_p
    >>> sign_flip_p(np.ones(20)) < 0.001, sign_flip_p(np.tile([-1.0, 1.0], 10)) > 0.9
    (True, True)
    """
    known = values[np.isfinite(values)]
    if len(known) < 2:
        return float("nan")
    rng = np.random.default_rng(seed)
    observed = abs(known.sum()) * (1 - 1e-12)
    better, done = 0, 0
    while done < n_flips:
        some = min(n_flips - done, max(1, _AT_ONCE // len(known)))
        signs = 2.0 * rng.integers(0, 2, (some, len(known))) - 1
        better += int(np.count_nonzero(np.abs(signs @ known) >= observed))
        done += some
    return (1 + better) / (1 + n_flips)


def adjusted(p: Floats) -> Floats:
    """P-values adjusted for their number (Benjamini and Hochberg 1995); NaN stays NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from sensx_sc.companions.significance import adjusted
    >>> adjusted(np.array([0.01, np.nan, 0.04])).round(3)
    array([0.02,  nan, 0.04])
    """
    known = np.isfinite(p)
    q = np.full(p.shape, np.nan)
    if known.any():
        q[known] = false_discovery_control(p[known])
    return q


def expression_bins(mean: Floats) -> Ints:
    """Bin of each gene by the rank of its mean expression, (n,).

    25 bins of equally many genes, or fewer, so that each has ten.
    """
    n_bins = min(_N_BINS, max(len(mean) // _LEAST_OF_BIN, 1))
    order = np.argsort(mean, kind="stable")
    rank = np.empty(len(mean), dtype=np.int64)
    rank[order] = np.arange(len(mean))
    return rank * n_bins // len(mean)


def stand_ins(genes: Ints, bins: Ints, rng: np.random.Generator) -> Ints:
    """Other genes from the same expression bins, a different one for each gene, (G,).

    Where a bin has no others left, some of the genes stand for each other.
    """
    chosen = np.empty_like(genes)
    for at, inside, others in same_bins(genes, bins):
        pool = others if len(others) >= len(at) else inside
        chosen[at] = rng.permutation(pool)[: len(at)]
    return chosen


def same_bins(genes: Ints, bins: Ints) -> Iterator[tuple[Ints, Ints, Ints]]:
    """For each bin of some genes: which of them are in it, all genes in it, and the others."""
    own = bins[genes]
    other = np.ones(len(bins), dtype=bool)
    other[genes] = False
    for k in sorted(set(own.tolist())):
        inside = np.flatnonzero(bins == k)
        yield np.flatnonzero(own == k), inside, inside[other[inside]]
