"""Editors of single cells: each changes one property of a cell, step by step."""

from __future__ import annotations

from sensx_sc.companions.editors.composition import AmbientRNA, Doublet, LibrarySize, Share
from sensx_sc.companions.editors.programmes import GeneDose, GeneProgramme, Pathway
from sensx_sc.companions.editors.shifts import BatchShift, CellCycle, StateInterpolation

__all__ = [
    "AmbientRNA",
    "BatchShift",
    "CellCycle",
    "Doublet",
    "GeneDose",
    "GeneProgramme",
    "LibrarySize",
    "Pathway",
    "Share",
    "StateInterpolation",
]
