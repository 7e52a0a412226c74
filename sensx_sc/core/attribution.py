"""From a block of inputs to its explanation: calibrate, walk, gather."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.core.assembly import assemble, with_finer
from sensx_sc.core.calibration import calibrate, failed
from sensx_sc.core.precision import choose_precision, probe_steps, sweep_precision
from sensx_sc.core.racing import Race, race
from sensx_sc.core.sampling import cell_key, uniforms
from sensx_sc.core.screening import screen
from sensx_sc.core.sets import of_sets
from sensx_sc.core.statistics import Tally
from sensx_sc.core.stopping import walk_until_stable
from sensx_sc.core.walks import Walker, place, walk
from sensx_sc.core.workers import in_order, n_workers
from sensx_sc.evaluators.grouped import GroupedEvaluator
from sensx_sc.evaluators.walk_set import WalkSet
from sensx_sc.words import ATTRIBUTED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sensx_sc.core.arrays import Floats, Ints
    from sensx_sc.core.assembly import Note
    from sensx_sc.core.calibration import Calibration
    from sensx_sc.core.domain import Domain
    from sensx_sc.core.explanation import Explanation
    from sensx_sc.core.run import Run
    from sensx_sc.evaluators.protocol import Evaluator

_NUMBERS_AT_ONCE = 2**22  # random numbers of a calibration that are in memory together


def attribute(
    x: Floats,
    target: Ints,
    output_names: tuple[str, ...],
    keys: Sequence[str | int],
    run: Run,
    *,
    advance: Callable[[int], object] = lambda _: None,
) -> Explanation:
    """Explain dense inputs (C, n) that were checked by :func:`prepare`."""
    evaluator = next(iter(run.evaluators.values()))
    seeds = [cell_key(key) for key in keys]
    q_x = evaluator.at(x, target)
    calibrations = _calibrate(x, target, seeds, q_x, run, advance)
    found = _walked(x, target, output_names, seeds, q_x, calibrations, run, advance)
    found = _of_places(found, run)
    if run.within is None:
        return found
    finer: list[Explanation | None] = []
    for i, status in enumerate(found.status):
        # The same features are perturbed, so delta* is the same.
        inside = _taken_apart(found, i, run) if status in ATTRIBUTED else None
        if inside is not None:
            one = slice(i, i + 1)
            finer.append(
                _walked(
                    x[one],
                    target[one],
                    output_names,
                    seeds[one],
                    q_x[one],
                    calibrations[one],
                    inside,
                    lambda _: None,
                )
            )
        else:
            finer.append(None)
        advance(run.evaluations_within)
    return with_finer(found, finer, run)


def _taken_apart(found: Explanation, i: int, run: Run) -> Run | None:
    """The run in which the top groups of one input are taken apart; None if it has none."""
    groups, within = run.domain.groups, run.within
    if groups is None or within is None:
        return None
    top = np.flatnonzero((found.rank[i] > 0) & (found.rank[i] <= run.within_top))
    if run.sets is not None:
        top = run.sets.atoms(top)
    refined = groups.refined(top.tolist(), within)
    return replace(
        run,
        domain=replace(run.domain, groups=refined),
        evaluators={
            name: evaluator.regrouped(refined.label)
            for name, evaluator in run.evaluators.items()
            if isinstance(evaluator, GroupedEvaluator)
        },
    )


def _calibrate(
    x: Floats,
    target: Ints,
    seeds: list[int],
    q_x: Floats,
    run: Run,
    advance: Callable[[int], object],
) -> list[Calibration]:
    evaluator = next(iter(run.evaluators.values()))

    def work(i: int) -> Calibration:
        return _calibrated(x[i], int(target[i]), seeds[i], float(q_x[i]), run)

    # Whole inputs side by side; the parts of one, where there are few.
    side_by_side = evaluator.parallel and len(x) >= n_workers(parallel=True)
    calibrations = []
    for found in in_order(work, range(len(x)), parallel=side_by_side):
        calibrations.append(found)
        advance(len(run.deltas) * run.options.n_samples)
    return calibrations


def _walked(
    x: Floats,
    target: Ints,
    output_names: tuple[str, ...],
    seeds: list[int],
    q_x: Floats,
    calibrations: list[Calibration],
    run: Run,
    advance: Callable[[int], object],
) -> Explanation:
    """The explanation of inputs that are calibrated."""
    calibrations = list(calibrations)
    chosen = [
        _precision(x[i], int(target[i]), seeds[i], found, run)
        for i, found in enumerate(calibrations)
    ]
    walkers = _walkers(x, target, seeds, q_x, calibrations, chosen, run)
    advance((len(x) - len(walkers)) * run.design.n_walks * run.domain.n_steps)
    notes: dict[int, Note | None] = {}
    for name in run.evaluators:
        of_type = [i for i in walkers if chosen[i][0] == name]
        made = _walk([walkers[i] for i in of_type], name, run, advance)
        notes |= dict(zip(of_type, made, strict=True))
    for i in [i for i, walker in walkers.items() if walker.not_finite]:
        calibrations[i] = failed(
            f"q is not finite at {walkers.pop(i).not_finite} of "
            f"{run.design.n_walks * run.domain.n_steps} steps of the walks"
        )
    return assemble(target, output_names, q_x, calibrations, chosen, walkers, notes, run)


def failure(target: Ints, output_names: tuple[str, ...], message: str, run: Run) -> Explanation:
    """The explanation of inputs (C,) on which the model fails."""
    n = len(target)
    chosen = [(next(iter(run.evaluators)), np.nan)] * n
    found = assemble(
        target, output_names, np.full(n, np.nan), [failed(message)] * n, chosen, {}, {}, run
    )
    found = _of_places(found, run)
    return found if run.within is None else with_finer(found, [None] * n, run)


def _of_places(found: Explanation, run: Run) -> Explanation:
    """What was found of the groups that were walked, as sets if they are parts of such."""
    if run.sets is None:
        return found
    return of_sets(found, run.sets, run.domain, run.options.rank_by)


def _walk(
    walkers: list[Walker], name: str, run: Run, advance: Callable[[int], object]
) -> Sequence[Note | None]:
    """Fill the tallies with one type of rows; what there is to say of each input."""
    options, evaluator, domain, design = run.options, run.evaluators[name], run.domain, run.design
    how: dict[str, Any] = {"seed": options.seed, "min_step": options.min_step, "advance": advance}
    if name in run.gradients:
        return screen(
            walkers, evaluator, run.gradients[name], domain, design, options, advance=advance
        )
    if options.top_k is not None:
        wanted = Race(options.top_k, options.alpha, options.rank_by)
        return race(walkers, evaluator, domain, design, wanted, **how)
    if run.until_stable:
        return walk_until_stable(walkers, evaluator, domain, design, options.rank_by, **how)
    walk(walkers, evaluator, domain, design, **how)
    return [None] * len(walkers)


def _calibrated(x: Floats, target: int, key: int, q_x: float, run: Run) -> Calibration:
    domain, options = run.domain, run.options

    name = sweep_precision(
        x, target, run.evaluators, domain, run.deltas, options.precision, options.tau, key=key
    )

    def sweep(deltas: Floats) -> Floats:
        # Below the automatic grid float32 inputs can no longer hold the perturbation.
        below = options.precision == "auto" and deltas[0] < run.deltas[0]
        evaluator = run.evaluators["float64" if below and "float64" in run.evaluators else name]
        down, up = (
            np.stack(part) for part in zip(*(domain.reach(x, d) for d in deltas), strict=True)
        )
        together = int(np.clip(_NUMBERS_AT_ONCE // domain.n_features, 1, evaluator.rows))

        def part(start: int) -> Floats:
            stop = min(start + together, options.n_samples)
            u = uniforms(options.seed, key, "calibration", start, stop, domain.n_features)
            if not domain.continuous:
                return at_points(x, target, q_x, domain, deltas, u[:, domain.free], evaluator)
            return evaluator.sweep(x, target, domain.free, down, up, u[:, domain.free])

        starts = range(0, options.n_samples, together)
        return np.concatenate(list(in_order(part, starts, parallel=evaluator.parallel)), axis=1)

    return calibrate(
        sweep, q_x, run.deltas, options.tau, extend=run.extend, refine_tol=options.refine_tol
    )


def at_points(
    x: Floats,
    target: int,
    q_x: float,
    domain: Domain,
    deltas: Floats,
    u: Floats,
    evaluator: Evaluator,
) -> Floats:
    """Q at points of neighbourhoods where features take only some values, (K, S).

    A point is where a walk ends whose one step moves all features.
    """
    cell, member = np.zeros(len(u), dtype=np.int64), np.zeros(len(domain.free), dtype=np.int64)
    start = (x[None], np.array([target]), np.array([q_x]), cell, domain.free)
    ends = (place(u, x, domain, delta) for delta in deltas)
    walks = (WalkSet(*start, end, cell[:, None], member) for end in ends)
    return np.stack([evaluator.walks(each)[:, 0] for each in walks])


def _precision(x: Floats, target: int, key: int, found: Calibration, run: Run) -> tuple[str, float]:
    """Type of rows and noise floor at the input's own scale."""
    if found.status not in ATTRIBUTED:
        return next(iter(run.evaluators)), np.nan
    rows = probe_steps(x, found.delta_star, run.domain, run.design, seed=run.options.seed, key=key)
    grain = 0.0 if run.reduced is None else run.reduced.grain
    return choose_precision(rows, target, run.evaluators, run.options.precision, grain=grain)


