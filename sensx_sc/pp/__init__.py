"""Preparation: the admissible domain of every gene."""

from __future__ import annotations

from sensx_sc.pp._domain import domain

__all__ = ["domain"]
