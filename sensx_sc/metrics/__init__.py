"""Whether a ranking is right and stable: measures on arrays, for SensX and for any other method."""

from __future__ import annotations

from sensx_sc.metrics.landscape import pareto
from sensx_sc.metrics.perturbation import curve_auc, perturbation_curve

__all__ = ["curve_auc", "pareto", "perturbation_curve"]
