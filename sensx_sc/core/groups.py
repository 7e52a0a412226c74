"""Features that change together: one step of a walk for each group (appendix A.6 of the paper)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from sensx_sc.words import GROUP_NORMS

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from sensx_sc.core.arrays import Ints
    from sensx_sc.words import GroupNorm

Grouping: TypeAlias = "Groups | Mapping[str, Sequence[object]] | ArrayLike"
"""A partition, a mapping from names to features, or a label for each feature."""


@dataclass(frozen=True)
class Groups:
    """A partition of features; see :func:`make_groups`.

    Attributes
    ----------
    names
        Names of the G groups.
    label
        Group of each feature, positions into ``names``, (n,); -1 = in no group: such a feature
        keeps its value, in the calibration and in the walks alike.
    norm
        What the change of q at a group's step is divided by. ``"l2"``: the Euclidean length of
        the step, as in equation A14. ``"density"``: the sum of the absolute steps of its features.
        ``"none"``: nothing, so that ``value`` is ``change`` (where it moved).
    """

    names: tuple[str, ...]
    label: Ints
    norm: GroupNorm = "l2"

    @property
    def n_features(self) -> int:
        return len(self.label)

    @cached_property
    def sizes(self) -> Ints:
        """Features of each group, (G,)."""
        counts: Ints = np.bincount(self.label[self.label >= 0], minlength=len(self.names))
        return counts

    def members(self, group: str | int) -> Ints:
        """Features of one group, ascending."""
        return np.flatnonzero(self.label == self._index(group))

    def _index(self, group: str | int) -> int:
        if isinstance(group, str):
            if group not in self.names:
                msg = f"there is no group {group!r}; there are {_listed(self.names)}."
                raise KeyError(msg)
            return self.names.index(group)
        if not 0 <= group < len(self.names):
            msg = f"there is no group number {group}; there are {len(self.names)} groups."
            raise KeyError(msg)
        return int(group)

    def spread(self, values: np.ndarray, *, missing: float = np.nan) -> np.ndarray:
        """Values of groups, (..., G), for each of their features, (..., n).

        Parameters
        ----------
        values
            One for each group.
        missing
            For features in no group.
        """
        spread = np.asarray(values)[..., self.label]
        inside = self.label >= 0
        return spread if inside.all() else np.where(inside, spread, missing)

    def refined(self, chosen: Sequence[str | int], within: Groups) -> Groups:
        """The partition in which some groups are taken apart; the others move as before.

        Parameters
        ----------
        chosen
            Groups to take apart.
        within
            Finer groups of the same features.

        Returns
        -------
        Groups: all of ``within`` and then all of these, by name and number; those that are not
        there (fine ones outside, coarse ones that were taken apart) have no features.
        """
        picked = np.isin(self.label, [self._index(group) for group in chosen])
        label = np.where(self.label >= 0, len(within.names) + self.label, -1)
        label = np.where(picked, within.label, label)
        return Groups(within.names + self.names, label, self.norm)

    def with_norm(self, norm: GroupNorm) -> Groups:
        """The same partition with another norm."""
        if norm not in GROUP_NORMS:
            msg = f"`group_norm` must be one of {GROUP_NORMS}; got {norm!r}."
            raise ValueError(msg)
        return replace(self, norm=norm)


def make_groups(
    groups: Grouping,
    n_features: int,
    *,
    names: Sequence[str] | None = None,
    norm: GroupNorm = "l2",
) -> Groups:
    """Check a partition of features.

    Parameters
    ----------
    groups
        A label for each feature, shape (n_features,): text, whole numbers, or missing (None, NaN,
        a negative number) for a feature in no group. Or a mapping from the names of groups to the
        names or positions of their features. Or :class:`Groups`.
    n_features
        Number of features.
    names
        Names of the features, if a mapping uses them.
    norm
        ``"l2"``, ``"density"`` or ``"none"``; see :class:`Groups`.

    Returns
    -------
    :class:`Groups`; labels that are text are in the order in which they appear, numbers ascend.

    Raises
    ------
    ValueError
        Labels of another length, a feature in two groups, a group without features, no group.
    KeyError
        A feature that is not there.
    TypeError
        Neither labels nor a mapping.

    Examples
    --------
    >>> from sensx_sc.core import make_groups
    >>> found = make_groups({"a": [0, 2], "b": [1]}, 4)
    >>> found.names, found.label.tolist()
    (('a', 'b'), [0, 1, 0, -1])
    >>> make_groups(["x", "y", "x", None], 4).sizes.tolist()
    [2, 1]
    """
    if isinstance(groups, Groups):
        found = groups
        if found.n_features != n_features:
            msg = f"`groups` partitions {found.n_features} features; the inputs have {n_features}."
            raise ValueError(msg)
    elif isinstance(groups, Mapping):
        found = _of_mapping(groups, n_features, names)
    else:
        found = _of_labels(groups, n_features)
    if not len(found.names):
        msg = "`groups` must hold at least one group with features."
        raise ValueError(msg)
    return found.with_norm(norm)


def _of_mapping(
    groups: Mapping[str, Sequence[object]], n_features: int, names: Sequence[str] | None
) -> Groups:
    label = np.full(n_features, -1, dtype=np.int64)
    sets = set_members(groups, n_features, names)
    titles = tuple(sets)
    for g, (title, at) in enumerate(sets.items()):
        taken = [j for j in at if label[j] not in (-1, g)]
        if taken:
            j = taken[0]
            who = str(j) if names is None else repr(str(names[j]))
            msg = (
                f"feature {who} is in `groups` {titles[label[j]]!r} and {title!r}, and so are "
                f"{len(taken) - 1} others: a walk moves each feature once, so every feature may be "
                "in one group only."
            )
            raise ValueError(msg)
        label[at] = g
    return Groups(titles, label)


def set_members(
    groups: Mapping[str, Sequence[object]], n_features: int, names: Sequence[str] | None = None
) -> dict[str, Ints]:
    """Positions of the features of named sets, each once; a feature may be in several sets.

    Raises
    ------
    ValueError, TypeError, KeyError
        Names that are the same as text, a set without features, a feature that is not there.
    """
    place = {} if names is None else {str(name): j for j, name in enumerate(names)}
    titles = tuple(map(str, groups))
    if len(set(titles)) < len(titles):
        msg = f"the names of `groups` must differ as text; got {_listed(titles)}."
        raise ValueError(msg)
    found: dict[str, Ints] = {}
    for title, members in zip(titles, groups.values(), strict=True):
        if isinstance(members, str) or not isinstance(members, Sequence | np.ndarray | set):
            msg = f"`groups` {title!r} must list its features; got {members!r}."
            raise TypeError(msg)
        if not len(members):
            msg = f"`groups` {title!r} has no features; leave it out."
            raise ValueError(msg)
        at = [_feature(member, place, n_features, title) for member in members]
        found[title] = np.array(list(dict.fromkeys(at)), dtype=np.int64)
    return found


def _feature(member: object, place: Mapping[str, int], n_features: int, title: str) -> int:
    if isinstance(member, str) and member in place:
        return place[member]
    if isinstance(member, int | np.integer) and not isinstance(member, bool):
        position = int(member)
        if 0 <= position < n_features:
            return position
    msg = (
        f"`groups` {title!r} holds {member!r}, which is no feature: give positions from 0 to "
        f"{n_features - 1}{' or names of features' if place else ''}."
    )
    raise KeyError(msg)


def _of_labels(groups: ArrayLike, n_features: int) -> Groups:
    labels = np.asarray(groups)
    if labels.dtype.kind in "US" and not isinstance(groups, np.ndarray):
        labels = np.array(groups, dtype=object)  # a missing label among texts stays missing
    if labels.dtype.kind not in "iufOUSb" or labels.ndim == 0:
        msg = (
            "`groups` must be a label for each feature, or a mapping from names to features; got "
            f"{groups!r}."
        )
        raise TypeError(msg)
    if labels.shape != (n_features,):
        msg = f"`groups` must have a label for each of the {n_features} features, shape "
        msg += f"({n_features},); got shape {labels.shape}."
        raise ValueError(msg)
    if labels.dtype.kind in "iu":
        missing = labels < 0
    else:
        missing = np.array([_missing(value) for value in labels.tolist()])
    values = labels[~missing]
    if labels.dtype.kind == "f":
        if not np.array_equal(values, np.rint(values)):
            msg = "`groups` must have whole numbers or text as labels; got fractions."
            raise TypeError(msg)
        values = values.astype(np.int64)
    titles, first, code = np.unique(
        values if labels.dtype.kind in "iuf" else values.astype(str),
        return_index=True,
        return_inverse=True,
    )
    if labels.dtype.kind not in "iuf":  # text in the order in which it appears
        order = np.argsort(first, kind="stable")
        titles, code = titles[order], np.argsort(order, kind="stable")[code]
    label = np.full(n_features, -1, dtype=np.int64)
    label[~missing] = code
    return Groups(tuple(map(str, titles.tolist())), label)


def _missing(value: Any) -> bool:
    """Whether a label stands for no group: None, NaN (of pandas, too), a negative number."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | int) and (value != value or value < 0)


def singletons(n_features: int, names: Sequence[str] | None = None) -> Groups:
    """Each feature a group of its own."""
    labels = range(n_features) if names is None else names
    return Groups(tuple(map(str, labels)), np.arange(n_features))


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return ", ".join(map(repr, names[:12])) + more
