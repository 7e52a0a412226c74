"""The small run of runs.py, and its results in memory."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

import sensx_sc as sx

if TYPE_CHECKING:
    from anndata import AnnData


@pytest.fixture(scope="session")
def runs() -> SimpleNamespace:
    """What runs.py beside this file defines."""
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).parent / "runs.py")))


@pytest.fixture(scope="session")
def in_memory(runs: SimpleNamespace) -> dict[str, AnnData]:
    """The results without a store, of all genes and of the first five of each cell."""
    with sx.settings.override(progress=False):
        return {
            keep: sx.tl.sensx(
                runs.toy(), runs.model, mask_obs="some", copy=True, keep=keep, **runs.HOW
            )
            for keep in ("all", "top:5")
        }


@pytest.fixture
def adata(runs: SimpleNamespace) -> AnnData:
    return runs.toy()


@pytest.fixture
def expected(in_memory: dict[str, AnnData]) -> AnnData:
    return in_memory["all"]
