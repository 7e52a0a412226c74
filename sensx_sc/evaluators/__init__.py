"""Evaluators: the response in neighbourhoods and along walks."""

from __future__ import annotations

from sensx_sc.evaluators.dense import DenseEvaluator
from sensx_sc.evaluators.protocol import Evaluator
from sensx_sc.evaluators.walk_set import WalkSet

__all__ = ["DenseEvaluator", "Evaluator", "WalkSet"]
