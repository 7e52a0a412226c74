"""How far two rankings of the same features agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata

from sensx_sc.core.statistics import ranks

if TYPE_CHECKING:
    from sensx_sc.core.arrays import Floats


TIE = 9
"""Digits of the largest score: what is beyond them is rounding."""


def spearman(a: Floats, b: Floats) -> float:
    """Rank correlation of two scores, ties at their mean rank, features with NaN left out.

    1 where both are constant, 0 where one of them is: Pearson's formula would have no answer.

    Parameters
    ----------
    a, b
        Scores, (F,).

    Examples
    --------
    >>> import numpy as np
    >>> from sensx_sc.core import spearman
    >>> spearman(np.array([3.0, 2.0, 1.0, np.nan]), np.array([9.0, 2.0, 5.0, 7.0]))
    0.5
    """
    _same_shape(a, b)
    known = ~(np.isnan(a) | np.isnan(b))
    one, other = rankdata(a[known]), rankdata(b[known])
    one, other = one - one.mean(), other - other.mean()
    size = float(np.sqrt((one @ one) * (other @ other)))
    if size == 0:
        return 1.0 if one @ one == other @ other else 0.0
    return float(one @ other) / size


def top_k_overlap(a: Floats, b: Floats, k: int) -> float:
    """Share of the k highest scores of ``a`` that are among the k highest of ``b``.

    Ties are broken by index, as ranks break them (A13). With fewer than k known features, k is
    their number.

    Parameters
    ----------
    a, b
        Scores, (F,); NaN is never among the highest.

    Examples
    --------
    >>> import numpy as np
    >>> from sensx_sc.core import top_k_overlap
    >>> top_k_overlap(np.array([5.0, 4.0, 3.0, 2.0]), np.array([5.0, 1.0, 3.0, 4.0]), 2)
    0.5
    """
    _same_shape(a, b)
    if k < 1:
        msg = f"`k` must be at least 1; got {k}."
        raise ValueError(msg)
    known = ~(np.isnan(a) | np.isnan(b))
    if not known.any():
        return float("nan")
    first = [ranks(np.where(known, scores, np.nan)) for scores in (a, b)]
    k = min(k, int(known.sum()))
    return float(np.count_nonzero(known & (first[0] <= k) & (first[1] <= k))) / k


def spearman_brown(r: float, times: float = 2.0) -> float:
    """What a correlation of two halves says of the whole (Spearman 1910, Brown 1910).

    Parameters
    ----------
    r
        Correlation of two measurements of the same length.
    times
        How many times as long the measurement is whose reliability is wanted.

    Returns
    -------
    The correlation that two such longer measurements would have. One that is not positive says
    nothing of it and comes back as it is.

    Examples
    --------
    >>> from sensx_sc.core import spearman_brown
    >>> round(spearman_brown(0.9), 3)
    0.947
    """
    return r if r <= 0 else times * r / (1 + (times - 1) * r)


def tied(scores: Floats) -> Floats:
    """Scores, at least 0, without the digits that are rounding, so that equal ones are tied."""
    largest = float(np.max(scores, initial=0.0, where=~np.isnan(scores)))
    return np.round(scores / largest, TIE) * largest if largest > 0 else scores


def _same_shape(a: Floats, b: Floats) -> None:
    if a.ndim != 1 or a.shape != b.shape:
        msg = f"two scores of one shape (F,) are compared; got {a.shape} and {b.shape}."
        raise ValueError(msg)
