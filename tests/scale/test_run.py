"""A model that fails on some cells does not stop the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import sensx_sc as sx

if TYPE_CHECKING:
    from anndata import AnnData

HOW: dict[str, Any] = {
    "n_walks": 8, "n_samples": 40, "deltas": [0.05, 0.3], "progress": False, "precision": "float64"
}  # fmt: skip
WEIGHTS = np.random.default_rng(1).normal(size=20) / 9


@pytest.fixture
def adata() -> AnnData:
    return sx.datasets.toy()[:12].copy()


def marked(adata: AnnData, bad: list[int]) -> np.ndarray:
    """What tells a bad cell: its first gene's value, which stays within delta of it."""
    x = adata.X.toarray()
    x[:, 0] = 1.0
    x[bad, 0] = 9.0
    adata.X = x
    return x


@pytest.mark.parametrize("chunk_size", [1, 5, "auto"])
@pytest.mark.parametrize("how", ["raises", "nan"])
def test_bad_cells_are_marked_and_the_rest_goes_on(
    how: str, chunk_size: int | str, adata: AnnData
) -> None:
    bad = [5, 6, 10]  # the first four are what the model is tried on
    marked(adata, bad)

    def fine(rows: np.ndarray) -> np.ndarray:
        return np.tanh(rows @ WEIGHTS)

    def model(rows: np.ndarray) -> np.ndarray:
        ill = rows[:, 0] > 8
        if how == "raises" and ill.any():
            msg = "segmentation of the pancreas"
            raise ArithmeticError(msg)
        return np.where(ill, np.nan, fine(rows))

    mask = np.arange(20) > 0
    bounds = {"lower": 0, "upper": 10, "mask_var": mask, "chunk_size": chunk_size}
    expected = sx.tl.sensx(adata, fine, copy=True, **bounds, **HOW)
    sx.tl.sensx(adata, model, **bounds, **HOW)
    good = np.setdiff1d(np.arange(12), bad)
    assert (adata.obs["sensx_status"].iloc[bad] == "failed").all()
    assert (adata.obs["sensx_status"].iloc[good] != "failed").all()
    np.testing.assert_array_equal(adata.layers["sensx"][good], expected.layers["sensx"][good])
    assert np.isnan(adata.layers["sensx"][bad]).all()
    messages = adata.uns["sensx"]["cells"]["message"].to_numpy()
    said = "ArithmeticError: segmentation" if how == "raises" else "q(x) is nan"
    assert all(said in message for message in messages[bad])
    assert not any(messages[good])


def test_errors_are_raised_on_request(adata: AnnData) -> None:
    marked(adata, [7])

    def model(rows: np.ndarray) -> np.ndarray:
        if (rows[:, 0] > 8).any():
            msg = "no such cell"
            raise ArithmeticError(msg)
        return rows @ WEIGHTS

    with pytest.raises(ArithmeticError, match="no such cell"):
        sx.tl.sensx(
            adata, model, lower=0, upper=10, mask_var=np.arange(20) > 0, on_error="raise", **HOW
        )
    assert "sensx" not in adata.uns


def test_a_wrong_choice_is_refused(adata: AnnData) -> None:
    with pytest.raises(ValueError, match="`on_error` must be one of"):
        sx.tl.sensx(adata, lambda rows: rows @ WEIGHTS, on_error="ignore", **HOW)
