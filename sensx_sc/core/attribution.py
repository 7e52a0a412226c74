"""From a block of inputs to its explanation: calibrate, walk, gather."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from sensx_sc.core.calibration import calibrate, failed
from sensx_sc.core.explanation import Explanation
from sensx_sc.core.precision import choose_precision, probe_steps, sweep_precision
from sensx_sc.core.racing import Race, Verdict, race
from sensx_sc.core.sampling import cell_key, uniforms
from sensx_sc.core.screening import Screening, screen
from sensx_sc.core.statistics import Tally, ranking_score, ranks
from sensx_sc.core.stopping import Stability, walk_until_stable
from sensx_sc.core.walks import Walker, walk
from sensx_sc.core.workers import in_order, n_workers
from sensx_sc.words import ATTRIBUTED, STATISTICS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sensx_sc.core.arrays import Floats, Ints
    from sensx_sc.core.audit import Audit
    from sensx_sc.core.calibration import Calibration
    from sensx_sc.core.preparation import Run
    from sensx_sc.evaluators.protocol import Evaluator

Note: TypeAlias = Verdict | Screening | Stability
"""What there is to say of the walks of an input."""

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

    def work(i: int) -> Calibration:
        return _calibrated(x[i], int(target[i]), seeds[i], float(q_x[i]), run)

    # Whole inputs side by side; the parts of one, where there are few.
    side_by_side = evaluator.parallel and len(x) >= n_workers(parallel=True)
    calibrations = []
    for found in in_order(work, range(len(x)), parallel=side_by_side):
        calibrations.append(found)
        advance(len(run.deltas) * run.options.n_samples)
    chosen = [
        _precision(x[i], int(target[i]), seeds[i], found, run)
        for i, found in enumerate(calibrations)
    ]
    walkers = _walkers(x, target, seeds, q_x, calibrations, chosen, run)
    advance((len(x) - len(walkers)) * run.design.n_walks * len(run.domain.free))
    notes: dict[int, Note | None] = {}
    for name in run.evaluators:
        of_type = [i for i in walkers if chosen[i][0] == name]
        made = _walk([walkers[i] for i in of_type], name, run, advance)
        notes |= dict(zip(of_type, made, strict=True))
    for i in [i for i, walker in walkers.items() if walker.not_finite]:
        calibrations[i] = failed(
            f"q is not finite at {walkers.pop(i).not_finite} of "
            f"{run.design.n_walks * len(run.domain.free)} steps of the walks"
        )
    return _assemble(target, output_names, q_x, calibrations, chosen, walkers, notes, run)


def failure(target: Ints, output_names: tuple[str, ...], message: str, run: Run) -> Explanation:
    """The explanation of inputs (C,) on which the model fails."""
    n = len(target)
    chosen = [(next(iter(run.evaluators)), np.nan)] * n
    return _assemble(
        target, output_names, np.full(n, np.nan), [failed(message)] * n, chosen, {}, {}, run
    )


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
            return evaluator.sweep(x, target, domain.free, down, up, u[:, domain.free])

        starts = range(0, options.n_samples, together)
        return np.concatenate(list(in_order(part, starts, parallel=evaluator.parallel)), axis=1)

    return calibrate(
        sweep, q_x, run.deltas, options.tau, extend=run.extend, refine_tol=options.refine_tol
    )


def _precision(x: Floats, target: int, key: int, found: Calibration, run: Run) -> tuple[str, float]:
    """Type of rows and noise floor at the input's own scale."""
    if found.status not in ATTRIBUTED:
        return next(iter(run.evaluators)), np.nan
    rows = probe_steps(x, found.delta_star, run.domain, run.design, seed=run.options.seed, key=key)
    return choose_precision(rows, target, run.evaluators, run.options.precision)


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
    tally = Tally.empty(len(run.domain.free))
    return Walker(x, target, key, delta_star, envelope, tolerance, q_x, tally)


def _assemble(
    target: Ints,
    output_names: tuple[str, ...],
    q_x: Floats,
    calibrations: list[Calibration],
    chosen: list[tuple[str, float]],
    walkers: dict[int, Walker],
    notes: dict[int, Note | None],
    run: Run,
) -> Explanation:
    shape = (len(calibrations), run.domain.n_features)
    free = run.domain.free
    arrays: dict[str, Any] = {
        name: np.zeros(shape, np.int64) if name == "n" else np.full(shape, np.nan)
        for name in STATISTICS
    }
    below_noise = np.zeros(shape, dtype=bool)
    coverage = np.full(shape[0], np.nan)
    n_walks = np.zeros(shape[0], dtype=np.int64)
    reliability, overlap = np.full((2, shape[0]), np.nan)
    settled = np.zeros(shape[0], dtype=bool)
    floors = np.array([floor for _, floor in chosen])
    for i, walker in walkers.items():
        for name, values in walker.tally.statistics().items():
            arrays[name][i, free] = values
        below_noise[i, free] = walker.tally.largest_dq <= floors[i]
        coverage[i] = walker.inside / walker.ends
        n_walks[i] = walker.tally.n_walks.max()
    top_k_gap = np.full(shape[0], np.nan)
    certified = np.zeros(shape[0], dtype=bool)
    undecided = np.zeros(shape[0], dtype=np.int64)
    exact = ~np.isnan(arrays["value"])
    estimator = ["walks"] * shape[0]
    audits: list[Audit | None] = [None] * shape[0]
    for i, note in notes.items():
        if isinstance(note, Verdict):
            certified[i], top_k_gap[i] = note.certified, note.gap
            undecided[i] = note.n_undecided
        elif isinstance(note, Stability):
            reliability[i], overlap[i] = note.reliability, note.overlap
            settled[i] = note.settled
        elif note is not None:
            estimator[i], audits[i] = note.estimator, note.audit
            exact[i, free] &= note.exact
    score = ranking_score(arrays[run.options.rank_by], run.options.rank_by)
    deltas, envelope = _envelopes(run.deltas, calibrations)
    return Explanation(
        rank=ranks(score),
        below_noise=below_noise,
        delta_star=np.array([found.delta_star for found in calibrations]),
        bracket=np.array([found.bracket for found in calibrations]),
        certified=np.array([found.certified for found in calibrations]),
        status=tuple(found.status for found in calibrations),
        messages=tuple(found.message for found in calibrations),
        target=target,
        output_names=output_names,
        qoi=q_x,
        envelope=envelope,
        deltas=deltas,
        endpoint_coverage=coverage,
        top_k_certified=certified,
        top_k_gap=top_k_gap,
        n_undecided=undecided,
        n_walks=n_walks,
        reliability=reliability,
        overlap=overlap,
        settled=settled,
        estimator=tuple(estimator),
        exact=exact,
        audits=tuple(audits),
        noise_floor=floors,
        precision=tuple(name for name, _ in chosen),
        lower=run.domain.lower,
        upper=run.domain.upper,
        params=run.params,
        **arrays,
    )


def _envelopes(grid: Floats, calibrations: list[Calibration]) -> tuple[Floats, Floats]:
    """All inputs' envelopes on one grid: the run's, and below it what any input needed."""
    found = [c.envelope for c in calibrations if c.envelope is not None]
    deltas = np.unique(np.concatenate([grid, *(envelope.deltas for envelope in found)]))
    envelope = np.full((len(calibrations), len(deltas), 2), np.nan)
    for i, calibration in enumerate(calibrations):
        if calibration.envelope is not None:
            at = np.searchsorted(deltas, calibration.envelope.deltas)
            envelope[i, at, 0] = calibration.envelope.low
            envelope[i, at, 1] = calibration.envelope.high
    return deltas, envelope
