"""The same pieces under pytest-benchmark, by name only: ``pytest tests/benchmarks -n 0``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from cases import Case, paper_case

from sensx_sc.core.sampling import make_design
from sensx_sc.core.walks import walk

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="module")
def case() -> Case:
    return paper_case()


@pytest.mark.parametrize("evaluator", ["stem", "dense"])
def test_walks(benchmark: Callable[..., Any], case: Case, evaluator: str) -> None:
    one = case.draw(20 if evaluator == "stem" else 1)
    benchmark.pedantic(getattr(case, evaluator).walks, args=(one,), rounds=3, warmup_rounds=1)


@pytest.mark.parametrize("evaluator", ["stem", "dense"])
def test_sweep(benchmark: Callable[..., Any], case: Case, evaluator: str) -> None:
    scales = 50 if evaluator == "stem" else 5
    benchmark.pedantic(case.sweep, args=(getattr(case, evaluator), scales, 300), rounds=3)


def test_cell(benchmark: Callable[..., Any], case: Case) -> None:
    def walks() -> None:
        walk([case.walker()], case.stem, case.domain, make_design("balanced", 200), seed=0)

    benchmark.pedantic(walks, rounds=3, warmup_rounds=1)
