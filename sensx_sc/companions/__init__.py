"""Companion methods on arrays: which way, which concept, which features from training on."""

from __future__ import annotations

from sensx_sc.companions.local_sensitivity import LocalSensitivity, local_sensitivity

__all__ = ["LocalSensitivity", "local_sensitivity"]
