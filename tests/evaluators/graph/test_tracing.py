"""What tracing sees, and what it leaves behind."""

from __future__ import annotations

import copy
import inspect
import runpy
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from sensx_sc.evaluators.graph.columns import NoStemError

if TYPE_CHECKING:
    from sensx_sc.evaluators.stem.stem import Stem

_ZOO = runpy.run_path(str(Path(__file__).parents[1] / "zoo.py"))
N, built, found = (_ZOO[name] for name in ("N", "built", "found"))
first, WITH_STEM = _ZOO["first"], _ZOO["WITH_STEM"]


def test_tracing_leaves_the_module_and_its_code_alone() -> None:
    skip = runpy.run_path(str(Path(__file__).parents[1] / "near_misses.py"))["WITHOUT_STEM"][
        "hidden skip"
    ]
    for made in ("lazy", "covariates beside", "zeros and ones beside", "hooks", skip[0]):
        module = built(made)
        before = {key: getattr(torch, key) for key in ("zeros", "ones", "cat", "is_tensor")}
        setting = nn.Module.__setattr__
        spaces = {id(space): space for part in module.modules() if (space := _globals(part))}
        names = {key: set(space) for key, space in spaces.items()}
        attributes = [dict(vars(part)) for part in module.modules()]
        weights = copy.deepcopy(module.state_dict())
        if made in WITH_STEM:
            found(module)
        else:
            with pytest.raises(NoStemError):
                found(module)
        assert {key: set(space) for key, space in spaces.items()} == names
        assert all(getattr(torch, key) is value for key, value in before.items())
        assert nn.Module.__setattr__ is setting
        for part, attribute in zip(module.modules(), attributes, strict=True):
            assert vars(part) == attribute
        for key, value in module.state_dict().items():
            torch.testing.assert_close(value, weights[key], rtol=0, atol=0)


def _globals(part: nn.Module) -> dict[str, object]:
    return inspect.unwrap(type(part).forward).__globals__  # type: ignore[no-any-return]


def test_another_thread_calls_modules_in_the_middle_of_tracing() -> None:
    other, rows = built("covariates beside"), torch.rand(5, N, dtype=torch.float64)
    expected, given = other(rows), []

    def forward(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        with ThreadPoolExecutor(1) as pool:
            given.append(pool.submit(other, rows).result())
        return m.first(x)

    module = _ZOO["ends"](forward).double()
    assert found(module).width == 8
    torch.testing.assert_close(given[0], expected, rtol=0, atol=0)


def test_other_threads_go_on_while_a_module_is_traced() -> None:
    module = built("shapes checked")
    rows = torch.rand(5, N, dtype=torch.float64)
    expected, stop = module(rows), threading.Event()

    def call() -> int:
        calls = 0
        while not stop.is_set() or not calls:
            torch.testing.assert_close(module(rows), expected, rtol=0, atol=0)
            calls += 1
        return calls

    def trace() -> Stem:
        for _ in range(3):
            stem = found(built("encoder with batch and library"))
        return stem

    with ThreadPoolExecutor(4) as pool:
        calling = [pool.submit(call) for _ in range(2)]
        tracing = [pool.submit(trace) for _ in range(2)]
        try:
            widths = [task.result().width for task in tracing]
        finally:
            stop.set()
        assert all(task.result() > 0 for task in calling)
    assert widths == [9, 9]
    assert nn.Module.__call__.__qualname__.startswith("Module.")


@pytest.mark.parametrize("before", [False, True])
def test_hooks_of_all_modules_are_not_second_guessed(before: bool) -> None:
    hooks = torch.nn.modules.module
    if before:
        handle = hooks.register_module_forward_pre_hook(lambda _, given: given)
    else:
        handle = hooks.register_module_forward_hook(lambda _, __, out: out)
    try:
        with pytest.raises(NoStemError, match="all modules have hooks"):
            found(built("paper"))
    finally:
        handle.remove()
    assert found(built("paper")).width == 8


def test_an_old_weight_norm_is_read_as_what_it_computes() -> None:
    with pytest.warns(FutureWarning, match="deprecated"):
        layer = nn.utils.weight_norm(first().double())
    layer.weight_g.data *= 3  # the weight is what it was until the layer is called
    module = nn.Sequential(layer, nn.Tanh()).eval()
    stem, rows = found(module), torch.rand(4, N, dtype=torch.float64)
    torch.testing.assert_close(stem.outputs(stem.states(rows)), module(rows))
