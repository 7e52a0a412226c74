"""Fixtures and switches shared by all tests."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

# One thread a worker, set before numpy and torch read it: two workers fill two cores, and sums in
# a fixed order make the numbers repeatable.
if "PYTEST_XDIST_WORKER" in os.environ:
    for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(_name, "1")
os.environ["MPLBACKEND"] = "Agg"

import hypothesis
import numpy as np
import pytest
import torch

import sensx_sc as sx
from sensx_sc.logger import logger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anndata import AnnData

if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)

hypothesis.settings.register_profile("sensx", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("sensx")


def pytest_report_header() -> str:
    """Say which copy of the package is tested."""
    return f"sensx_sc {sx.__version__} from {Path(sx.__file__).parent}, torch {torch.__version__}"


def available_devices() -> list[str]:
    """Return the devices that this machine offers."""
    devices = ["cpu"]
    if torch.cuda.is_available():
        devices.append("cuda")
    if torch.backends.mps.is_available():
        devices.append("mps")
    return devices


@pytest.fixture(params=available_devices())
def device(request: pytest.FixtureRequest) -> str:
    """One available device after the other."""
    return str(request.param)


@pytest.fixture
def rng() -> np.random.Generator:
    """A fresh generator with the same seed in every test."""
    return np.random.default_rng(20260)


@pytest.fixture
def adata() -> AnnData:
    """A fresh toy data set, which the test may change."""
    return sx.datasets.toy()


@pytest.fixture(autouse=True)
def _clean_state() -> Iterator[None]:
    """Start from default settings, without progress bars; leave no figure open and no one silent.

    Pages that tests run may silence the package.
    """
    sx.settings.reset()
    sx.settings.progress = False
    logger.setLevel(logging.INFO)
    yield
    sx.settings.reset()
    logger.setLevel(logging.INFO)
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
