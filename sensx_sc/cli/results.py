"""The results in a store, without reading what is large."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sensx_sc.scale.anndata_zarr import is_anndata, open_root, quiet
from sensx_sc.scale.journal import NAME, Journal

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData


def open_results(path: Path, key: str) -> AnnData:
    """Tables of a store in memory, and its layers of results lazily.

    Raises
    ------
    FileNotFoundError
        No such store.
    ValueError
        No AnnData, or a run that is not complete, with how much of it is missing.
    KeyError
        No results under the key.
    """
    import anndata

    if not path.exists():
        msg = f"there is no store {str(path)!r}."
        raise FileNotFoundError(msg)
    if not is_anndata(path):
        msg = f"{str(path)!r} is no AnnData in a zarr store."
        raise ValueError(msg)
    root = open_root(path, "r")
    if "uns" not in root or key not in root["uns"]:
        _refuse(path, key)
    with quiet():
        read = anndata.io.read_elem
        envelopes = [name for name in root["obsm"] if name == f"{key}_envelope"]
        own = [name for name in root["layers"] if name == key or name.startswith(f"{key}_")]
        lazy = anndata.experimental.read_elem_lazy
        obsm = {name: read(root["obsm"][name]) for name in envelopes}
        layers = {name: lazy(root["layers"][name]) for name in own}
        uns: dict[str, Any] = {key: read(root["uns"][key])}
        return anndata.AnnData(
            obs=read(root["obs"]), var=read(root["var"]), obsm=obsm, layers=layers, uns=uns
        )


def _refuse(path: Path, key: str) -> None:
    """Say why there are no results: nothing was begun, or not all is done."""
    for where in ("layers", "obsm"):
        journal = Journal(path / where / key / NAME)
        if journal.exists():
            cells = journal.arrays()["cells"]
            wanted = set((cells // int(journal.manifest()["chunk_size"])).tolist())
            missing = len(wanted - journal.finished())
            msg = (
                f"the run {key!r} in {str(path)!r} is not complete: {missing} of {len(wanted)} "
                "blocks of cells are missing. Run its shards again, or the same command without "
                "--shard, which explains what is missing and completes the store."
            )
            raise ValueError(msg)
    msg = f"{str(path)!r} has no results under the key {key!r}."
    raise KeyError(msg)
