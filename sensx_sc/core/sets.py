"""Sets of features that may overlap: walked as disjoint atoms, reported set by set.

A walk moves each feature once, so sets that share features cannot each be moved in a step. They
are split into atoms, the features that are in exactly the same sets; atoms are walked, and what is
found of a set is put together from its atoms by the rule of :func:`of_sets`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import sparse

from sensx_sc.core.groups import Groups, make_groups, set_members, singletons
from sensx_sc.core.options import require
from sensx_sc.core.statistics import ranking_score, ranks
from sensx_sc.words import OVERLAPS, UNGROUPED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sensx_sc.core.arrays import Bools, Floats, Ints
    from sensx_sc.core.domain import Domain
    from sensx_sc.core.explanation import Explanation
    from sensx_sc.core.groups import Grouping
    from sensx_sc.words import GroupNorm, Overlap, RankBy, Ungrouped

OTHERS = "ungrouped"
"""Name of the one group of all features in no set."""

_AMOUNTS = ("change", "shapley", "change_se")
_RATES = ("value", "mean", "std", "se")


@dataclass(frozen=True)
class Sets:
    """Overlapping sets of features, as unions of atoms.

    Attributes
    ----------
    names
        Names of the S sets.
    share
        Which part of what is found of each atom goes to each set, CSR (S, A); not stored where
        a set does not hold an atom.
    rule
        ``"share"`` or ``"whole"``.
    """

    names: tuple[str, ...]
    share: sparse.csr_matrix[Any]
    rule: Overlap

    def any_of(self, of_atoms: Bools) -> Bools:
        """Whether any atom of each set is true, (C, S), from (C, A)."""
        found: Bools = np.logical_or.reduceat(of_atoms[:, self.share.indices], self._starts, axis=1)
        return found

    def atoms(self, chosen: Ints) -> Ints:
        """The atoms of some sets, ascending."""
        return np.unique(self.share[chosen].indices).astype(np.int64)

    @property
    def _starts(self) -> Ints:
        starts: Ints = self.share.indptr[:-1].astype(np.int64)
        return starts


class Partition(NamedTuple):
    """The groups that are walked, and the sets that they are put together to, if they are.

    ``groups`` is None where each feature changes alone, ``sets`` where groups are reported as they
    are.
    """

    groups: Groups | None
    sets: Sets | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of what is reported."""
        reported = self.sets or self.groups
        return () if reported is None else reported.names


def make_partition(
    groups: Grouping | Partition,
    n_features: int,
    *,
    names: Sequence[str] | None = None,
    norm: GroupNorm = "l2",
    overlap: Overlap = "share",
    ungrouped: Ungrouped = "hold",
    blocks: Mapping[str, Ints] | None = None,
) -> Partition:
    """Check groups of features, and split those that overlap into atoms.

    Parameters
    ----------
    groups, n_features, names, norm
        As in :func:`make_groups`; the sets of a mapping may share features. A partition that this
        function has made stays as it is.
    overlap
        What becomes of features in several sets. ``"share"``: what is found of an atom is divided
        equally among the sets that hold it. ``"whole"``: each of them gets all of it.
        ``"atoms"``: atoms are reported themselves, named ``"A & B"``. ``"raise"``: an error.
    ungrouped
        Features in no set: ``"hold"`` (they keep their values), ``"single"`` (each changes alone)
        or ``"together"`` (they are one more group, named ``"ungrouped"``).
    blocks
        Columns of one-hot blocks, which are never alone.

    Returns
    -------
    :class:`Partition`

    Examples
    --------
    >>> from sensx_sc.core.sets import make_partition
    >>> atoms, sets = make_partition({"A": [0, 1], "B": [1, 2]}, 4)
    >>> atoms.names, atoms.label.tolist()
    (('A', 'A & B', 'B'), [0, 1, 2, -1])
    >>> sets.share.toarray().tolist()
    [[1.0, 0.5, 0.0], [0.0, 0.5, 1.0]]
    """
    if isinstance(groups, Partition):
        return groups
    require(overlap in OVERLAPS, "overlap", overlap, f"one of {OVERLAPS}")
    require(ungrouped in UNGROUPED, "ungrouped", ungrouped, f"one of {UNGROUPED}")
    sets: Sets | None = None
    if isinstance(groups, Mapping) and overlap != "raise":
        made, sets = _atoms(set_members(groups, n_features, names), n_features, overlap)
        made = make_groups(made, n_features, norm=norm)
    else:
        made = make_groups(groups, n_features, names=names, norm=norm)
    return _with_others(made, sets, ungrouped, names, blocks or {})


def _atoms(members: dict[str, Ints], n_features: int, rule: Overlap) -> tuple[Groups, Sets | None]:
    """The features that are in exactly the same sets, and the sets; None where none overlap."""
    holders: list[tuple[int, ...]] = [()] * n_features
    for s, at in enumerate(members.values()):
        for j in at.tolist():
            holders[j] = (*holders[j], s)
    patterns = sorted(set(holders) - {()})
    place = {pattern: a for a, pattern in enumerate(patterns)} | {(): -1}
    titles = tuple(members)
    groups = Groups(
        tuple(" & ".join(titles[s] for s in pattern) for pattern in patterns),
        np.array([place[pattern] for pattern in holders], dtype=np.int64),
    )
    if rule == "atoms" or all(len(pattern) == 1 for pattern in patterns):
        return groups, None
    atom = np.repeat(np.arange(len(patterns)), [len(pattern) for pattern in patterns])
    holder = np.array([s for pattern in patterns for s in pattern])
    part = [1 / len(p) if rule == "share" else 1.0 for p in patterns for _ in p]
    shape = (len(titles), len(patterns))
    return groups, Sets(titles, sparse.csr_matrix((part, (holder, atom)), shape=shape), rule)


