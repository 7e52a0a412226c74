"""Whether a ranking is right and stable: measures on arrays, for SensX and for any other method."""

from __future__ import annotations

from sensx_sc.metrics.landscape import pareto
from sensx_sc.metrics.multiple_tests import adjusted
from sensx_sc.metrics.noise import exceedance_p
from sensx_sc.metrics.perturbation import curve_auc, perturbation_curve
from sensx_sc.metrics.rank_distances import rank_distances
from sensx_sc.metrics.rank_test import RankTest, rank_test
from sensx_sc.metrics.recovery import auroc, hits, precision_recall, top_k_accuracy
from sensx_sc.metrics.stability import (
    BlockSums,
    Resampled,
    bootstrap_ranks,
    convergence_curve,
)

__all__ = [
    "BlockSums",
    "RankTest",
    "Resampled",
    "adjusted",
    "auroc",
    "bootstrap_ranks",
    "convergence_curve",
    "curve_auc",
    "exceedance_p",
    "hits",
    "pareto",
    "perturbation_curve",
    "precision_recall",
    "rank_distances",
    "rank_test",
    "top_k_accuracy",
]
