"""Results out of AnnData: as a tidy table, or as one labelled dataset."""

from __future__ import annotations

from sensx_sc.get._explanation import explanation
from sensx_sc.get._rankings import rankings

__all__ = ["explanation", "rankings"]
