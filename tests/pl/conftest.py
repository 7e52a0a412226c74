"""Made-up results for the pictures."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from anndata import AnnData


@pytest.fixture(scope="session")
def make_explained() -> Callable[..., AnnData]:
    """The function that makes them up; see fabricated.py beside this file."""
    return runpy.run_path(str(Path(__file__).parent / "fabricated.py"))["explained"]


@pytest.fixture(scope="session")
def explained(make_explained: Callable[..., AnnData]) -> AnnData:
    """300 cells, 60 genes, three types; pictures change nothing in it."""
    return make_explained()
