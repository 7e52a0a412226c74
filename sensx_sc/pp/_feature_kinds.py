"""What values features take, as ``.var`` or an argument says, or as the data look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from sensx_sc.core.arrays import is_sparse
from sensx_sc.core.declared_kinds import make_kinds
from sensx_sc.logger import logger
from sensx_sc.pp._selection import aligned, column_of
from sensx_sc.words import FEATURE_KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sensx_sc.core.arrays import Floats, Rows
    from sensx_sc.core.kinds import Kinds

KIND, LEVELS, BLOCK = "sensx_kind", "sensx_levels", "sensx_block"
"""Columns of ``.var`` that declare features."""
_TOGETHER = 2**22


class _Said(NamedTuple):
    kinds: Any
    levels: dict[int, list[float]]
    blocks: dict[str, list[int]]


def pick_kinds(
    kinds: Any,
    table: pd.DataFrame | None,
    names: Sequence[str],
    rows: Rows,
    low: Floats,
    high: Floats,
) -> Kinds | None:
    """What values features take; None where all are continuous.

    Parameters
    ----------
    kinds
        None: as the columns ``sensx_kind``, ``sensx_levels`` and ``sensx_block`` of ``table`` say,
        continuous without them. ``"infer"``: as the data look. A kind for all, a mapping from
        names, kinds in the order of the features, or a table with such columns.
    table
        The table of the features, if they have one.
    rows, low, high
        The data and the bounds of the features.

    Raises
    ------
    ValueError, TypeError, KeyError
        As :func:`sensx_sc.core.declared_kinds.make_kinds`.
    """
    if isinstance(kinds, str) and kinds == "infer":
        said = _Said(inferred_kinds(rows), {}, {})
    elif isinstance(kinds, pd.DataFrame):
        said = _declared(kinds.reindex(pd.Index(names)), KIND)
    elif isinstance(kinds, str) and kinds not in FEATURE_KINDS:
        if table is None or kinds not in table:
            there = "none" if table is None else ", ".join(map(repr, table.columns)) or "none"
            msg = (
                f"`kinds` {kinds!r} is neither 'infer', one of {FEATURE_KINDS}, nor a column; the "
                f"columns are: {there}."
            )
            raise KeyError(msg)
        said = _declared(table, kinds)
    else:
        said = _Said(None, {}, {}) if table is None else _declared(table, KIND)
        if kinds is not None:
            said = said._replace(kinds=aligned(kinds, names, "kinds"))
    found = make_kinds(
        said.kinds, len(names), low, high, names=names, levels=said.levels, blocks=said.blocks
    )
    if found is not None:
        told = ", ".join(f"{n} {name}" for name, n in found.counted().items())
        logger.info(
            "kinds: %s of %d features, %s.",
            told,
            len(names),
            "as their values look (declare them in .var['sensx_kind'])"
            if isinstance(kinds, str) and kinds == "infer"
            else "as declared",
        )
    return found


def _declared(table: Any, kind: str) -> _Said:
    """What the columns of a table say."""
    kinds = column_of(table, kind).astype(object).tolist() if kind in table else None
    levels: dict[int, list[float]] = {}
    if LEVELS in table:
        for j, value in enumerate(column_of(table, LEVELS).tolist()):
            if not _missing(value):
                levels[j] = parse_levels(value)
    blocks: dict[str, list[int]] = {}
    if BLOCK in table:
        for j, name in enumerate(column_of(table, BLOCK).astype(object).tolist()):
            if not _missing(name):
                blocks.setdefault(str(name), []).append(j)
    return _Said(kinds, levels, blocks)


def _missing(value: Any) -> bool:
    return value is None or value != value or value == "" or type(value).__name__ == "NAType"


def parse_levels(value: Any) -> list[float]:
    """Levels from text such as ``"0, 1, 5"``, or from how many there are: 3 is 0, 1, 2.

    Raises
    ------
    ValueError
        Neither.

    Examples
    --------
    >>> from sensx_sc.pp._feature_kinds import parse_levels
    >>> parse_levels("0, 1, 5"), parse_levels(3)
    ([0.0, 1.0, 5.0], [0.0, 1.0, 2.0])
    """
    try:
        if isinstance(value, str) and "," in value:
            return [float(part) for part in value.split(",")]
        count = float(value)
        if count == int(count) and count >= 2:
            return [float(level) for level in range(int(count))]
    except (TypeError, ValueError):
        pass
    msg = (
        f"levels must be text such as '0, 1, 5', or how many there are (3 for 0, 1, 2); got "
        f"{value!r}."
    )
    raise ValueError(msg)


def inferred_kinds(rows: Rows) -> list[str]:
    """The kind of each feature as its values look: binary (0 and 1), counts, or continuous."""
    n = rows.shape[1]
    whole, small = np.ones(n, dtype=bool), np.ones(n, dtype=bool)
    together = max(1, _TOGETHER // n)
    for first in range(0, rows.shape[0], together):
        block = rows[first : first + together]
        values = np.asarray(block.toarray() if is_sparse(block) else block, dtype=np.float64)
        whole &= ((values == np.rint(values)) & (values >= 0)).all(axis=0)
        small &= (values <= 1).all(axis=0)
    kinds = np.where(whole, np.where(small, "binary", "count"), "continuous")
    return [str(kind) for kind in kinds]
