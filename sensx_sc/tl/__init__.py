"""Tools: explanations of cells, and rankings of genes."""

from __future__ import annotations

from sensx_sc.tl._compare import compare
from sensx_sc.tl._convergence import convergence
from sensx_sc.tl._landscape import landscape
from sensx_sc.tl._local_sensitivity import local_sensitivity
from sensx_sc.tl._noise_screening import noise_screening
from sensx_sc.tl._perturbation_curve import perturbation_curve
from sensx_sc.tl._property_gradient import property_gradient
from sensx_sc.tl._randomization_check import randomization_check
from sensx_sc.tl._rank_groups import rank_groups
from sensx_sc.tl._rank_neighbors import rank_neighbors
from sensx_sc.tl._sensx import sensx
from sensx_sc.tl._sensx_targets import sensx_targets

__all__ = [
    "compare",
    "convergence",
    "landscape",
    "local_sensitivity",
    "noise_screening",
    "perturbation_curve",
    "property_gradient",
    "randomization_check",
    "rank_groups",
    "rank_neighbors",
    "sensx",
    "sensx_targets",
]
