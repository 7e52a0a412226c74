"""Writing into AnnData: what may be stored, under which keys, and all of it or nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sensx_sc.words import STATISTICS

if TYPE_CHECKING:
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
    if isinstance(value, Mapping):
        return {str(key): sanitised(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset | range):
        return [sanitised(entry) for entry in value]
    return str(value)


class Spot(NamedTuple):
    """A place for arrays of results: an attribute of the AnnData, and what follows the prefix."""

    attribute: str
    suffix: str = ""

    def name(self, key: str, statistic: str) -> str:
        """Where one statistic of results under a key goes."""
        return f"{key}{self.suffix}" + ("" if statistic == "value" else f"_{statistic}")


GENES, COLUMNS = Spot("layers"), Spot("obsm")
GROUPS, WITHIN, COVARIATES = (Spot("obsm", f"_{name}") for name in ("groups", "within",
                                                                    "covariates"))  # fmt: skip


@dataclass(frozen=True)
class Section:
    """Consecutive columns of results that go to one spot.

    Attributes
    ----------
    names
        Names of the columns, of what is stored as a table; None for plain arrays.
    """

    spot: Spot
    start: int
    stop: int
    names: tuple[str, ...] | None = None

    @property
    def columns(self) -> slice:
        return slice(self.start, self.stop)

    @property
    def width(self) -> int:
        return self.stop - self.start


def slot_names(key: str, statistics: Iterable[str], spots: Iterable[Spot]) -> dict[str, list[str]]:
    """Where results under a key go: the names in each attribute of the AnnData."""
    statistics = list(statistics)
    names = {
        "obs": [f"{key}_{name}" for name in ("delta_star", "status", "target", "qoi")],
        "obsm": [f"{key}_envelope"],
        "uns": [key],
        "layers": [],
    }
    for spot in spots:
        names[spot.attribute] += [spot.name(key, statistic) for statistic in statistics]
    return names


def refuse_foreign(adata: AnnData, key: str, names: Mapping[str, Iterable[str]]) -> None:
    """Refuse to overwrite what is no earlier result under the same key.

    Raises
    ------
    ValueError
        A slot is taken by something else, with its name.
    """
    if is_result(adata, key):
        return
    for attribute, entries in names.items():
        for name in entries:
            if name in getattr(adata, attribute):
                msg = (
                    f"`key_added` {key!r} would overwrite adata.{attribute}[{name!r}], which is no "
                    "result of this tool; give another `key_added`."
                )
                raise ValueError(msg)


def is_result(adata: AnnData, key: str) -> bool:
    """Whether ``adata.uns[key]`` holds results of this tool, made under this key."""
    stored = adata.uns.get(key)
    params = stored.get("params") if isinstance(stored, Mapping) else None
    return isinstance(params, Mapping) and params.get("groupby") == f"{key}_target"


def stored_bounds(adata: AnnData, key: str, lower: Any, upper: Any) -> tuple[Any, Any]:
    """The names of the columns that :func:`sensx_sc.pp.domain` wrote, for bounds not given.

    Columns that an earlier run wrote for its own record are not taken for a choice of the user.
    """
    columns = (f"{key}_lower", f"{key}_upper")
    if not set(columns) <= set(adata.var):
        return lower, upper
    params = adata.uns[key]["params"] if is_result(adata, key) else {}
    recorded = digest(*(np.asarray(adata.var[name]) for name in columns))
    own = params.get("domain_digest") == recorded
    if own and not all(f"adata.var[{name!r}]" in params.get("domain", "") for name in columns):
        return lower, upper
    return (
        columns[0] if lower is None else lower,
        columns[1] if upper is None else upper,
    )


def digest(*arrays: np.ndarray) -> str:
    """A short fingerprint of arrays of numbers."""
    told = hashlib.blake2b(digest_size=8)
    for array in arrays:
        told.update(np.ascontiguousarray(array, dtype=np.float64).tobytes())
    return told.hexdigest()


def check_free(adata: AnnData, key: str, tool: str) -> None:
    """Refuse a key of ``uns`` that holds anything but an earlier result of the same tool."""
    check_key(key)
    if key not in adata.uns:
        return
    there = adata.uns[key]
    params = there.get("params") if isinstance(there, Mapping) else None
    if not (isinstance(params, Mapping) and params.get("tool") == tool):
        msg = (
            f"`key_added` {key!r} would overwrite adata.uns[{key!r}], which is no result of "
            f"sx.tl.{tool}; give another `key_added`."
        )
        raise ValueError(msg)


def put(
    adata: AnnData, key: str, tool: str, params: Mapping[str, Any], tables: Mapping[str, Any]
) -> None:
    """Write tables and parameters of a tool to ``uns``."""
    in_place(adata)
    adata.uns[key] = {"params": sanitised({"tool": tool, **params}), **tables}


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
    stale = {
        spot.name(key, name)
        for spot in (GENES, GROUPS, WITHIN, COVARIATES)
        for name in ("rank", *STATISTICS)
    }
    own = stale if is_result(adata, key) else set()
    for attribute in ("layers", "obsm"):
        stored = getattr(adata, attribute)
        for name in [name for name in stored if name in own]:
            del stored[name]
    if own and f"{key}_group" in adata.var:
        del adata.var[f"{key}_group"]
    for attribute, entries in slots.items():
        stored = getattr(adata, attribute)
        for name, value in entries.items():
            stored[name] = value
