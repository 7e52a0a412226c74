"""How far apart cells are by what matters in them: distances between rankings, and their graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from scipy import sparse

from sensx_sc.core.statistics import ranks

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from sensx_sc.core.arrays import Floats, Ints

MetricName = Literal["savage", "spearman", "overlap"]
_ROW_BYTES = 2**26  # of profiles that are in memory together, twice
_SMALLEST = 1e-3  # of the mean distance: no kernel is narrower (umap's)


def rank_profiles(
    scores: ArrayLike, metric: MetricName = "savage", k: int = 100
) -> NDArray[np.float32]:
    """Rows whose scalar products are the agreement of rankings.

    Parameters
    ----------
    scores
        What ranks, by size, (C, F); NaN for features that were not tested.
    metric
        ``"savage"``: correlation of Savage scores, S_r = 1/r + 1/(r + 1) + ... + 1/F at rank r,
        which looks at the top (Iman and Conover 1987); ``"spearman"``: rank correlation, which
        looks at all features alike; ``"overlap"``: share of the top k in common.
    k
        For ``"overlap"``.

    Returns
    -------
    (C, F); the distance of two rows is 1 minus their product.

    Raises
    ------
    ValueError
        An unknown metric, k below 1, or rows without any score.

    References
    ----------
    Iman and Conover, A measure of top-down correlation, Technometrics 29 (1987) 351-357.
    """
    values = np.abs(np.asarray(scores, dtype=np.float64))
    if metric not in get_args(MetricName):
        msg = f"`metric` must be one of {get_args(MetricName)}; got {metric!r}."
        raise ValueError(msg)
    if values.ndim != 2 or k < 1:
        msg = f"`scores` must be (cells, features) and `k` at least 1; got {values.shape}, {k}."
        raise ValueError(msg)
    place = ranks(values)
    tested = place > 0
    if not tested.any(axis=1).all():
        msg = f"{int((~tested.any(axis=1)).sum())} rows of `scores` have no score at all."
        raise ValueError(msg)
    if metric == "overlap":
        inside = tested & (place <= k)
        among: Floats = inside / np.sqrt(inside.sum(axis=1, keepdims=True))
        return among.astype(np.float32)
    if metric == "savage":
        table = np.concatenate([[0.0], np.cumsum(1 / np.arange(values.shape[1], 0, -1))[::-1]])
        # With features left out, the scores of the ranks that there are.
        last = tested.sum(axis=1)
        beyond = np.append(table[1:], 0.0)[last]
        profile = np.where(tested, table[place] - beyond[:, None], 0.0)
    else:
        profile = np.where(tested, -place.astype(np.float64), 0.0)
    mean = profile.sum(axis=1, keepdims=True) / tested.sum(axis=1, keepdims=True)
    profile = np.where(tested, profile - mean, 0.0)
    size = np.linalg.norm(profile, axis=1, keepdims=True)
    flat: Floats = np.divide(profile, size, out=np.zeros_like(profile), where=size > 0)
    return flat.astype(np.float32)


def rank_distances(
    scores: ArrayLike, metric: MetricName = "savage", k: int = 100
) -> NDArray[np.float32]:
    """Distances between the rankings of cells: 1 minus their agreement.

    Parameters
    ----------
    scores, metric, k
        As in :func:`rank_profiles`.

    Returns
    -------
    (C, C), from 0 (the same) to 1 (unrelated; up to 2 for opposite rankings).

    Examples
    --------
    >>> import sensx_sc as sx
    >>> sx.metrics.rank_distances([[3, 2, 1], [9, 7, 5], [1, 2, 3]], "spearman").round(6).tolist()
    [[0.0, 0.0, 2.0], [0.0, 0.0, 2.0], [2.0, 2.0, 0.0]]
    """
    profile = rank_profiles(scores, metric, k)
    return _distances(profile, profile)


def _distances(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = np.clip(1 - a @ b.T, 0, 2)
    return found


def nearest(
    read: Callable[[slice], NDArray[np.float32]], n_cells: int, n_features: int, n_neighbors: int
) -> tuple[Ints, Floats]:
    """The nearest of all cells to each, itself first; a block of profiles at a time.

    Parameters
    ----------
    read
        Profiles of consecutive cells.
    n_neighbors
        How many, the cell itself included.

    Returns
    -------
    Indices and distances, (C, n_neighbors), ascending in the distance, ties by index.
    """
    together = max(n_neighbors, _ROW_BYTES // (4 * n_features))
    blocks = [slice(a, min(a + together, n_cells)) for a in range(0, n_cells, together)]
    index = np.empty((n_cells, n_neighbors), dtype=np.int64)
    distance = np.empty((n_cells, n_neighbors))
    for rows in blocks:
        own = read(rows)
        best_at = np.empty((len(own), 0), dtype=np.int64)
        best = np.empty((len(own), 0), dtype=np.float32)
        for others in blocks:
            found = _distances(own, own if others == rows else read(others))
            if others == rows:  # itself is nearest, whatever rounding says
                np.fill_diagonal(found, -1)
            at = np.arange(others.start, others.stop)
            best = np.concatenate([best, found], axis=1)
            best_at = np.concatenate([best_at, np.broadcast_to(at, found.shape)], axis=1)
            keep = np.argsort(best, axis=1, kind="stable")[:, :n_neighbors]
            best = np.take_along_axis(best, keep, axis=1)
            best_at = np.take_along_axis(best_at, keep, axis=1)
        index[rows], distance[rows] = best_at, np.maximum(best, 0)
    return index, distance


def fuzzy_graph(index: Ints, distance: Floats, n_cells: int) -> sparse.csr_matrix:
    """How strongly cells are joined: UMAP's fuzzy simplicial set.

    Each cell's distances are taken beyond that of its nearest neighbour and scaled so that the
    strengths exp(-(d - rho) / sigma) sum to log2 of the number of neighbours; a pair is joined if
    either of the two joins it: a + b - ab.

    Parameters
    ----------
    index, distance
        As :func:`nearest` gives them.

    Returns
    -------
    Symmetric, (C, C).

    References
    ----------
    McInnes, Healy and Melville, UMAP, arXiv:1802.03426 (2018).
    """
    n = index.shape[1]
    positive = np.where(distance > 0, distance, np.inf).min(axis=1)
    rho = np.where(np.isfinite(positive), positive, 0.0)
    beyond = np.maximum(distance[:, 1:] - rho[:, None], 0.0)
    wanted = np.log2(n)
    low, high = np.zeros(len(distance)), np.full(len(distance), np.inf)
    sigma = np.ones(len(distance))
    for _ in range(64):
        total = np.exp(-beyond / sigma[:, None]).sum(axis=1)
        high = np.where(total > wanted, sigma, high)
        low = np.where(total > wanted, low, sigma)
        sigma = np.where(np.isinf(high), sigma * 2, (low + high) / 2)
    mean_own = distance.mean(axis=1)
    least = _SMALLEST * np.where(rho > 0, mean_own, distance.mean())
    sigma = np.maximum(sigma, least)
    with np.errstate(divide="ignore", invalid="ignore"):
        strength = np.where(beyond > 0, np.exp(-beyond / sigma[:, None]), 1.0)
    rows = np.repeat(np.arange(len(index)), n - 1)
    one = sparse.csr_matrix(
        (strength.ravel(), (rows, index[:, 1:].ravel())), shape=(n_cells, n_cells)
    )
    product = one.multiply(one.T)
    joined = sparse.csr_matrix(one + one.T - product)
    joined.eliminate_zeros()
    return joined.astype(np.float32)
