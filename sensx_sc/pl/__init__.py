"""Pictures of SensX results: every function takes `ax` and returns the Axes it drew on."""

from __future__ import annotations

from sensx_sc.pl._compare import compare
from sensx_sc.pl._convergence import convergence
from sensx_sc.pl._delta_star import delta_star
from sensx_sc.pl._differences import differences
from sensx_sc.pl._embedding import embedding
from sensx_sc.pl._envelope import envelope
from sensx_sc.pl._heatmap import heatmap
from sensx_sc.pl._landscape import landscape
from sensx_sc.pl._local_sensitivity import local_sensitivity
from sensx_sc.pl._mask import mask
from sensx_sc.pl._noise import noise
from sensx_sc.pl._overlay import overlay
from sensx_sc.pl._patch_profile import patch_profile
from sensx_sc.pl._perturbation_curve import perturbation_curve
from sensx_sc.pl._property_gradient import property_gradient
from sensx_sc.pl._randomization import randomization
from sensx_sc.pl._rankings import rankings
from sensx_sc.pl._scores_activation import scores_activation
from sensx_sc.pl._spatial import spatial
from sensx_sc.pl._tile import channels, tile

__all__ = [
    "channels",
    "compare",
    "convergence",
    "delta_star",
    "differences",
    "embedding",
    "envelope",
    "heatmap",
    "landscape",
    "local_sensitivity",
    "mask",
    "noise",
    "overlay",
    "patch_profile",
    "perturbation_curve",
    "property_gradient",
    "randomization",
    "rankings",
    "scores_activation",
    "spatial",
    "tile",
]
