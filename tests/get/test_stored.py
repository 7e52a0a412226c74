from __future__ import annotations

from sensx_sc.core import calibration, statistics
from sensx_sc.get import _stored


def test_words_are_those_of_the_method() -> None:
    """They are repeated, so that results can be read without importing torch."""
    assert set(_stored.STATUSES) == set(calibration.STATUSES)
    assert set(_stored.ATTRIBUTED) == set(calibration.ATTRIBUTED)
    assert set(_stored.STATISTICS) == set(statistics.STATISTICS)


def test_long_lists_are_cut() -> None:
    assert _stored.quoted(range(15)).endswith("'11', ... (3 more)")
    assert _stored.quoted([]) == "(none)"
