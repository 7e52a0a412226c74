"""What is proved of a module's graph, without a look at its outputs."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import torch
from torch import nn

from sensx_sc.evaluators.full_precision import full_precision
from sensx_sc.evaluators.graph.columns import NoStemError

_ZOO = runpy.run_path(str(Path(__file__).parents[1] / "zoo.py"))
N, WITH_STEM, built, found = (_ZOO[name] for name in ("N", "WITH_STEM", "built", "found"))


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


def test_a_stem_may_be_as_wide_as_is_asked() -> None:
    assert found(built("paper"), widest=8).width == 8
    with pytest.raises(NoStemError, match="8 outputs for 60 features"):
        found(built("paper"), widest=7)


@pytest.mark.parametrize("layer", [nn.Dropout(0.1), nn.AlphaDropout(0.1), nn.BatchNorm1d(N)])
def test_what_is_in_training_is_no_part_of_a_stem(layer: nn.Module) -> None:
    module = nn.Sequential(layer, nn.Linear(N, 3)).double()
    with pytest.raises(NoStemError, match=type(layer).__name__):
        found(module.train())
    assert found(module.eval()).width == 3


@pytest.mark.parametrize("name", ["paper", "log1p first", "relu in place", "sums and means"])
def test_an_exported_program_has_the_stem_of_its_module(name: str) -> None:
    module = built(name)
    shapes = [{0: torch.export.Dim("rows", min=2)}]
    example = torch.rand(4, N, dtype=torch.float64)
    if name in ("sums and means", "log1p first"):  # the methods of their lambda have one input
        shapes = {"rows": shapes[0]}
    try:
        exported = torch.export.export(module, (example,), dynamic_shapes=shapes).module()
    except Exception as error:
        if tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 8):
            raise
        pytest.skip(f"this torch cannot export it: {type(error).__name__}")
    stem, own = found(exported), found(module)
    assert stem.width == own.width
    assert (stem.bends is None) == (own.bends is None)
    rows = torch.rand(5, N, dtype=torch.float64)
    torch.testing.assert_close(stem.outputs(stem.states(rows)), module(rows).reshape(5, -1))
