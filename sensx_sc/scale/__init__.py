"""Data that are larger than memory, runs that are killed, many workers."""

from __future__ import annotations

__all__: list[str] = []
