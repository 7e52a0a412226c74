from __future__ import annotations

import pytest

from sensx_sc.get import _stored


def test_long_lists_are_cut() -> None:
    assert _stored.quoted(range(15)).endswith("'11', ... (3 more)")
    assert _stored.quoted([]) == "(none)"


def test_names_are_text_or_several() -> None:
    with pytest.raises(TypeError, match="cells must be the name of a cell or several names; got 0"):
        _stored.check_names(0, ["a"], "cells", "cell")  # type: ignore[arg-type]
