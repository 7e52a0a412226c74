"""The admissible domain and the neighbourhoods of an input inside it (equation 1 of the paper)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from sensx_sc.core.arrays import Floats, column_range, stored_sample
from sensx_sc.core.declared_kinds import bounds_of_kinds
from sensx_sc.core.group_norms import step_lengths
from sensx_sc.words import OUT_OF_DOMAIN

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from sensx_sc.core.arrays import Bools, Ints, Rows
    from sensx_sc.core.groups import Groups
    from sensx_sc.core.kinds import Kinds
    from sensx_sc.words import OutOfDomain


# A float32 copy of a bound may lie one rounding beyond it: such a value is on the bound.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Domain:
    """The global domain, one interval a feature, and the features that may be perturbed.

    Attributes
    ----------
    lower, upper
        Bounds, shape (n,), in feature units.
    tested
        Features that calibration and walks perturb, shape (n,): those the caller did not mask
        out, which are in a group if there are groups, and whose interval is not a single point.
    groups
        Features that change together; None: each changes alone.
    kinds
        What values features take; None: all are continuous.
    """

    lower: Floats
    upper: Floats
    tested: Bools
    groups: Groups | None = None
    kinds: Kinds | None = None

    @property
    def n_features(self) -> int:
        return len(self.lower)

    @cached_property
    def free(self) -> Ints:
        """Indices of the tested features, ascending, shape (F,)."""
        return np.flatnonzero(self.tested)

    @cached_property
    def places(self) -> Ints:
        """Where what the steps of a walk yield belongs among the results, (S,).

        A walk has a step for each tested feature, or for each group with one.
        """
        return self.free if self.groups is None else np.unique(self.groups.label[self.free])

    @cached_property
    def continuous(self) -> bool:
        """Whether all tested features are continuous."""
        return self.kinds is None or bool(self.kinds.of("continuous")[self.free].all())

    @property
    def n_steps(self) -> int:
        return len(self.places)

    @property
    def n_places(self) -> int:
        """Results an input: n features or G groups."""
        return self.n_features if self.groups is None else len(self.groups.names)

    @cached_property
    def member(self) -> Ints:
        """The step at which each tested feature changes, (F,)."""
        if self.groups is None:
            return np.arange(len(self.free))
        return np.searchsorted(self.places, self.groups.label[self.free])

    @cached_property
    def leaders(self) -> Ints:
        """For each step a feature whose random numbers say when it is made: its first, (S,)."""
        if self.groups is None:
            return self.free
        return self.free[np.unique(self.member, return_index=True)[1]]

    @cached_property
    def sizes(self) -> Ints:
        """Features that change at each step, (S,)."""
        return np.bincount(self.member, minlength=self.n_steps)

    @cached_property
    def moving(self) -> Ints:
        """The same, a one-hot block being one feature, (S,)."""
        if self.kinds is None:
            return self.sizes
        blocks = self.kinds.blocks.values()
        more = np.concatenate([np.empty(0, np.int64), *(columns[1:] for columns in blocks)])
        counts = ~np.isin(self.free, more)
        return np.bincount(self.member, weights=counts, minlength=self.n_steps).astype(np.int64)

    def lengths(self, start: Floats, end: Floats) -> Floats:
        """What the change of q at each step is divided by, (W, S).

        Parameters
        ----------
        start, end
            Values of the tested features before and after, (W, F).
        """
        if self.kinds is None:
            return self.lengths_of(end - start)
        return self.lengths_of(self.kinds.steps(start, end, self.free))

    def lengths_of(self, steps: Floats) -> Floats:
        """The same from the steps of the features, (W, F)."""
        if self.groups is None:
            return steps
        return step_lengths(steps, self.member, self.sizes, self.groups.norm)

    def reach(self, x: Floats, delta: float) -> tuple[Floats, Floats]:
        """How far the tested features of ``x`` can move down and up at scale ``delta``.

        Returns
        -------
        Two arrays of shape (F,), both >= 0: the neighbourhood is [x - down, x + up].
        """
        lower, upper, x = self.lower[self.free], self.upper[self.free], x[self.free]
        step = delta * (upper - lower)
        return np.minimum(x - lower, step), np.minimum(upper - x, step)


def typical_lengths(domain: Domain, x: Floats, delta: float) -> Floats:
    """What the change of q at the steps of an input is divided by, about, (S,)."""
    down, up = domain.reach(x, delta)
    step = np.divide(down**2 + up**2, 2 * (down + up), where=down + up > 0, out=np.zeros(len(up)))
    if domain.kinds is not None:
        step = domain.kinds.least_steps(step, domain.free)
    lengths: Floats = domain.lengths_of(step[None])[0]
    return lengths


def make_domain(
    lower: ArrayLike,
    upper: ArrayLike,
    n_features: int,
    *,
    mask: ArrayLike | None = None,
    names: ArrayLike | None = None,
    groups: Groups | None = None,
    kinds: Kinds | None = None,
) -> Domain:
    """Check bounds and make the domain.

    Parameters
    ----------
    lower, upper
        Scalars or arrays of shape (n_features,), finite, ``lower <= upper`` everywhere.
    mask
        Features to perturb, bool (n_features,); by default all.
    names
        Names of the features, for messages.
    groups
        Features that change together; those in no group are not perturbed.
    kinds
        What values features take: bounds are moved to the first and last of them.

    Raises
    ------
    ValueError
        Wrong shape, a bound that is not finite, ``lower > upper``, or nothing left to perturb.

    Examples
    --------
    >>> from sensx_sc.core import make_domain
    >>> make_domain(0, [1.0, 2.0, 0.0], 3).free.tolist()
    [0, 1]
    """
    low = as_bounds("lower", lower, n_features)
    high = as_bounds("upper", upper, n_features)
    if kinds is not None:
        low, high = bounds_of_kinds(kinds, low, high)
    wrong = np.flatnonzero(low > high)
    if wrong.size:
        first = ", ".join(
            f"{_label(names, j)} (lower {low[j]:g}, upper {high[j]:g})" for j in wrong[:5]
        )
        msg = f"`lower` must not exceed `upper`; it does for {wrong.size} features: {first}."
        raise ValueError(msg)
    tested = high > low
    if mask is not None:
        chosen = np.asarray(mask)
        if chosen.dtype != bool or chosen.shape != (n_features,):
            msg = (
                f"the feature mask must be a bool array of shape ({n_features},); "
                f"got {chosen.dtype} of shape {chosen.shape}."
            )
            raise ValueError(msg)
        tested &= chosen
    if groups is not None:
        tested &= groups.label >= 0
    if kinds is not None:
        _check_blocks(kinds, tested, groups, names)
    if not tested.any():
        apart = "" if groups is None else " is in no group,"
        msg = (
            f"no feature is left to perturb: every feature is masked out,{apart} or has "
            "`lower` equal to `upper`."
        )
        raise ValueError(msg)
    return Domain(low, high, tested, groups, kinds)


def _check_blocks(
    kinds: Kinds, tested: Bools, groups: Groups | None, names: ArrayLike | None
) -> None:
    """A one-hot block changes as a whole, in one group."""
    for name, columns in kinds.blocks.items():
        apart = [_label(names, j) for j in columns[~tested[columns]].tolist()]
        if apart and len(apart) < len(columns):
            msg = (
                f"the one-hot block {name!r} changes as a whole; {', '.join(apart[:5])} of its "
                "columns are masked out, or in no group."
            )
            raise ValueError(msg)
        if groups is None or len(np.unique(groups.label[columns])) > 1:
            msg = f"the columns of the one-hot block {name!r} must be in one of `groups`."
            raise ValueError(msg)


def as_bounds(name: str, value: ArrayLike, n_features: int) -> Floats:
    """Bounds as an array (n_features,), checked."""
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        msg = f"`{name}` must be a number or an array of {n_features} numbers; got {value!r}."
        raise TypeError(msg) from error
    if array.ndim == 0:
        array = np.full(n_features, float(array))
    if array.shape != (n_features,):
        msg = f"`{name}` must be a number or have shape ({n_features},); got shape {array.shape}."
        raise ValueError(msg)
    if not np.isfinite(array).all():
        j = int(np.flatnonzero(~np.isfinite(array))[0])
        msg = f"`{name}` must be finite; it is {array[j]} for feature {j}."
        raise ValueError(msg)
    return array


def _label(names: ArrayLike | None, j: int) -> str:
    return str(j) if names is None else str(np.asarray(names)[j])


def admit(
    X: Rows,
    domain: Domain,
    *,
    out_of_domain: OutOfDomain = "raise",
    names: ArrayLike | None = None,
) -> Domain:
    """Hold every input against the domain before any work.

    Only tested features count: one that is never perturbed may lie anywhere.

    Parameters
    ----------
    X
        Inputs to explain, dense or sparse, shape (cells, n).
    out_of_domain
        ``"raise"``, or ``"expand"`` the domain to contain the inputs, or ``"clip"``
        the inputs to the domain (done by :func:`clip` when their rows are read).
    names
        Names of the features, for the message.

    Returns
    -------
    The domain, widened if asked.

    Raises
    ------
    ValueError
        Inputs outside, naming the first features, their values and their bounds.
    """
    if out_of_domain not in OUT_OF_DOMAIN:
        msg = f"`out_of_domain` must be one of {OUT_OF_DOMAIN}; got {out_of_domain!r}."
        raise ValueError(msg)
    low, high = column_range(X)
    slack = _ROUNDING * np.maximum(1.0, np.maximum(np.abs(domain.lower), np.abs(domain.upper)))
    outside = domain.tested & ((low < domain.lower - slack) | (high > domain.upper + slack))
    if out_of_domain == "expand":
        return replace(
            domain,
            lower=np.where(domain.tested, np.minimum(domain.lower, low), domain.lower),
            upper=np.where(domain.tested, np.maximum(domain.upper, high), domain.upper),
        )
    if out_of_domain == "raise" and outside.any():
        found = np.flatnonzero(outside)
        listed = ", ".join(
            f"{_label(names, j)} "
            f"{(low if low[j] < domain.lower[j] else high)[j]:g} "
            f"(allowed {domain.lower[j]:g} to {domain.upper[j]:g})"
            for j in found[:5]
        )
        counts = " The values look like raw counts." if _looks_like_counts(X, high) else ""
        msg = (
            f"{found.size} {'feature lies' if found.size == 1 else 'features lie'} outside the "
            f"domain: {listed}.{counts} Pass wider `lower` "
            "and `upper`, or out_of_domain='expand' or 'clip'."
        )
        raise ValueError(msg)
    return domain


def _looks_like_counts(X: Rows, high: Floats) -> bool:
    values = stored_sample(X)
    return bool(high.max() > np.log1p(1e4) and values.size and np.all(values == np.rint(values)))


def clip(x: Floats, domain: Domain) -> Floats:
    """Rows moved to the nearest point of the domain, tested features only."""
    low = np.where(domain.tested, domain.lower, -np.inf)
    high = np.where(domain.tested, domain.upper, np.inf)
    return np.clip(x, low, high)
