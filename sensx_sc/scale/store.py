"""A store of results on disk: written a block at a time, resumed after any end.

A store is a zarr group with an array for each statistic, chunked by blocks of cells, and beside
it ``.sensx``: the manifest, and a record of each finished block. A block counts as finished once
its record is in place, which is the last thing written, and moved there in one step. A record
carries its own checksum and those of the block's chunks.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.logger import logger
from sensx_sc.scale.results import WHOLE, from_arrays, to_arrays

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sensx_sc.scale.results import BlockResult

FORMAT = 1
CHUNK_BYTES = 2**23
_ASIDE = ".sensx"
_DIGEST = 16
_SAME_MODEL = 1e-4  # relative difference of outputs that another machine may show


class Store:
    """Results of one run on disk.

    Parameters
    ----------
    path
        Folder of the store; made if it is not there.
    run
        What the run depends on, JSON-safe: must be the same when it is resumed.
    model
        Outputs of the model at fixed rows, which tell another model; any shape.
    shape
        Cells of the AnnData and features.
    statistics
        Arrays to keep.
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
        run: dict[str, Any],
        model: np.ndarray,
        shape: tuple[int, int],
        statistics: Sequence[str],
        chunk_size: int | None = None,
    ) -> None:
        self.path = Path(path).expanduser().resolve()
        self.statistics = tuple(statistics)
        self.shape = shape
        wanted = {
            "format": FORMAT,
            "shape": list(shape),
            "statistics": list(statistics),
            "run": run,
        }
        wanted = json.loads(json.dumps(wanted))
        manifest = self.path / _ASIDE / "manifest.json"
        if manifest.exists():
            found = _read_manifest(manifest)
            self._compare(found, wanted, model)
            self.chunk_size = int(found["chunk_size"])
            if chunk_size not in (None, self.chunk_size):
                logger.info("store: %s keeps its blocks of %d cells.", path, self.chunk_size)
            self._clean()
            self._create()
        else:
            # A folder of ours without a manifest is from a run that was killed while it began.
            ours = (self.path / _ASIDE).is_dir()
            if self.path.exists() and not ours and any(self.path.iterdir()):
                msg = (
                    f"`store` {str(path)!r} exists and holds something else; give a new folder, or "
                    "remove it first."
                )
                raise ValueError(msg)
            auto = max(1, min(CHUNK_BYTES // (4 * shape[1]), 4096))
            self.chunk_size = int(chunk_size or auto)
            self._create()
            outputs = np.asarray(model, dtype=np.float64).tolist()
            whole = wanted | {"chunk_size": self.chunk_size, "model": outputs}
            _commit(manifest, json.dumps(whole, indent=1).encode())

    def _compare(self, found: dict[str, Any], wanted: dict[str, Any], model: np.ndarray) -> None:
        """Refuse to resume another run, naming what differs."""
        if found.get("format") != FORMAT:
            msg = f"`store` {str(self.path)!r} was written by another version of sensx_sc."
            raise ValueError(msg)
        differing = [
            f"{name} was {_short(found['run'].get(name))}, is {_short(wanted['run'].get(name))}"
            for name in sorted(set(found["run"]) | set(wanted["run"]))
            if found["run"].get(name) != wanted["run"].get(name)
        ]
        differing += [
            f"{name} was {_short(found[name])}, is {_short(wanted[name])}"
            for name in ("shape", "statistics")
            if found[name] != wanted[name]
        ]
        before = np.asarray(found["model"], dtype=np.float64)
        if before.shape != model.shape or not np.allclose(
            before, model, rtol=_SAME_MODEL, atol=_SAME_MODEL * np.abs(model).max(), equal_nan=True
        ):
            differing.append("the model gives other outputs")
        if differing:
            msg = (
                f"`store` {str(self.path)!r} holds another run: {'; '.join(differing)}. Give "
                "another store, or remove this one."
            )
            raise ValueError(msg)

    def _create(self) -> None:
        import zarr

        (self.path / _ASIDE / "blocks").mkdir(parents=True, exist_ok=True)
        group = zarr.open_group(self.path, mode="a", zarr_format=3)
        for name in self.statistics:
            if name in group:
                continue
            whole = name in WHOLE
            group.create_array(
                name,
                shape=self.shape,
                chunks=(min(self.chunk_size, self.shape[0]), self.shape[1]),
                dtype=np.int32 if whole else np.float32,
                fill_value=0 if whole else np.nan,
            )

    def _clean(self) -> None:
        """Remove what a killed process was still writing."""
        for left in [*(self.path / _ASIDE).rglob("*.partial")]:
            with contextlib.suppress(OSError):
                left.unlink()

    def _record(self, block: int) -> Path:
        return self.path / _ASIDE / "blocks" / f"{block:08d}"

    def _rows(self, block: int) -> slice:
        start = block * self.chunk_size
        return slice(start, min(start + self.chunk_size, self.shape[0]))

    def array(self, name: str) -> Any:
        """One of the zarr arrays."""
        import zarr

        return zarr.open_array(self.path / name, mode="r+")

    def read(self, block: int, data: str) -> BlockResult | None:
        """A finished block; None where it is not, or is damaged.

        Parameters
        ----------
        data
            Digest of the block's inputs.

        Raises
        ------
        ValueError
            The block was finished with other inputs.
        """
        record = self._record(block)
        if not record.exists():
            return None
        told, payload = _split(record.read_bytes())
        if told != _digest(payload):
            self._say_damaged(block, "its record")
            return None
        with np.load(io.BytesIO(payload), allow_pickle=False) as file:
            flat = dict(file)
        if str(flat.pop("data")) != data:
            msg = (
                f"`store` {str(self.path)!r} holds another run: the values of some of the cells "
                f"{self._rows(block).start} to {self._rows(block).stop - 1} were others. Give "
                "another store, or remove this one."
            )
            raise ValueError(msg)
        digests = dict(zip(self.statistics, flat.pop("digests").tolist(), strict=True))
        inside = flat["cells"] - self._rows(block).start
        for name in self.statistics:
            try:
                rows = self.array(name)[self._rows(block)][inside]
            except Exception:  # noqa: BLE001 - a codec may fail in any way on damaged bytes
                self._say_damaged(block, f"its {name!r}")
                return None
            if _digest(rows.tobytes()).hex() != digests[name]:
                self._say_damaged(block, f"its {name!r}")
                return None
        return from_arrays(flat, {})

    def _say_damaged(self, block: int, what: str) -> None:
        rows = self._rows(block)
        logger.warning(
            "store: %s of cells %d to %d is damaged; they are explained again.",
            what,
            rows.start,
            rows.stop - 1,
        )

    def write(self, number: int, block: BlockResult, data: str) -> None:
        """Commit a block: its chunks first, its record last.

        Raises
        ------
        OSError
            The disk is full or read-only; what was committed before is untouched.
        """
        rows = self._rows(number)
        inside = block.cells - rows.start
        digests = []
        for name in self.statistics:
            values = block.arrays[name]
            array = self.array(name)
            chunk = np.full((rows.stop - rows.start, self.shape[1]), array.fill_value, array.dtype)
            chunk[inside] = values
            array[rows] = chunk
            digests.append(_digest(np.ascontiguousarray(values).tobytes()).hex())
        payload = io.BytesIO()
        named: dict[str, Any] = to_arrays(block)
        named |= {"data": np.array(data), "digests": np.array(digests)}
        np.savez(payload, **named)
        content = payload.getvalue()
        _commit(self._record(number), _digest(content) + content)

    def lazy(self, name: str) -> Any:
        """One of the arrays as a Dask array that reads the store, as long as it is there."""
        import dask.array as da

        lazy = da.from_zarr(self.array(name))
        return lazy.map_blocks(
            _still_there, str(self.path / _ASIDE / "manifest.json"), dtype=lazy.dtype,
            meta=np.empty((0, 0), lazy.dtype),
        )  # fmt: skip


def _still_there(block: np.ndarray, manifest: str) -> np.ndarray:
    """A chunk; a store that is gone would look as if nothing had been tested."""
    if not Path(manifest).exists():
        msg = (
            f"the store {str(Path(manifest).parent.parent)!r} of this layer is not there any more."
        )
        raise FileNotFoundError(msg)
    return block


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        msg = f"`store` {str(path.parent.parent)!r} is damaged: {path.name} cannot be read."
        raise ValueError(msg) from error
    return dict(found)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else text[:57] + "..."


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST).digest()


def _split(content: bytes) -> tuple[bytes, bytes]:
    return content[:_DIGEST], content[_DIGEST:]


def _commit(path: Path, content: bytes) -> None:
    """Write a file in one step: it is there whole, or not at all."""
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    with contextlib.suppress(OSError):  # not every system lets a folder be synchronised
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def data_digest(x: np.ndarray) -> str:
    """A fingerprint of the inputs of a block."""
    return _digest(np.ascontiguousarray(x, dtype=np.float64).tobytes()).hex()
