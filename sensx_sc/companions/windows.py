"""Points at which the response is asked for around one value of a feature: nested windows.

Windows of several widths share points. A point beyond a bound of the domain is reflected to the
other side, nearer to the input, so that a gene at zero has as many points as any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from sensx_sc.core.arrays import Floats, Ints

LADDER = (0.0625, 0.125, 0.25, 0.5, 1.0)
"""Half-widths of the default windows, in units of a feature's scale."""
_REFLECTED = 0.7  # of the distance: no point that is reflected meets one that was there


@dataclass(frozen=True)
class Windows:
    """Nested windows around an input's value, in units of the feature's scale.

    Attributes
    ----------
    widths
        Half-widths, ascending, (L,).
    steps
        Distinct offsets of the points of all windows, ascending, without 0, (M,).
    members
        For each window the positions of its points in ``steps``, (L, m).
    """

    widths: tuple[float, ...]
    steps: tuple[float, ...]
    members: tuple[tuple[int, ...], ...]

    @property
    def offsets(self) -> Floats:
        return np.array(self.steps)

    @property
    def n_points(self) -> int:
        """Points of one window, the input not counted."""
        return len(self.members[0])

    def reflected(self, n_beyond: int) -> Floats:
        """The offsets once the ``n_beyond`` lowest lie beyond a bound, (M,)."""
        offsets = self.offsets
        offsets[:n_beyond] *= -_REFLECTED
        return offsets


def make_windows(widths: tuple[float, ...] = LADDER, n_points: int = 8) -> Windows:
    """Equally spaced points in windows of the given half-widths.

    Parameters
    ----------
    widths
        Half-widths in units of a feature's scale, ascending.
    n_points
        Points of each window, half of them on either side, up to its ends.

    Examples
    --------
    >>> from sensx_sc.companions.windows import make_windows
    >>> make_windows((0.5, 1.0), 8).steps[6:]
    (0.125, 0.25, 0.375, 0.5, 0.75, 1.0)
    """
    half = np.arange(1, n_points // 2 + 1) / (n_points // 2)
    fractions = np.concatenate([-half[::-1], half])
    wanted = np.round(np.outer(widths, fractions), 12)
    steps, members = np.unique(wanted, return_inverse=True)
    rows: Any = members.reshape(wanted.shape).tolist()
    return Windows(tuple(widths), tuple(steps.tolist()), tuple(tuple(row) for row in rows))


@dataclass(frozen=True)
class Placed:
    """Where the points of the windows lie for some features of one input.

    Attributes
    ----------
    values
        Values of the features, (F, M); in the order of ``side`` times the offsets.
    side
        1, or -1 where the order of the offsets is turned round since the upper bound is near, (F,).
    n_beyond
        How many points were reflected, (F,).
    """

    values: Floats
    side: Ints
    n_beyond: Ints


def place(x: Floats, scale: Floats, windows: Windows, lower: Floats, upper: Floats) -> Placed:
    """Put the points of the windows around values, inside the bounds.

    Parameters
    ----------
    x, scale, lower, upper
        Values, scales of at most half the range, and bounds of the features, (F,).
    """
    steps = scale[:, None] * windows.offsets
    low, high = (x - lower)[:, None], (upper - x)[:, None]
    below, above = (-steps > low).sum(axis=1), (steps > high).sum(axis=1)
    side = np.where(above > 0, -1, 1)
    n_beyond = np.maximum(below, above)
    moved = np.where(np.arange(steps.shape[1]) < n_beyond[:, None], -_REFLECTED * steps, steps)
    values = x[:, None] + side[:, None] * moved
    # By a rounding, at most.
    return Placed(np.clip(values, lower[:, None], upper[:, None]), side, n_beyond)
