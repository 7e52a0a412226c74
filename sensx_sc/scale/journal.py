"""The journal of a run: what it depends on, and a record of each finished block.

A folder that appears in one step, with all that the run depends on, and into which each record is
moved in one step. A record carries its own checksum. Nothing here knows what is in a record.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import socket
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NAME = ".sensx"
_DIGEST = 16
_ABANDONED = 86_400  # seconds after which what another machine was writing is taken for left


class Journal:
    """Manifest and records in a folder.

    Parameters
    ----------
    folder
        Where it is, or will be.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def manifest_path(self) -> Path:
        return self.folder / "manifest.json"

    def exists(self) -> bool:
        return self.manifest_path.exists()

    def begin(self, manifest: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bool:
        """Make the journal; False if another process was faster.

        Parameters
        ----------
        manifest, arrays
            What the run depends on: JSON-safe values, and arrays without objects.
        """
        made = scratch(self.folder)
        try:
            (made / "blocks").mkdir(parents=True)
            write_whole(made / "run.npz", _packed(arrays))
            write_whole(made / "manifest.json", json.dumps(manifest, indent=1).encode())
            made.rename(self.folder)
        except OSError:
            if self.exists():
                return False
            raise
        finally:
            shutil.rmtree(made, ignore_errors=True)
        _synchronise(self.folder.parent)
        return True

    def manifest(self) -> dict[str, Any]:
        """What :meth:`begin` was given.

        Raises
        ------
        ValueError
            It cannot be read.
        """
        try:
            return dict(json.loads(self.manifest_path.read_text(encoding="utf-8")))
        except ValueError as error:
            raise ValueError(self._damaged(self.manifest_path)) from error

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays that :meth:`begin` was given."""
        path = self.folder / "run.npz"
        try:
            return _unpacked(path.read_bytes())
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(self._damaged(path)) from error

    def _damaged(self, path: Path) -> str:
        return f"the journal {str(self.folder)!r} is damaged: {path.name} cannot be read."

    def _record(self, number: int) -> Path:
        return self.folder / "blocks" / f"{number:08d}"

    def finished(self) -> set[int]:
        """Numbers of the blocks that have a record."""
        names = (path.name for path in (self.folder / "blocks").iterdir())
        return {int(name) for name in names if name.isdigit()}

    def write(self, number: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Commit the record of a block."""
        write_whole(self._record(number), _packed(arrays))

    def read(self, number: int) -> dict[str, np.ndarray] | None:
        """The record of a block, or None where there is none.

        Raises
        ------
        ValueError
            It is damaged.
        """
        try:
            return _unpacked(self._record(number).read_bytes())
        except FileNotFoundError:
            return None


def remove_abandoned(folder: Path) -> None:
    """Remove what processes that are gone were still writing, at any depth."""
    for parent, folders, files in os.walk(folder):
        for name in [name for name in [*folders, *files] if name.endswith(".partial")]:
            left = Path(parent, name)
            if is_abandoned(left):
                with contextlib.suppress(OSError):
                    shutil.rmtree(left) if left.is_dir() else left.unlink()


def _packed(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Arrays as bytes, behind their checksum."""
    buffer = io.BytesIO()
    named: dict[str, Any] = dict(arrays)
    np.savez(buffer, **named)
    content = buffer.getvalue()
    return digest(content) + content


def _unpacked(content: bytes) -> dict[str, np.ndarray]:
    told, payload = content[:_DIGEST], content[_DIGEST:]
    if told != digest(payload):
        msg = "the checksum is wrong"
        raise ValueError(msg)
    with np.load(io.BytesIO(payload), allow_pickle=False) as file:
        return dict(file)


def digest(content: bytes) -> bytes:
    """A checksum."""
    return hashlib.blake2b(content, digest_size=_DIGEST).digest()


def write_whole(path: Path, content: bytes) -> None:
    """Write a file in one step: it is there whole, or not at all."""
    temporary = scratch(path)
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
    _synchronise(path.parent)


def _synchronise(folder: Path) -> None:
    with contextlib.suppress(OSError):  # not every system lets a folder be synchronised
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def scratch(path: Path) -> Path:
    """A new name beside a path, for what this process writes before it is moved there."""
    return path.with_name(f"{path.name}.{_machine()}-{os.getpid()}.{uuid.uuid4().hex}.partial")


def _machine() -> str:
    return "".join(c for c in socket.gethostname() if c.isalnum() or c == "-") or "machine"


def is_abandoned(path: Path) -> bool:
    """Whether nobody is writing this any more."""
    machine, _, process = next(_tags(path.name), ("", "", ""))
    if machine == _machine():
        return not _alive(int(process))
    with contextlib.suppress(OSError):
        return time.time() - path.stat().st_mtime > _ABANDONED
    return False


def _tags(name: str) -> Iterator[tuple[str, str, str]]:
    for part in name.split("."):
        machine, dash, process = part.rpartition("-")
        if machine and process.isdigit():
            yield machine, dash, process


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
