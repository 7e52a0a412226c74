"""How well a ranking recovers features that are known to matter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata

from sensx_sc.core.statistics import ranks

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from sensx_sc.core.arrays import Floats


def top_k_accuracy(scores: ArrayLike, relevant: ArrayLike, ks: ArrayLike) -> Floats:
    """Share of inputs whose k highest ranked features are all relevant (equation F1).

    Parameters
    ----------
    scores
        What ranks the features of each input, by size, (C, F); NaN is never ranked.
    relevant
        Which are relevant, bool, (C, F) or (F,).
    ks
        Numbers of features, each from 1 to F.

    Returns
    -------
    One for each k.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> sx.metrics.top_k_accuracy([[3, -2, 1], [0, 1, 2]], [True, True, False], [1, 2]).tolist()
    [0.5, 0.5]

    References
    ----------
    Aggarwal, Cogan, Periwal (2026), SensX, TMLR, equation F1.
    """
    values, truth = _checked(scores, relevant)
    counts = np.atleast_1d(np.asarray(ks))
    if counts.dtype.kind not in "iu" or (counts < 1).any() or (counts > values.shape[1]).any():
        msg = f"`ks` must be whole numbers from 1 to {values.shape[1]}; got {ks!r}."
        raise ValueError(msg)
    place = ranks(np.abs(values))
    found = [
        ((place > 0) & (place <= k) & truth).sum(axis=1) == np.minimum(k, place.max(axis=1))
        for k in counts
    ]
    share: Floats = np.array(found).mean(axis=1)
    return share


def hits(scores: ArrayLike, relevant: ArrayLike, k: int = 20) -> Floats:
    """Relevant features among the k highest ranked, for each input.

    Parameters
    ----------
    scores, relevant
        As in :func:`top_k_accuracy`.
    k
        Size of the top.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> sx.metrics.hits([[3, -2, 1], [0, 1, 2]], [True, True, False], k=2).tolist()
    [2.0, 1.0]
    """
    values, truth = _checked(scores, relevant)
    if k < 1:
        msg = f"`k` must be at least 1; got {k}."
        raise ValueError(msg)
    place = ranks(np.abs(values))
    found: Floats = ((place > 0) & (place <= k) & truth).sum(axis=1).astype(np.float64)
    return found


def auroc(scores: ArrayLike, relevant: ArrayLike) -> Floats:
    """Probability that a relevant feature ranks above one that is not, for each input.

    .5 for a random ranking; ties count half. NaN where all or none of the ranked features are
    relevant.

    Parameters
    ----------
    scores, relevant
        As in :func:`top_k_accuracy`.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> sx.metrics.auroc([[3, -2, 1], [0, 1, 2]], [True, True, False]).tolist()
    [1.0, 0.0]
    """
    values, truth = _checked(scores, relevant)
    found = np.full(len(values), np.nan)
    for i, (row, positive) in enumerate(zip(np.abs(values), truth, strict=True)):
        known = ~np.isnan(row)
        positive = positive[known]
        n, m = int(positive.sum()), int((~positive).sum())
        if n and m:
            place = rankdata(row[known])
            found[i] = (place[positive].sum() - n * (n + 1) / 2) / (n * m)
    return found


def precision_recall(
    scores: ArrayLike, relevant: ArrayLike, ks: ArrayLike
) -> tuple[Floats, Floats]:
    """Precision and recall of the k highest ranked features, (C, K) each.

    Parameters
    ----------
    scores, relevant
        As in :func:`top_k_accuracy`; each input needs a relevant feature for a recall.
    ks
        Numbers of features.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> precision, recall = sx.metrics.precision_recall([[3, -2, 1]], [True, False, True], [1, 3])
    >>> precision.round(2).tolist(), recall.tolist()
    ([[1.0, 0.67]], [[0.5, 1.0]])
    """
    values, truth = _checked(scores, relevant)
    counts = np.atleast_1d(np.asarray(ks, dtype=np.int64))
    found = np.stack([hits(values, truth, int(k)) for k in counts], axis=1)
    total = (truth & ~np.isnan(values)).sum(axis=1, keepdims=True).astype(np.float64)
    recall = np.divide(found, total, out=np.full(found.shape, np.nan), where=total > 0)
    ranked = (~np.isnan(values)).sum(axis=1, keepdims=True)
    return found / np.minimum(counts, np.maximum(ranked, 1)), recall


def _checked(scores: ArrayLike, relevant: ArrayLike) -> tuple[Floats, np.ndarray]:
    values, truth = np.asarray(scores, dtype=np.float64), np.asarray(relevant)
    if values.ndim != 2 or truth.dtype != bool or truth.shape[-1:] != values.shape[1:]:
        msg = (
            "`scores` must be (inputs, features) and `relevant` bool, a feature a column; got "
            f"{values.shape} and {truth.dtype} of shape {truth.shape}."
        )
        raise ValueError(msg)
    if truth.ndim == 2 and len(truth) != len(values):
        msg = f"`relevant` has {len(truth)} rows for {len(values)} inputs."
        raise ValueError(msg)
    return values, np.broadcast_to(truth, values.shape)
