"""``sx.get.rankings``: which genes, in what order, with sign, size and presence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from sensx_sc.get._columns import check_statistic, columns_of
from sensx_sc.get._stored import (
    attributed,
    check_count,
    check_names,
    check_stored,
    quoted,
    read_values,
    stored_rankings,
)
from sensx_sc.words import RANK_BY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

PRESENT_FROM = 0.5


def rankings(
    adata: AnnData,
    *,
    groups: str | Sequence[str] | None = None,
    cells: str | Sequence[str] | None = None,
    rank_by: Literal["value", "change", "mean"] | None = None,
    presence: Literal["present", "absent"] | None = None,
    n_genes: int | None = None,
    within: bool = False,
    key: str = "sensx",
) -> pd.DataFrame:
    """Return ranked genes as a tidy table, one row a group (or cell) and gene.

    ``value`` (eq. 3) is the sensitivity per unit of expression and often puts rarely expressed
    genes first; ``change`` is the same in units of the quantity of interest; the sign of ``mean``
    says whether more expression raises or lowers it; ``presence`` says whether the gene is
    expressed at all. `presence` filters first, and the genes that are left are ranked anew.

    Parameters
    ----------
    adata
        Data with the results of :func:`sensx_sc.tl.sensx` or :func:`sensx_sc.tl.rank_groups`.
    groups
        Groups of ``adata.uns[key]["rankings"]``, in the order wanted; None = all.
    cells
        Names of cells: the table is then per cell, from the layers; with ``keep="top:500"`` of its
        kept genes. Not together with `groups`.
    rank_by
        ``"value"``, ``"change"`` or ``"mean"`` (by its size ``|mean|``); None = as stored.
    presence
        ``"present"``: only genes above the lower bound in at least half of the group's cells
        (or in the cell); ``"absent"``: only the others; None = all tested genes.
    n_genes
        Keep the first `n_genes` of each group or cell; None = all.
    within
        Of results with ``groups`` and ``within``: rank what the top groups were taken apart into,
        in place of the groups. Means are over the cells in which a gene's group was among them
        (``n_cells``).
    key
        ``key_added`` of the results.

    Returns
    -------
    Per group: columns ``group, names, rank, value, value_se, change, mean, presence, n_cells``
    (means over the group's attributed cells, ``presence`` in [0, 1]). Of results with ``groups`` a
    row is a set of genes, present where any of them is. Per cell: columns ``cell, names, rank,
    value``, each stored statistic of ``mean, std, change, shapley, se, n``, and
    ``presence`` (0 or 1). Sorted by group or cell, then ``rank`` (1 = first).

    Raises
    ------
    KeyError
        No results under `key`; an unknown group or cell; a statistic that was not stored.
    ValueError
        Both `groups` and `cells`; a cell without attribution; an argument out of its range.

    Examples
    --------
    >>> import anndata as ad, numpy as np, sensx_sc as sx
    >>> adata = ad.AnnData(np.random.default_rng(0).random((6, 3), dtype="float32"))
    >>> model = lambda x: x @ np.array([3.0, -1.0, 0.0])
    >>> sx.tl.sensx(adata, model, n_walks=20, n_samples=400)
    >>> sx.get.rankings(adata, n_genes=2)[["names", "rank", "value"]].round(3)
      names  rank  value
    0     0     1    3.0
    1     1     2    1.0

    References
    ----------
    Aggarwal, Cogan, Periwal (2026), SensX, TMLR, eq. 3 and 4.
    """
    check_stored(adata, key)
    check_count(n_genes, "n_genes")
    if groups is not None and cells is not None:
        msg = "groups and cells cannot be given together: choose a table per group or per cell."
        raise ValueError(msg)
    for argument, got, allowed in (
        ("rank_by", rank_by, RANK_BY),
        ("presence", presence, ("present", "absent")),
    ):
        if got is not None and got not in allowed:
            msg = f"{argument}={got!r} is not one of {quoted(allowed)} or None."
            raise ValueError(msg)
    if cells is None:
        stored = stored_rankings(adata, key, within=within)
        table, by = _group_rows(stored, groups, rank_by), "group"
    else:
        table, by = _cell_rows(adata, cells, rank_by, key, within=within), "cell"
    return _rank(table, by, rank_by, presence, n_genes)


def _group_rows(
    stored: pd.DataFrame, groups: str | Sequence[str] | None, rank_by: str | None
) -> pd.DataFrame:
    """Return the stored rows of ``groups``, in that order."""
    names = list(pd.unique(stored["group"]))
    if groups is not None:
        names = check_names(groups, names, "groups", "group")
    table = stored[stored["group"].isin(names)]
    if rank_by is not None and (rank_by not in table or bool(table[rank_by].isna().all())):
        msg = (
            f"rank_by={rank_by!r} was not stored with these rankings; ask for it with "
            f"sx.tl.sensx(..., statistics=('value', 'rank', {rank_by!r}))."
        )
        raise KeyError(msg)
    order = table["group"].map({name: i for i, name in enumerate(names)})
    return table.iloc[np.lexsort((table["rank"], order))].reset_index(drop=True)


def _cell_rows(
    adata: AnnData,
    cells: str | Sequence[str],
    rank_by: str | None,
    key: str,
    *,
    within: bool,
) -> pd.DataFrame:
    """Return one row for each cell and tested gene (or group), from the stored arrays."""
    columns = columns_of(adata, key, within=within)
    prefix = columns.prefix
    names = check_names(cells, adata.obs_names, "cells", "cell")
    rows = np.asarray(adata.obs_names.get_indexer(names), dtype=np.intp)
    bare = ~attributed(adata, prefix)[rows]
    if bare.any():
        row = int(rows[bare][0])
        status = adata.obs[f"{prefix}_status"].iloc[row]
        msg = (
            f"cells: {int(bare.sum())} of {len(names)} have no attribution, the first is "
            f"{adata.obs_names[row]!r} with status {status!r}; choose cells whose "
            f"adata.obs[{prefix + '_status'!r}] is resolved, left_censored or unsaturated."
        )
        raise ValueError(msg)
    if rank_by is not None:
        check_statistic(adata, columns, rank_by, argument="rank_by", allowed=RANK_BY)
    present = columns.presence(adata)(rows)
    values = {name: read_values(of, rows) for name, of in columns.statistics(adata).items()}
    stored = columns.rank(adata)
    if rank_by is None and stored is not None:
        first = read_values(stored, rows)
    else:
        chosen = rank_by or str(check_stored(adata, prefix)["params"].get("rank_by", "value"))
        check_statistic(adata, columns, chosen, argument="rank_by", allowed=RANK_BY)
        first = _ranks(values[chosen])
    tested = ~np.isnan(values["value"])
    cell, gene = np.nonzero(tested)
    table = pd.DataFrame({"cell": np.asarray(names, dtype=object)[cell]})
    table["names"] = columns.names.to_numpy()[gene]
    table["rank"] = first[tested].astype(np.int64)
    for name, found in values.items():
        table[name] = found[tested].astype(np.int64 if name == "n" else np.float64)
    table["presence"] = present[tested].astype(np.float64)
    return table.iloc[np.lexsort((table["rank"], cell))].reset_index(drop=True)


def _ranks(scores: np.ndarray) -> np.ndarray:
    """Return the rank of each column by size, 1 = largest, ties by index, NaN last."""
    order = np.argsort(-np.abs(scores), axis=1, kind="stable")  # NaN goes last
    return np.argsort(order, axis=1, kind="stable") + 1


def _rank(
    table: pd.DataFrame, by: str, rank_by: str | None, presence: str | None, n_genes: int | None
) -> pd.DataFrame:
    """Filter by presence, rank anew inside each group or cell, and keep the first genes."""
    if presence is not None:
        present = table["presence"] >= PRESENT_FROM
        table = table[present if presence == "present" else ~present]
    if rank_by is not None:
        place = pd.factorize(table[by])[0]
        table = table.iloc[np.lexsort((-table[rank_by].abs().to_numpy(), place))]
    table = table.reset_index(drop=True)
    if presence is not None or rank_by is not None:
        table["rank"] = table.groupby(by, sort=False).cumcount().astype(np.int64) + 1
    if n_genes is None:
        return table
    # Not those of rank n_genes and better: some of these may have been taken out of the data.
    return table.groupby(by, sort=False).head(n_genes).reset_index(drop=True)
