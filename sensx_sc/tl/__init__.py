"""Tools: explanations of cells, and rankings of genes."""

from __future__ import annotations

from sensx_sc.tl._local_sensitivity import local_sensitivity
from sensx_sc.tl._rank_groups import rank_groups
from sensx_sc.tl._sensx import sensx

__all__ = ["local_sensitivity", "rank_groups", "sensx"]
