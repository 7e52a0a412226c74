"""The method on arrays: no AnnData, no plots, no files."""

from __future__ import annotations

from sensx_sc.core.agreement import spearman, spearman_brown, top_k_overlap
from sensx_sc.core.calibration import calibrate, delta_grid
from sensx_sc.core.domain import Domain, make_domain
from sensx_sc.core.explain import explain
from sensx_sc.core.explanation import Explanation
from sensx_sc.core.groups import Groups, make_groups
from sensx_sc.core.intervals import bounded_interval, confidence_sequence
from sensx_sc.core.kinds import Kinds
from sensx_sc.core.plan import Plan, plan
from sensx_sc.core.racing import Verdict, certify
from sensx_sc.core.sampling import make_design
from sensx_sc.core.sets import Sets
from sensx_sc.core.statistics import interval, ranks
from sensx_sc.core.targets import explain_targets
from sensx_sc.words import STATISTICS, STATUSES

__all__ = [
    "STATISTICS",
    "STATUSES",
    "Domain",
    "Explanation",
    "Groups",
    "Kinds",
    "Plan",
    "Sets",
    "Verdict",
    "bounded_interval",
    "calibrate",
    "certify",
    "confidence_sequence",
    "delta_grid",
    "explain",
    "explain_targets",
    "interval",
    "make_design",
    "make_domain",
    "make_groups",
    "plan",
    "ranks",
    "spearman",
    "spearman_brown",
    "top_k_overlap",
]
