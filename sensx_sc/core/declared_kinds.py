"""What is said of the values that features take: checked, and held against the inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.core.arrays import is_sparse
from sensx_sc.core.kinds import Kinds
from sensx_sc.words import FEATURE_KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike

    from sensx_sc.core.arrays import Bools, Floats, Ints, Rows

_MOST_LEVELS = 10_000
_TOGETHER = 2**22  # numbers that are looked at together
_ROUNDING = 1e-6


def make_kinds(
    kinds: Mapping[str, str] | ArrayLike | Kinds | None,
    n_features: int,
    lower: Floats,
    upper: Floats,
    *,
    names: Sequence[str] | None = None,
    levels: Mapping[Any, ArrayLike] | None = None,
    blocks: Mapping[str, Sequence[object]] | None = None,
) -> Kinds | None:
    """Check what is said of the values that features take.

    Parameters
    ----------
    kinds
        One for each feature, ``"continuous"``, ``"count"``, ``"ordinal"``, ``"binary"`` or
        ``"categorical"``; None (or a missing value) is continuous. One for all, or a mapping from
        names or positions.
    lower, upper
        Bounds, (n_features,). Levels that are not given are the whole numbers between them; of
        binary features the bounds themselves.
    levels
        Values of some features, by their name or position: of ordinal ones in their order.
    blocks
        Columns of one-hot blocks, names or positions, by the name of the block: they are
        categorical, whatever ``kinds`` says.

    Returns
    -------
    :class:`Kinds`; None where all are continuous.

    Raises
    ------
    ValueError, TypeError, KeyError
        No such kind or feature, levels that are none, a column in two blocks.

    Examples
    --------
    >>> import numpy as np
    >>> from sensx_sc.core.declared_kinds import make_kinds
    >>> found = make_kinds([None, "count", "ordinal"], 3, np.zeros(3), np.array([1.0, 9.0, 2.0]))
    >>> found.counted(), found.levels[2].tolist()
    ({'count': 1, 'ordinal': 1}, [0.0, 1.0, 2.0])
    """
    if kinds is None and not blocks:
        return None
    if isinstance(kinds, Kinds):
        return kinds
    place = {} if names is None else {str(name): j for j, name in enumerate(names)}
    kind = _codes(kinds, n_features, place)
    told = _told_levels(levels, n_features, place)
    columns = _columns(blocks, n_features, place)
    inside = np.concatenate([np.empty(0, np.int64), *columns.values()])
    kind[inside] = FEATURE_KINDS.index("categorical")
    found: dict[int, Floats] = {}
    for j in np.flatnonzero(np.isin(kind, [FEATURE_KINDS.index(k) for k in _LEVELLED])).tolist():
        if j in inside or (upper[j] <= lower[j] and j not in told):
            continue  # a constant is not tested
        found[j] = _levels_of(
            FEATURE_KINDS[kind[j]], told.get(j), lower[j], upper[j], _who(j, names)
        )
    extra = sorted(set(told) - set(found))
    if extra and upper[extra[0]] > lower[extra[0]]:
        msg = (
            f"`levels` of feature {_who(extra[0], names)} have no meaning: it is "
            f"{FEATURE_KINDS[kind[extra[0]]]!r}; {', '.join(_LEVELLED)} features have some."
        )
        raise ValueError(msg)
    return Kinds(kind, found, columns) if (kind > 0).any() else None


_LEVELLED = ("ordinal", "binary", "categorical")


def _codes(kinds: Any, n: int, place: Mapping[str, int]) -> Ints:
    said: list[Any] = [None] * n
    if isinstance(kinds, str):
        said = [kinds] * n
    elif isinstance(kinds, Mapping):
        for feature, kind in kinds.items():
            said[_feature(feature, place, n, "kinds")] = kind
    elif kinds is not None:
        said = np.asarray(kinds, dtype=object).tolist()
        if not isinstance(said, list) or len(said) != n:
            msg = f"`kinds` must name a kind for each of the {n} features; got {kinds!r}."
            raise ValueError(msg)
    codes = np.zeros(n, dtype=np.int64)
    for j, kind in enumerate(said):
        if kind is None or kind != kind or type(kind).__name__ == "NAType":
            continue
        if kind not in FEATURE_KINDS:
            msg = f"`kinds` must be among {FEATURE_KINDS}; got {kind!r} for feature {j}."
            raise ValueError(msg)
        codes[j] = FEATURE_KINDS.index(kind)
    return codes


def _who(j: int, names: Sequence[str] | None) -> str:
    return str(j) if names is None else repr(str(names[j]))


def _feature(feature: object, place: Mapping[str, int], n: int, argument: str) -> int:
    if isinstance(feature, str) and feature in place:
        return place[feature]
    if isinstance(feature, int | np.integer) and not isinstance(feature, bool):
        position = int(feature)
        if 0 <= position < n:
            return position
    msg = f"`{argument}` names {feature!r}, which is no feature."
    raise KeyError(msg)


def _told_levels(levels: Any, n: int, place: Mapping[str, int]) -> dict[int, Floats]:
    found: dict[int, Floats] = {}
    for feature, values in (levels or {}).items():
        j = _feature(feature, place, n, "levels")
        array = np.asarray(values, dtype=np.float64)
        if array.ndim != 1 or len(array) < 2 or not (np.diff(array) > 0).all():
            msg = f"`levels` of {feature!r} must be two or more ascending numbers; got {values!r}."
            raise ValueError(msg)
        found[j] = array
    return found


def _columns(blocks: Any, n: int, place: Mapping[str, int]) -> dict[str, Ints]:
    found: dict[str, Ints] = {}
    taken: dict[int, str] = {}
    for name, columns in (blocks or {}).items():
        at = [_feature(column, place, n, "blocks") for column in columns]
        if len(set(at)) < 2 or len(set(at)) < len(at):
            msg = f"the one-hot block {str(name)!r} must have two or more columns; got {columns!r}."
            raise ValueError(msg)
        twice = [j for j in at if j in taken]
        if twice:
            msg = (
                f"the one-hot blocks {taken[twice[0]]!r} and {str(name)!r} share column {twice[0]}."
            )
            raise ValueError(msg)
        taken |= dict.fromkeys(at, str(name))
        found[str(name)] = np.array(sorted(at), dtype=np.int64)
    return found


def _levels_of(kind: str, told: Floats | None, low: float, high: float, who: str) -> Floats:
    if kind == "binary":
        levels = np.array([low, high]) if told is None else told
        if len(levels) != 2:
            msg = f"a binary feature has two `levels`; feature {who} has {len(levels)}."
            raise ValueError(msg)
        return levels
    if told is not None:
        return told
    if low != np.rint(low) or high != np.rint(high) or high - low > _MOST_LEVELS:
        msg = (
            f"feature {who} is {kind}, and its bounds, {low:g} and {high:g}, are not the first and "
            f"last of at most {_MOST_LEVELS} whole numbers: give its `levels`."
        )
        raise ValueError(msg)
    return np.arange(low, high + 1)


def bounds_of_kinds(kinds: Kinds, lower: Floats, upper: Floats) -> tuple[Floats, Floats]:
    """Bounds that hold the values features take: their levels, 0 and 1, whole numbers."""
    low, high = lower.copy(), upper.copy()
    count = kinds.of("count")
    low[count], high[count] = np.ceil(lower[count]), np.floor(upper[count])
    high = np.maximum(low, high)
    for j, levels in kinds.levels.items():
        low[j], high[j] = levels[0], levels[-1]
    low[kinds.in_blocks], high[kinds.in_blocks] = 0.0, 1.0
    return low, high


def check_kinds(X: Rows, kinds: Kinds, tested: Bools, names: Sequence[str] | None = None) -> None:
    """Hold the values of all inputs against the kinds of the tested features.

    Raises
    ------
    ValueError
        A value that a feature cannot take, or a one-hot block that is none, with the first.
    """
    whole = np.flatnonzero(kinds.of("count") & tested)
    blocks = {name: at for name, at in kinds.blocks.items() if tested[at].all()}
    levelled = [j for j in kinds.levels if tested[j]]

    for first, block in _row_blocks(X):
        part = _dense_columns(block, whole)
        wrong = np.argwhere(part != np.rint(part))
        if len(wrong):
            row, k = wrong[0]
            msg = (
                f"feature {_who(int(whole[k]), names)} is a count, and input {first + row} has "
                f"{part[row, k]:g}; declare it continuous, or explain raw counts."
            )
            raise ValueError(msg)
        for j in levelled:
            values = _dense_columns(block, np.array([j]))[:, 0]
            off = np.flatnonzero(_off_levels(values, kinds.levels[j]))
            if off.size:
                levels = kinds.levels[j]
                shown = ", ".join(f"{level:g}" for level in levels[:8])
                msg = (
                    f"input {first + off[0]} has {values[off[0]]:g} for feature "
                    f"{_who(j, names)}, whose levels are {shown}{', ...' * (len(levels) > 8)}."
                )
                raise ValueError(msg)
        for name, at in blocks.items():
            values = _dense_columns(block, at)
            off = np.flatnonzero(
                ~(np.isin(values, (0.0, 1.0)).all(axis=1) & (values.sum(axis=1) == 1))
            )
            if off.size:
                msg = (
                    f"the one-hot block {name!r} must hold one 1, else 0; input {first + off[0]} "
                    f"has {values[off[0]].tolist()}."
                )
                raise ValueError(msg)


def _row_blocks(X: Rows) -> Iterator[tuple[int, Rows]]:
    together = max(1, _TOGETHER // X.shape[1])
    for first in range(0, X.shape[0], together):
        block = X[first : first + together]
        yield first, block.tocsc() if is_sparse(block) else np.asarray(block)


def _dense_columns(block: Rows, columns: Ints) -> Floats:
    part = block[:, columns]
    return np.asarray(part.toarray() if is_sparse(part) else part, dtype=np.float64)


def _off_levels(values: Floats, levels: Floats) -> Bools:
    """Which values are no level, but for the rounding of a single-precision copy."""
    nearest = levels[np.searchsorted((levels[1:] + levels[:-1]) / 2, values)]
    off: Bools = np.abs(values - nearest) > _ROUNDING * np.maximum(1.0, np.abs(nearest))
    return off
