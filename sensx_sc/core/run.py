"""What a run is: everything that is settled before the first input is explained."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.core.group_norms import summed
from sensx_sc.models.held import HoldsCovariates

if TYPE_CHECKING:
    from sensx_sc.core.arrays import Bools, Floats, Ints
    from sensx_sc.core.domain import Domain
    from sensx_sc.core.groups import Groups
    from sensx_sc.core.options import Options
    from sensx_sc.core.sampling import Design
    from sensx_sc.core.sets import Sets
    from sensx_sc.evaluators.gradient.gradients import Gradients
    from sensx_sc.evaluators.protocol import Evaluator
    from sensx_sc.evaluators.reduced_precision import Reduced
    from sensx_sc.models.qoi import Response
    from sensx_sc.words import OutOfDomain


@dataclass(frozen=True)
class Run:
    """Everything that is settled before the first input is explained.

    ``trial`` holds up to four inputs on which the model works, (T, n); ``reduced`` the coarse type
    that the model was seen to compute in, if any.
    """

    response: Response
    domain: Domain
    out_of_domain: OutOfDomain
    deltas: Floats
    extend: bool
    design: Design
    until_stable: bool
    options: Options
    evaluators: dict[str, Evaluator]
    gradients: dict[str, Gradients]
    why: str
    trial: Floats
    within: Groups | None = None
    within_top: int = 1
    reduced: Reduced | None = None
    sets: Sets | None = None

    @property
    def n_features(self) -> int:
        """Columns that are features: what a model reads beside them follows, and is held."""
        model = self.response.model
        held = len(model.held_names) if isinstance(model, HoldsCovariates) else 0
        return self.domain.n_features - held

    @property
    def n_places(self) -> int:
        """Columns of the results."""
        return self.n_coarse + (0 if self.within is None else len(self.within.names))

    @property
    def n_coarse(self) -> int:
        """Columns of the results of features, groups or sets: those of finer groups follow."""
        return self.domain.n_places if self.sets is None else len(self.sets.names)

    @property
    def place_names(self) -> tuple[str, ...] | None:
        """Names of the columns of groups or sets; None where each feature changes alone."""
        if self.sets is not None:
            return self.sets.names
        return None if self.domain.groups is None else self.domain.groups.names

    @property
    def partitions(self) -> list[Groups]:
        """Groups of features, and what the top ones are taken apart into."""
        return [part for part in (self.domain.groups, self.within) if part is not None]

    def grouping(self, n: int) -> Ints:
        """What tells one grouping of the first n features from another, as one array."""
        parts = [part.label[:n] for part in self.partitions]
        if self.sets is not None:
            share = self.sets.share
            parts += [part.astype(np.int64) for part in (share.indptr, share.indices)]
        if self.domain.kinds is not None:
            parts.append(self.domain.kinds.fingerprint(n))
        return np.concatenate([np.empty(0, np.int64), *parts])

    def present(self, x: Floats) -> Bools:
        """Whether features of inputs, or any of a group, are above their lower bounds, (C, P)."""
        above = x > self.domain.lower
        if not self.partitions:
            return above[:, : self.n_features]
        found = []
        for part in self.partitions:
            inside = part.label >= 0
            found.append(summed(above[:, inside], part.label[inside], len(part.names)))
        if self.sets is not None:
            found[0] = self.sets.any_of(found[0])
        return np.concatenate(found, axis=1)

    @property
    def evaluations_within(self) -> int:
        """Evaluations that an input takes inside its top groups, about."""
        if self.within is None:
            return 0
        share = min(1.0, self.within_top / self.domain.n_steps)
        finest = len(np.unique(self.within.label[self.domain.free]))
        return self.design.n_walks * (self.domain.n_steps + math.ceil(share * finest))

    @property
    def evaluations(self) -> int:
        """Evaluations of the response that one input takes, about."""
        swept = len(self.deltas) * self.options.n_samples
        return swept + self.design.n_walks * self.domain.n_steps + self.evaluations_within

    @property
    def params(self) -> dict[str, Any]:
        """The parameters, JSON-safe."""
        qoi = self.response.qoi
        rows = {name: evaluator.rows for name, evaluator in self.evaluators.items()}
        groups = self.domain.groups
        return {
            **asdict(self.options),
            "model": self.response.model.name,
            "qoi": getattr(qoi, "__name__", type(qoi).__name__) if callable(qoi) else qoi,
            "n_walks": self.design.n_walks,
            "design": self.design.name,
            "block": self.design.block,
            "n_blocks": self.design.n_blocks,
            "until_stable": self.until_stable,
            "n_features": self.n_features,
            "n_tested": len(self.domain.free),
            "n_groups": None if groups is None else self.n_coarse,
            "group_norm": None if groups is None else groups.norm,
            "overlap": None if self.sets is None else self.sets.rule,
            "within_top": None if self.within is None else self.within_top,
            "kinds": None if self.domain.kinds is None else self.domain.kinds.counted(),
            "out_of_domain": self.out_of_domain,
            "evaluator": next(iter(self.evaluators.values())).name,
            "rows_a_batch": rows,
            "reduced_precision": None if self.reduced is None else self.reduced.name,
        }
