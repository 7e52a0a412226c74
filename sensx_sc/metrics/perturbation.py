"""The perturbation protocol (appendix A.7): whether a ranking concentrates the sensitivity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.core.statistics import ranks

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

    from sensx_sc.core.arrays import Floats, Ints

N_KS = 55  # the paper's


def perturbation_curve(
    q: Callable[[Floats], Any],
    x: ArrayLike,
    scores: ArrayLike,
    endpoints: ArrayLike,
    ks: ArrayLike,
    *,
    bottom: bool = False,
) -> Floats:
    """Q with the k highest (or lowest) ranked features moved, for each k and draw (A.7).

    Every k, and every ranking that is given the same endpoints, sees the same random numbers.

    Parameters
    ----------
    q
        The response: rows (B, n) to (B,).
    x
        The input, (n,).
    scores
        What ranks the features, by size, (n,); NaN for features that are never moved. Ties go to
        the feature that comes first (A13).
    endpoints
        Random points of the neighbourhood, (P, n): where features move in each draw.
    ks
        Numbers of features moved, increasing, each from 0 to the number of ranked features.
    bottom
        Move the lowest ranked first.

    Returns
    -------
    q of the rows, (K, P); the median over draws divided by q(x) is the paper's curve.

    Examples
    --------
    >>> import numpy as np, sensx_sc as sx
    >>> x, ends = np.ones(3), np.zeros((1, 3))
    >>> sx.metrics.perturbation_curve(
    ...     lambda z: z @ [1.0, 4.0, 2.0], x, [0.1, 0.9, 0.5], ends, [0, 1, 2, 3]
    ... ).ravel().tolist()
    [7.0, 3.0, 1.0, 0.0]

    References
    ----------
    Aggarwal, Cogan, Periwal (2026), SensX, TMLR, appendix A.7.
    """
    start, ends = np.asarray(x, dtype=np.float64), np.asarray(endpoints, dtype=np.float64)
    values = np.asarray(scores, dtype=np.float64)
    if start.ndim != 1 or values.shape != start.shape or ends.shape != (len(ends), len(start)):
        msg = (
            "`x` and `scores` must have one entry a feature and `endpoints` one row a draw; got "
            f"shapes {start.shape}, {values.shape} and {ends.shape}."
        )
        raise ValueError(msg)
    order = by_size(values)
    if bottom:
        order = order[::-1]
    moved = check_ks(ks, len(order))
    found = np.empty((len(moved), len(ends)))
    for at, k in enumerate(moved):
        rows = np.repeat(start[None], len(ends), axis=0)
        rows[:, order[:k]] = ends[:, order[:k]]
        found[at] = np.asarray(q(rows), dtype=np.float64).reshape(len(ends))
    return found


def curve_auc(ratio: ArrayLike, ks: ArrayLike, n: int) -> Floats:
    """Normalised area under a perturbation curve: the mean of q / q(x) over k / n (A.7).

    By the trapezoid rule on the given ks, with 1 at k = 0. Where the largest k is not n, the mean
    goes over the part of the axis that was looked at. Low is good for the top k, high for the
    bottom k.

    Parameters
    ----------
    ratio
        Median of q over draws, divided by q(x), (..., K).
    ks
        Numbers of features moved, increasing, (K,).
    n
        Number of features that can be moved.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> float(sx.metrics.curve_auc([0.5, 0.0, 0.0], [1, 2, 4], 4))
    0.25
    """
    moved = check_ks(ks, n)
    curve = np.asarray(ratio, dtype=np.float64)
    if curve.ndim == 0 or curve.shape[-1] != len(moved):
        msg = f"`ratio` must have one entry for each of the {len(moved)} ks; got {curve.shape}."
        raise ValueError(msg)
    if moved[0] > 0:
        moved = np.concatenate([[0], moved])
        curve = np.concatenate([np.ones((*curve.shape[:-1], 1)), curve], axis=-1)
    if moved[-1] == 0:
        msg = "`ks` must reach beyond 0."
        raise ValueError(msg)
    area: Floats = np.trapezoid(curve, moved / n, axis=-1) / (moved[-1] / n)
    return area


def default_ks(n: int, n_points: int = N_KS) -> Ints:
    """The paper's: 55 numbers of features from 1 to all, evenly spaced; all where they are fewer.

    Examples
    --------
    >>> from sensx_sc.metrics.perturbation import default_ks
    >>> default_ks(10).tolist(), default_ks(27_399)[:3].tolist()
    ([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], [1, 508, 1016])
    """
    return np.unique(np.rint(np.linspace(1, n, min(n, n_points))).astype(np.int64))


def check_ks(ks: ArrayLike, n: int) -> Ints:
    """Numbers of features as an array of whole numbers.

    Raises
    ------
    ValueError
        Not whole, not increasing, or beyond 0 to n.
    """
    given = np.asarray(ks)
    if given.ndim != 1 or given.size == 0 or given.dtype.kind not in "iuf":
        msg = f"`ks` must be a list of numbers of features; got {ks!r}."
        raise ValueError(msg)
    moved = given.astype(np.int64)
    fine = np.array_equal(moved, given) and (np.diff(moved) > 0).all()
    if not (fine and moved[0] >= 0 and moved[-1] <= n):
        msg = (
            f"`ks` must be increasing whole numbers from 0 to {n}, the number of ranked features; "
            f"got {given[:4].tolist()} ... {given[-1]}."
        )
        raise ValueError(msg)
    return moved


def by_size(scores: Floats) -> Ints:
    """Features with a score, the largest by size first, ties by index (A13)."""
    place = ranks(np.abs(scores))
    order = np.empty(int(place.max(initial=0)), dtype=np.int64)
    known = place > 0
    order[place[known] - 1] = np.flatnonzero(known)
    return order
