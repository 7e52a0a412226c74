"""One call: inputs and a model in, an explanation out."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.core.arrays import as_rows
from sensx_sc.core.calibration import calibrate, failed
from sensx_sc.core.explanation import Explanation, joined
from sensx_sc.core.precision import choose_precision, probe_steps, sweep_precision
from sensx_sc.core.preparation import Options, block_size, outputs, prepare, read
from sensx_sc.core.sampling import cell_key, uniforms
from sensx_sc.core.statistics import ranking_score, ranks
from sensx_sc.core.walks import Walker, walk
from sensx_sc.models.qoi import resolve_target
from sensx_sc.settings import settings
from sensx_sc.words import ATTRIBUTED, STATISTICS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch
    from numpy.typing import ArrayLike

    from sensx_sc.core.arrays import Floats, Ints, Rows
    from sensx_sc.core.calibration import Calibration
    from sensx_sc.core.preparation import Run
    from sensx_sc.models.model import Model
    from sensx_sc.models.qoi import Qoi
    from sensx_sc.words import DesignName, OutOfDomain, Precision, RankBy
_NUMBERS_AT_ONCE = 2**22  # random numbers of a calibration that are in memory together


def explain(
    X: Rows,
    model: Model | torch.nn.Module | Callable[..., Any] | Any,
    *,
    lower: ArrayLike,
    upper: ArrayLike,
    mask: ArrayLike | None = None,
    target: object = None,
    qoi: Qoi | Callable[[Floats], Any] = "auto",
    deltas: ArrayLike | str = "auto",
    tau: float = 0.1,
    n_samples: int = 1000,
    n_walks: int = 200,
    design: DesignName = "balanced",
    refine_tol: float | None = None,
    min_step: float = 0.0,
    rank_by: RankBy = "value",
    out_of_domain: OutOfDomain = "raise",
    names: Sequence[str] | None = None,
    keys: Sequence[str | int] | None = None,
    batch_size: int | str = "auto",
    device: str | torch.device = "auto",
    precision: Precision | None = None,
    seed: int | None = None,
    progress: bool | None = None,
) -> Explanation:
    """SensX values of inputs (equations 1 to 4 of the paper).

    For each input, find delta*, the smallest perturbation scale at which the response saturates;
    inside that neighbourhood walk from the input to random endpoints, one feature at a time in
    random order, and average the elementary effects.

    Parameters
    ----------
    X
        Inputs, dense or sparse, shape (C, n).
    model
        What :func:`sensx_sc.models.as_model` takes.
    lower, upper
        The admissible domain, scalars or shape (n,), in feature units.
    mask
        Features to perturb, bool (n,); the others keep their values and get NaN.
    target
        Explained output: name, index, one a cell, or None for each input's predicted class.
    qoi
        ``"auto"`` (probability of a classifier, else value), ``"probability"``, ``"logit"``,
        ``"value"``, or a callable on the outputs (B, K) that returns (B,).
    deltas
        Scales: ``"auto"``, ``"linear"`` or increasing numbers in (0, 1].
    tau
        Change of q that counts as none, in units of q.
    n_samples
        Random points a scale.
    n_walks
        Walks an input; the balanced design rounds up to whole blocks.
    design
        ``"balanced"`` or ``"uniform"`` (independent walks, the paper's).
    refine_tol
        Narrow the bracket of delta* to this width with scales between the grid's.
    min_step
        Leave out steps shorter than this fraction of delta* times the range; alters the estimand.
    rank_by
        Statistic that ``rank`` sorts by: ``"value"``, ``"change"``, ``"mean"``, ``"shapley"``.
    out_of_domain
        ``"raise"``, ``"clip"`` or ``"expand"`` for inputs outside the domain.
    names
        Feature names, held against the model's if it has any.
    keys
        Names of the inputs that key the random numbers; by default their rows.
    batch_size
        Rows of one model call; ``"auto"``: a byte budget.
    device
        Where a torch module runs.
    precision
        ``"auto"``, ``"float32"`` or ``"float64"``; None takes the setting.
    seed
        Seed; None takes the setting.
    progress
        Show a bar; None takes the setting.

    Returns
    -------
    An :class:`Explanation`.

    Raises
    ------
    ValueError, TypeError, KeyError
        Wrong arguments, before any work: each says what was got and what is allowed.
    RuntimeError
        The model's output for a row depends on more than the row.

    Examples
    --------
    >>> import numpy as np
    >>> import sensx_sc as sx
    >>> result = sx.core.explain(
    ...     np.array([[0.0, 0.5]]),
    ...     lambda z: 3 * z[:, 0] - z[:, 1],
    ...     lower=0,
    ...     upper=1,
    ...     progress=False,
    ... )
    >>> result.value.round(6)
    array([[3., 1.]])

    References
    ----------
    Aggarwal, Cogan, Periwal, "SensX: Model-Agnostic Local Feature Attribution via Calibrated
    Global Sensitivity Analysis", TMLR 2026.
    """
    options = Options(
        tau=tau,
        n_samples=n_samples,
        refine_tol=refine_tol,
        min_step=min_step,
        rank_by=rank_by,
        precision=settings.precision if precision is None else precision,
        seed=settings.seed if seed is None else seed,
    )
    rows = as_rows(X)
    run = prepare(
        rows,
        model,
        lower=lower,
        upper=upper,
        mask=mask,
        qoi=qoi,
        deltas=deltas,
        n_walks=n_walks,
        design=design,
        out_of_domain=out_of_domain,
        names=names,
        batch_size=batch_size,
        device=device,
        options=options,
    )
    keys = list(range(rows.shape[0]) if keys is None else keys)
    if len(keys) != rows.shape[0]:
        msg = f"`keys` must name each of the {rows.shape[0]} inputs; got {len(keys)}."
        raise ValueError(msg)
    together = block_size("auto", rows.shape[1])
    targets, output_names = resolve_target(target, run.response, outputs(rows, run, together))
    with progress_bar(rows.shape[0] * run.evaluations, progress) as advance:
        blocks = explain_blocks(rows, targets, output_names, keys, run, together, advance=advance)
        return joined([found for _, _, found in blocks])


def explain_blocks(
    rows: Rows,
    target: Ints,
    output_names: tuple[str, ...],
    keys: Sequence[str | int],
    run: Run,
    together: int,
    *,
    advance: Callable[[int], object] = lambda _: None,
) -> Iterator[tuple[slice, Floats, Explanation]]:
    """Explain inputs a block at a time: only a block of rows is dense.

    Yields
    ------
    Which rows, the inputs as the run sees them, and their explanation.
    """
    for start in range(0, rows.shape[0], together):
        part = slice(start, min(start + together, rows.shape[0]))
        x = read(rows[part], run)
        yield part, x, explain_rows(x, target[part], output_names, keys[part], run, advance=advance)


def explain_rows(
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
    calibrations = []
    for i in range(len(x)):
        calibrations.append(_calibrated(x[i], int(target[i]), seeds[i], float(q_x[i]), run))
        advance(len(run.deltas) * run.options.n_samples)
    chosen = [
        _precision(x[i], int(target[i]), seeds[i], found, run)
        for i, found in enumerate(calibrations)
    ]
    walkers = _walkers(x, target, seeds, q_x, calibrations, chosen, run)
    advance((len(x) - len(walkers)) * run.design.n_walks * len(run.domain.free))
    for name, of_type in run.evaluators.items():
        walk(
            [walker for i, walker in walkers.items() if chosen[i][0] == name],
            of_type,
            run.domain,
            run.design,
            seed=run.options.seed,
            min_step=run.options.min_step,
            advance=advance,
        )
    for i in [i for i, walker in walkers.items() if walker.not_finite]:
        calibrations[i] = failed(
            f"q is not finite at {walkers.pop(i).not_finite} of "
            f"{run.design.n_walks * len(run.domain.free)} steps of the walks"
        )
    return _assemble(target, output_names, q_x, calibrations, chosen, walkers, run)


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
        q = np.empty((len(deltas), options.n_samples))
        together = int(np.clip(_NUMBERS_AT_ONCE // domain.n_features, 1, evaluator.rows))
        for start in range(0, options.n_samples, together):
            stop = min(start + together, options.n_samples)
            u = uniforms(options.seed, key, "calibration", start, stop, domain.n_features)
            q[:, start:stop] = evaluator.sweep(x, target, domain.free, down, up, u[:, domain.free])
        return q

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
            found = calibrations[i]
            size = max(*(abs(end) for end in found.at_star), abs(q_x[i]))
            tolerance = 1e4 * float(np.finfo(evaluator.dtype).eps) * size + 100 * chosen[i][1]
            walkers[i] = Walker(
                x[i], int(target[i]), seeds[i], found.delta_star, found.at_star, tolerance, float(q)
            )
    return walkers


def _assemble(
    target: Ints,
    output_names: tuple[str, ...],
    q_x: Floats,
    calibrations: list[Calibration],
    chosen: list[tuple[str, float]],
    walkers: dict[int, Walker],
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
    floors = np.array([floor for _, floor in chosen])
    for i, walker in walkers.items():
        for name, values in walker.tally.statistics().items():
            arrays[name][i, free] = values
        below_noise[i, free] = walker.tally.largest_dq <= floors[i]
        coverage[i] = walker.inside / run.design.n_walks
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


@contextlib.contextmanager
def progress_bar(n_evaluations: int, show: bool | None) -> Iterator[Callable[[int], object]]:
    """A bar that counts evaluations of the response; hands out what advances it."""
    from tqdm.auto import tqdm

    show = settings.progress if show is None else show
    with tqdm(total=n_evaluations, unit="evaluation", disable=not show, unit_scale=True) as bar:
        yield bar.update
