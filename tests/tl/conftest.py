"""A toy data set whose net was explained, once; each test has its own copy."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import sensx_sc as sx

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from anndata import AnnData

    from sensx_sc.models import ExpressionMLP

STATISTICS = ("value", "rank", "change", "mean", "se", "change_se")


@pytest.fixture(scope="session")
def toy_net() -> ExpressionMLP:
    """A net that tells the three types of the toy data apart."""
    sx.settings.progress = False
    return sx.models.fit_mlp(
        sx.datasets.toy(), "cell_type", hidden=(16,), epochs=40, learning_rate=1e-2
    )


@pytest.fixture(params=["h5ad", "zarr"])
def round_trip(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[AnnData, str], None]:
    """Write and read again; the tables and parameters under a key of ``uns`` are the same."""

    def compare(adata: AnnData, key: str) -> None:
        path = tmp_path / f"a.{request.param}"
        # anndata and zarr announce what they will change; nothing of ours
        with warnings.catch_warnings(), ad.settings.override(zarr_write_format=3):
            warnings.simplefilter("ignore")
            getattr(adata, f"write_{request.param}")(path)
        again = getattr(ad, f"read_{request.param}")(path)
        same(adata.uns[key], again.uns[key])

    def same(before: Any, after: Any) -> None:
        assert set(before) == set(after)
        for name, value in before.items():
            if isinstance(value, dict):
                same(value, after[name])
            elif isinstance(value, pd.DataFrame):
                found = after[name].reset_index(drop=True)
                pd.testing.assert_frame_equal(
                    value.reset_index(drop=True), found, check_dtype=False, check_categorical=False
                )
            else:
                np.testing.assert_array_equal(np.asarray(value), np.asarray(after[name]))

    return compare


@pytest.fixture(scope="session")
def _explained_once(toy_net: ExpressionMLP) -> AnnData:
    adata = sx.datasets.toy()
    mask = adata.obs["cell_type"].isin(["A", "B"]).to_numpy()
    sx.tl.sensx(
        adata, toy_net, mask_obs=mask, n_walks=80, n_samples=200, statistics=STATISTICS,
        progress=False,
    )  # fmt: skip
    return adata


@pytest.fixture
def explained_toy(_explained_once: AnnData) -> AnnData:
    """40 of 60 cells explained, with change and mean."""
    return _explained_once.copy()
