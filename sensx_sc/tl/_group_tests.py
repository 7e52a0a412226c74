"""Differential sensitivity: which genes matter more in one group of cells than in another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sensx_sc.get import _stored
from sensx_sc.get._stored import quoted
from sensx_sc.metrics.multiple_tests import adjusted
from sensx_sc.metrics.rank_test import rank_test

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sensx_sc.core.arrays import Floats, Ints
    from sensx_sc.metrics.rank_test import RankTest

REST = "rest"
FEWEST = 2
SIGNED = ("mean", "shapley")


def check_reference(reference: str, names: Sequence[str], codes: NDArray[np.intp]) -> None:
    """Refuse a reference that is no group, or whose cells are too few to be compared.

    Raises
    ------
    ValueError
        With the groups that there are.
    """
    if reference != REST and reference not in names:
        msg = (
            f"reference={reference!r} is neither 'rest' nor a group; the groups are "
            f"{quoted(names)}."
        )
        raise ValueError(msg)
    counts = {name: int((codes == code).sum()) for code, name in enumerate(names)}
    present = {name: count for name, count in counts.items() if count}
    if reference == REST and len(present) < 2:
        msg = f"reference='rest' needs at least two groups with attributed cells; got {present}."
        raise ValueError(msg)
    small = {name: count for name, count in present.items() if count < FEWEST}
    if small or (reference != REST and not counts[reference]):
        msg = (
            f"a comparison needs at least {FEWEST} attributed cells (or replicates) in each group "
            f"and in the reference {reference!r}; got {counts}."
        )
        raise ValueError(msg)


def compare_groups(
    layer: Any,
    rows: Ints,
    codes: NDArray[np.intp],
    names: Sequence[str],
    genes: Sequence[str] | NDArray[Any],
    *,
    reference: str,
    replicate: NDArray[np.intp] | None,
) -> pd.DataFrame:
    """Test every gene of every group against the reference.

    A block of genes is dense at a time, for all cells.

    Parameters
    ----------
    layer
        The statistic, (n_obs, n_vars).
    rows
        Attributed cells with a group.
    codes
        Group of each, and ``names`` what they are called.
    replicate
        Replicate of each: the values of its cells are averaged first. None: cells are the units.

    Returns
    -------
    ``group, names, mean_reference, effect, score, pval, pval_adj``.
    """
    compared = [c for c in range(len(names)) if (codes == c).any() and names[c] != reference]
    found: dict[int, list[tuple[RankTest, Floats]]] = {code: [] for code in compared}
    unit = codes if replicate is None else codes * (replicate.max() + 1) + replicate
    for first in range(0, len(genes), _genes_together(len(rows))):
        values = _columns(layer, rows, first, _genes_together(len(rows)))
        owner = codes
        if replicate is not None:
            values, owner = _averaged(values, unit, codes)
        for code in compared:
            inside = owner == code
            outside = ~inside if reference == REST else owner == list(names).index(reference)
            test = rank_test(values[inside], values[outside])
            found[code].append((test, values[outside].mean(axis=0)))
    parts = []
    for code, tests in found.items():
        p = np.concatenate([test.p for test, _ in tests])
        columns = {
            "group": names[code],
            "names": np.asarray(genes, dtype=object),
            "mean_reference": np.concatenate([mean for _, mean in tests]),
            "effect": np.concatenate([test.effect for test, _ in tests]),
            "score": np.concatenate([test.z for test, _ in tests]),
            "pval": p,
            "pval_adj": adjusted(p),
        }
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def _genes_together(n_cells: int) -> int:
    return max(1, _stored.BLOCK_BYTES // (8 * max(1, n_cells)))


def _columns(layer: Any, rows: Ints, first: int, size: int) -> Floats:
    block = layer[:, first : first + size]
    return _stored.read_rows(block, rows).astype(np.float64)


def _averaged(
    values: Floats, unit: NDArray[np.intp], codes: NDArray[np.intp]
) -> tuple[Floats, NDArray[np.intp]]:
    """Means over the cells of each replicate of each group, and the group of each."""
    units, at = np.unique(unit, return_inverse=True)
    total = np.zeros((len(units), values.shape[1]))
    np.add.at(total, at, values)
    owner = np.empty(len(units), dtype=np.intp)
    owner[at] = codes
    return total / np.bincount(at)[:, None], owner


def with_tests(table: pd.DataFrame, tests: pd.DataFrame, statistic: str) -> pd.DataFrame:
    """The ranking table of the compared groups with their tests, ranked by the test's score."""
    merged = table.merge(tests, on=["group", "names"], how="inner", sort=False)
    value, other = merged[statistic], merged["mean_reference"]
    ratio = np.full(len(merged), np.nan)
    if statistic not in SIGNED:
        np.divide(value, other, out=ratio, where=((value > 0) & (other > 0)).to_numpy())
    merged["log2_fold"] = np.log2(ratio)
    order = np.lexsort(
        (merged["rank"], -merged["score"].fillna(-np.inf), pd.factorize(merged["group"])[0])
    )
    merged = merged.iloc[order].reset_index(drop=True)
    merged["rank"] = merged.groupby("group", sort=False).cumcount().astype(np.int64) + 1
    return merged
