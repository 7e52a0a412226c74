"""What is proved of a module's graph, without a look at its outputs."""

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

from sensx_sc.evaluators.columns import NoStemError
from sensx_sc.evaluators.full_precision import full_precision
from sensx_sc.evaluators.trace import find_stem

if TYPE_CHECKING:
    from sensx_sc.evaluators.stem import Stem

_ZOO = runpy.run_path(str(Path(__file__).parent / "zoo.py"))
N, WITH_STEM, WITHOUT_STEM = (_ZOO[name] for name in ("N", "WITH_STEM", "WITHOUT_STEM"))
net, first, tail = (_ZOO[name] for name in ("net", "first", "tail"))


def built(name: str) -> nn.Module:
    torch.manual_seed(3)
    made = WITH_STEM[name] if name in WITH_STEM else WITHOUT_STEM[name][0]
    return made().double().eval()


def found(module: nn.Module, widest: int = 500, n: int = N) -> Stem:
    with full_precision():
        return find_stem(module, n, torch.float64, torch.device("cpu"), widest=widest)


@pytest.mark.parametrize("name", WITH_STEM)
def test_a_stem_holds_for_any_number_of_rows(name: str) -> None:
    module = built(name)
    stem = found(module)
    for size in (1, 2, 3, 17):
        rows = 4 * torch.rand(size, N, dtype=torch.float64)
        with full_precision():
            expected = module(rows.clone()).reshape(size, -1)
            torch.testing.assert_close(
                stem.outputs(stem.states(rows)), expected, rtol=1e-9, atol=1e-11
            )


def test_tracing_leaves_the_module_and_its_code_alone() -> None:
    for name in ("lazy", "covariates beside", "zeros and ones beside", "hooks", "hidden skip"):
        module, before = built(name), dict(vars(torch))
        spaces = {id(space): space for part in module.modules() if (space := _globals(part))}
        names = {key: set(space) for key, space in spaces.items()}
        attributes = [dict(vars(part)) for part in module.modules()]
        weights = copy.deepcopy(module.state_dict())
        if name in WITH_STEM:
            found(module)
        else:
            with pytest.raises(NoStemError):
                found(module)
        assert {key: set(space) for key, space in spaces.items()} == names
        assert all(vars(torch)[key] is value for key, value in before.items())
        for part, attribute in zip(module.modules(), attributes, strict=True):
            assert vars(part) == attribute
        for key, value in module.state_dict().items():
            torch.testing.assert_close(value, weights[key], rtol=0, atol=0)


def _globals(part: nn.Module) -> dict[str, object]:
    return inspect.unwrap(type(part).forward).__globals__  # type: ignore[no-any-return]


def test_weights_are_not_copied_for_the_head() -> None:
    module = built("paper")
    own = {id(parameter) for parameter in module.parameters()}
    assert {id(parameter) for parameter in found(module).head.parameters()} < own


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


def test_a_head_that_fails_is_no_stem_and_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    module = net(lambda m, x: x, tail=nn.Sequential(nn.Unflatten(1, (3, 3)), nn.Flatten()))
    with pytest.raises(NoStemError, match=r"cannot be traced \(RuntimeError\)"):
        found(module.double())
    assert capfd.readouterr() == ("", "")


def test_what_is_too_large_to_write_out_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensx_sc.evaluators.columns._MOST_NUMBERS", 1000)
    for name in ("pooled gene embeddings", "image patches"):
        torch.manual_seed(0)
        module = built(name)
        if name == "image patches":
            module[1] = nn.Conv2d(2, 5, (3, 2), stride=(3, 2)).double()
            module = module[:2]
        with pytest.raises(NoStemError, match="numbers to write out"):
            found(module)


def test_a_stem_may_be_as_wide_as_is_asked() -> None:
    assert found(built("wide"), widest=50).width == 50
    with pytest.raises(NoStemError, match="50 outputs for 60 features"):
        found(built("wide"), widest=49)


def test_features_that_a_curved_branch_does_not_read_stay_out_of_it() -> None:
    """Their place in the curve is another feature's, where they may be infinite."""

    def forward(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return torch.log(1e-9 + x[:, 30:])

    module = net(forward, first=first(30)).double()
    stem, rows = found(module), torch.rand(4, N, dtype=torch.float64)
    rows[:, :30] = -1.0  # log of which is nan
    torch.testing.assert_close(stem.outputs(stem.states(rows)), module(rows))
    assert not (stem.branches[0].weight[:30] != 0).any()


@pytest.mark.parametrize("name", ["log1p and raw of the same", "three functions of a gene"])
def test_affine_functions_of_a_feature_share_a_branch(name: str) -> None:
    kinds = [branch.phi is None for branch in found(built(name)).branches]
    assert kinds.count(True) == 1
    assert len(kinds) == (2 if name == "log1p and raw of the same" else 3)
