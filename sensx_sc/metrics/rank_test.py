"""The rank-sum test of two groups of cells, for all features at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import mannwhitneyu, rankdata

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from sensx_sc.core.arrays import Floats

FEW = 8
"""Up to so many values in the smaller group, without ties, p-values are exact."""


@dataclass(frozen=True)
class RankTest:
    """Wilcoxon's rank-sum test (Mann and Whitney's U) of each feature, (F,).

    Attributes
    ----------
    z
        Standardised U, positive where the group's values are larger.
    effect
        Rank-biserial correlation, 2 P(group > reference) - 1 with ties counted half: from -1 to 1.
    p
        Two-sided p-value.
    """

    z: Floats
    effect: Floats
    p: Floats


def rank_test(group: ArrayLike, reference: ArrayLike) -> RankTest:
    """Test each feature for a difference between two groups of cells.

    Parameters
    ----------
    group, reference
        Values, (cells, F); NaN in a column where the feature was not tested.

    Examples
    --------
    >>> import numpy as np, sensx_sc as sx
    >>> rng = np.random.default_rng(0)
    >>> found = sx.metrics.rank_test(rng.random((30, 2)) + [1, 0], rng.random((40, 2)))
    >>> found.effect.round(1).tolist()
    [1.0, -0.2]

    References
    ----------
    Mann and Whitney, Annals of Mathematical Statistics 18 (1947) 50-60.
    """
    a, b = np.asarray(group, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or not len(a) or not len(b):
        msg = f"two groups (cells, features) are compared; got shapes {a.shape} and {b.shape}."
        raise ValueError(msg)
    both = np.concatenate([a, b])
    known = np.isfinite(both).all(axis=0)
    z, effect, p = np.full((3, a.shape[1]), np.nan)
    if known.any():
        n, m = len(a), len(b)
        place = rankdata(both[:, known], axis=0)
        u = place[:n].sum(axis=0) - n * (n + 1) / 2
        # From the spread of the ranks themselves, which ties make smaller.
        spread = ((place - (n + m + 1) / 2) ** 2).sum(axis=0)
        variance = n * m / ((n + m) * max(n + m - 1, 1)) * spread
        z[known] = np.divide(
            u - n * m / 2, np.sqrt(variance), out=np.zeros_like(u), where=variance > 0
        )
        effect[known] = 2 * u / (n * m) - 1
        p[known] = _p_values(a[:, known], b[:, known])
    return RankTest(z, effect, p)


def _p_values(a: Floats, b: Floats) -> Floats:
    """Exact where values are few and differ; by the normal law otherwise, corrected for ties."""
    ordered = np.sort(np.concatenate([a, b]), axis=0)
    tied = (np.diff(ordered, axis=0) == 0).any(axis=0)
    exact = ~tied if min(len(a), len(b)) <= FEW else np.zeros(a.shape[1], dtype=bool)
    normal = ~exact & (ordered[0] < ordered[-1])
    p = np.ones(a.shape[1])
    if exact.any():
        p[exact] = mannwhitneyu(a[:, exact], b[:, exact], axis=0, method="exact").pvalue
    if normal.any():
        p[normal] = mannwhitneyu(a[:, normal], b[:, normal], axis=0, method="asymptotic").pvalue
    return p
