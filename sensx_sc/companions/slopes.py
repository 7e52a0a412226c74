"""Local slopes of blocks of inputs, one feature moved at a time, whatever the evaluator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.companions.local_polynomial import local_slopes
from sensx_sc.companions.sage import sage_slopes
from sensx_sc.companions.spread import column_spread, feature_scale
from sensx_sc.companions.windows import place
from sensx_sc.core.arguments import split_options
from sensx_sc.core.domain import make_domain
from sensx_sc.core.preparation import prepare, read
from sensx_sc.core.workers import in_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import ArrayLike

    from sensx_sc.companions.slope_options import How
    from sensx_sc.core.arrays import Floats, Ints, Rows
    from sensx_sc.core.run import Run
    from sensx_sc.evaluators.protocol import Evaluator

STATISTICS = ("slope", "se", "bandwidth", "curvature")
_NUMBERS_AT_ONCE = 2**18  # responses of a task


def prepare_slopes(rows: Rows, model: Any, **how: Any) -> Run:
    """Check everything that can be checked before the work."""
    options, others = split_options(how)
    one_step: dict[str, Any] = {"deltas": (1.0,), "n_walks": 1, "design": "uniform"}
    return prepare(rows, model, options=options, **one_step, **others)


def precise_evaluator(run: Run) -> Evaluator:
    """The evaluator in float64, unless float32 is asked for or all there is."""
    if run.options.precision == "auto" and "float64" in run.evaluators:
        return run.evaluators["float64"]
    return next(iter(run.evaluators.values()))


def scale_of(rows: Rows, scale: ArrayLike | None, how: How, run: Run) -> Floats:
    """Scale of each feature, (n,): given, or of the data; 0 for those without one."""
    domain = run.domain
    if scale is None:
        found = column_spread(rows).all() if how.method == "sage" else feature_scale(rows)
    else:
        # Bounds are checked as a scale must be: one finite number, or one a feature.
        try:
            found = make_domain(0.0, scale, domain.n_features).upper
        except (TypeError, ValueError) as error:
            msg = (
                f"`scale` must be a number or {domain.n_features} numbers, not negative and not "
                f"all zero; got {scale!r}."
            )
            raise type(error)(msg) from error
    if how.method == "sage":
        return found
    return np.minimum(found, (domain.upper - domain.lower) / 2)


def slope_params(run: Run, how: How) -> dict[str, Any]:
    """The parameters, JSON-safe."""
    kept = ("model", "qoi", "precision", "n_features", "n_tested", "out_of_domain", "evaluator")
    params = {name: run.params[name] for name in kept}
    if how.method == "sage":
        return params | {"method": "sage", "radius": how.radius, "kappa": how.kappa}
    return params | {
        "method": how.method,
        "bandwidths": list(how.bandwidth),
        "rule": how.rule,
        "n_points": how.n_points,
    }


def slopes_of_blocks(
    rows: Rows,
    target: Ints,
    run: Run,
    how: How,
    scale: Floats,
    together: int,
    features: Sequence[Ints] | None = None,
    *,
    advance: Callable[[int], object] = lambda _: None,
) -> Iterator[tuple[slice, dict[str, Floats]]]:
    """Slopes of inputs, a block of rows dense at a time.

    Yields
    ------
    Which rows, and arrays by the name of the statistic, (C, n); ``curve`` (C, n, L), ``qoi`` (C,).
    """
    testable = run.domain.free[scale[run.domain.free] > 0]
    for start in range(0, rows.shape[0], together):
        part = slice(start, min(start + together, rows.shape[0]))
        wanted = [testable] * (part.stop - part.start)
        if features is not None:
            wanted = [np.intersect1d(testable, some) for some in features[part]]
        yield part, _of_block(read(rows[part], run), target[part], wanted, run, how, scale)
        advance(part.stop - part.start)


def _of_block(
    x: Floats, target: Ints, wanted: Sequence[Ints], run: Run, how: How, scale: Floats
) -> dict[str, Floats]:
    """Slopes of inputs (C, n), each along some features."""
    evaluator = precise_evaluator(run)
    q_x = evaluator.at(x, target)
    cell = np.repeat(np.arange(len(x)), [len(some) for some in wanted])
    feature = np.concatenate(wanted)
    levels = 1 if how.method == "sage" else len(how.bandwidth)
    arrays = {name: np.full(x.shape, np.nan) for name in STATISTICS}
    arrays |= {"curve": np.full((*x.shape, levels), np.nan), "qoi": q_x}
    many = max(1, _NUMBERS_AT_ONCE // len(how.offsets))

    def work(start: int) -> tuple[slice, dict[str, Floats]]:
        part = slice(start, start + many)
        lines = cell[part], feature[part]
        return part, _of_lines(x, target, q_x, *lines, evaluator, run, how, scale)

    starts = range(0, len(cell), many)
    for part, found in in_order(work, starts, parallel=evaluator.parallel):
        for name, values in found.items():
            arrays[name][cell[part], feature[part]] = values
    return arrays


def _of_lines(
    x: Floats,
    target: Ints,
    q_x: Floats,
    cell: Ints,
    feature: Ints,
    evaluator: Evaluator,
    run: Run,
    how: How,
    scale: Floats,
) -> dict[str, Floats]:
    """Slopes of single inputs along single features, (W,)."""
    at, unit = x[cell, feature], scale[feature]
    if how.method == "sage":
        values = at[:, None] + unit[:, None] * how.offsets
        q = evaluator.one_at_a_time(x, target, cell, feature, values)
        slope = sage_slopes(q_x[cell], q, how.offsets, unit, how.kappa)
        return {"slope": slope, "bandwidth": how.radius * unit, "curve": slope[:, None]}
    lower, upper = run.domain.lower[feature], run.domain.upper[feature]
    placed = place(at, unit, how.windows, lower, upper)
    q = evaluator.one_at_a_time(x, target, cell, feature, placed.values)
    eps = float(np.finfo(evaluator.dtype).eps)
    got = local_slopes(q_x[cell], q, placed, unit, how.windows, how.rule, eps)
    found = {"slope": got.slope, "se": got.se, "bandwidth": got.width}
    return found | {"curvature": got.curvature, "curve": got.curve}
