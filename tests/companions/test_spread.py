"""Scales of features."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from sensx_sc.companions import spread
from sensx_sc.companions.spread import column_spread, feature_scale
from sensx_sc.core.arrays import UnreadRows


def test_spread_in_blocks_is_numpys(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    X = np.where(rng.random((101, 7)) < 0.4, 0, rng.normal(3, 2, (101, 7)))
    monkeypatch.setattr(spread, "_BYTES_AT_ONCE", 8 * 7 * 10)
    for rows in (X, sparse.csr_matrix(X), X.astype(np.float32)):
        found = column_spread(rows)
        tolerance = 1e-6 if rows.dtype == np.float32 else 1e-12
        np.testing.assert_allclose(found.all(), X.std(axis=0), rtol=tolerance)
        present = [column[column != 0].std() for column in X.T]
        np.testing.assert_allclose(found.present(), present, rtol=tolerance)


def test_a_mean_far_above_the_spread(rng: np.random.Generator) -> None:
    X = 1e8 + rng.normal(size=(500, 3))
    np.testing.assert_allclose(feature_scale(X), X.std(axis=0), rtol=1e-7)


def test_which_features_are_measured_where_they_are_present() -> None:
    X = np.zeros((10, 6))
    X[:3, 0] = [1, 2, 3]  # rare: of its three values
    X[:6, 1] = [1, 2, 3, 4, 5, 6]  # not rare: of all ten
    X[0, 2] = 4.0  # a single value spreads only beside the zeros
    X[:, 3] = 0.1  # constant
    X[:2, 5] = [0.3, 0.3]
    expected = [np.std([1, 2, 3]), X[:, 1].std(), X[:, 2].std(), 0, 0, X[:, 5].std()]
    np.testing.assert_allclose(feature_scale(X), expected)


def test_rows_that_are_read_late(rng: np.random.Generator) -> None:
    class Late:
        dtype, ndim, shape = np.dtype(float), 2, (50, 3)

        def __init__(self, X: np.ndarray) -> None:
            self.X = X

        def only(self, rows: np.ndarray) -> Late:
            return Late(self.X[rows])

        def __getitem__(self, part: slice) -> np.ndarray:
            return self.X[part]

    X = rng.normal(size=(50, 3))
    late = Late(X)
    assert isinstance(late, UnreadRows)
    np.testing.assert_allclose(feature_scale(late), X.std(axis=0))
    X[3, 1] = np.nan
    with pytest.raises(ValueError, match="row 3, column 1"):
        feature_scale(late)
