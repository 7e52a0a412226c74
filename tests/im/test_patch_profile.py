"""Patch-median normalisation and the profile inside patches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

import sensx_sc as sx

RNG = np.random.default_rng(0)


def test_every_patch_by_hand() -> None:
    values = xr.DataArray(
        RNG.random((3, 20, 14)), dims=("c", "y", "x"), coords={"c": ["r", "g", "b"]}
    )
    found = sx.im.normalise_patches(values, 4)
    assert found.shape == (3, 20, 12)
    for c in range(3):
        for i in range(5):
            for j in range(3):
                part = values.values[c, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4]
                got = found.values[c, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4]
                np.testing.assert_allclose(got, part / np.median(part))
    table = sx.im.patch_profile(values, 4)
    assert table["c"].unique().tolist() == ["b", "g", "r"]
    assert table["distance"].unique().tolist() == [0.5, 1.5]
    inner = found.values[1].reshape(5, 4, 3, 4)[:, 1:3][..., 1:3].mean(axis=(1, 3)).ravel()
    row = table[(table["c"] == "g") & (table["distance"] == 0.5)].iloc[0]
    assert row["mean"] == pytest.approx(inner.mean())
    assert row["sd"] == pytest.approx(inner.std(ddof=1))
    assert row["n_patches"] == 15


def test_a_planted_profile_is_recovered_whatever_the_scale_of_patches() -> None:
    offset = np.abs(np.arange(16) - 7.5)
    distance = np.maximum(offset[:, None], offset)
    shape = 1 + 2 * np.exp(-distance) + 0.5 * (distance > 7)
    scale = np.kron(10.0 ** RNG.uniform(-3, 3, (14, 14)), np.ones((16, 16)))
    table = sx.im.patch_profile(xr.DataArray(np.tile(shape, (14, 14)) * scale, dims=("y", "x")), 16)
    expected = [shape[distance == at].mean() / np.median(shape) for at in np.unique(distance)]
    np.testing.assert_allclose(table["mean"], expected, rtol=1e-9)
    assert table["sd"].max() < 1e-9
    assert table["mean"].idxmax() == 0
    assert table["mean"].iloc[7] > table["mean"].iloc[6]  # the rebound at the edge


def test_odd_patches_and_patches_without_values() -> None:
    values = np.ones((6, 6))
    values[:3, :3] = 0
    values[3, 3] = np.nan
    table = sx.im.patch_profile(xr.DataArray(values, dims=("y", "x")), 3)
    assert table["distance"].tolist() == [0.0, 1.0]
    assert table["n_patches"].tolist() == [2, 2]
    np.testing.assert_allclose(table["mean"], 1.0)


MAP = xr.DataArray(np.ones((4, 4)), dims=("y", "x"))
WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "array": (lambda: sx.im.patch_profile(MAP.values, 2), TypeError, "must be a DataArray whose last dimensions are y and x; got ndarray"),
    "dims": (lambda: sx.im.patch_profile(MAP.T, 2), TypeError, r"got \('x', 'y'\)"),
    "patch": (lambda: sx.im.normalise_patches(MAP, 0), ValueError, "`patch` must be a whole number of at least 1; got 0"),
    "large": (lambda: sx.im.normalise_patches(MAP, 5), ValueError, "there is no whole patch in 4 x 4 pixels"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "error", "words"), WRONG.values(), ids=WRONG.keys())
def test_wrong_input(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()
