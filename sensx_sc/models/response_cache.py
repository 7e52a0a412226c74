"""Answers to rows, kept on disk: a row that was asked before is not asked again."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_AT_ONCE = 500  # keys of one question to the database
_WAIT = 60.0  # seconds that another process may be writing
_TABLES = """
CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, outputs BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


def digest(parts: Sequence[str]) -> bytes:
    """A digest of some texts."""
    return hashlib.blake2b(json.dumps(list(parts)).encode(), digest_size=16).digest()


def row_keys(rows: NDArray[Any], salt: bytes) -> list[bytes]:
    """A key for each row (B, n) of one type; equal numbers have equal keys."""
    values = np.ascontiguousarray(rows + 0.0)  # -0.0 is 0.0
    return [hashlib.blake2b(row.tobytes(), digest_size=16, key=salt).digest() for row in values]


class ResponseCache:
    """A file of answers, shared by threads and processes.

    Parameters
    ----------
    folder
        Where the file is, or will be.
    salt
        Digest of what the answers depend on beside the row: it names the file.

    Raises
    ------
    ValueError
        The file is no such cache.
    """

    def __init__(self, folder: str | os.PathLike[str], salt: bytes) -> None:
        self.path = Path(folder) / f"responses-{salt.hex()}.sqlite"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._connect()

    def _connect(self) -> None:
        try:
            self._base = sqlite3.connect(self.path, timeout=_WAIT, check_same_thread=False)
            weakref.finalize(self, self._base.close)
            with self._base:
                self._base.execute("PRAGMA journal_mode=WAL")
                self._base.executescript(_TABLES)
        except sqlite3.DatabaseError as error:
            msg = f"{str(self.path)!r} is no cache of answers ({error}); remove it."
            raise ValueError(msg) from error

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        self._lock = threading.Lock()
        self._connect()

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Floats]:
        """Answers (K,) of those rows that have one."""
        found: dict[bytes, Floats] = {}
        wanted = list(dict.fromkeys(keys))
        for first in range(0, len(wanted), _AT_ONCE):
            part = wanted[first : first + _AT_ONCE]
            marks = ",".join("?" * len(part))
            # Only question marks are put into the text.
            question = f"SELECT key, outputs FROM answers WHERE key IN ({marks})"
            with self._lock:
                rows = self._base.execute(question, part).fetchall()
            found |= {key: np.frombuffer(outputs, dtype="<f8") for key, outputs in rows}
        return found

    def put(self, answers: Mapping[bytes, Floats]) -> None:
        """Keep answers, each whole or not at all."""
        rows = [(key, np.asarray(value, dtype="<f8").tobytes()) for key, value in answers.items()]
        with self._lock, self._base:
            self._base.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?)", rows)

    def note(self, name: str) -> Any:
        """What was kept under a name, or None."""
        with self._lock:
            row = self._base.execute("SELECT value FROM notes WHERE name = ?", (name,)).fetchone()
        return None if row is None else json.loads(row[0])

    def put_note(self, name: str, value: Any) -> None:
        """Keep something JSON-safe under a name."""
        with self._lock, self._base:
            self._base.execute(
                "INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, json.dumps(value))
            )

    def __len__(self) -> int:
        with self._lock:
            return int(self._base.execute("SELECT COUNT(*) FROM answers").fetchone()[0])
