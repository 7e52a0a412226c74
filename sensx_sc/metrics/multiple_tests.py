"""Many tests at once: p-values that control the false-discovery rate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from sensx_sc.core.arrays import Floats

AdjustName = Literal["bh", "by"]


def adjusted(p: ArrayLike, method: AdjustName = "bh") -> Floats:
    """P-values adjusted so that those below alpha have a false-discovery rate of at most alpha.

    ``"bh"`` (Benjamini and Hochberg 1995) for tests that are independent or positively dependent,
    ``"by"`` (Benjamini and Yekutieli 2001) for any; NaN stays and is not counted.

    Parameters
    ----------
    p
        P-values, (n,).
    method
        Which.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> sx.metrics.adjusted([0.01, 0.02, 0.9]).round(3).tolist()
    [0.03, 0.03, 0.9]
    """
    values = np.asarray(p, dtype=np.float64)
    known = ~np.isnan(values)
    if values.ndim != 1 or ((values[known] < 0) | (values[known] > 1)).any():
        msg = f"`p` must be p-values, numbers from 0 to 1 in one dimension; got {p!r}."
        raise ValueError(msg)
    if method not in get_args(AdjustName):
        msg = f"`method` must be one of {get_args(AdjustName)}; got {method!r}."
        raise ValueError(msg)
    n = int(known.sum())
    order = np.argsort(values[known])
    place = np.arange(1, n + 1)
    scaled = values[known][order] * n / place
    if method == "by":
        scaled = scaled * (1 / place).sum()
    found = np.full(values.shape, np.nan)
    among = np.empty(n)
    among[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    found[known] = among
    return found
