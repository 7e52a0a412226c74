"""Two runs that differ are said to, with the first thing in which they do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sensx_sc.scale.facts import Facts, differences, first_difference

NAMES = [f"cell_{i}" for i in range(10)]
BASE = Facts(
    params={"tau": 0.1, "seed": 0},
    statistics=("value", "rank"),
    keep="all",
    names=("A", "B", "C"),
    output_names=("no", "yes"),
    cells=np.array([1, 3, 4]),
    target=np.array([0, 1, -1]),
    lower=np.zeros(3),
    upper=np.array([1.0, 2.0, 3.0]),
    tested=np.array([True, True, False]),
    groups=np.zeros(0, dtype=np.int64),
    deltas=np.array([0.1, 0.5]),
    outputs=np.array([[0.2, 0.8], [np.nan, np.nan], [1.0, 0.0]]),
)
MANY = np.geomspace(1e-4, 1, 50)

OTHERS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "the same": ({}, []),
    "a parameter": ({"params": {"tau": 0.2, "seed": 0}}, ["tau was 0.1, is 0.2"]),
    "a new parameter": ({"params": {"tau": 0.1, "seed": 0, "n": 5}}, ["n was None, is 5"]),
    "two": ({"params": {"tau": 0.2, "seed": 1}}, ["seed was 0, is 1", "tau was 0.1, is 0.2"]),
    "statistics": ({"statistics": ("value",)}, ["statistics was ('value', 'rank'), is ('value',)"]),
    "keep": ({"keep": "top:5"}, ["keep was 'all', is 'top:5'"]),
    "a gene": ({"names": ("A", "X", "C")}, ["feature 1 was 'B', is 'X'"]),
    "fewer genes": ({"names": ("A", "B")}, ["there were 3 features, now 2"]),
    "an output": ({"output_names": ("no", "maybe")}, ["output 1 was 'yes', is 'maybe'"]),
    "more cells": (
        {"cells": np.array([1, 3, 4, 7, 9]), "target": np.array([0, 1, -1, 0, 0])},
        ["2 cells were not to be explained before, the first 'cell_7'"],
    ),
    "fewer cells": (
        {"cells": np.array([3, 4]), "target": np.array([1, -1])},
        ["1 cells are left out now, the first 'cell_1'"],
    ),
    "a target": (
        {"target": np.array([0, 0, 1])},
        ["the target of 1 cells was another, the first 'cell_3': 'yes', now 'no'"],
    ),
    "a target that is known now": ({"target": np.array([0, 1, 1])}, []),
    "bounds": (
        {"upper": np.array([1.0, 2.5, 3.5])},
        ["the domain of 2 features was another, the first 'B': 0 to 2, now 0 to 2.5"],
    ),
    "a gene that is tested": (
        {"tested": np.array([True, True, True])},
        ["1 features were not tested before, the first 'C'"],
    ),
    "a gene that is not": (
        {"tested": np.array([False, True, False])},
        ["1 features are not tested now, the first 'A'"],
    ),
    "groups": ({"groups": np.array([0, 0, 1])}, ["features are grouped in another way"]),
    "scales": ({"deltas": np.array([0.1, 0.6])}, ["deltas were [0.1, 0.5], are [0.1, 0.6]"]),
    "many scales": ({"deltas": MANY}, ["deltas were [0.1, 0.5], are 50 from 0.0001 to 1"]),
    "a model": (
        {"outputs": np.array([[0.2, 0.8], [5.0, 5.0], [0.9, 0.1]])},
        ["the model gives other outputs at 2 of 6 rows, such as 1, now 0.9"],
    ),
    "rounding": ({"outputs": BASE.outputs * (1 + 1e-6)}, []),
    "rows on which the model raised": ({"outputs": np.full((3, 2), np.nan)}, []),
}


@pytest.mark.parametrize("what", OTHERS)
def test_differences(what: str) -> None:
    changes, expected = OTHERS[what]
    assert differences(BASE, replace(BASE, **changes), NAMES) == expected


def test_differences_between_groupings() -> None:
    sets = replace(BASE, names=("x", "y"), groups=np.array([0, 0, 1]))
    other = replace(sets, groups=np.array([0, 1, 1]), upper=np.array([1.0, 2.0, 4.0]))
    assert differences(sets, other, NAMES) == [
        "the domain of 1 features was another, the first number 2: 0 to 3, now 0 to 4",
        "1 features are in other groups, the first number 1",
    ]


def test_facts_come_back_from_their_parts() -> None:
    back = Facts.of(BASE.manifest(), BASE.arrays())
    assert differences(BASE, back, NAMES) == []
    assert back.names == BASE.names
    np.testing.assert_array_equal(back.tested, BASE.tested)


def test_long_values_are_cut() -> None:
    long = replace(BASE, params={"tau": "x" * 100, "seed": 0})
    (said,) = differences(BASE, long, NAMES)
    assert said.endswith("xxx...")
    assert len(said) < 90


@pytest.mark.parametrize(
    ("before", "now", "i"),
    [("abc", "abc", None), ("abc", "abd", 2), ("abc", "ab", 2), ("", "a", 0)],
)
def test_where_names_differ_first(before: str, now: str, i: int | None) -> None:
    assert first_difference(list(before), list(now)) == i
