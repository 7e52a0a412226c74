"""Arguments of explain, for functions that take the same."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import pytest

import sensx_sc as sx
from sensx_sc.core.arguments import _DEFAULTS, prepared, split_options

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


@pytest.mark.parametrize("given", [{}, {"precision": None, "seed": None}])
def test_settings_where_nothing_is_said(given: dict[str, None]) -> None:
    with sx.settings.override(precision="float32", seed=7):
        options, others = split_options({**given, "tau": 0.2, "design": "uniform"})
    assert (options.precision, options.seed, options.tau) == ("float32", 7, 0.2)
    assert others == {"design": "uniform"}
    assert split_options({"precision": "float64", "seed": 3})[0].seed == 3


def test_only_precision_and_seed_may_be_left_to_the_settings() -> None:
    with pytest.raises(TypeError, match="`tau` must be a positive number, in units of q; got None"):
        split_options({"tau": None})


def test_unknown_arguments() -> None:
    with pytest.raises(TypeError, match="`f` takes the arguments of `explain`; it has no 'walks'"):
        prepared([[0.5]], total, 0, 1, {"walks": 3}, function="f")
