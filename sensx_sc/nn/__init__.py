"""Modules that rank features while they are trained."""

from __future__ import annotations

from sensx_sc.nn.fit_scores import fit_scores
from sensx_sc.nn.scores_activation import ScoresActivation, ScoresMLP

__all__ = ["ScoresActivation", "ScoresMLP", "fit_scores"]
