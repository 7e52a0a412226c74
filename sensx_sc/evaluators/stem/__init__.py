"""Models that start with something affine: a step moves along one column of the first layer."""

from __future__ import annotations
