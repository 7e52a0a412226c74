"""Reading what :func:`sensx_sc.tl.sensx` stored: the checks and look-ups that all doors share."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.words import ATTRIBUTED

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

BLOCK_BYTES = 1 << 26
"""Rows are read in blocks of about this size, so that no layer is copied as a whole."""


def check_stored(adata: AnnData, key: str) -> Mapping[str, Any]:
    """Return ``adata.uns[key]`` once it is clear that it holds SensX results."""
    from anndata import AnnData as _AnnData

    if not isinstance(adata, _AnnData):
        msg = f"adata must be an AnnData, got {type(adata).__name__}."
        raise TypeError(msg)
    stored = adata.uns.get(key) if isinstance(key, str) else None
    if not (isinstance(stored, Mapping) and stored.get("params", {}).get("method") == "sensx"):
        msg = (
            f"key={key!r} names no SensX results in adata.uns: run sx.tl.sensx(adata, model, "
            f"key_added={str(key)!r}) first. adata.uns has the keys {quoted(adata.uns)}."
        )
        raise KeyError(msg)
    return stored


def stored_rankings(adata: AnnData, key: str, *, within: bool = False) -> pd.DataFrame:
    """Return ``adata.uns[key]["rankings"]``, which is absent where no cell has an attribution.

    With `within` those of what the top groups were taken apart into.
    """
    stored = check_stored(adata, key)
    if within and "rankings_within" not in stored:
        msg = (
            f"key={key!r} has no rankings within groups: run sx.tl.sensx with `groups` and "
            "`within`."
        )
        raise KeyError(msg)
    if not len(stored.get("rankings", ())):
        msg = (
            f"key={key!r} has no rankings, since no cell has an attribution; see "
            f"adata.obs[{key + '_status'!r}]."
        )
        raise ValueError(msg)
    table: pd.DataFrame = stored["rankings_within" if within else "rankings"]
    return table


def source_key(adata: AnnData, key: str) -> str:
    """Return the prefix of the columns and layers that the results ``key`` were made from.

    That is ``key`` itself for :func:`sensx_sc.tl.sensx`, and the ``key`` that
    :func:`sensx_sc.tl.rank_groups` was given for its results.
    """
    params = check_stored(adata, key)["params"]
    prefix = str(params.get("source", key))
    if f"{prefix}_status" not in adata.obs:
        msg = (
            f"key={key!r}: adata.obs[{prefix + '_status'!r}] is gone, though adata.uns[{key!r}] is "
            f"there; run sx.tl.sensx with key_added={prefix!r} again. adata.obs has the columns "
            f"{quoted(adata.obs.columns)}."
        )
        raise KeyError(msg)
    return prefix


def check_count(n: int | None, argument: str) -> None:
    """Refuse anything but a whole number of at least 1 (or None)."""
    if n is None:
        return
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        msg = f"{argument}={n!r} must be a whole number of at least 1."
        raise ValueError(msg)


def check_names(
    asked: str | Iterable[str], available: Sequence[str] | pd.Index[Any], argument: str, what: str
) -> list[str]:
    """Return ``asked`` as a list of distinct names that all exist, or say which exist."""
    if not isinstance(asked, Iterable):
        msg = f"{argument} must be the name of a {what} or several names; got {asked!r}."
        raise TypeError(msg)
    names = [asked] if isinstance(asked, str) else list(asked)
    if not names:
        msg = f"{argument} is empty; give at least one {what}."
        raise ValueError(msg)
    known = set(available)
    unknown = [name for name in names if name not in known]
    if unknown:
        close = difflib.get_close_matches(str(unknown[0]), [str(name) for name in available], n=3)
        hint = f" Did you mean {quoted(close)}?" if close else ""
        msg = (
            f"{argument}: no {what} is named {quoted(unknown)}; there are {len(available)}: "
            f"{quoted(available)}.{hint}"
        )
        raise KeyError(msg)
    return list(dict.fromkeys(names))


def quoted(names: Iterable[Any], most: int = 12) -> str:
    """Return names for a message: quoted, comma separated, at most ``most`` of them."""
    names = [name for name in names if name is not None]  # X, among anndata 0.13's layers
    shown = ", ".join(repr(str(name)) for name in names[:most])
    more = f", ... ({len(names) - most} more)" if len(names) > most else ""
    return shown + more if names else "(none)"


def read_rows(array: Any, rows: NDArray[np.intp]) -> NDArray[Any]:
    """Return ``array[rows]`` dense, whatever kind of matrix (sparse, Dask, backed) it is."""
    block = array[rows]
    if hasattr(block, "compute"):
        block = block.compute()
    if hasattr(block, "toarray"):
        block = block.toarray()
    return np.asarray(block)


def read_values(array: Any, rows: NDArray[np.intp] | slice) -> NDArray[Any]:
    """Return rows of a layer of results dense; what a sparse one has not kept is NaN.

    In whole numbers (ranks, steps) it is 0: they have no NaN, and 0 is "not tested" there.
    """
    block = array[rows]
    if hasattr(block, "compute"):
        block = block.compute()
    if not hasattr(block, "tocoo"):
        return np.asarray(block)
    entries = block.tocoo()
    absent = np.nan if entries.dtype.kind == "f" else 0
    values: NDArray[Any] = np.full(entries.shape, absent, dtype=entries.dtype)
    values[entries.row, entries.col] = entries.data
    return values


def kept_only(adata: AnnData, prefix: str) -> int | None:
    """Return how many genes of each cell were kept (``keep="top:500"``), None for all."""
    from sensx_sc.scale.top import parse_keep

    return parse_keep(check_stored(adata, prefix)["params"].get("keep", "all"))


def require_all(adata: AnnData, prefix: str, what: str) -> None:
    """Refuse results of which only the first genes of each cell were kept.

    `what` begins the sentence: what needs the others as well.
    """
    k = kept_only(adata, prefix)
    if k is not None:
        msg = (
            f"{what} the values of all genes, and of the results {prefix!r} only the first {k} of "
            "each cell were kept: explain some cells with keep='all' and `mask_obs`."
        )
        raise ValueError(msg)


def row_blocks(rows: NDArray[np.intp], n_columns: int) -> Iterator[NDArray[np.intp]]:
    """Cut ``rows`` into blocks of about :data:`BLOCK_BYTES` as float64."""
    step = max(1, BLOCK_BYTES // (8 * max(1, n_columns)))
    for start in range(0, len(rows), step):
        yield rows[start : start + step]


def explained_array(adata: AnnData, key: str) -> Any:
    """Return the matrix that was explained: the layer named in ``params``, else ``X``."""
    layer = check_stored(adata, key)["params"].get("layer")
    if layer is None and adata.X is None:
        msg = (
            f"key={key!r} was made from adata.X, which is not here, so that it cannot be told in "
            "which cells a gene is present: take the AnnData that was explained."
        )
        raise KeyError(msg)
    if layer is None:
        return adata.X
    if layer not in adata.layers:
        msg = (
            f"key={key!r} was made from adata.layers[{str(layer)!r}], which is gone; "
            f"adata.layers has {quoted(adata.layers)}."
        )
        raise KeyError(msg)
    return adata.layers[layer]


def lower_bounds(adata: AnnData, prefix: str) -> NDArray[np.float64]:
    """Return ``var[prefix_lower]``, above which a gene counts as present."""
    column = f"{prefix}_lower"
    if column not in adata.var:
        msg = (
            f"adata.var[{column!r}] is missing, so presence cannot be told; adata.var has the "
            f"columns {quoted(adata.var.columns)}."
        )
        raise KeyError(msg)
    return adata.var[column].to_numpy(dtype=np.float64)


def attributed(adata: AnnData, prefix: str) -> NDArray[np.bool_]:
    """Return which cells have a row of values, as their status says; shape (n_obs,)."""
    return adata.obs[f"{prefix}_status"].isin(ATTRIBUTED).to_numpy(dtype=bool)
