"""What a run will take, before it starts."""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.core.arguments import prepared
from sensx_sc.core.attribution import at_points
from sensx_sc.core.preparation import ARRAYS_AN_INPUT, block_size, check_keys
from sensx_sc.core.sampling import cell_key, endpoints, orders, uniforms
from sensx_sc.core.walks import place
from sensx_sc.core.workers import n_workers
from sensx_sc.evaluators.walk_set import WalkSet
from sensx_sc.models.model import Announces
from sensx_sc.models.qoi import resolve_target

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

    from sensx_sc.core.arrays import Floats, Rows
    from sensx_sc.core.run import Run

_ENOUGH = 0.02  # seconds that a part of the work must take to be measured
_ARRAYS_A_WALK = 12  # float64 numbers that a step of a walk occupies while its batch is open
_NUMBERS_A_SWEEP = 3 * 2**22
_ROWS_OF_A_CALL = 6  # the rows, their making, and a net's first layers


@dataclass(frozen=True)
class Plan:
    """What a run will do and take.

    Attributes
    ----------
    n_inputs, n_features, n_tested
        Inputs to explain, their features, and those that will be perturbed.
    model, evaluator, why
        The model, how it will be evaluated, and why so.
    evaluations
        Responses that the method asks for, of all inputs.
    complete_rows
        How many of them take a complete row and a forward pass of the whole model. The others
        follow from what is known of the model's structure, with the same numbers.
    seconds
        Time, from a measured piece of the work; at most, with ``top_k``; NaN where the model
        failed on it.
    memory
        Bytes beside the data, the model and the results.
    """

    n_inputs: int
    n_features: int
    n_tested: int
    model: str
    evaluator: str
    why: str
    evaluations: int
    complete_rows: int
    seconds: float
    memory: int

    def __str__(self) -> str:
        return (
            f"{self.n_inputs} inputs, {self.n_tested} of {self.n_features} features; "
            f"{self.model} is evaluated {self.why}. {self.evaluations:.3g} evaluations from "
            f"{self.complete_rows:.3g} complete rows; about {duration(self.seconds)}, "
            f"{self.memory / 2**20:.0f} MiB of memory."
        )


def plan(X: Rows, model: Any, *, lower: ArrayLike, upper: ArrayLike, **how: Any) -> Plan:
    """Say what :func:`explain` would do with the same arguments, without doing it.

    Everything is checked as :func:`explain` checks it, and a small piece of the work is timed.

    Parameters
    ----------
    X, model, lower, upper
        As in :func:`explain`.
    how
        Any other argument of :func:`explain`.

    Returns
    -------
    A :class:`Plan`; ``print`` it.

    Raises
    ------
    ValueError, TypeError, KeyError
        As :func:`explain`.

    Examples
    --------
    >>> import numpy as np
    >>> import sensx_sc as sx
    >>> found = sx.core.plan(np.zeros((3, 5)), lambda z: z.sum(axis=1), lower=0, upper=1)
    >>> found.evaluator, found.evaluations
    ('dense', 153000)
    """
    rows, run, rest = prepared(X, model, lower, upper, how, function="plan")
    target, keys = rest.get("target"), rest.get("keys")
    check_keys(keys, rows.shape[0])
    outputs = next(iter(run.evaluators.values())).outputs(run.trial[:1])
    resolve_target(target, run.response, np.repeat(outputs, rows.shape[0], axis=0))
    return make_plan(rows, run, block_size("auto", rows.shape[1]))


def make_plan(rows: Rows, run: Run, together: int) -> Plan:
    """The plan of a run that is prepared, ``together`` inputs dense at a time."""
    n_inputs, n = rows.shape
    size, evaluator = run.domain.n_steps, next(iter(run.evaluators.values()))
    walks, points = run.design.n_walks, len(run.deltas) * run.options.n_samples
    workers = n_workers(parallel=evaluator.parallel)
    batch = max(evaluator.walks_together(size), run.design.block)
    memory = (
        min(together, n_inputs) * n * 8 * ARRAYS_AN_INPUT
        + workers * 8 * max(min(batch, walks) * size * _ARRAYS_A_WALK, _NUMBERS_A_SWEEP)
        + evaluator.rows * n * evaluator.dtype.itemsize * _ROWS_OF_A_CALL
        * (evaluator.complete_rows(run.domain.free, 1, 1) > 1)
    )  # fmt: skip
    return Plan(
        n_inputs,
        n,
        len(run.domain.free),
        run.response.model.name,
        evaluator.name,
        run.why,
        n_inputs * run.evaluations,
        n_inputs * evaluator.complete_rows(run.domain.free, walks, points),
        n_inputs * _estimate(run),
        int(memory),
    )


