"""What calibrations and walks have yielded, as an explanation."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from sensx_sc.core.explanation import Explanation
from sensx_sc.core.racing import Verdict
from sensx_sc.core.screening import Screening
from sensx_sc.core.statistics import ranking_score, ranks
from sensx_sc.core.stopping import Stability
from sensx_sc.words import STATISTICS

if TYPE_CHECKING:
    from sensx_sc.core.arrays import Floats, Ints
    from sensx_sc.core.audit import Audit
    from sensx_sc.core.calibration import Calibration
    from sensx_sc.core.run import Run
    from sensx_sc.core.walks import Walker

Note: TypeAlias = Verdict | Screening | Stability
"""What there is to say of the walks of an input."""


def assemble(
    target: Ints,
    output_names: tuple[str, ...],
    q_x: Floats,
    calibrations: list[Calibration],
    chosen: list[tuple[str, float]],
    walkers: dict[int, Walker],
    notes: dict[int, Note | None],
    run: Run,
) -> Explanation:
    """Gather what calibrations and walks have yielded.

    Parameters
    ----------
    target, q_x
        Explained output and response of each input, (C,).
    calibrations, chosen
        Of each input, the latter type of rows and noise floor.
    walkers, notes
        Those of the inputs that were walked, by their rows.
    """
    shape = (len(calibrations), run.domain.n_places)
    places = run.domain.places
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
            arrays[name][i, places] = values
        below_noise[i, places] = walker.tally.largest_dq <= floors[i]
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
            exact[i, places] &= note.exact
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
        groups=run.domain.groups,
        params=run.params,
        **arrays,
    )


def with_finer(coarse: Explanation, finer: list[Explanation | None], run: Run) -> Explanation:
    """Add to groups what was found inside the top ones, as further columns.

    Parameters
    ----------
    coarse
        C inputs, G groups.
    finer
        For each input the explanation, of that input alone, of the partition in which its top
        groups are taken apart (:meth:`Groups.refined`: the H fine groups first); None where it
        was not walked.

    Returns
    -------
    Arrays (C, G + H): groups, then fine groups, each ranked among themselves; what is said of a
    race, of gradients and of failures is of the fine ones.
    """
    n_fine = len(run.within.names) if run.within is not None else 0
    wide: dict[str, Any] = {
        name: np.concatenate(
            [
                getattr(coarse, name),
                _rows([getattr(part, name, None) for part in finer], name, n_fine),
            ],
            axis=1,
        )
        for name in (*STATISTICS, "below_noise", "exact")
    }
    score = ranking_score(wide[run.options.rank_by][:, -n_fine:], run.options.rank_by)
    said: dict[str, Any] = {}
    for name in _OF_AN_INPUT:
        own = getattr(coarse, name)
        parts = [own[i] if part is None else getattr(part, name)[0] for i, part in enumerate(finer)]
        said[name] = tuple(parts) if isinstance(own, tuple) else np.array(parts, dtype=own.dtype)
    return replace(
        coarse,
        rank=np.concatenate([coarse.rank, ranks(score)], axis=1),
        within=run.within,
        **wide,
        **said,
    )


_OF_AN_INPUT = (
    "delta_star",
    "bracket",
    "certified",
    "status",
    "messages",
    "top_k_certified",
    "top_k_gap",
    "n_undecided",
    "n_walks",
    "reliability",
    "overlap",
    "settled",
    "estimator",
    "audits",
)


def _rows(parts: list[np.ndarray | None], name: str, n_fine: int) -> np.ndarray:
    """The fine columns of each input, (C, H); empty ones where there are none."""
    empty: Any = np.full(n_fine, np.nan)
    if name == "n":
        empty = np.zeros(n_fine, dtype=np.int64)
    elif name in ("below_noise", "exact"):
        empty = np.zeros(n_fine, dtype=bool)
    return np.stack([empty if part is None else part[0, :n_fine] for part in parts])


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
