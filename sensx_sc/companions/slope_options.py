"""How local slopes are estimated: what can be asked for, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sensx_sc.companions.sage import sage_offsets
from sensx_sc.companions.windows import LADDER, make_windows
from sensx_sc.core.options import is_whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sensx_sc.companions.local_polynomial import Rule
    from sensx_sc.companions.windows import Windows
    from sensx_sc.core.arrays import Floats

METHODS = ("local_poly", "sage")
RULES = ("lepski", "plug_in")
_NARROWER = (0.125, 0.25, 0.5, 1.0)  # windows inside a given one: what tells noise from jumps
_LEAST_POINTS = 6  # a polynomial of degree 4 must leave something


@dataclass(frozen=True)
class How:
    """How slopes are estimated; checked once, kept in the results.

    Attributes
    ----------
    method
        ``"local_poly"`` or ``"sage"``.
    bandwidth
        Half-widths of the windows in units of a feature's scale, ascending.
    rule
        How one of them is chosen.
    n_points
        Points of a window.
    radius, kappa
        Of SAGE.
    """

    method: str = "local_poly"
    bandwidth: tuple[float, ...] = LADDER
    rule: Rule = "lepski"
    n_points: int = 8
    radius: float = 0.3
    kappa: float = 1.0

    @property
    def windows(self) -> Windows:
        return make_windows(self.bandwidth, self.n_points)

    @property
    def offsets(self) -> Floats:
        """Offsets of all points, in units of a feature's scale."""
        return sage_offsets(self.radius) if self.method == "sage" else self.windows.offsets


def make_how(
    method: str,
    bandwidth: str | float | Sequence[float],
    n_points: int,
    radius: float,
    kappa: float,
) -> How:
    """Check how slopes are to be estimated.

    Raises
    ------
    ValueError
        With the argument, what was got and what is allowed.
    """
    if method not in METHODS:
        msg = f"`method` must be one of {METHODS}; got {method!r}."
        raise ValueError(msg)
    if not is_whole(n_points) or n_points < _LEAST_POINTS or n_points % 2:
        msg = f"`n_points` must be an even number of at least {_LEAST_POINTS}; got {n_points!r}."
        raise ValueError(msg)
    for name, value in (("radius", radius), ("kappa", kappa)):
        if not _positive(value):
            msg = f"`{name}` must be a positive number, in standard deviations; got {value!r}."
            raise ValueError(msg)
    rule: Rule = "lepski"
    widths: tuple[float, ...] = LADDER
    if isinstance(bandwidth, str):
        if bandwidth not in ("auto", *RULES):
            msg = (
                f"`bandwidth` must be 'auto', one of {RULES}, a number or increasing numbers, in "
                f"units of each feature's scale; got {bandwidth!r}."
            )
            raise ValueError(msg)
        rule = "plug_in" if bandwidth == "plug_in" else "lepski"
    else:
        given = np.atleast_1d(np.asarray(bandwidth))
        numbers = given.dtype.kind in "fiu" and given.ndim == 1 and given.size > 0
        if not numbers or not all(map(_positive, given.tolist())) or (np.diff(given) <= 0).any():
            msg = (
                f"`bandwidth` must be 'auto', one of {RULES}, a positive number or increasing "
                f"ones; got {bandwidth!r}."
            )
            raise ValueError(msg)
        widths = tuple(float(width) for width in given)
        if len(widths) == 1:
            rule, widths = "widest", tuple(widths[0] * share for share in _NARROWER)
    if max(widths) > 1:
        msg = (
            f"`bandwidth` must not exceed 1, a feature's scale, so that windows fit the domain; "
            f"got {max(widths):g}. Give a larger `scale` instead."
        )
        raise ValueError(msg)
    return How(method, widths, rule, int(n_points), float(radius), float(kappa))


def _positive(value: object) -> bool:
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return bool(number and np.isfinite(value) and value > 0)  # type: ignore[operator, call-overload]
