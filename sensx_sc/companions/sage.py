"""SAGE as published: a weighted regression of secant slopes on where they end.

Kher, sage-explainer 0.1.1 (2026). Kept for comparison; see :mod:`.local_polynomial` for what is
recommended. On its symmetric points the regression changes nothing: the result is a weighted mean
of five centred differences.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sensx_sc.core.arrays import Floats

N_POINTS = 10


def sage_offsets(radius: float) -> Floats:
    """Offsets of the points from the input, in standard deviations, (10,)."""
    offsets: Floats = np.linspace(-radius, radius, N_POINTS)
    return offsets


def sage_slopes(q_x: Floats, q: Floats, offsets: Floats, scale: Floats, kappa: float) -> Floats:
    """Slopes of a response along features, (F,).

    Parameters
    ----------
    q_x, q
        Response at the input of each feature, (F,), and at its points, (F, 10).
    offsets
        Of the points, in standard deviations, (10,).
    scale
        Standard deviations of the features, (F,).
    kappa
        Width of the Gaussian weights in standard deviations: 1 in the repository, 0.8 in the
        package.
    """
    secants = (q - q_x[:, None]) / (offsets * scale[:, None])
    weights = np.exp(-0.5 * (offsets / kappa) ** 2)
    weights /= weights.sum()
    # Distances from the input, not values, so that a large mean cancels nothing.
    centre = weights @ offsets
    away = offsets - centre
    tilt = secants @ (weights * away) / (weights @ away**2)
    level: Floats = secants @ weights - tilt * centre
    return level
