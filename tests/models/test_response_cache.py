"""Answers kept on disk."""

from __future__ import annotations

import pickle
import sqlite3
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from sensx_sc.models.response_cache import ResponseCache, digest, row_keys

if TYPE_CHECKING:
    from pathlib import Path

SALT = digest(["https://host/v2/models/m"])
ROWS = np.arange(12.0).reshape(4, 3)


def test_what_was_put_is_there(tmp_path: Path) -> None:
    cache = ResponseCache(tmp_path / "deep" / "er", SALT)
    keys = row_keys(ROWS, SALT)
    assert cache.get(keys) == {}
    cache.put({keys[0]: np.array([0.1, 1e-300]), keys[2]: np.array([np.pi, -0.0])})
    found = ResponseCache(tmp_path / "deep" / "er", SALT).get([*keys, *keys])
    assert set(found) == {keys[0], keys[2]}
    np.testing.assert_array_equal(found[keys[2]], [np.pi, 0])
    assert len(cache) == 2
    cache.put_note("metadata", {"a": [1, 2.5, None]})
    assert cache.note("metadata") == {"a": [1, 2.5, None]}
    assert cache.note("other") is None


def test_thousands_of_keys(tmp_path: Path) -> None:
    cache = ResponseCache(tmp_path, SALT)
    keys = row_keys(np.random.default_rng(0).random((3000, 2)), SALT)
    cache.put({key: np.array([float(i)]) for i, key in enumerate(keys)})
    found = cache.get(keys)
    assert [found[key][0] for key in keys] == list(range(3000))


def test_equal_rows_have_equal_keys() -> None:
    keys = row_keys(np.array([[0.0, 1.0], [-0.0, 1.0], [0.0, np.nextafter(1, 2)]]), SALT)
    assert keys[0] == keys[1] != keys[2]
    assert row_keys(ROWS, SALT) != row_keys(ROWS, digest(["another model"]))
    assert digest(["ab", "c"]) != digest(["a", "bc"])


def test_models_have_files_of_their_own(tmp_path: Path) -> None:
    one, other = ResponseCache(tmp_path, SALT), ResponseCache(tmp_path, digest(["b"]))
    assert one.path != other.path
    assert "host" not in one.path.name
    one.put({b"k": np.ones(1)})
    assert other.get([b"k"]) == {}


def test_threads_and_copies_share_it(tmp_path: Path) -> None:
    cache = ResponseCache(tmp_path, SALT)
    copied = pickle.loads(pickle.dumps(cache))  # noqa: S301

    def write(number: int) -> None:
        each = cache if number % 2 else copied
        each.put({bytes([number, i]): np.array([float(number)]) for i in range(50)})

    threads = [threading.Thread(target=write, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(cache) == len(copied) == 300


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = ResponseCache(tmp_path, SALT).path
    for beside in tmp_path.iterdir():
        beside.unlink()
    path.write_bytes(b"nothing of the kind" * 100)
    with pytest.raises(ValueError, match=r"is no cache of answers \(file is not a database\)"):
        ResponseCache(tmp_path, SALT)


def test_a_half_written_answer_is_none(tmp_path: Path) -> None:
    """What a process that dies leaves is what was there before."""
    cache = ResponseCache(tmp_path, SALT)
    cache.put({b"a": np.ones(1)})
    other = sqlite3.connect(cache.path)
    other.execute("INSERT INTO answers VALUES (?, ?)", (b"b", b"\0" * 8))
    other.close()  # without a commit
    assert set(cache.get([b"a", b"b"])) == {b"a"}
