"""A request that cannot fit says what to change, before any work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import sensx_sc as sx
from sensx_sc.scale import budget

if TYPE_CHECKING:
    from pathlib import Path

HOW = {"target": "0", "n_walks": 8, "n_samples": 20, "deltas": [0.1, 0.5], "progress": False}
WEIGHTS = np.ones((20, 2))


def model(rows: np.ndarray) -> np.ndarray:
    return np.tanh(rows @ WEIGHTS / 20)


def test_arrays_that_do_not_fit_are_refused_unless_they_are_stored(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    adata = sx.datasets.toy()
    monkeypatch.setattr(budget, "_free_memory", lambda: 60 * 20 * 4 * 2)
    with pytest.raises(ValueError, match=r"2 arrays of 60 cells x 20 features.*store='run.zarr'"):
        sx.tl.sensx(adata, model, **HOW)
    assert "sensx" not in adata.uns
    sx.tl.sensx(adata, model, store=tmp_path / "run.zarr", **HOW)
    assert "sensx" in adata.layers


def test_one_that_fits_is_not_refused() -> None:
    budget.check_fits(10, 10, 2)
    free = budget._free_memory()
    assert free is None or free > 2**20


def test_a_system_that_does_not_say_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "_free_memory", lambda: None)
    budget.check_fits(10**9, 10**6, 8)


def test_more_samples_than_fit_are_refused() -> None:
    adata = sx.datasets.toy()
    with pytest.raises(ValueError, match="`n_samples` 1000000000000 would need about 32000.0 GB"):
        sx.tl.sensx(adata, model, **{**HOW, "n_samples": 10**12})
    assert "sensx" not in adata.uns
    image = sx.im.from_array(np.zeros((4, 4, 3), dtype=np.uint8))
    with pytest.raises(ValueError, match="Thousands are enough"):
        sx.im.sensx(image, lambda images: images.mean(axis=(1, 2, 3)), n_samples=10**12)


def test_what_does_not_fit_is_refused_before_the_model_sees_all_cells(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    adata, seen = sx.datasets.toy(), []

    def watched(rows: np.ndarray) -> np.ndarray:
        seen.append(len(rows))
        return model(rows)

    monkeypatch.setattr(budget, "_free_memory", lambda: 60 * 20 * 4 * 2)
    with pytest.raises(ValueError, match="60 cells x 20 features"):
        sx.tl.sensx(adata, watched, **HOW)
    assert max(seen) < 60
