"""Pictures of SensX results: every function takes `ax` and returns the Axes it drew on."""

from __future__ import annotations

from sensx_sc.pl._delta_star import delta_star
from sensx_sc.pl._embedding import embedding
from sensx_sc.pl._envelope import envelope
from sensx_sc.pl._heatmap import heatmap
from sensx_sc.pl._local_sensitivity import local_sensitivity
from sensx_sc.pl._property_gradient import property_gradient
from sensx_sc.pl._rankings import rankings

__all__ = [
    "delta_star",
    "embedding",
    "envelope",
    "heatmap",
    "local_sensitivity",
    "property_gradient",
    "rankings",
]
