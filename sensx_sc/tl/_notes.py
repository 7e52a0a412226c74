"""What ``tl.sensx`` tells the user before and after the work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.core.plan import duration
from sensx_sc.logger import logger

if TYPE_CHECKING:
    from sensx_sc.core.plan import Plan
    from sensx_sc.core.run import Run
    from sensx_sc.tl._results import Results


def log_plan(plan: Plan, n_obs: int, n_arrays: int, *, source: str, raced: bool) -> None:
    """Say what will be done, and how."""
    n_cells, n_features = plan.n_inputs, plan.n_features
    logger.info(
        "sensx: explaining %s for %d of %d cells; %d of %d features are tested, bounds: %s.",
        plan.model,
        n_cells,
        n_obs,
        plan.n_tested,
        n_features,
        source,
    )
    logger.info(
        "sensx: %.3g evaluations (%.3g a cell), %.3g of them complete rows; %s; %s %s and %.2g GB.",
        plan.evaluations,
        plan.evaluations / max(n_cells, 1),
        plan.complete_rows,
        plan.why,
        "at most" if raced else "about",
        duration(plan.seconds),
        plan.memory / 1e9,
    )
    if n_cells < n_obs / 10 and n_obs * n_features > 10**8:
        logger.info(
            "sensx: layers span all %d cells; adata[mask].copy() would need %.1f GB less.",
            n_obs,
            4e-9 * (n_obs - n_cells) * n_features * n_arrays,
        )


def log_levels(run: Run) -> None:
    """Say what each level of a hierarchy takes of a cell's evaluations."""
    if run.within is None:
        return
    walks, free = run.design.n_walks, run.domain.free
    finest = len(np.unique(run.within.label[free]))
    logger.info(
        "sensx: of the evaluations of a cell %.3g walk %d groups, and about %.3g what the top %d "
        "of them hold, beside the others; walks of all %d would take %.3g.",
        walks * run.domain.n_steps,
        run.domain.n_steps,
        run.evaluations_within,
        run.within_top,
        finest,
        walks * finest,
    )


def log_written(
    results: Results, slots: dict[str, dict[str, Any]], seconds: float, *, noun: str = "cell"
) -> None:
    """Say what came out and where it is, of cells or what else was explained."""
    logger.info(
        "sensx: %s (%.1f s).",
        ", ".join(f"{count} {noun}s {status}" for status, count in results.counts.items()),
        seconds,
    )
    _log_advice(results, noun)
    if results.messages:
        cell, message = next(iter(results.messages.items()))
        logger.warning(
            "sensx: failed %ss have no values; the first (row %d): %s.", noun, cell, message
        )
    added = [f".{part}[{name!r}]" for part, entries in slots.items() for name in entries]
    if added:
        logger.info("sensx: added %s.", ", ".join(added))


def _log_advice(results: Results, noun: str) -> None:
    """What to do about results that say little."""
    counts, n_cells = results.counts, sum(results.counts.values())
    doubtful = results.n_uncertified
    if doubtful:
        logger.info(
            "sensx: delta* of %d of %d %ss is not certified at 95 %% confidence; more "
            "`n_samples` may settle it.",
            doubtful,
            n_cells,
            noun,
        )
    unsettled = results.n_unsettled
    if unsettled:
        logger.info(
            "sensx: the ranking of %d of %d %ss was not yet stable when their walks ended; a "
            "larger `max_walks` (now %d) may settle it.",
            unsettled,
            n_cells,
            noun,
            results.run.options.max_walks,
        )
    unaudited = results.n_failed_audits
    if unaudited:
        logger.warning(
            "sensx: the gradients of %d of %d %ss are not borne out by exact walks (see the "
            "audit of each); estimator='auto' walks where they are not.",
            unaudited,
            n_cells,
            noun,
        )
    if counts.get("insensitive", 0) == n_cells:
        logger.warning(
            "sensx: no %s has values, since nothing in the domain changes the response by `tau` "
            "= %g: is `target` the class you mean, and is `tau` in units of the response?",
            noun,
            results.run.options.tau,
        )
    if counts.get("unsaturated", 0) == n_cells and results.run.response.qoi != "probability":
        logger.warning(
            "sensx: the response never saturates, so delta* is the whole domain for every %s; "
            "`tau` = %g is in units of the response, whose values span %.3g.",
            noun,
            results.run.options.tau,
            results.span,
        )
