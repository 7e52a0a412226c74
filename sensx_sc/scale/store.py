"""A store of results on disk: written a block at a time, resumed after any end.

A store is an AnnData in a zarr store, made for the purpose or already there. Statistics are
layers, chunked by blocks of cells; beside the first of them, in ``layers/sensx/.sensx``, is the
journal. A block counts as finished once its record is in the journal, which is the last thing
written. Of dense layers a record has the checksums; the entries of sparse ones it has itself, and
the layers are made of them at the end, when it is known how many there are.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.logger import logger
from sensx_sc.scale import anndata_zarr
from sensx_sc.scale.facts import Facts, differences
from sensx_sc.scale.journal import NAME, Journal, digest, remove_abandoned
from sensx_sc.scale.results import WHOLE, from_arrays, to_arrays
from sensx_sc.scale.sparse_layers import make_empty, require, sparse_rows, write_entries
from sensx_sc.scale.top import parse_keep, row_lengths

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pandas as pd

    from sensx_sc.core.arrays import Ints
    from sensx_sc.scale.results import BlockResult
    from sensx_sc.slots import Section

FORMAT = 2
CHUNK_BYTES = 2**23
_MOST_CELLS = 4096
_CELL_DIGEST = 8


class Store:
    """Results of one run in an AnnData in a zarr store.

    Parameters
    ----------
    path
        Its folder; made if it is not there.
    key
        Prefix of everything that is written.
    obs_names, var_names
        Names of the cells and genes of the AnnData.
    slots
        Names that the run will write in each attribute: what is there already is refused, unless
        it is of this run.
    facts
        What the run depends on: must be the same when it is resumed.
    sections
        Which columns of the results go where in the AnnData.
    chunk_size
        Cells a block; None: some megabytes. A store that is resumed keeps its own.

    Raises
    ------
    ValueError
        The folder holds another run, naming what differs, or something else.
    OSError
        The folder cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        key: str,
        *,
        obs_names: pd.Index[Any],
        var_names: pd.Index[Any],
        slots: Mapping[str, list[str]],
        facts: Facts,
        sections: Sequence[Section],
        chunk_size: int | None = None,
    ) -> None:
        self.path = _folder(path)
        self.key = key
        self.statistics = facts.statistics
        self.keep = parse_keep(facts.keep)
        self.shape = (len(obs_names), len(facts.names))
        self._places = {
            f"{part.spot.attribute}/{part.spot.name(key, name)}": (name, part)
            for part in sections
            for name in self.statistics
        }
        self._journal = Journal(self.path / next(iter(self._places)) / NAME)
        self._lengths: dict[int, tuple[Ints, Ints]] = {}
        self._arrays: dict[str, Any] = {}
        if not anndata_zarr.is_anndata(self.path):
            self._refuse_other_things()
            anndata_zarr.make(self.path, obs_names, var_names)
        anndata_zarr.check_names(self.path, "obs", obs_names)
        if any(part.spot.attribute == "layers" for part in sections):
            anndata_zarr.check_names(self.path, "var", var_names)
        if not self._journal.exists():
            self._refuse_foreign(slots)
            self._begin(facts, chunk_size)
        self.chunk_size = self._resumed(facts, obs_names, chunk_size)
        for place in self._places:
            remove_abandoned(self.path / place)
        self._create()

    def _refuse_other_things(self) -> None:
        for parent in self.path.parents:
            if anndata_zarr.is_zarr(parent):
                msg = (
                    f"`store` {str(self.path)!r} lies inside the zarr store {str(parent)!r}; give "
                    "a folder of its own, or an AnnData's store itself."
                )
                raise ValueError(msg)
        if self.path.exists() and not (self.path.is_dir() and not any(self.path.iterdir())):
            msg = (
                f"`store` {str(self.path)!r} exists and holds something else than an AnnData in a "
                "zarr store; give a new folder, or remove it first."
            )
            raise ValueError(msg)

    def _refuse_foreign(self, slots: Mapping[str, list[str]]) -> None:
        found = anndata_zarr.taken(self.path, slots)
        if found is not None:
            msg = (
                f"`store` {str(self.path)!r} has {found}, which no run with a store has written; "
                "give another `key_added`, or remove it first."
            )
            raise ValueError(msg)

    def _begin(self, facts: Facts, chunk_size: int | None) -> None:
        row = 8 * self.keep if self.keep else 4 * self.shape[1]
        auto = max(1, min(CHUNK_BYTES // row, _MOST_CELLS))
        manifest = {"format": FORMAT, "chunk_size": int(chunk_size or auto)}
        for attribute in {place.split("/")[0] for place in self._places}:
            anndata_zarr.require_group(anndata_zarr.open_root(self.path), attribute)
        self._journal.folder.parent.mkdir(parents=True, exist_ok=True)
        self._journal.begin(manifest | facts.manifest(), facts.arrays())

    def _resumed(self, facts: Facts, names: pd.Index[Any], chunk_size: int | None) -> int:
        """Cells a block of the run that is there, once it is clear that it is the same run."""
        manifest = self._journal.manifest()
        if manifest.get("format") != FORMAT:
            msg = f"`store` {str(self.path)!r} was written by another version of sensx_sc."
            raise ValueError(msg)
        found = differences(Facts.of(manifest, self._journal.arrays()), facts, names)
        if found:
            msg = (
                f"`store` {str(self.path)!r} holds another run: {'; '.join(found)}. Give another "
                "store or `key_added`, or remove this one."
            )
            raise ValueError(msg)
        of_run = int(manifest["chunk_size"])
        if chunk_size not in (None, of_run):
            logger.info("store: %s keeps its blocks of %d cells.", self.path, of_run)
        return of_run

    def _create(self) -> None:
        """Make the layers that are not there."""
        root = anndata_zarr.open_root(self.path)
        for place, (name, part) in self._places.items():
            if place in root:
                continue
            if self.keep is not None:
                make_empty(root, place, self.shape, _kind(name))
                continue
            root.create_array(
                place,
                shape=(self.shape[0], part.width),
                chunks=(min(self.chunk_size, self.shape[0]), part.width),
                dtype=_kind(name),
                fill_value=0 if name in WHOLE else np.nan,
                attributes={"encoding-type": "array", "encoding-version": "0.2.0"},
            )

    def _rows(self, block: int) -> slice:
        start = block * self.chunk_size
        return slice(start, min(start + self.chunk_size, self.shape[0]))

    def _array(self, place: str) -> Any:
        """One of the dense arrays."""
        if place not in self._arrays:
            self._arrays[place] = anndata_zarr.open_root(self.path)[place]
        return self._arrays[place]

    def missing(self, blocks: Iterable[int]) -> list[int]:
        """Which of some blocks are not finished."""
        return sorted(set(blocks) - self._journal.finished())

    def read(self, number: int, data: np.ndarray, names: Iterable[str]) -> BlockResult | None:
        """A finished block; None where it is not, or is damaged.

        Parameters
        ----------
        data
            Digests of the block's inputs, one a cell: :func:`data_digests`.
        names
            Names of its cells.

        Raises
        ------
        ValueError
            The block was finished with other inputs.
        """
        try:
            flat = self._journal.read(number)
        except ValueError:
            self._say_damaged(number, "its record")
            return None
        if flat is None:
            return None
        self._compare_data(flat.pop("data"), data, list(names))
        block = from_arrays(flat)
        if self.keep is None:
            for place, told in zip(self._places, flat["digests"].tolist(), strict=True):
                if self._digest_on_disk(number, place, block.cells) != told:
                    self._say_damaged(number, f"its {self._places[place][0]!r}")
                    return None
        self._note(number, block)
        return block

    def _digest_on_disk(self, number: int, place: str, cells: Ints) -> str:
        rows = self._rows(number)
        try:
            found = self._array(place)[rows][cells - rows.start]
        except Exception:  # noqa: BLE001 - a codec may fail in any way on damaged bytes
            return "unreadable"
        return _hex(found)

    def _compare_data(self, before: np.ndarray, now: np.ndarray, names: list[str]) -> None:
        other = np.flatnonzero(before != now)
        if len(other):
            msg = (
                f"`store` {str(self.path)!r} holds another run: the values of {len(other)} of the "
                f"cells {names[0]!r} to {names[-1]!r} were others, the first "
                f"{names[other[0]]!r}. Give another store or `key_added`, or remove this one."
            )
            raise ValueError(msg)

    def _say_damaged(self, block: int, what: str) -> None:
        rows = self._rows(block)
        logger.warning(
            "store: %s of cells %d to %d is damaged; they are explained again.",
            what,
            rows.start,
            rows.stop - 1,
        )

    def write(self, number: int, block: BlockResult, data: np.ndarray) -> None:
        """Commit a block: its chunks first, its record last.

        Raises
        ------
        OSError
            The disk is full or read-only; what was committed before is untouched.
        """
        record = to_arrays(block) | {"data": data}
        if self.keep is None:
            digests = [self._write_chunk(number, block, place) for place in self._places]
            record |= {"digests": np.array(digests)}
        self._journal.write(number, record)
        self._note(number, block)

    def _write_chunk(self, number: int, block: BlockResult, place: str) -> str:
        name, part = self._places[place]
        rows, array = self._rows(number), self._array(place)
        chunk = np.full((rows.stop - rows.start, part.width), array.fill_value, array.dtype)
        values = block.arrays[name][:, part.columns]
        chunk[block.cells - rows.start] = values
        array[rows] = chunk
        return _hex(values)

    def _note(self, number: int, block: BlockResult) -> None:
        if block.genes is not None:
            self._lengths[number] = (block.cells, row_lengths(block.genes))

    def finish(self, slots: Mapping[str, Mapping[str, Any]]) -> None:
        """Complete the AnnData: sparse layers, and what is not a layer.

        Parameters
        ----------
        slots
            For each attribute (obs, var, obsm, uns) the keys and values.
        """
        if self.keep is not None:
            anndata_zarr.unconsolidate(self.path)
            root = anndata_zarr.open_root(self.path)
            places = {name: root[place] for place, (name, _) in self._places.items()}
            write_entries(places, self.shape[0], self._lengths, self._entries)
        anndata_zarr.publish(self.path, slots, self._journal.folder)

    def _entries(self, number: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        flat = self._journal.read(number)
        if flat is None:
            msg = f"block {number} of the store {str(self.path)!r} is not there any more."
            raise FileNotFoundError(msg)
        block = from_arrays(flat)
        if block.genes is None:
            raise AssertionError
        return block.genes, block.arrays

    def arrays(self) -> dict[str, dict[str, Any]]:
        """The arrays of a finished store, as Dask arrays that read it, for each attribute."""
        found: dict[str, dict[str, Any]] = {}
        for place, (name, part) in self._places.items():
            attribute, slot = place.split("/")
            found.setdefault(attribute, {})[slot] = self._lazy(place, name, part)
        return found

    def _lazy(self, place: str, name: str, part: Section) -> Any:
        import dask.array as da

        told = (str(self.path), place, str(self._journal.manifest_path))
        if self.keep is not None:
            shape = (self.shape[0], part.width)
            return sparse_rows(*told, shape, self.chunk_size, _kind(name))
        lazy = da.from_zarr(self._array(place))
        return lazy.map_blocks(
            _still_there, told[0], told[2], dtype=lazy.dtype, meta=np.empty((0, 0), lazy.dtype)
        )


def _folder(path: str | os.PathLike[str]) -> Path:
    if not isinstance(path, str | os.PathLike) or not str(path):
        msg = f"`store` must be the path of a folder; got {path!r}."
        raise TypeError(msg)
    if "://" in str(path):
        msg = f"`store` must be a folder that this machine can write; got {str(path)!r}."
        raise ValueError(msg)
    return Path(path).expanduser().resolve()


def _kind(name: str) -> type[np.generic]:
    return np.int32 if name in WHOLE else np.float32


def _hex(array: np.ndarray) -> str:
    return digest(np.ascontiguousarray(array).tobytes()).hex()


def _still_there(block: np.ndarray, store: str, manifest: str) -> np.ndarray:
    """A chunk; a store that is gone would look as if nothing had been tested."""
    require(store, manifest)
    return block


def data_digests(x: np.ndarray) -> np.ndarray:
    """A fingerprint of each input, (C,)."""
    rows = np.ascontiguousarray(x, dtype=np.float64)
    return np.array([digest(row.tobytes())[:_CELL_DIGEST].hex() for row in rows])
