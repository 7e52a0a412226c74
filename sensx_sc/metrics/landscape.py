"""Landscapes: the response over scales and numbers of perturbed features, and its edge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sensx_sc.core.walks import place
from sensx_sc.metrics.nested import nested_responses
from sensx_sc.metrics.perturbation import by_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

    from sensx_sc.core.arrays import Floats, Ints
    from sensx_sc.metrics.explained import Explained

PERCENTILES = (1.0, 50.0, 99.0)
_REFINED = 32


def pareto(below: ArrayLike) -> list[tuple[int, int]]:
    """The cells of a grid that hold and that no other holding one is below in both directions.

    Parameters
    ----------
    below
        Whether the response is below the threshold, (scales, numbers of features), both ascending.

    Returns
    -------
    Positions (scale, number of features), ascending in the scale and so descending in the number.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> sx.metrics.pareto([[False, False, True], [False, True, True], [False, True, True]])
    [(0, 2), (1, 1)]
    """
    grid = np.asarray(below)
    if grid.dtype != bool or grid.ndim != 2:
        msg = f"`below` must be a bool array of two dimensions; got {grid.dtype}, {grid.shape}."
        raise ValueError(msg)
    found: list[tuple[int, int]] = []
    fewest = grid.shape[1]
    for d, row in enumerate(grid):
        first = int(np.argmax(row)) if row.any() else grid.shape[1]
        if first < fewest:
            found.append((d, first))
            fewest = first
    return found


@dataclass(frozen=True)
class Landscape:
    """The response of one input over scales and numbers of features.

    Attributes
    ----------
    q
        Percentiles of q with the first (last) k features moved, (2, D, K, 3).
    edge
        Pareto set for the top: positions (scale, k) that no other is below in both.
    q_x, delta_star
        Of the input.
    n_significant
        The fewest features of the ranking that take q below the threshold at ``significant_at``;
        0 where none do.
    significant_at
        delta*, or the first scale of the grid above it at which any number of features does.
    order
        Features, the first of the ranking first: indices into n.
    """

    q: Floats
    edge: list[tuple[int, int]]
    q_x: float
    delta_star: float
    n_significant: int
    significant_at: float
    order: Ints


def landscape_of(
    cells: Explained,
    i: int,
    scores: Callable[[int], Floats],
    *,
    deltas: Floats,
    ks: Ints,
    n_draws: int,
    threshold: float | None,
    percentile: float,
    advance: Callable[[int], object] = lambda _: None,
) -> Landscape:
    """The landscape of one input; all of its points share their random numbers.

    Parameters
    ----------
    scores
        Function from an input's position to the scores that rank its features, (n,).
    deltas, ks
        The grid, both ascending.
    threshold
        In units of q; None: half of q(x).
    percentile
        Of q over the draws, held against the threshold.
    """
    x, free, q_x = cells.x(i), cells.free, cells.q(i)
    order, target = by_size(scores(i)[free]), int(cells.target[i])
    limit = q_x / 2 if threshold is None else threshold
    u = cells.fractions(i, n_draws)

    def at(delta: float, along: Ints, numbers: Ints) -> Floats:
        end = place(u, x, cells.run.domain, delta)
        q = nested_responses(cells.evaluator, x, target, free, end, along, numbers)
        advance(q.size)
        return q

    def falls(q: Floats) -> np.ndarray:
        fallen: np.ndarray = np.percentile(q, percentile, axis=1) < limit
        return fallen

    q = np.empty((2, len(deltas), len(ks), len(PERCENTILES)))
    below = np.empty((len(deltas), len(ks)), dtype=bool)
    for s, delta in enumerate(deltas):
        for d, along in enumerate((order, order[::-1])):
            drawn = at(float(delta), along, ks)
            q[d, s] = np.percentile(drawn, PERCENTILES, axis=1).T
            if d == 0:
                below[s] = falls(drawn)
    star = float(cells.delta_star[i])
    fewest, where = 0, np.nan
    for delta in (star, *deltas[deltas > star]):

        def fallen(numbers: Ints, scale: float = float(delta)) -> np.ndarray:
            return falls(at(scale, order, numbers))

        fewest = _fewest(fallen, ks)
        if fewest:
            where = float(delta)
            break
    return Landscape(q, pareto(below), q_x, star, fewest, where, free[order])


def _fewest(falls: Callable[[Ints], np.ndarray], ks: Ints) -> int:
    """The smallest number of features that takes q below, or 0: on the grid, then inside it."""
    fallen = falls(ks)
    if not fallen.any():
        return 0
    first = int(np.argmax(fallen))
    high, low = int(ks[first]), int(ks[first - 1]) if first else 0
    while high - low > 1:
        numbers = np.unique(np.linspace(low + 1, high, min(high - low, _REFINED)).astype(np.int64))
        fallen = falls(numbers)
        first = int(np.argmax(fallen))
        high, low = int(numbers[first]), int(numbers[first - 1]) if first else low
    return high


def default_grid(n: int) -> tuple[Floats, Ints]:
    """13 scales from .01 to 1 and up to 25 numbers of features from 1 to n, both in even ratios."""
    ks = np.unique(np.rint(np.geomspace(1, n, 25)).astype(np.int64))
    return np.geomspace(0.01, 1, 13), ks
