"""What is said of the values that features take: checked, and held against the inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import sparse

from sensx_sc.core.declared_kinds import check_kinds, make_kinds

LOWER, UPPER = np.zeros(8), np.array([1.0, 9, 1, 1, 1, 1, 3, 4])
KINDS = {1: "count", 5: "binary", 6: "ordinal", 7: "categorical"}
BLOCKS = {"batch": [2, 3, 4]}
X = np.array([[0.3, 4, 0, 1, 0, 0, 1, 2], [0.0, 0, 1, 0, 0, 1, 0, 0], [0.9, 9, 0, 0, 1, 0, 3, 4]])


def make(**arguments: Any) -> Any:
    base: dict[str, Any] = {"kinds": KINDS, "n_features": 8, "lower": LOWER, "upper": UPPER,
                            "blocks": BLOCKS}  # fmt: skip
    return make_kinds(**(base | arguments))


def test_ways_to_declare() -> None:
    names = list("abcdefgh")
    said = [None, "count", None, None, None, "binary", "ordinal", "categorical"]
    blocks = {"batch": ["c", "d", "e"]}
    a = make_kinds(KINDS, 8, LOWER, UPPER, blocks=BLOCKS)
    b = make_kinds(said, 8, LOWER, UPPER, names=names, blocks=blocks)
    c = make_kinds({"b": "count", "f": "binary", "g": "ordinal", "h": "categorical"}, 8, LOWER,
                   UPPER, names=names, blocks=blocks)  # fmt: skip
    for other in (b, c):
        assert a is not None
        assert other is not None
        np.testing.assert_array_equal(a.fingerprint(8), other.fingerprint(8))
    assert make_kinds("continuous", 8, LOWER, UPPER) is None
    assert make_kinds(None, 8, LOWER, UPPER) is None
    every = make_kinds("count", 8, LOWER, UPPER)
    assert every is not None
    assert every.counted() == {"count": 8}
    assert make_kinds(every, 8, LOWER, UPPER) is every
    assert a.counted() == {"count": 1, "ordinal": 1, "binary": 1, "categorical": 2}


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "kind": ({"kinds": {0: "real"}}, ValueError, "`kinds` must be among .*; got 'real' for"),
    "word": ({"kinds": "real"}, ValueError, "`kinds` must be among .*; got 'real' for feature 0"),
    "length": ({"kinds": ["count"]}, ValueError, "a kind for each of the 8 features"),
    "name": ({"kinds": {"x": "count"}}, KeyError, "`kinds` names 'x', which is no feature"),
    "bool": ({"kinds": {True: "count"}}, KeyError, "`kinds` names True, which is no feature"),
    "levels of": ({"levels": {"x": [0, 1]}}, KeyError, "`levels` names 'x', which is no feature"),
    "levels": ({"levels": {6: [2, 2]}}, ValueError, "must be two or more ascending numbers"),
    "columns": ({"blocks": {"b": [2, 2]}}, ValueError, "'b' must have two or more columns"),
    "many": ({"upper": UPPER * 1e5}, ValueError, "is ordinal, and its bounds, 0 and 300000"),
}


@pytest.mark.parametrize(("arguments", "error", "words"), WRONG.values(), ids=WRONG.keys())
def test_wrong_input(arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make(**arguments)


AT = np.eye(8)
OFF: dict[str, tuple[np.ndarray, str]] = {
    "count": (X - 0.5 * AT[1], "feature 1 is a count, and input 0 has 3.5"),
    "level": (X + 0.25 * AT[6], "input 0 has 1.25 for feature 6, whose levels are 0, 1, 2, 3"),
    "beyond": (X + 3 * AT[7], "input 0 has 5 for feature 7"),
    "two hot": (X + AT[4], "block 'batch' must hold one 1, else 0; input 0 has"),
    "none hot": (X * (1 - AT[3]), "input 0 has .0.0, 0.0, 0.0."),
}


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
@pytest.mark.parametrize(("rows", "words"), OFF.values(), ids=OFF.keys())
def test_values_that_features_cannot_take(rows: np.ndarray, words: str, form: Any) -> None:
    kinds, tested = make(), np.ones(8, dtype=bool)
    check_kinds(form(X), kinds, tested)
    with pytest.raises(ValueError, match=words):
        check_kinds(form(rows), kinds, tested)
    check_kinds(form(rows), kinds, ~tested)  # what is never perturbed may be anything


def test_every_input_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those of later blocks of rows, and only the one that is wrong is named."""
    kinds, tested = make(), np.ones(8, dtype=bool)
    rows = np.tile(X[:1], (21, 1))
    monkeypatch.setattr("sensx_sc.core.declared_kinds._TOGETHER", 16)  # two rows at a time
    check_kinds(rows, kinds, tested)
    rows[19, 3:6] = [0.5, 0.5, 0.0]  # sums to 1
    with pytest.raises(ValueError, match="block 'batch' must hold one 1, else 0; input 19 has"):
        check_kinds(rows, kinds, tested)


def test_copies_in_single_precision_are_on_their_levels() -> None:
    kinds = make(kinds={0: "ordinal"}, levels={0: [0.1, 0.3, 0.7]}, blocks=None)
    rows = np.tile(np.array([0.3] + [0.0] * 7, dtype=np.float32), (2, 1))
    check_kinds(rows, kinds, np.ones(8, dtype=bool))
