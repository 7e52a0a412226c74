"""Slopes of differentiable models, and which models have them."""

from __future__ import annotations
