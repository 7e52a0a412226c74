"""The numbers that shape a run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.words import ESTIMATORS, PRECISIONS, RACED, RANK_BY

if TYPE_CHECKING:
    from collections.abc import Callable

    from sensx_sc.words import Estimator, Precision, RankBy


MAX_WALKS = 2000
"""Walks that an input gets at most where their number is left to the criterion."""


@dataclass(frozen=True)
class Options:
    """The numbers that shape a run; checked once, kept in the results."""

    tau: float = 0.1
    n_samples: int = 1000
    refine_tol: float | None = None
    min_step: float = 0.0
    rank_by: RankBy = "value"
    estimator: Estimator = "walks"
    top_k: int | None = None
    max_walks: int = MAX_WALKS
    audit_features: int = 256
    audit_walks: int | None = None
    alpha: float = 0.05
    precision: Precision = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        # Plain numbers, so that the results can be stored.
        for name, kind, fine, allowed in _NUMBERS:
            value = getattr(self, name)
            if value is None and name in ("refine_tol", "top_k", "audit_walks"):
                continue
            if not isinstance(value, Real):
                msg = f"`{name}` must be {allowed}; got {value!r}."
                raise TypeError(msg)
            require(_real(value) and fine(value), name, value, allowed)
            require(kind is float or is_whole(value), name, value, allowed)
            object.__setattr__(self, name, kind(value))
        require(self.rank_by in RANK_BY, "rank_by", self.rank_by, f"one of {RANK_BY}")
        require(self.estimator in ESTIMATORS, "estimator", self.estimator, f"one of {ESTIMATORS}")
        for name in ("top_k", "estimator"):
            if getattr(self, name) not in (None, "walks") and self.rank_by not in RACED:
                msg = (
                    f"`{name}` {getattr(self, name)!r} needs `rank_by` to be one of {RACED}; "
                    f"got {self.rank_by!r}."
                )
                raise ValueError(msg)
        require(self.precision in PRECISIONS, "precision", self.precision, f"one of {PRECISIONS}")


_NUMBERS: tuple[tuple[str, type, Callable[[Any], bool], str], ...] = (
    ("tau", float, lambda v: v > 0, "a positive number, in units of q"),
    ("n_samples", int, lambda v: v >= 2, "a whole number of at least 2"),
    ("refine_tol", float, lambda v: v > 0, "None or positive"),
    ("top_k", int, lambda v: v >= 1, "None or a whole number of at least 1"),
    ("max_walks", int, lambda v: v >= 1, "a whole number of at least 1"),
    ("audit_features", int, lambda v: v >= 1, "a whole number of at least 1"),
    ("audit_walks", int, lambda v: v >= 2, "None or a whole number of at least 2"),
    ("alpha", float, lambda v: 0 < v < 1, "between 0 and 1"),
    ("min_step", float, lambda v: 0 <= v < 1, "at least 0 and below 1"),
    ("seed", int, lambda v: 0 <= v < 2**64, "a whole number from 0 to 2**64 - 1"),
)


def _real(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def is_whole(value: object) -> bool:
    """Whether a value is a whole number, and no bool."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def require(fine: bool, name: str, value: object, allowed: str) -> None:
    """Refuse a value, saying what is allowed."""
    if not fine:
        msg = f"`{name}` must be {allowed}; got {value!r}."
        raise ValueError(msg)
