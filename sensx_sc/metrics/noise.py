"""Which features move the response at all, and which only seem to, by the noise of the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import binom

from sensx_sc.core.precision import moved_differences, repeated_differences
from sensx_sc.core.sampling import cell_key, endpoints, orders
from sensx_sc.core.walks import place
from sensx_sc.metrics.recording import walk_input

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

    from sensx_sc.core.arrays import Floats, Ints
    from sensx_sc.metrics.explained import Explained

N_PROBES = 400
RATE = 0.01
"""Share of steps of a feature without effect that are to exceed the threshold."""


@dataclass(frozen=True)
class NoiseLevel:
    r"""How large a change of q noise alone makes, at one input.

    Attributes
    ----------
    threshold
        Size of a change that noise rarely exceeds.
    rate
        How often noise exceeds it, at most: P(\\|dq\\| > threshold) of a feature without effect.
    """

    threshold: float
    rate: float


def exceedance_p(counts: ArrayLike, n: ArrayLike, rate: float) -> Floats:
    """P-value of so many exceedances, where noise alone makes each with probability ``rate``.

    Parameters
    ----------
    counts
        Steps of each feature that exceeded the threshold, (F,).
    n
        Steps of each feature, (F,) or one number.
    rate
        Between 0 and 1.

    Returns
    -------
    P(Bin(n, rate) >= counts).

    Examples
    --------
    >>> import sensx_sc as sx
    >>> sx.metrics.exceedance_p([0, 2, 9], 100, 0.01).round(4).tolist()
    [1.0, 0.2642, 0.0]
    """
    if not 0 < rate < 1:
        msg = f"`rate` must lie between 0 and 1; got {rate}."
        raise ValueError(msg)
    seen, steps = np.broadcast_arrays(np.asarray(counts), np.asarray(n))
    if (seen < 0).any() or (seen > steps).any():
        msg = "`counts` must lie between 0 and the number of steps `n`."
        raise ValueError(msg)
    return np.asarray(binom.sf(seen - 1, steps, rate), dtype=np.float64)


def noise_level(cells: Explained, i: int) -> NoiseLevel:
    """Measure the noise of the response at rows that walks of input ``i`` go through.

    Identical rows are evaluated at other places of other batches, and the steps between them in
    both types of rows where the walks are made in single precision. A model that computes in
    reduced precision inside is also asked for rows that are moved by its rounding. What exceeds the
    threshold among these differences bounds the rate.
    """
    evaluator = cells.evaluator_of(i)
    before, after = _steps(cells, i)
    target = np.full(len(before), cells.target[i])
    rows = np.concatenate([before, after])
    # A step is the difference of two evaluations: so are two of one row.
    noise = repeated_differences(rows, int(cells.target[i]), evaluator)
    if (reduced := cells.run.reduced) is not None:
        inside = moved_differences(rows, int(cells.target[i]), evaluator, reduced.grain)
        noise = np.concatenate([noise, inside])
    exact = cells.run.evaluators.get("float64")
    if evaluator.dtype == np.float32 and exact is not None:
        single = evaluator.at(after, target) - evaluator.at(before, target)
        double = exact.at(after, target) - exact.at(before, target)
        noise = np.concatenate([noise, np.abs(single - double)])
    noise = noise[np.isfinite(noise)]
    q = evaluator.at(before, target)
    spacing = float(np.spacing(np.abs(q[np.isfinite(q)]).max(initial=0.0)))
    threshold = max(float(np.quantile(noise, 1 - RATE, method="higher")), spacing)
    exceeded = int(np.count_nonzero(noise > threshold))
    return NoiseLevel(threshold, (exceeded + 1) / (len(noise) + 1))


def _steps(cells: Explained, i: int) -> tuple[Floats, Floats]:
    """Rows just before and just after steps that are spread over the first walks, (S, n) each."""
    run, free, x = cells.run, cells.free, cells.x(i)
    n, key, seed = run.domain.n_features, cell_key(cells.keys[i]), run.options.seed
    blocks = range(min(run.design.n_blocks, -(-N_PROBES // run.design.block)))
    order = orders(seed, key, run.design, blocks, n, free)
    u = endpoints(seed, key, run.design, blocks, n, free)
    end = place(u, x, run.domain, float(cells.delta_star[i]))
    at = np.resize(np.arange(len(order)), N_PROBES)
    taken = np.rint(np.linspace(0, len(free) - 1, N_PROBES)).astype(np.int64)
    position = np.empty_like(order)
    np.put_along_axis(position, order, np.arange(len(free))[None, :], axis=1)
    found = []
    for done in (taken, taken + 1):
        rows = np.repeat(x[None], N_PROBES, axis=0)
        rows[:, free] = np.where(position[at] < done[:, None], end[at], x[free])
        found.append(rows)
    return found[0], found[1]


def exceedances(
    cells: Explained,
    i: int,
    threshold: float,
    *,
    advance: Callable[[int], object] = lambda _: None,
) -> tuple[Ints, int]:
    """Walk input ``i`` and count the steps of each feature that exceed a threshold.

    Returns
    -------
    Counts, (F,), and the number of walks.
    """
    counts = np.zeros(len(cells.free), dtype=np.int64)
    walks = 0

    def keep(_: int, dq: Floats, dx: Floats) -> None:
        nonlocal walks
        counts[:] += np.count_nonzero(np.abs(dq) > threshold, axis=0)
        walks += len(dq)

    walk_input(cells, i, keep, advance=advance)
    return counts, walks