def _with_others(
    groups: Groups,
    sets: Sets | None,
    ungrouped: Ungrouped,
    names: Sequence[str] | None,
    blocks: Mapping[str, Ints],
) -> Partition:
    """The same with groups for the features that are in none."""
    others = np.flatnonzero(groups.label < 0)
    if ungrouped == "hold" or not others.size:
        return Partition(groups, sets)
    added: tuple[str, ...] = (OTHERS,)
    number = np.zeros(len(others), dtype=np.int64)
    if ungrouped == "single":
        single = single_features(groups.n_features, names, blocks)
        own, number = np.unique(single.label[others], return_inverse=True)
        added = tuple(single.names[g] for g in own)
    there = set(groups.names if sets is None else sets.names)
    twice = [name for name in added if name in there]
    if twice:
        msg = (
            f"`groups` has a set named {twice[0]!r}, and so is what `ungrouped` {ungrouped!r} "
            "adds; give the set another name."
        )
        raise ValueError(msg)
    return Partition(*appended(groups, sets, others, number, added))


def appended(
    groups: Groups, sets: Sets | None, features: Ints, number: Ints, names: tuple[str, ...]
) -> tuple[Groups, Sets | None]:
    """Groups, and sets, with further ones for features that are in none.

    Parameters
    ----------
    number
        Which of the new ones each of ``features`` is in.
    names
        Names of the new ones.
    """
    label = groups.label.copy()
    label[features] = len(groups.names) + number
    made = replace(groups, names=groups.names + names, label=label)
    if sets is not None:
        share = sparse.block_diag([sets.share, sparse.identity(len(names))])
        sets = Sets(sets.names + names, sparse.csr_matrix(share), sets.rule)
    return made, sets


def single_features(
    n_features: int, names: Sequence[str] | None, blocks: Mapping[str, Ints]
) -> Groups:
    """Each feature a group of its own, and each one-hot block one, at its first column."""
    single = singletons(n_features, names)
    if not blocks:
        return single
    label, titles = single.label.copy(), list(single.names)
    for name, columns in blocks.items():
        label[columns] = columns[0]
        titles[int(columns[0])] = name
    kept, label = np.unique(label, return_inverse=True)
    return Groups(tuple(titles[g] for g in kept), label)


def of_sets(found: Explanation, sets: Sets, domain: Domain, rank_by: RankBy) -> Explanation:
    """What is found of sets, from what was found of their atoms.

    Amounts (``change``, ``shapley``) are summed over the atoms of a set, each with its share: with
    the rule ``"share"`` ``shapley`` of all sets sums to q(x) - mean q(e), as that of the atoms
    does. Rates (``value``, ``mean``) are averaged, an atom weighing as its features times its
    share; with ``norm="none"`` they are amounts. ``change`` of a set is the sum over its parts,
    each moved at a turn of its own: at least what moving all of it in one step makes of q.
    ``std`` and the standard errors are put together like what they belong to, and are upper
    bounds, since the atoms of a set share walks. ``n`` is the smallest of its atoms.

    Parameters
    ----------
    found
        Explanation of atoms, (C, A).
    domain
        The domain of the run: an atom weighs as its tested features.
    rank_by
        Statistic that ranks the sets.

    Returns
    -------
    (C, S)
    """
    known = ~np.isnan(found.value)
    there = sets.any_of(known)
    size = np.zeros(sets.share.shape[1])
    size[domain.places] = domain.moving
    by_size = sets.share @ sparse.diags(size).tocsr()
    is_amount = found.groups is not None and found.groups.norm == "none"

    def summed(values: Floats, share: Any = sets.share) -> Floats:
        total: Floats = (share @ np.where(known, values, 0.0).T).T
        return total

    weight = summed(np.ones(known.shape), by_size)
    made: dict[str, Any] = {}
    for name in (*_AMOUNTS, *_RATES):
        values = getattr(found, name)
        if name in _AMOUNTS or is_amount:
            total = summed(values)
        else:
            total = np.divide(
                summed(values, by_size), weight, out=np.zeros(there.shape), where=weight > 0
            )
        made[name] = np.where(there, total, np.nan)
    fewest = np.iinfo(np.int64).max
    n = _over(np.minimum, np.where(known, found.n, fewest), sets)
    made["n"] = np.where(there, n, 0)
    made["below_noise"] = there & _over(np.logical_and, found.below_noise | ~known, sets)
    made["exact"] = there & _over(np.logical_and, found.exact | ~known, sets)
    score = ranking_score(made[rank_by], rank_by)
    return replace(found, rank=ranks(score), sets=sets, **made)


def _over(together: np.ufunc, values: NDArray[Any], sets: Sets) -> NDArray[Any]:
    """Values of atoms taken together over those of each set, (C, S)."""
    taken: NDArray[Any] = together.reduceat(
        values[:, sets.share.indices], sets.share.indptr[:-1], axis=1
    )
    return taken
