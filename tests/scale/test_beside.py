"""Rows with columns beside them."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import pytest
from scipy import sparse

from sensx_sc.core.arrays import UnreadRows, as_rows, column_range, dense, pick_rows, stored_sample
from sensx_sc.scale.beside import Beside
from sensx_sc.scale.blocks import Blocks

X = np.random.default_rng(0).poisson(1.0, size=(9, 4)).astype(np.float32)
COLUMNS = np.arange(18.0).reshape(9, 2)
WHOLE = np.concatenate([X, COLUMNS], axis=1)


@pytest.fixture(params=["array", "sparse", "unread"])
def beside(request: pytest.FixtureRequest) -> Beside:
    rows: Any = {
        "array": X,
        "sparse": sparse.csr_matrix(X),
        "unread": Blocks(da.from_array(X, chunks=(4, 4))),
    }[request.param]
    return Beside(rows, COLUMNS)


def test_blocks_are_put_together(beside: Beside) -> None:
    assert isinstance(beside, UnreadRows)
    assert as_rows(beside) is beside
    assert beside.shape == (9, 6)
    assert beside.dtype == np.float64
    for part in (slice(2, 7), np.array([5, 1, 1]), slice(0, 0)):
        np.testing.assert_array_equal(dense(beside[part]), WHOLE[part])
    assert sparse.issparse(beside[:2]) == sparse.issparse(beside.rows)


def test_some_of_them_stay_apart(beside: Beside) -> None:
    some = pick_rows(beside, np.array([8, 0]))
    assert isinstance(some, Beside)
    np.testing.assert_array_equal(dense(some[:]), WHOLE[[8, 0]])


def test_what_the_method_asks_of_rows(beside: Beside) -> None:
    low, high = column_range(beside)
    np.testing.assert_array_equal(low, WHOLE.min(axis=0))
    np.testing.assert_array_equal(high, WHOLE.max(axis=0))
    assert stored_sample(beside).max() == 17
