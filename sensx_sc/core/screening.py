"""Gradients in the place of walks, never without exact walks of some features beside them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.core.audit import audit, choose_audited
from sensx_sc.core.gradients import estimate
from sensx_sc.core.sampling import MIN_BLOCKS, make_design, uniforms
from sensx_sc.core.statistics import Tally
from sensx_sc.core.walks import walk, walk_chosen

if TYPE_CHECKING:
    from collections.abc import Callable

    from sensx_sc.core.arrays import Bools, Floats
    from sensx_sc.core.audit import Audit
    from sensx_sc.core.domain import Domain
    from sensx_sc.core.options import Options
    from sensx_sc.core.sampling import Design
    from sensx_sc.core.walks import Walker
    from sensx_sc.evaluators.gradient.gradients import Gradients
    from sensx_sc.evaluators.protocol import Evaluator

TOP_K = 50
"""Features whose agreement is audited, where ``top_k`` is not given."""
_CANDIDATES_A_PLACE = 4


@dataclass(frozen=True)
class Screening:
    """What has become of the gradients of an input.

    Attributes
    ----------
    estimator
        What most of its values come from: ``"gradient"`` or ``"walks"``.
    exact
        Which of the tested features (groups) have exact values, (S,).
    audit
        The gradients held against exact walks.
    """

    estimator: str
    exact: Bools
    audit: Audit


def screen(
    walkers: list[Walker],
    evaluator: Evaluator,
    gradients: Gradients,
    domain: Domain,
    design: Design,
    options: Options,
    *,
    advance: Callable[[int], object] = lambda _: None,
) -> list[Screening | None]:
    """Fill the tallies from gradients, and audit them.

    With ``estimator="gradient"`` the candidates and a random sample of the others are walked on a
    few blocks, to compare. With ``"auto"`` they are walked on all blocks and their exact values
    take the place of the estimated ones; where the audit fails, all features are walked.

    Returns
    -------
    One for each input; None where a gradient or the response was not finite.
    """
    how: dict[str, Any] = {"seed": options.seed, "min_step": options.min_step}
    estimate(walkers, gradients, domain, design, advance=advance, **how)
    finite = [walker for walker in walkers if not walker.not_finite]
    k = min(options.top_k or TOP_K, domain.n_steps)
    auto = options.estimator == "auto"
    n_top = _CANDIDATES_A_PLACE * k if auto else k
    estimated = [_statistic(walker, options) for walker in finite]
    chosen = []
    for walker, values in zip(finite, estimated, strict=True):
        u = uniforms(options.seed, walker.key, "audit", 0, 1, domain.n_features)[0, domain.leaders]
        chosen.append(choose_audited(values, u, n_top, options.audit_features))
    exact = [replace(walker, tally=Tally.empty(domain.n_steps)) for walker in finite]
    at = [np.concatenate(parts) for parts in chosen]
    audited = design if auto else _of_audit(design, domain, options)
    walk_chosen(exact, at, evaluator, domain, audited, blocks=range(audited.n_blocks), **how)
    found: dict[int, Screening] = {}
    for walker, values, other, parts, where in zip(
        finite, estimated, exact, chosen, at, strict=True
    ):
        walker.not_finite += other.not_finite
        se = _error(other, options)
        verdict = audit(values, _statistic(other, options), se, *parts, k)
        known = np.zeros(domain.n_steps, dtype=bool)
        if auto and verdict.passed:
            known[where] = True
            walker.tally.replace(where, other.tally)
        elif auto:
            known[:] = True
            walker.tally, walker.ends, walker.inside = Tally.empty(len(known)), 0, 0
            walk([walker], evaluator, domain, design, **how)
        found[id(walker)] = Screening("walks" if known.all() else "gradient", known, verdict)
    return [found.get(id(walker)) for walker in walkers]


def _of_audit(design: Design, domain: Domain, options: Options) -> Design:
    """The walks that estimates are held against: some of the run's, or as many as are asked for."""
    if options.audit_walks is None:
        return replace(design, n_blocks=min(MIN_BLOCKS, design.n_blocks))
    return make_design(design.name, options.audit_walks, domain.n_features)


def _statistic(walker: Walker, options: Options) -> Floats:
    return walker.tally.change() if options.rank_by == "change" else walker.tally.value()


def _error(walker: Walker, options: Options) -> Floats:
    if options.rank_by == "change":
        return walker.tally.change_error()
    return walker.tally.value_error()
