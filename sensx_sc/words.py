"""The method's words: statuses, statistics, what can be asked for. Nothing is imported here."""

from __future__ import annotations

from typing import Literal, get_args

Status = Literal["resolved", "insensitive", "left_censored", "unsaturated", "failed", "skipped"]
STATUSES: tuple[Status, ...] = get_args(Status)
"""What calibration can say of a cell, in the order of the stored categories."""

ATTRIBUTED: tuple[Status, ...] = ("resolved", "left_censored", "unsaturated")
"""Statuses whose cells are walked and have values; the rows of all others are NaN."""

Statistic = Literal["value", "mean", "std", "change", "shapley", "se", "change_se", "n"]
STATISTICS: tuple[Statistic, ...] = get_args(Statistic)
"""What walks yield for every cell and feature."""

RankBy = Literal["value", "change", "mean", "shapley"]
RANK_BY: tuple[RankBy, ...] = get_args(RankBy)
"""Statistics that a ranking can sort by; signed ones by their size."""

RACED: tuple[RankBy, ...] = ("value", "change")
"""Statistics whose top k can be raced for."""

Precision = Literal["auto", "float32", "float64"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

OutOfDomain = Literal["raise", "clip", "expand"]
OUT_OF_DOMAIN: tuple[OutOfDomain, ...] = get_args(OutOfDomain)

OnError = Literal["mark", "raise"]
ON_ERROR: tuple[OnError, ...] = get_args(OnError)

Estimator = Literal["walks", "gradient", "auto"]
ESTIMATORS: tuple[Estimator, ...] = get_args(Estimator)

DesignName = Literal["balanced", "uniform", "sobol"]
DESIGNS: tuple[DesignName, ...] = get_args(DesignName)

GroupNorm = Literal["l2", "density", "none"]
GROUP_NORMS: tuple[GroupNorm, ...] = get_args(GroupNorm)
"""What the change of q at the step of a group of features is divided by."""

Overlap = Literal["share", "whole", "atoms", "raise"]
OVERLAPS: tuple[Overlap, ...] = get_args(Overlap)
"""What becomes of features that are in several sets."""

Ungrouped = Literal["hold", "single", "together"]
UNGROUPED: tuple[Ungrouped, ...] = get_args(Ungrouped)
"""What becomes of features that are in no set."""

FeatureKind = Literal["continuous", "count", "ordinal", "binary", "categorical"]
FEATURE_KINDS: tuple[FeatureKind, ...] = get_args(FeatureKind)
"""What values a feature takes."""
