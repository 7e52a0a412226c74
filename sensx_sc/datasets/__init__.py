"""Data sets that come with the package: real cells and tissue, the paper's synthetic sets, a toy.

Nothing here uses the network.
"""

from __future__ import annotations

from sensx_sc.datasets._mouse_brain import mouse_brain
from sensx_sc.datasets._pbmc import pbmc
from sensx_sc.datasets._pbmc68k import pbmc68k
from sensx_sc.datasets._pbmc_markers import pbmc_markers
from sensx_sc.datasets._pbmc_programmes import pbmc_programmes
from sensx_sc.datasets._synthetic import synthetic
from sensx_sc.datasets._tissue import tissue
from sensx_sc.datasets._tissue_model import tissue_model
from sensx_sc.datasets._toy import toy

__all__ = [
    "mouse_brain",
    "pbmc",
    "pbmc68k",
    "pbmc_markers",
    "pbmc_programmes",
    "synthetic",
    "tissue",
    "tissue_model",
    "toy",
]
