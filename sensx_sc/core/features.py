"""What features are: their domain, the values they take, and what changes together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.core.declared_kinds import make_kinds
from sensx_sc.core.domain import as_bounds, make_domain
from sensx_sc.core.groups import make_groups
from sensx_sc.core.options import is_whole, require
from sensx_sc.core.sets import Partition, make_partition, single_features

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike

    from sensx_sc.core.domain import Domain
    from sensx_sc.core.groups import Grouping, Groups
    from sensx_sc.core.kinds import Kinds
    from sensx_sc.core.sets import Sets
    from sensx_sc.words import GroupNorm, Overlap, Ungrouped


def settle_features(
    n: int,
    lower: ArrayLike,
    upper: ArrayLike,
    *,
    names: tuple[str, ...] | None = None,
    mask: ArrayLike | None = None,
    groups: Grouping | Partition | None = None,
    group_norm: GroupNorm = "l2",
    overlap: Overlap = "share",
    ungrouped: Ungrouped = "hold",
    kinds: Kinds | Mapping[str, str] | ArrayLike | None = None,
    levels: Mapping[Any, ArrayLike] | None = None,
    blocks: Mapping[str, Sequence[object]] | None = None,
) -> tuple[Domain, Sets | None]:
    """The domain of n features, and the sets that their groups are put together to, if any.

    The arguments are those of :func:`sensx_sc.core.explain`. A one-hot block is a group: without
    ``groups`` all others are features alone.
    """
    low, high = as_bounds("lower", lower, n), as_bounds("upper", upper, n)
    values = make_kinds(kinds, n, low, high, names=names, levels=levels, blocks=blocks)
    together = {} if values is None else values.blocks
    found = Partition(None)
    if groups is not None:
        how: dict[str, Any] = {"norm": group_norm, "overlap": overlap, "ungrouped": ungrouped}
        found = make_partition(groups, n, names=names, blocks=together, **how)
    elif together:
        found = Partition(single_features(n, names, together).with_norm(group_norm))
    domain = make_domain(low, high, n, mask=mask, names=names, groups=found.groups, kinds=values)
    return domain, found.sets


def settle_finer(
    within: Grouping | str | None, top: int, domain: Domain, names: tuple[str, ...] | None
) -> Groups | None:
    """The partition that top groups are taken apart into."""
    if within is None:
        return None
    if domain.groups is None:
        msg = "`within` needs `groups`: it says what the top groups are taken apart into."
        raise ValueError(msg)
    require(is_whole(top) and top >= 1, "within_top", top, "a whole number of at least 1")
    n = domain.n_features
    blocks = {} if domain.kinds is None else domain.kinds.blocks
    if isinstance(within, str):
        require(within == "features", "within", within, "'features' or a partition of them")
        return single_features(n, names, blocks)
    fine = make_groups(within, n, names=names)
    left = np.flatnonzero(domain.tested & (fine.label < 0))
    if left.size:
        msg = (
            f"`within` must have a group for every feature that is in one of `groups`; "
            f"{left.size} have none, the first is feature {left[0]}."
        )
        raise ValueError(msg)
    for name, columns in blocks.items():
        if len(np.unique(fine.label[columns])) > 1:
            msg = f"`within` takes the one-hot block {name!r} apart, which changes as a whole."
            raise ValueError(msg)
    return fine
