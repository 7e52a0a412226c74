"""Intervals that hold for any number of walks: for statistics with a known range, as ``change``.

``change`` is a mean of numbers between 0 and the range of q (1 for a probability), so bounds for
means of bounded variables apply to it. ``value`` has no such range: see
:func:`sensx_sc.core.interval`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

if TYPE_CHECKING:
    from sensx_sc.core.arrays import Floats

BoundName = Literal["hoeffding", "bernstein"]
_MOST_BET = 0.5  # of what may be lost on one unit; any constant below 1 is valid


def bounded_interval(
    mean: Floats,
    se: Floats,
    n_blocks: int,
    *,
    method: BoundName = "bernstein",
    span: float = 1.0,
    coverage: float = 0.95,
) -> tuple[Floats, Floats]:
    """An interval of a mean of bounded numbers that is valid for every number of blocks.

    ``"hoeffding"``: half width ``span sqrt(log(2 / a) / 2n)``, a = 1 - coverage.
    ``"bernstein"``: ``sqrt(2 V log(4 / a) / n) + 7 span log(4 / a) / (3 (n - 1))`` with the
    variance V of the block means (Maurer and Pontil 2009, theorem 4, both sides): narrower where
    the spread is small beside the span and blocks are many.

    Parameters
    ----------
    mean, se
        The statistic and its standard error from block means, arrays of one shape.
    n_blocks
        Independent blocks of walks (walks, for the uniform design), at least two.
    method
        Which bound.
    span
        Range of q: no block mean is below 0 or above it.
    coverage
        Between 0 and 1.

    Returns
    -------
    Lower and upper ends, cut to [0, span].

    Examples
    --------
    >>> import numpy as np
    >>> from sensx_sc.core import bounded_interval
    >>> low, high = bounded_interval(np.array([0.2]), np.array([0.001]), 1000, method="hoeffding")
    >>> round(float(low[0]), 3), round(float(high[0]), 3)
    (0.157, 0.243)

    References
    ----------
    Hoeffding, J. Am. Stat. Assoc. 58 (1963) 13-30; Maurer and Pontil, Empirical Bernstein bounds
    and sample-variance penalization, COLT 2009.
    """
    alpha = _alpha(coverage)
    if n_blocks < 2:
        msg = f"an interval needs at least two blocks of walks; there are {n_blocks}."
        raise ValueError(msg)
    if method not in get_args(BoundName):
        msg = f"`method` must be one of {get_args(BoundName)}; got {method!r}."
        raise ValueError(msg)
    _check_span(mean, span)
    if method == "hoeffding":
        half = np.full(np.shape(mean), span * np.sqrt(np.log(2 / alpha) / (2 * n_blocks)))
    else:
        log = np.log(4 / alpha)
        half = se * np.sqrt(2 * log) + 7 * span * log / (3 * (n_blocks - 1))
    half = np.where(np.isnan(se), np.nan, half) if method == "bernstein" else half
    return np.clip(mean - half, 0, span), np.clip(mean + half, 0, span)


def confidence_sequence(
    units: Floats, *, span: float = 1.0, coverage: float = 0.95
) -> tuple[Floats, Floats]:
    """Intervals of a mean of bounded numbers, one after each unit, all valid at once.

    With probability ``coverage`` the mean lies in every interval of the sequence, so one may look
    after each block of walks and stop for whatever reason: the predictable plug-in empirical
    Bernstein sequence (Waudby-Smith and Ramdas 2024, theorem 2), intersected over time.

    Parameters
    ----------
    units
        Independent numbers of one mean between 0 and ``span``, in the order in which they came,
        (n,) or (n, F): means over blocks of walks of ``|q(t_k) - q(t_k-1)|``.
    span
        Their range.
    coverage
        Between 0 and 1.

    Returns
    -------
    Lower and upper ends after each unit, in the shape of ``units``.

    Examples
    --------
    >>> import numpy as np
    >>> from sensx_sc.core import confidence_sequence
    >>> low, high = confidence_sequence(np.random.default_rng(0).uniform(0.2, 0.3, 500))
    >>> bool(low[-1] < 0.25 < high[-1]), round(float(high[-1] - low[-1]), 2)
    (True, 0.03)

    References
    ----------
    Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, J. R. Stat.
    Soc. B 86 (2024) 1-27.
    """
    alpha = _alpha(coverage)
    _check_span(units, span)
    x = np.asarray(units, dtype=np.float64) / span
    t = np.arange(1, len(x) + 1).reshape(-1, *[1] * (x.ndim - 1))
    mean = (0.5 + np.cumsum(x, axis=0)) / (t + 1)
    spread = (0.25 + np.cumsum((x - mean) ** 2, axis=0)) / (t + 1)
    before = np.concatenate([np.full_like(x[:1], 0.5), mean[:-1]])
    spread_before = np.concatenate([np.full_like(x[:1], 0.25), spread[:-1]])
    log = np.log(2 / alpha)
    bet = np.minimum(np.sqrt(2 * log / (spread_before * t * np.log1p(t))), _MOST_BET)
    lost = (x - before) ** 2 * (-np.log1p(-bet) - bet)
    total = np.cumsum(bet, axis=0)
    centre = np.cumsum(bet * x, axis=0) / total
    half = (log + np.cumsum(lost, axis=0)) / total
    low = np.maximum.accumulate(np.clip(centre - half, 0, 1), axis=0)
    high = np.minimum.accumulate(np.clip(centre + half, 0, 1), axis=0)
    return low * span, high * span


def _alpha(coverage: float) -> float:
    if not 0 < coverage < 1:
        msg = f"`coverage` must lie between 0 and 1; got {coverage}."
        raise ValueError(msg)
    return 1 - coverage


def _check_span(values: Floats, span: float) -> None:
    if not (np.isfinite(span) and span > 0):
        msg = f"`span` must be positive, the range of q; got {span}."
        raise ValueError(msg)
    known = np.asarray(values)[~np.isnan(values)]
    slack = 1e-9 * span
    if known.size and (known.min() < -slack or known.max() > span + slack):
        msg = (
            f"the numbers must lie between 0 and `span` = {span:g}; got {known.min():g} to "
            f"{known.max():g}. For a response that is no probability give its range."
        )
        raise ValueError(msg)
