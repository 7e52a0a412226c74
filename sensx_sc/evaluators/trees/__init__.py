"""Ensembles of trees: only those that a step can change are looked at again."""

from __future__ import annotations
