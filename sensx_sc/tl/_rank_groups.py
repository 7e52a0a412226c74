"""``sx.tl.rank_groups``: genes ranked for any grouping of the explained cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from sensx_sc.get._columns import check_statistic, columns_of
from sensx_sc.get._stored import (
    attributed,
    check_count,
    check_stored,
    kept_only,
    quoted,
    read_values,
    require_all,
    row_blocks,
)
from sensx_sc.logger import logger
from sensx_sc.scale.group_means import GroupMeans
from sensx_sc.tl._group_tests import check_reference, compare_groups, with_tests
from sensx_sc.tl._ranking_table import SHOWN, ranking_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anndata import AnnData
    from numpy.typing import NDArray

    from sensx_sc.get._columns import Columns

RANKABLE = ("value", "change", "mean", "std", "shapley")


def rank_groups(
    adata: AnnData,
    groupby: str,
    *,
    statistic: Literal["value", "change", "mean", "std", "shapley"] = "value",
    reference: str | None = None,
    replicates: str | None = None,
    n_genes: int = 100,
    within: bool = False,
    key: str = "sensx",
    key_added: str | None = None,
) -> None:
    """Rank genes for each group of cells by the mean of a SensX statistic (equation 3), or compare.

    The mean goes over the group's attributed cells: those that were not analysed, or whose status
    is insensitive or failed, have no values; they are left out and counted in the log. One block
    of cells is dense at a time.

    With `reference` the question is another one: which genes matter more to the model in this group
    than in that. Each gene's statistic is compared between cells by Wilcoxon's rank-sum test, and
    genes are ranked by its score. Cells of one donor are not independent: with `replicates` the
    means of each donor are compared instead. All cells must be explained for the same target for
    the comparison to mean anything.

    Of results with ``keep="top:500"`` genes are ranked by the statistic that they were kept by,
    and a cell that has not kept a gene adds 0: the means are lower bounds, exact for genes that
    all cells have kept (``n_cells``).

    Parameters
    ----------
    adata
        Data with the results of :func:`sensx_sc.tl.sensx`.
    groupby
        Column of ``adata.obs``: categorical, string, bool or integer.
    statistic
        What to rank by: ``"value"`` (change of q per unit of expression), ``"change"`` (change of
        q), ``"std"``, or, by their size, ``"mean"`` and ``"shapley"``.
    reference
        ``"rest"`` (all other groups together) or one group to compare with; None: no comparison.
    replicates
        Column of ``adata.obs`` with the donor, or whatever was repeated: the unit of the
        comparison. None: cells are.
    n_genes
        Length of ``names`` and ``scores`` (fewer if fewer genes were tested); ``rankings`` has all.
    within
        Of results with ``groups`` (whose sets are ranked in the place of genes) and ``within``:
        rank what the top sets of the cells were taken apart into; means are over the cells that
        have a value.
    key
        ``key_added`` of the results.
    key_added
        Key to write; None = ``f"{key}_{groupby}"``.

    Returns
    -------
    None; writes ``adata.uns[key_added]`` with

    - ``rankings``: tidy DataFrame, columns ``group, names, rank, value, value_se, change, mean,
      presence, n_cells`` (and `statistic`, if it is none of these): means over cells, NaN where the
      layer is not stored; compared groups also have ``mean_reference, effect, score, pval,
      pval_adj, log2_fold`` (rank-biserial correlation from -1 to 1; standardised rank sum;
      two-sided p-value, exact for few cells without ties; adjusted by Benjamini and Hochberg in
      each group; log2 of the ratio of means, NaN for signed statistics); ``value_se`` is the
      standard error of that mean over cells (with one cell the walks' own, if stored);
      ``presence`` the fraction of cells above the lower bound;
    - ``names``, ``scores``: record arrays with a field a group, as
      :func:`scanpy.tl.rank_genes_groups` makes them, so ``sc.pl.rank_genes_groups(adata,
      key=key_added)`` and ``sc.get.rank_genes_groups_df`` work (``logfoldchanges``, ``pvals`` and
      ``pvals_adj`` are there for the latter, NaN where nothing is tested);
    - ``params``: those of the results, with ``groupby``, ``rank_by``, ``source`` (= `key`).

    Raises
    ------
    KeyError
        No results under `key`, no such column, or a statistic that was not stored.
    ValueError
        A column that is no grouping, no attributed cell in any group, a reference that is no
        group or has too few cells, or a statistic that the kept genes were not chosen by.

    Examples
    --------
    >>> import anndata as ad, numpy as np, sensx_sc as sx
    >>> adata = ad.AnnData(np.random.default_rng(0).random((6, 3), dtype="float32"))
    >>> adata.obs["batch"] = ["a", "a", "a", "b", "b", "b"]
    >>> sx.tl.sensx(adata, lambda x: x @ np.array([3.0, -1.0, 0.0]), n_walks=20, n_samples=400)
    >>> sx.tl.rank_groups(adata, "batch")
    >>> adata.uns["sensx_batch"]["names"]["b"].tolist()
    ['0', '1', '2']

    References
    ----------
    Aggarwal, Cogan, Periwal (2026), SensX, TMLR, eq. 3 and 4.
    """
    check_count(n_genes, "n_genes")
    columns = columns_of(adata, key, within=within)
    prefix = columns.prefix
    added = f"{prefix}_{groupby}" if key_added is None else key_added
    if not added or set(added) & set("/*"):
        msg = f"key_added={added!r} must not be empty or hold '/' or '*'; give another key_added."
        raise ValueError(msg)
    if added == prefix:
        msg = f"key_added={added!r} would overwrite the results it is made from; give another."
        raise ValueError(msg)
    if reference is not None:
        require_all(adata, prefix, f"`reference` {reference!r} takes")
    table = group_table(adata, groupby, statistic=statistic, key=prefix, within=within)
    if reference is not None:
        tests = _tests(adata, groupby, statistic, columns, reference, replicates)
        table = with_tests(table, tests, statistic)
    elif replicates is not None:
        msg = f"`replicates` {replicates!r} needs a `reference` to compare with."
        raise ValueError(msg)
    params = {
        **check_stored(adata, prefix)["params"],
        "groupby": groupby,
        "reference": "rest" if reference is None else reference,
        "compared": reference is not None,
        "replicates": replicates,
        "method": "sensx",
        "use_raw": False,
        "rank_by": statistic,
        "source": prefix,
    }
    records = ranking_records(table, statistic if reference is None else "score", n_genes)
    adata.uns[added] = {"params": params, "rankings": table, **records}
    groups = records["names"].dtype.names or ()
    logger.info(
        "Added .uns[%r]: rankings by %s for %d groups of .obs[%r] (%s), names and scores of the "
        "first %d genes.",
        added,
        statistic if reference is None else f"{statistic} against {reference!r}",
        len(groups),
        groupby,
        quoted(groups),
        len(records["names"]),
    )


def group_table(
    adata: AnnData, groupby: str, *, statistic: str, key: str, within: bool = False
) -> pd.DataFrame:
    """Return the rankings of :func:`rank_groups` as a table; nothing is written."""
    columns = columns_of(adata, key, within=within)
    prefix = columns.prefix
    check_statistic(adata, columns, statistic, argument="statistic", allowed=RANKABLE)
    _check_kept(adata, prefix, statistic)
    codes, names = _groups(adata, groupby)
    explained = attributed(adata, prefix)
    parts, bare = [], []
    used = 0
    for code, name in enumerate(names):
        rows = np.flatnonzero(explained & (codes == code))
        part, n = _one_group(adata, rows, statistic, columns)
        used += n
        if part is None:
            bare.append(name)
            continue
        part.insert(0, "group", name)
        parts.append(part)
    if bare:
        logger.warning(
            "Groups of .obs[%r]: left out %s, without any cell that has an attribution.",
            groupby,
            quoted(bare),
        )
    if not parts:
        msg = (
            f"groupby={groupby!r}: no group has an attributed cell (status resolved, "
            f"left_censored or unsaturated in adata.obs[{prefix + '_status'!r}])."
        )
        raise ValueError(msg)
    if used < adata.n_obs:
        logger.info(
            "Groups of .obs[%r]: %d of %d cells have an attribution and a group; %d left out.",
            groupby,
            used,
            adata.n_obs,
            adata.n_obs - used,
        )
    return pd.concat(parts, ignore_index=True)


def ranking_records(
    table: pd.DataFrame, statistic: str, n_genes: int
) -> dict[str, np.recarray[Any, Any]]:
    """Return the first genes of each group as the record arrays that scanpy reads.

    Record arrays are rectangular: they have as many rows as the group with the fewest genes has,
    and at most `n_genes`. ``scores`` are the statistic, signed where it has a sign.
    """
    by_group = {str(name): part for name, part in table.groupby("group", sort=False)}
    n_rows = min(n_genes, *(len(part) for part in by_group.values()))
    names = {name: part["names"].to_numpy()[:n_rows] for name, part in by_group.items()}
    scores = {name: part[statistic].to_numpy()[:n_rows] for name, part in by_group.items()}

    def of(column: str) -> dict[str, NDArray[Any]]:
        nothing = pd.Series(np.full(n_rows, np.nan))
        return {name: part.get(column, nothing).to_numpy()[:n_rows] for name, part in groups}

    groups = list(by_group.items())
    columns: Mapping[str, tuple[Mapping[str, NDArray[Any]], str]] = {
        "names": (names, "O"),
        "scores": (scores, "float32"),
        "logfoldchanges": (of("log2_fold"), "float32"),
        "pvals": (of("pval"), "float64"),
        "pvals_adj": (of("pval_adj"), "float64"),
    }
    return {
        column: pd.DataFrame(data).to_records(index=False, column_dtypes=kind)
        for column, (data, kind) in columns.items()
    }


def _groups(
    adata: AnnData, groupby: str, *, argument: str = "groupby"
) -> tuple[NDArray[np.intp], list[str]]:
    """Return each cell's group as a code (-1 = none) and the groups' names."""
    if groupby not in adata.obs:
        msg = (
            f"{argument}={groupby!r} is no column of adata.obs; it has the columns "
            f"{quoted(adata.obs.columns)}."
        )
        raise KeyError(msg)
    column = adata.obs[groupby]
    if pd.api.types.is_float_dtype(column.dtype):
        msg = (
            f"{argument}={groupby!r} has the dtype {column.dtype}; a grouping is categorical, "
            "string, bool or integer."
        )
        raise ValueError(msg)
    categories = column.astype("category").cat
    names = [str(name) for name in categories.categories]
    if len(set(names)) < len(names):
        msg = f"{argument}={groupby!r}: different groups read the same as text: {quoted(names)}."
        raise ValueError(msg)
    return categories.codes.to_numpy(dtype=np.intp), names


def _tests(
    adata: AnnData,
    groupby: str,
    statistic: str,
    columns: Columns,
    reference: str,
    replicates: str | None,
) -> pd.DataFrame:
    """The tests of every gene and group against the reference."""
    codes, names = _groups(adata, groupby)
    rows = np.flatnonzero(attributed(adata, columns.prefix) & (codes >= 0))
    replicate = None
    if replicates is not None:
        replicate, _ = _groups(adata, replicates, argument="replicates")
        rows = rows[replicate[rows] >= 0]
        replicate = replicate[rows]
        pairs = np.unique(np.stack([codes[rows], replicate]), axis=1)
        check_reference(reference, names, pairs[0])
    else:
        check_reference(reference, names, codes[rows])
    return compare_groups(
        columns.statistics(adata)[statistic],
        rows,
        codes[rows],
        names,
        columns.names,
        reference=reference,
        replicate=replicate,
    )


def _one_group(
    adata: AnnData, rows: NDArray[np.intp], statistic: str, columns: Columns
) -> tuple[pd.DataFrame | None, int]:
    """Return one group's ranked table and how many of its cells have values."""
    if len(rows) == 0:
        return None, 0
    stored, presence = columns.statistics(adata), columns.presence(adata)
    wanted = [name for name in dict.fromkeys((*SHOWN, "se", statistic)) if name in stored]
    names = columns.names
    group = GroupMeans(len(names))
    kept = kept_only(adata, columns.prefix) is not None
    n_kept = np.zeros(len(names), dtype=np.int64)
    for block in row_blocks(rows, max(adata.n_vars, len(names))):
        statistics = {name: read_values(stored[name], block) for name in wanted}
        if kept:
            n_kept += np.isfinite(statistics["value"]).sum(axis=0)
            statistics = {name: np.nan_to_num(found) for name, found in statistics.items()}
        group.add(statistics, presence(block))
    table = ranking_table(group, names, statistic)
    if kept:
        table["n_cells"] = n_kept[names.get_indexer_for(table["names"])]
        table = table[table["n_cells"] > 0].reset_index(drop=True)
    return table, group.n_cells


def _check_kept(adata: AnnData, prefix: str, statistic: str) -> None:
    """Refuse means of a statistic of which the largest values may not have been kept."""
    k, chosen_by = kept_only(adata, prefix), check_stored(adata, prefix)["params"].get("rank_by")
    if k is not None and statistic != chosen_by:
        msg = (
            f"statistic={statistic!r}: only the first {k} genes of each cell by {chosen_by!r} were "
            f"kept, so that others may have larger ones. Use statistic={chosen_by!r}, the rankings "
            f"of the explained outputs (adata.uns[{prefix!r}]['rankings'], of all genes), or "
            f"sx.tl.sensx(..., rank_by={statistic!r})."
        )
        raise ValueError(msg)
    if k is not None:
        logger.info(
            "Only the first %d genes of each cell were kept: a cell without a gene counts as 0 "
            "for it, so that means are lower bounds.",
            k,
        )
