"""The columns of results, genes or groups of them: where they are, and what they are called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.get._stored import (
    check_stored,
    explained_array,
    lower_bounds,
    quoted,
    read_rows,
    source_key,
)
from sensx_sc.slots import GENES, GROUPS, WITHIN
from sensx_sc.words import STATISTICS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray
    from scipy import sparse

    from sensx_sc.slots import Spot


def layer_prefix(adata: AnnData, key: str) -> str:
    """Return :func:`source_key` once it is clear that the values of all genes are a layer."""
    prefix = source_key(adata, key)
    params = check_stored(adata, key)["params"]
    if params.get("n_groups") is not None:
        msg = (
            f"key={key!r} explains {params['n_groups']} groups of features, so its values are no "
            f"layer of genes: they are in adata.obsm[{prefix + '_groups'!r}]; sx.get.explanation, "
            "sx.tl.rank_groups, sx.pl.rankings and sx.pl.heatmap work with them."
        )
        raise KeyError(msg)
    columns_of(adata, key)
    return prefix


@dataclass(frozen=True)
class Columns:
    """The columns of results: genes, or groups of them.

    Attributes
    ----------
    prefix
        What the keys of the results begin with.
    spot
        Where the arrays are.
    names
        Names of the columns.
    """

    prefix: str
    spot: Spot
    names: pd.Index[Any]

    def statistics(self, adata: AnnData) -> dict[str, Any]:
        """The array of each statistic that was stored."""
        there = getattr(adata, self.spot.attribute)
        names = {name: self.spot.name(self.prefix, name) for name in STATISTICS}
        return {name: _plain(there[slot]) for name, slot in names.items() if slot in there}

    def rank(self, adata: AnnData) -> Any | None:
        """The stored ranks, if they are."""
        there, slot = getattr(adata, self.spot.attribute), self.spot.name(self.prefix, "rank")
        return _plain(there[slot]) if slot in there else None

    def presence(self, adata: AnnData) -> Callable[[NDArray[np.intp]], NDArray[np.bool_]]:
        """Return what tells for rows whether a gene, or any of a group, is above its bound."""
        array, lower = explained_array(adata, self.prefix), lower_bounds(adata, self.prefix)
        if self.spot == GENES:
            return lambda rows: read_rows(array, rows) > lower
        members = _members(adata, self)
        return lambda rows: (read_rows(array, rows) > lower).astype(np.float64) @ members > 0


def columns_of(adata: AnnData, key: str, *, within: bool = False) -> Columns:
    """Return where the values under a key are, and what their columns are.

    Parameters
    ----------
    within
        Of results with `within`: what the top groups were taken apart into.

    Raises
    ------
    KeyError
        No such results, or of a matrix of :attr:`AnnData.obsm` without groups.
    """
    prefix = source_key(adata, key)
    stored = check_stored(adata, prefix)
    params = stored["params"]
    spot, names = GENES, adata.var_names
    if params.get("n_groups") is not None and not within:
        spot, names = GROUPS, _index(stored["groups"]["names"])
    elif within and "members_within" in stored:
        spot, names = WITHIN, _index(stored["groups_within"]["names"])
    elif within and "rankings_within" not in stored:
        msg = f"key={key!r} has nothing within groups: run sx.tl.sensx(..., groups=, within=)."
        raise KeyError(msg)
    elif params.get("obsm") is not None:
        msg = (
            f"key={key!r} explains adata.obsm[{str(params['obsm'])!r}], so its values are no layer "
            f"of genes: they are in adata.obsm[{prefix!r}]; sx.get.explanation(adata, {prefix!r}) "
            "and the rankings per group work with them."
        )
        raise KeyError(msg)
    slot = spot.name(prefix, "value")
    if slot not in getattr(adata, spot.attribute):
        msg = (
            f"key={key!r}: adata.{spot.attribute}[{slot!r}] is gone, though adata.uns[{key!r}] is "
            f"there; run sx.tl.sensx with key_added={prefix!r} again. adata.{spot.attribute} has "
            f"{quoted(getattr(adata, spot.attribute))}."
        )
        raise KeyError(msg)
    return Columns(prefix, spot, names)


def _index(names: Any) -> pd.Index[Any]:
    import pandas as pd

    return pd.Index(np.asarray(names, dtype=object))


def _members(adata: AnnData, columns: Columns) -> sparse.csr_matrix[Any]:
    """Which features each group has, (n, G)."""
    from scipy import sparse

    table = check_stored(adata, columns.prefix)[f"members{'_within' * (columns.spot == WITHIN)}"]
    gene = adata.var_names.get_indexer_for(table["names"])
    group = columns.names.get_indexer_for(table["group"])[gene >= 0]
    shape = (adata.n_vars, len(columns.names))
    return sparse.csr_matrix((np.ones(len(group)), (gene[gene >= 0], group)), shape=shape)


def _plain(array: Any) -> Any:
    """A stored array whose rows can be taken by number."""
    return array.to_numpy() if hasattr(array, "iloc") else array


def check_statistic(
    adata: AnnData, columns: Columns, statistic: str, *, argument: str, allowed: Sequence[str]
) -> str:
    """Return the slot of ``statistic``, or say which are allowed, stored and how to get it."""
    if statistic not in allowed:
        msg = f"{argument}={statistic!r} is not one of {quoted(allowed)}."
        raise ValueError(msg)
    stored, slot = columns.statistics(adata), columns.spot.name(columns.prefix, statistic)
    if statistic not in stored:
        ask = ", ".join(repr(name) for name in (*stored, statistic))
        kind = "layer" if columns.spot == GENES else "table of .obsm"
        msg = (
            f"{argument}={statistic!r} needs the {kind} {slot!r}, which is not "
            f"stored: {columns.prefix!r} has the statistics {quoted(stored)}. Ask for it with "
            f"sx.tl.sensx(..., statistics=({ask}))."
        )
        raise KeyError(msg)
    return slot
