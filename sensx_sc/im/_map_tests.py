"""Do the pixels that matter lie near lines, or where the stain is weak? Tests with two nulls.

The paper holds the mean over the top pixels against draws of as many pixels, all equally likely.
The pixels of a map are not independent: neighbours have like values, so that null rejects too
often. Beside it stands one that keeps the map as it is and shifts it on a torus.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.im._frame import check_map
from sensx_sc.settings import settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    import xarray as xr
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def grid_line_test(
    values: xr.DataArray,
    lines: Sequence[float],
    *,
    top_k: int = 500,
    n_draws: int = 10_000,
    seed: int | None = None,
) -> pd.DataFrame:
    """Test whether the top pixels lie nearer to lines than chance would put them (figure D14A).

    Parameters
    ----------
    values
        Maps, (y, x) or (obs, y, x); NaN = not tested. A tile dimension of length 1 is left out.
    lines
        Where the lines are, in pixels from the edge, the same for rows and columns: 33 lies
        between the pixels 32 and 33. See :func:`sensx_sc.models.deepspot.grid_lines`.
    top_k
        How many pixels count as the top.
    n_draws
        Draws of the null in which all pixels are equally likely.
    seed
        Of the draws, which all maps share; None: ``settings.seed``.

    Returns
    -------
    DataFrame with a row for each map: ``obs``; ``observed``, the mean distance of the top pixels
    (their centres) to the nearest line, in pixels; by both nulls its ``expected`` value, ``z`` and
    one-tailed ``p`` = P(null <= observed), as ``expected_uniform``, ``z_uniform``, ``p_uniform``
    and ``expected_torus``, ``z_torus``, ``p_torus``. The latter is over all shifts of the map on a
    torus, itself among them; a map with a regular grid is like itself at some of them, so p cannot
    become very small. NaN for maps without enough values (of both), or with missing ones (of the
    torus).

    Raises
    ------
    TypeError, ValueError
        No maps, no lines inside them, or more top pixels than there are.

    Examples
    --------
    >>> import numpy as np, xarray as xr, sensx_sc as sx
    >>> values = np.zeros((30, 30))
    >>> values[9:11] = values[:, 19:21] = 1.0
    >>> found = sx.im.grid_line_test(
    ...     xr.DataArray(values, dims=("y", "x")), [10, 20], top_k=100, n_draws=999
    ... )
    >>> float(found["observed"].iloc[0]), float(found["p_uniform"].iloc[0])
    (0.5, 0.001)

    References
    ----------
    Aggarwal, Cogan, Periwal (2026), SensX, TMLR, appendix F.4.
    """
    maps = check_map(values)
    height, width = maps.shape[-2:]
    at = np.asarray(lines, dtype=np.float64).ravel()
    most = max(height, width)
    if not at.size or not ((at >= 0) & (at <= most)).all():
        msg = f"`lines` must lie between 0 and {most} pixels; got {at.tolist()}."
        raise ValueError(msg)
    away = [np.abs(np.arange(n)[:, None] + 0.5 - at).min(axis=1) for n in (height, width)]
    distance = np.minimum(away[0][:, None], away[1][None, :])
    each = np.broadcast_to(distance, maps.shape)
    return _tests(maps, each, top_k=top_k, n_draws=n_draws, seed=seed)


def saturation_test(
    values: xr.DataArray,
    tiles: xr.DataArray,
    *,
    top_k: int = 500,
    n_draws: int = 10_000,
    seed: int | None = None,
) -> pd.DataFrame:
    """Test whether the top pixels are less saturated than chance would have it (figure D14B).

    Parameters
    ----------
    values
        Maps, (y, x) or (obs, y, x); NaN = not tested. A tile dimension of length 1 is left out.
    tiles
        What was explained, (c, y, x) or (obs, c, y, x), with the channels r, g and b; of tiles
        the one of ``values`` is taken.
    top_k, n_draws, seed
        As in :func:`grid_line_test`.

    Returns
    -------
    DataFrame as :func:`grid_line_test` returns it; ``observed`` is the mean HSV saturation of the
    top pixels, between 0 and 1.

    Raises
    ------
    TypeError, ValueError, KeyError
        No maps, tiles of other sizes or without colours, or more top pixels than there are.

    Examples
    --------
    >>> import numpy as np, sensx_sc as sx
    >>> colours = np.full((20, 20, 3), 200, dtype=np.uint8)
    >>> colours[:, 10:, 1] = 80
    >>> image = sx.im.from_array(colours)
    >>> values = image.isel(c=1, drop=True).astype(float)
    >>> found = sx.im.saturation_test(values, image, top_k=100, n_draws=999)
    >>> float(found["observed"].iloc[0]), float(found["p_uniform"].iloc[0])
    (0.0, 0.001)

    References
    ----------
    Aggarwal, Cogan, Periwal (2026), SensX, TMLR, appendix F.4.
    """
    maps = check_map(values)
    if "tile" in tiles.dims:
        tiles = tiles.sel(tile=values.coords["tile"].values.ravel()[0])
    missing = [name for name in ("r", "g", "b") if name not in tiles.coords["c"].values]
    if missing:
        msg = f"`tiles` must have the channels r, g and b; {missing[0]!r} is missing."
        raise KeyError(msg)
    colours = tiles.sel(c=["r", "g", "b"])
    if "obs" in colours.dims and "obs" in values.dims:
        colours = colours.sel(obs=values.coords["obs"].values)
    saturation = hsv_saturation(np.moveaxis(np.asarray(colours.data, dtype=np.float64), -3, 0))
    try:
        each = np.broadcast_to(saturation, maps.shape)
    except ValueError as error:
        msg = f"`tiles` {tuple(colours.sizes.values())} do not go with maps of {maps.shape}."
        raise ValueError(msg) from error
    return _tests(maps, each, top_k=top_k, n_draws=n_draws, seed=seed)


def hsv_saturation(rgb: Floats) -> Floats:
    """Saturation of colours (3, ...): (max - min) / max, 0 for black."""
    high, low = rgb.max(axis=0), rgb.min(axis=0)
    found: Floats = np.divide(high - low, high, where=high > 0, out=np.zeros_like(high))
    return found


def _tests(
    maps: xr.DataArray, quantity: Floats, *, top_k: int, n_draws: int, seed: int | None
) -> Any:
    """A row for each map: whether the quantity is low at the top pixels."""
    import pandas as pd

    for name, value in (("top_k", top_k), ("n_draws", n_draws)):
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
            msg = f"`{name}` must be a whole number of at least 1; got {value!r}."
            raise ValueError(msg)
    n = maps.shape[-1] * maps.shape[-2]
    if top_k >= n:
        msg = f"`top_k` must be less than the {n} pixels of a map; got {top_k}."
        raise ValueError(msg)
    rng = np.random.default_rng(settings.seed if seed is None else seed)
    draws = _draws(n, top_k, n_draws, rng)
    rows = []
    for name, one, other in zip(maps.coords["obs"].values, maps.values, quantity, strict=True):
        rows.append({"obs": name, **_test(one, other, top_k, draws, n_draws, rng)})
    return pd.DataFrame(rows)


def _draws(n: int, top: int, n_draws: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """Pixels of random draws without replacement, (n_draws, top)."""
    found = np.empty((n_draws, top), dtype=np.int32)
    for i in range(n_draws):
        found[i] = rng.choice(n, size=top, replace=False, shuffle=False)
    return found


def _test(
    values: Floats,
    quantity: Floats,
    top: int,
    draws: NDArray[np.int32],
    n_draws: int,
    rng: np.random.Generator,
) -> dict[str, float]:
    known = np.flatnonzero(np.isfinite(values.ravel()))
    if len(known) <= top:
        return _said(np.nan, np.empty(0), "uniform") | _said(np.nan, np.empty(0), "torus")
    flat = values.ravel()[known]
    first = known[np.argsort(-flat, kind="stable")[:top]]
    observed = float(quantity.ravel()[first].mean())
    whole = len(known) == values.size
    places = draws if whole else known[_draws(len(known), top, n_draws, rng)]
    uniform = quantity.ravel()[places].mean(axis=1)
    shifted = np.empty(0)
    if whole:
        mask = np.zeros(values.size)
        mask[first] = 1.0
        shifted = _over_shifts(mask.reshape(values.shape), quantity) / top
    # Draws are random, and the map itself is one more; all shifts are there, itself among them.
    return (
        {"observed": observed}
        | _said(observed, uniform, "uniform", more=1)
        | _said(observed, shifted, "torus")
    )


def _over_shifts(mask: Floats, quantity: Floats) -> Floats:
    """Sum of a quantity over a mask that is shifted in all ways on a torus, (H * W,)."""
    product = np.conj(np.fft.rfft2(mask)) * np.fft.rfft2(quantity)
    sums: Floats = np.fft.irfft2(product, s=mask.shape).ravel()
    return sums


def _said(observed: float, null: Floats, name: str, *, more: int = 0) -> dict[str, float]:
    if not null.size:
        known = {} if np.isfinite(observed) else {"observed": np.nan}
        return known | {f"{what}_{name}": np.nan for what in ("expected", "z", "p")}
    slack = 1e-9 * max(abs(observed), 1.0)  # what transforms round
    spread = float(null.std())
    z = (observed - float(null.mean())) / spread if spread > 0 else np.nan
    p = (more + np.count_nonzero(null <= observed + slack)) / (more + null.size)
    return {f"expected_{name}": float(null.mean()), f"z_{name}": z, f"p_{name}": float(p)}
