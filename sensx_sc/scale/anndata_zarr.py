"""AnnData in a zarr store: made, and added to such that it can be read at any moment.

Consolidated metadata is what readers see of a store. While results are put in their places there
is none, so that readers look at what is there; columns of ``obs`` and ``var`` are listed last.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sensx_sc.scale.facts import first_difference
from sensx_sc.scale.journal import is_abandoned, scratch, write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_MARKS = ("zarr.json", ".zgroup", ".zarray")
_TABLES = ("obs", "var")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what zarr and anndata tell of formats that are theirs to choose."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def open_root(path: Path, mode: Any = "r+") -> Any:
    """The group of a store, as it is on disk."""
    import zarr

    with quiet():
        return zarr.open_group(path, mode=mode, use_consolidated=False)


def is_zarr(path: Path) -> bool:
    """Whether a folder is part of a zarr store."""
    return any((path / mark).exists() for mark in _MARKS)


def is_anndata(path: Path) -> bool:
    """Whether a folder is an AnnData in a zarr store."""
    if not is_zarr(path):
        return False
    try:
        return bool(open_root(path, "r").attrs.get("encoding-type") == "anndata")
    except (OSError, ValueError, KeyError):  # an array, or damaged
        return False


def make(path: Path, obs_names: pd.Index[Any], var_names: pd.Index[Any]) -> None:
    """Make a store with the names of cells and genes, in one step; nothing if it is there."""
    import anndata
    import zarr

    empty = anndata.AnnData(obs=pd.DataFrame(index=obs_names), var=pd.DataFrame(index=var_names))
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{path.name}.*.partial"):
        if is_abandoned(left):
            shutil.rmtree(left, ignore_errors=True)
    made = scratch(path.with_name(f".{path.name}"))
    try:
        with quiet():
            group = zarr.open_group(made, mode="w", zarr_format=3)
            anndata.io.write_elem(group, "/", empty)
        consolidate(made)
        with contextlib.suppress(FileNotFoundError):
            path.rmdir()  # an empty folder is as good as none
        made.rename(path)
    except OSError:
        if not is_anndata(path):
            raise
    finally:
        shutil.rmtree(made, ignore_errors=True)


def check_names(path: Path, attribute: str, names: pd.Index[Any]) -> None:
    """Refuse a store of other cells or genes, naming the first that differs."""
    import anndata

    table = open_root(path, "r")[attribute]
    with quiet():
        found = np.asarray(anndata.io.read_elem(table[table.attrs["_index"]]), dtype=object)
    what = "cells" if attribute == "obs" else "genes"
    here = np.asarray(names, dtype=object)
    if len(found) != len(here):
        msg = (
            f"`store` {str(path)!r} is an AnnData of {len(found)} {what}, and adata has "
            f"{len(here)}. Explain some of its cells with `mask_obs`, or give another store."
        )
        raise ValueError(msg)
    i = first_difference(found.tolist(), here.tolist())
    if i is not None:
        msg = (
            f"`store` {str(path)!r} is an AnnData of other {what}: number {i} is "
            f"{str(found[i])!r}, in adata it is {str(here[i])!r}. Give another store."
        )
        raise ValueError(msg)


def taken(path: Path, names: Mapping[str, list[str]]) -> str | None:
    """The first of some slots that a store has, such as ``layers['sensx']``; None if none."""
    root = open_root(path, "r")
    for attribute, entries in names.items():
        for name in entries:
            if is_zarr(path / attribute / name) or name in _columns(root, attribute):
                return f"{attribute}[{name!r}]"
    return None


def publish(path: Path, slots: Mapping[str, Mapping[str, Any]], beside: Path) -> None:
    """Put results in their places; those of the same keys go.

    Everything is written beside the store's tree first, and then moved.

    Parameters
    ----------
    slots
        For each attribute (obs, var, obsm, uns) the keys and values.
    beside
        A folder of the store that readers do not look into.
    """
    import anndata
    import zarr

    root = open_root(path)
    aside = scratch(beside / "published")
    columns = {table: list(slots.get(table, ())) for table in _TABLES}
    try:
        with quiet():
            staged = zarr.open_group(aside, mode="w", zarr_format=root.metadata.zarr_format)
            for attribute, entries in slots.items():
                into = staged.create_group(attribute)
                for name, value in entries.items():
                    anndata.io.write_elem(into, name, value)
        unconsolidate(path)
        for table, names in columns.items():
            _list_columns(root, table, [], without=names)
        for attribute, entries in slots.items():
            require_group(root, attribute)
            for name in entries:
                _replace(aside / attribute / name, path / attribute / name, aside)
        for table, names in columns.items():
            _list_columns(root, table, names, without=names)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    consolidate(path)


def require_group(root: Any, attribute: str) -> None:
    """Make sure that a store has a group such as ``layers``."""
    if attribute not in root:
        root.create_group(
            attribute, attributes={"encoding-type": "dict", "encoding-version": "0.1.0"}
        )


def _columns(root: Any, attribute: str) -> list[str]:
    return list(root[attribute].attrs.get("column-order", [])) if attribute in _TABLES else []


def _list_columns(root: Any, table: str, names: list[str], *, without: list[str]) -> None:
    others = [name for name in _columns(root, table) if name not in without]
    if others + names != _columns(root, table):
        root[table].attrs["column-order"] = others + names


def _replace(new: Path, place: Path, aside: Path) -> None:
    """Move a finished element to its place, and what was there aside."""
    with contextlib.suppress(FileNotFoundError):
        place.rename(aside / f"before-{place.parent.name}-{place.name}")
    try:
        new.rename(place)
    except OSError:
        # Another process that finishes the same run was faster: with the same content.
        if not is_zarr(place):
            raise


def unconsolidate(path: Path) -> None:
    """Remove consolidated metadata: readers look at the store itself."""
    (path / ".zmetadata").unlink(missing_ok=True)
    metadata = path / "zarr.json"
    if metadata.exists():
        told = json.loads(metadata.read_text(encoding="utf-8"))
        if told.pop("consolidated_metadata", None) is not None:
            write_whole(metadata, json.dumps(told, indent=2).encode())


def consolidate(path: Path) -> None:
    """Gather the metadata of a store in one place, for readers."""
    import zarr

    with quiet():
        zarr.consolidate_metadata(path)
