"""Models that take a fixed number of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable


def in_batches(
    call: Callable[[np.ndarray], np.ndarray], rows: np.ndarray, batch: int | None
) -> np.ndarray:
    """What a model gives for rows, ``batch`` at a time, the last one filled up; None: all at once.

    Examples
    --------
    >>> import numpy as np
    >>> from sensx_sc.models.fixed_batch import in_batches
    >>> in_batches(lambda rows: rows.sum(axis=1), np.ones((5, 2)), 3)
    array([2., 2., 2., 2., 2.])
    """
    if batch is None or not len(rows):
        return call(rows)
    missing = -len(rows) % batch
    filled = np.concatenate([rows, np.repeat(rows[-1:], missing, axis=0)])
    parts = [call(filled[start : start + batch]) for start in range(0, len(filled), batch)]
    return np.concatenate(parts)[: len(rows)]
