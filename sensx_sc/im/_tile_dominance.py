"""How much more a spot's own tile matters than its neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sensx_sc.get._stored import quoted

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


def tile_dominance(result: xr.Dataset, *, name: str = "value", centre: str = "C") -> pd.DataFrame:
    """Compare the value of each spot's own tile with that of its neighbours (figure D12A).

    Parameters
    ----------
    result
        What :func:`sensx_sc.im.sensx` returned for ``features="tile"``.
    name
        Which statistic.
    centre
        Name of the spot's own tile.

    Returns
    -------
    DataFrame with a row for each spot: ``obs``, ``centre`` and ``best_neighbour`` (values),
    ``which`` (the name of that neighbour), ``ratio`` = best neighbour over centre; NaN for spots
    without values.

    Raises
    ------
    KeyError, ValueError
        No such statistic or tile, or results that are not of whole tiles.

    Examples
    --------
    >>> import numpy as np, xarray as xr, sensx_sc as sx
    >>> values = xr.DataArray(
    ...     [[1.0, 8.0, 2.0]], dims=("obs", "tile"), coords={"obs": ["a"], "tile": ["W", "C", "E"]}
    ... )
    >>> sx.im.tile_dominance(xr.Dataset({"value": values}))[["which", "ratio"]].values.tolist()
    [['E', 0.25]]

    References
    ----------
    Aggarwal, Cogan, Periwal (2026), SensX, TMLR, section 5 and figure D12.
    """
    import pandas as pd

    if name not in result:
        msg = f"`name` {name!r} is not in the results; there are {quoted(result.data_vars)}."
        raise KeyError(msg)
    values = result[name]
    if values.dims != ("obs", "tile"):
        msg = (
            "`result` must be of features='tile', (obs, tile); its values have the dimensions "
            f"{tuple(values.dims)}."
        )
        raise ValueError(msg)
    tiles = [str(tile) for tile in values.coords["tile"].values]
    if centre not in tiles or len(tiles) < 2:
        msg = (
            f"`centre` {centre!r} and at least one neighbour are needed; there are {quoted(tiles)}."
        )
        raise KeyError(msg)
    own = values.sel(tile=centre).values.astype(np.float64)
    around = values.drop_sel(tile=centre)
    near = around.values.astype(np.float64)
    known = np.isfinite(near).any(axis=1)
    place = np.where(known, np.argmax(np.where(np.isnan(near), -np.inf, near), axis=1), 0)
    best = np.where(known, near[np.arange(len(near)), place], np.nan)
    names = np.where(known, around.coords["tile"].values[place], "")
    ratio = np.divide(best, own, where=own > 0, out=np.full(len(own), np.nan))
    return pd.DataFrame(
        {
            "obs": values.coords["obs"].values,
            "centre": own,
            "best_neighbour": best,
            "which": names,
            "ratio": ratio,
        }
    )
