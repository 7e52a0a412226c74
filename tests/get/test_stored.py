from __future__ import annotations

from sensx_sc.get import _stored


def test_long_lists_are_cut() -> None:
    assert _stored.quoted(range(15)).endswith("'11', ... (3 more)")
    assert _stored.quoted([]) == "(none)"