def _estimate(run: Run) -> float:
    """Time that one input takes; NaN where the model fails on all that were tried, or costs."""
    if isinstance(run.response.model, Announces):
        return math.nan
    for i in range(len(run.trial)):
        # What a model may raise is dealt with where the work is done.
        with contextlib.suppress(Exception):
            return _seconds(run.trial[i : i + 1], run)
    return math.nan


def _seconds(x: Floats, run: Run) -> float:
    """Time that one input takes, from small pieces of its calibration and of its walks."""
    evaluator, domain, design = next(iter(run.evaluators.values())), run.domain, run.design
    free, n, options = domain.free, domain.n_features, run.options
    key, target = cell_key("plan"), np.zeros(1, dtype=np.int64)
    scale = float(np.median(run.deltas))
    q_x = evaluator.at(x, target)
    down, up = (
        np.stack(part) for part in zip(*(domain.reach(x[0], d) for d in run.deltas), strict=True)
    )

    def sweep(samples: int) -> None:
        u = uniforms(options.seed, key, "calibration", 0, samples, n)[:, free]
        if domain.continuous:
            evaluator.sweep(x[0], 0, free, down, up, u)
        else:
            at_points(x[0], 0, float(q_x[0]), domain, run.deltas, u, evaluator)

    def draw(blocks: int) -> None:
        orders(options.seed, key, design, range(blocks), n, domain.leaders)
        endpoints(options.seed, key, design, range(blocks), n, free)

    def steps(some: int) -> None:
        first = domain.member < some
        order = np.argsort(np.argsort(order_of_all[:, :some], axis=1), axis=1)
        end = place(fractions, x[0], domain, scale)[:, first]
        cell = np.zeros(len(order), dtype=np.int64)
        member = None if domain.groups is None else domain.member[first]
        evaluator.walks(WalkSet(x, target, q_x, cell, free[first], end, order, member))

    order_of_all = orders(options.seed, key, design, range(1), n, domain.leaders)
    fractions = endpoints(options.seed, key, design, range(1), n, free)
    calibration = _extrapolated(sweep, options.n_samples)
    workers = n_workers(parallel=evaluator.parallel)
    if run.gradients:
        gradients = next(iter(run.gradients.values()))
        states, targets = np.repeat(x, design.block, axis=0), np.repeat(target, design.block)
        a_block = workers * _timed(lambda _: gradients.at(states, targets), 1)
    else:
        a_block = _extrapolated(steps, domain.n_steps) + _timed(draw, 1)
    return calibration + design.n_blocks * a_block / workers


def _extrapolated(work: Callable[[int], None], most: int) -> float:
    """Seconds for ``most`` like units of some work, from a line through two smaller pieces."""
    units = min(8, most)
    work(units)  # the first call of anything takes longer
    seconds = _timed(work, units)
    while units < most:
        more = min(4 * units, most)
        longer = _timed(work, more)
        slope = (longer - seconds) / (more - units)
        if longer - seconds > _ENOUGH:
            return longer + slope * (most - more)
        units, seconds = more, longer
    return seconds


def _timed(work: Callable[[int], object], units: int) -> float:
    started = time.perf_counter()
    work(units)
    return time.perf_counter() - started


def duration(seconds: float) -> str:
    """A time as one would say it.

    Examples
    --------
    >>> from sensx_sc.core.plan import duration
    >>> duration(0.2), duration(40), duration(400), duration(9000)
    ('1 s', '40 s', '7 min', '2.5 h')
    """
    if math.isnan(seconds):
        return "an unknown time"
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    if seconds < 6000:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h" if seconds < 360_000 else f"{seconds / 86400:.0f} days"
