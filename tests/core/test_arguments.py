"""Arguments of explain, for functions that take the same."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import pytest

import sensx_sc as sx
from sensx_sc.core.arguments import _DEFAULTS, prepared

if TYPE_CHECKING:
    import numpy as np


def total(rows: np.ndarray) -> np.ndarray:
    return rows.sum(axis=1)


def test_defaults_are_those_of_explain() -> None:
    parameters = inspect.signature(sx.core.explain).parameters
    for name, value in _DEFAULTS.items():
        assert parameters[name].default == value, name


def test_what_says_nothing_of_the_run_comes_back() -> None:
    rows, run, rest = prepared(
        [[0.5, 0.5]], total, 0, 1, {"tau": 0.2, "n_walks": 8, "target": 0, "progress": False},
        function="f",
    )  # fmt: skip
    assert rows.shape == (1, 2)
    assert (run.options.tau, run.design.n_walks, run.options.seed) == (0.2, 8, sx.settings.seed)
    assert rest == {"target": 0, "progress": False}


def test_unknown_arguments() -> None:
    with pytest.raises(TypeError, match="`f` takes the arguments of `explain`; it has no 'walks'"):
        prepared([[0.5]], total, 0, 1, {"walks": 3}, function="f")
