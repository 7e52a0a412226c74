"""Writing into AnnData: what may be stored, under which keys, and all of it or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anndata import AnnData


def check_key(key: object, name: str = "key_added") -> None:
    """Refuse keys that files cannot hold."""
    if not isinstance(key, str) or not key or set(key) & set("/*"):
        msg = f"`{name}` must be a text without '/' or '*'; got {key!r}."
        raise ValueError(msg)


def in_place(adata: AnnData) -> None:
    """Make a view an AnnData of its own, as any assignment to it would, but without the warning."""
    if adata.is_view:
        adata._init_as_actual(adata.copy())


def sanitised(value: Any) -> Any:
    """A value as ``uns`` can hold it, in h5ad and zarr: plain numbers, text, lists, dicts, None."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {str(key): sanitised(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset | range):
        return [sanitised(entry) for entry in value]
    return str(value)


def write(adata: AnnData, slots: Mapping[str, Mapping[str, Any]], key: str) -> None:
    """Write results; those of an earlier run under the same key go first.

    Parameters
    ----------
    slots
        For each attribute of ``adata`` (obs, var, layers, obsm, uns), the keys and values.
    key
        Prefix of everything that this tool writes.
    """
    in_place(adata)
    own = {key} | {
        f"{key}_{name}" for name in ("rank", "mean", "std", "change", "shapley", "se", "n")
    }
    for attribute in ("layers", "obsm"):
        stored = getattr(adata, attribute)
        for name in [name for name in stored if name in own]:
            del stored[name]
    for attribute, entries in slots.items():
        stored = getattr(adata, attribute)
        for name, value in entries.items():
            stored[name] = value
