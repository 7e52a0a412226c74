"""Finding the affine stem of a model, in its graph."""

from __future__ import annotations
