"""A journal is whole at any moment, or says that it is damaged."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from sensx_sc.scale import journal as journal_module
from sensx_sc.scale.journal import Journal, remove_abandoned, scratch, write_whole

ARRAYS = {"a": np.arange(5), "b": np.array(["x", "yy"])}


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    found = Journal(tmp_path / ".sensx")
    assert not found.exists()
    assert found.begin({"format": 1}, ARRAYS)
    return found


def test_what_was_begun_comes_back(journal: Journal) -> None:
    assert journal.exists()
    assert journal.manifest() == {"format": 1}
    assert {name: array.tolist() for name, array in journal.arrays().items()} == {
        "a": [0, 1, 2, 3, 4], "b": ["x", "yy"]
    }  # fmt: skip
    assert [path.name for path in journal.folder.parent.iterdir()] == [".sensx"]


def test_the_second_to_begin_leaves_it_as_it_is(journal: Journal) -> None:
    journal.write(3, ARRAYS)
    assert not journal.begin({"format": 2}, {})
    assert journal.manifest() == {"format": 1}
    assert journal.finished() == {3}
    assert [path.name for path in journal.folder.parent.iterdir()] == [".sensx"]


def test_records_come_back(journal: Journal) -> None:
    assert journal.read(7) is None
    assert journal.finished() == set()
    journal.write(7, ARRAYS)
    journal.write(11, {"a": np.array([1.5])})
    found = journal.read(7)
    assert found is not None
    np.testing.assert_array_equal(found["a"], ARRAYS["a"])
    assert journal.finished() == {7, 11}


@pytest.mark.parametrize("cut", [0, 5, 40, -1])
@pytest.mark.parametrize("what", ["blocks/00000007", "run.npz"])
def test_a_truncated_file_is_damaged(what: str, cut: int, journal: Journal) -> None:
    journal.write(7, ARRAYS)
    path = journal.folder / what
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match="checksum is wrong|run.npz cannot be read"):
        journal.read(7) if "blocks" in what else journal.arrays()


def test_a_changed_byte_is_damage(journal: Journal) -> None:
    journal.write(7, ARRAYS)
    path = journal.folder / "blocks" / "00000007"
    content = bytearray(path.read_bytes())
    for at in range(0, len(content), 37):
        changed = content.copy()
        changed[at] ^= 1
        path.write_bytes(bytes(changed))
        with pytest.raises(ValueError, match="checksum"):
            journal.read(7)


def test_a_manifest_that_cannot_be_read_is_said_to_be_damaged(journal: Journal) -> None:
    journal.manifest_path.write_text('{"format": ', encoding="utf-8")
    with pytest.raises(ValueError, match="is damaged: manifest.json cannot be read"):
        journal.manifest()


def test_a_file_that_cannot_be_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_whole(path, b"before")

    def full(_: int) -> None:
        raise OSError(28, "no space")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        write_whole(path, b"after")
    assert path.read_bytes() == b"before"
    assert [found.name for found in tmp_path.iterdir()] == ["file"]


def test_only_what_nobody_writes_any_more_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = scratch(tmp_path / "own")
    own.write_text("being written", encoding="utf-8")
    gone = Path(str(scratch(tmp_path / "gone")).replace(f"-{os.getpid()}.", "-999999999."))
    gone.mkdir()
    (gone / "x").touch()
    elsewhere = tmp_path / "block.other-machine-12.abc.partial"
    unknown = tmp_path / "0.abcdef.partial"
    old = tmp_path / "1.abcdef.partial"
    other = tmp_path / "partial.txt"
    for path in (elsewhere, unknown, old, other):
        path.touch()
    os.utime(old, (time.time() - 2e5,) * 2)
    remove_abandoned(tmp_path)
    assert set(tmp_path.iterdir()) == {own, elsewhere, unknown, other}
    monkeypatch.setattr(journal_module, "_alive", lambda _: False)
    remove_abandoned(tmp_path)
    assert set(tmp_path.iterdir()) == {elsewhere, unknown, other}