def _walkers(
    x: Floats,
    target: Ints,
    seeds: list[int],
    q_x: Floats,
    calibrations: list[Calibration],
    chosen: list[tuple[str, float]],
    run: Run,
) -> dict[int, Walker]:
    """The inputs that are walked, by their rows."""
    walkers = {}
    for name, evaluator in run.evaluators.items():
        rows = [
            i
            for i, found in enumerate(calibrations)
            if found.status in ATTRIBUTED and chosen[i][0] == name
        ]
        # In the type of the walks, so that a first step starts where the input is.
        first = evaluator is next(iter(run.evaluators.values()))
        own = q_x[rows] if first else evaluator.at(x[rows], target[rows])
        for i, q in zip(rows, own, strict=True):
            found, about = calibrations[i], (x[i], int(target[i]), seeds[i])
            walkers[i] = make_walker(
                *about, found.delta_star, found.at_star, float(q), evaluator, run, chosen[i][1]
            )
    return walkers


def make_walker(
    x: Floats,
    target: int,
    key: int,
    delta_star: float,
    envelope: tuple[float, float],
    q_x: float,
    evaluator: Evaluator,
    run: Run,
    noise_floor: float,
) -> Walker:
    """An input that is ready to be walked at its scale."""
    size = max(*(abs(end) for end in envelope), abs(q_x))
    tolerance = 1e4 * float(np.finfo(evaluator.dtype).eps) * size + 100 * noise_floor
    tally = Tally.empty(run.domain.n_steps)
    return Walker(x, target, key, delta_star, envelope, tolerance, q_x, tally)
