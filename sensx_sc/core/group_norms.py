"""How long a step is that moves a group of features, and when groups can be compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import gammaln

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from sensx_sc.core.arrays import Floats, Ints
    from sensx_sc.core.groups import Groups
    from sensx_sc.core.kinds import Kinds
    from sensx_sc.words import GroupNorm


def step_lengths(step: Floats, member: Ints, sizes: Ints, norm: GroupNorm) -> Floats:
    """What the change of q at each group's step is divided by.

    Parameters
    ----------
    step
        Steps of the features, (W, F).
    member
        Group of each feature, (F,), numbers from 0 to G - 1.
    sizes
        Features of each group, (G,).
    norm
        ``"l2"``, ``"density"`` or ``"none"``.

    Returns
    -------
    (W, G), at least 0, and 0 where nothing moved. For a group of a single feature the step itself
    with its sign (for ``"none"`` the sign alone): such a group is a feature.
    """
    lengths: Floats
    if norm == "l2":
        lengths = np.sqrt(summed(step**2, member, len(sizes)))
    else:
        lengths = summed(np.abs(step), member, len(sizes))
    alone = sizes[member] == 1
    lengths[:, member[alone]] = step[:, alone]
    return np.sign(lengths) if norm == "none" else lengths


def summed(values: NDArray[Any], member: Ints, n_groups: int) -> NDArray[Any]:
    """Sums over the features of each group, (W, G), from (W, F); no group may be empty.

    Of bools: whether any is true.
    """
    order = np.argsort(member, kind="stable")
    if len(order) == n_groups:
        return values[:, order]
    starts = np.searchsorted(member[order], np.arange(n_groups))
    together = np.logical_or if values.dtype == bool else np.add
    sums: NDArray[Any] = together.reduceat(values[:, order], starts, axis=1)
    return sums


def l2_factor(size: ArrayLike) -> Floats:
    r"""The factor c_d that makes of A14 the length of the weights of a group, for linear models.

    For a linear model with weights w and steps of random direction,
    E \|dq\| / \|\|step\|\| = \|\|w\|\| / c_d with c_d = sqrt(pi) Gamma((d+1)/2) / Gamma(d/2).
    Steps that are uniform on a symmetric box come within a few percent of it (9 % where one
    feature has all the weight). So A14 itself is about sqrt(2/pi) = .798 times the root mean
    square weight for d of 10 or more: a density, comparable between groups of different sizes.
    Where all steps go one way (genes at zero), it grows as sqrt(d) instead; take
    ``norm="density"`` or rank by ``change`` there.

    Parameters
    ----------
    size
        Features of a group, d.

    Examples
    --------
    >>> from sensx_sc.core.group_norms import l2_factor
    >>> l2_factor([1, 2, 3, 10, 100]).round(3).tolist()
    [1.0, 1.571, 2.0, 3.866, 12.502]
    """
    d = np.asarray(size, dtype=np.float64)
    factor: Floats = np.sqrt(np.pi) * np.exp(gammaln((d + 1) / 2) - gammaln(d / 2))
    return factor


_MIXED = 2.0  # largest over smallest group: within it sqrt(d) is within 41 %
_ONE_SIDED = 0.5  # share of values at a bound


def why_not_comparable(
    groups: Groups, x: Floats, lower: Floats, upper: Floats, kinds: Kinds | None = None
) -> str | None:
    """Why values of groups of different sizes cannot be compared, or None.

    Parameters
    ----------
    x
        Some inputs, (C, n).
    lower, upper
        The domain, (n,).
    kinds
        What values features take: the steps of those with levels have lengths of their own.
    """
    movable = (groups.label >= 0) & (upper > lower)
    if kinds is not None:
        movable &= kinds.of("continuous") | kinds.of("count")
    sizes = np.bincount(groups.label[movable])
    sizes = sizes[sizes > 0]
    if groups.norm == "none" or not len(sizes) or sizes.max() < _MIXED * sizes.min():
        return None
    values = x[:, movable]
    at_bound = float(((values <= lower[movable]) | (values >= upper[movable])).mean())
    told = f"groups have {sizes.min()} to {sizes.max()} features"
    if groups.norm == "l2" and at_bound > _ONE_SIDED:
        return (
            f"{told}, and {at_bound:.0%} of the values lie at a bound, from which steps go one "
            "way: `value` then grows with the square root of a group's size. Compare groups by "
            "`change`, or use group_norm='density'."
        )
    if groups.norm == "density" and at_bound < 1 - _ONE_SIDED:
        return (
            f"{told}, and {1 - at_bound:.0%} of the values can move both ways: with "
            "group_norm='density' `value` then falls with the square root of a group's size. "
            "Compare groups by `change`, or use group_norm='l2'."
        )
    return None
