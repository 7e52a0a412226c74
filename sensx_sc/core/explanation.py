"""The result of explaining inputs."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.words import STATISTICS

if TYPE_CHECKING:
    from sensx_sc.core.arrays import Bools, Floats, Ints
    from sensx_sc.core.audit import Audit
    from sensx_sc.core.groups import Groups
    from sensx_sc.core.sets import Sets
    from sensx_sc.words import Status


@dataclass(frozen=True)
class Explanation:
    """SensX values of C inputs of n features, and how they came about.

    Every (C, n) array is NaN (rank and n: 0) for features that were not tested and for inputs
    without an attribution (insensitive or failed). Where features change in groups these arrays
    are (C, G), a column for each group; ``groups.spread(value)`` is (C, n). With finer groups
    ``within`` the top ones they are (C, G + H): first the groups, then the fine ones, NaN outside
    an input's top groups; each are ranked among themselves.

    Attributes
    ----------
    value
        SensX values: mean absolute elementary effect, in units of q a feature unit (eq. 4).
    rank
        1 = most sensitive; ties by feature index.
    mean
        Mean elementary effect: the direction (Morris' mu). Of a group of several features the mean
        change of q over the length of the step: a direction where all of them move one way.
    std
        Standard deviation of the elementary effects: nonlinearity and interactions.
    change
        Mean absolute change of q at the feature's step, in units of q.
    shapley
        Shapley value of q(x) - E q(endpoint); a row sums to q(x) - mean q(endpoint).
    se
        Standard error of ``value`` from the means of independent blocks of walks.
    change_se
        The same of ``change``.
    n
        Steps that counted.
    below_noise
        The response never changed by more than the noise floor at the feature's step.
    delta_star
        Characteristic perturbation scale, (C,); 0 for insensitive, NaN for failed inputs.
    bracket
        Grid scales (before, delta*] where C falls below tau; after refinement the swept scales
        [delta*, after) that enclose the transition, (C, 2).
    certified
        Confidence bounds of the percentiles put both ends of the bracket on their sides, (C,).
    status
        resolved, insensitive, left_censored, unsaturated or failed, (C,).
    messages
        Why failed inputs failed, else empty, (C,).
    target
        Index of the explained output, (C,).
    output_names
        Names of the model's outputs.
    qoi
        q(x), (C,).
    envelope
        1st and 99th percentile of q at each scale, (C, K, 2); NaN where not evaluated.
    deltas
        The K scales: the grid, and below it what single inputs needed.
    endpoint_coverage
        Fraction of walks whose endpoint lies inside the envelope at delta*, (C,): about 0.98.
    top_k_certified
        The features of rank 1 to ``top_k`` are the true ones at level ``alpha``, (C,); False
        where there was no race.
    top_k_gap
        What separates them: the largest upper end of an interval among the others less the
        smallest lower end among the top k, as a fraction of the k-th score; at most 0 where
        certified, NaN without a race, (C,).
    n_undecided
        Features on neither side for sure, (C,).
    n_walks
        Most walks that a feature got, (C,).
    reliability, overlap, settled
        With ``n_walks="auto"``: rank correlation of two halves of the walks, corrected for their
        length; share of their top k in common; both are as high as the criterion asks
        (:mod:`sensx_sc.core.stopping`), (C,). Otherwise NaN and False.
    estimator
        ``"walks"``, or ``"gradient"`` where values come from backward passes, (C,).
    exact
        Values that come from exact walks, (C, n).
    audits
        How the gradients compare with exact walks, (C,); None where there were only walks.
    noise_floor
        Size of the changes of q that rounding alone makes, (C,).
    precision
        ``"float32"`` or ``"float64"``: the rows of the walks, (C,).
    lower, upper
        The domain, (n,).
    groups
        Features that change together; None: each changes alone.
    within
        Finer groups, where the top groups of each input were taken apart, else None.
    sets
        Overlapping sets that the groups were put together to, else None. Arrays then have a column
        for each set in the place of each group.
    params
        Every parameter of the run, JSON-safe.
    """

    value: Floats
    rank: Ints
    mean: Floats
    std: Floats
    change: Floats
    shapley: Floats
    se: Floats
    change_se: Floats
    n: Ints
    below_noise: Bools
    delta_star: Floats
    bracket: Floats
    certified: Bools
    status: tuple[Status, ...]
    messages: tuple[str, ...]
    target: Ints
    output_names: tuple[str, ...]
    qoi: Floats
    envelope: Floats
    deltas: Floats
    endpoint_coverage: Floats
    top_k_certified: Bools
    top_k_gap: Floats
    n_undecided: Ints
    n_walks: Ints
    reliability: Floats
    overlap: Floats
    settled: Bools
    estimator: tuple[str, ...]
    exact: Bools
    audits: tuple[Audit | None, ...]
    noise_floor: Floats
    precision: tuple[str, ...]
    lower: Floats
    upper: Floats
    groups: Groups | None
    params: dict[str, Any]
    within: Groups | None = None
    sets: Sets | None = None

    def features(self, n: int) -> Explanation:
        """Without the columns behind the first n, which are no features: they were held."""
        if n == len(self.lower):
            return self
        changed: dict[str, Any] = {"lower": self.lower[:n], "upper": self.upper[:n]}
        if self.groups is None:
            changed |= {name: getattr(self, name)[:, :n] for name in _OF_FEATURES}
        for name in ("groups", "within"):
            if (part := getattr(self, name)) is not None:
                changed[name] = replace(part, label=part.label[:n])
        return replace(self, **changed)


_OF_FEATURES = (*STATISTICS, "rank", "below_noise", "exact")
_OF_THE_RUN = ("output_names", "lower", "upper", "groups", "within", "sets", "params")


def joined(parts: list[Explanation]) -> Explanation:
    """One explanation of the inputs of several, in their order, of one run."""
    if len(parts) == 1:
        return parts[0]
    deltas = np.unique(np.concatenate([part.deltas for part in parts]))
    envelope = np.full((sum(len(part.qoi) for part in parts), len(deltas), 2), np.nan)
    together: dict[str, Any] = {name: getattr(parts[0], name) for name in _OF_THE_RUN}
    start = 0
    for part in parts:
        rows = np.arange(start, start + len(part.qoi))
        envelope[np.ix_(rows, np.searchsorted(deltas, part.deltas))] = part.envelope
        start += len(rows)
    together |= {"deltas": deltas, "envelope": envelope}
    for field in fields(Explanation):
        if field.name not in together:
            values = [getattr(part, field.name) for part in parts]
            whole = sum(values, ()) if isinstance(values[0], tuple) else np.concatenate(values)
            together[field.name] = whole
    return Explanation(**together)
