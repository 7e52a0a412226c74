"""Companion methods on arrays: which way, which concept, which features from training on."""

from __future__ import annotations

from sensx_sc.companions.editors import (
    AmbientRNA,
    BatchShift,
    CellCycle,
    Doublet,
    GeneDose,
    GeneProgramme,
    LibrarySize,
    Pathway,
    Share,
    StateInterpolation,
)
from sensx_sc.companions.local_sensitivity import LocalSensitivity, local_sensitivity

__all__ = [
    "AmbientRNA",
    "BatchShift",
    "CellCycle",
    "Doublet",
    "GeneDose",
    "GeneProgramme",
    "LibrarySize",
    "LocalSensitivity",
    "Pathway",
    "Share",
    "StateInterpolation",
    "local_sensitivity",
]
