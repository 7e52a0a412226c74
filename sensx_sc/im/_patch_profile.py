"""Where inside the patches of a transformer its attribution lies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


def normalise_patches(values: xr.DataArray, patch: int) -> xr.DataArray:
    """Divide each patch of a map by its median.

    Parameters
    ----------
    values
        Values at pixels, (..., y, x); rows and columns beyond the last whole patch are left out.
    patch
        Pixels along a patch.

    Returns
    -------
    DataArray (..., y, x) of whole patches; NaN in patches whose median is 0 or not known.

    Raises
    ------
    TypeError, ValueError
        No map of pixels, or no whole patch.

    Examples
    --------
    >>> import numpy as np, xarray as xr, sensx_sc as sx
    >>> values = xr.DataArray(np.arange(1.0, 9).reshape(2, 4), dims=("y", "x"))
    >>> sx.im.normalise_patches(values, 2).values[0].round(2).tolist()
    [0.29, 0.57, 0.55, 0.73]
    """
    whole, split = _in_patches(values, patch)
    middle = np.median(split, axis=(-3, -1), keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = np.where(middle > 0, split / middle, np.nan)
    return whole.copy(data=scaled.reshape(whole.shape))


def patch_profile(values: xr.DataArray, patch: int) -> pd.DataFrame:
    """Attribution against the distance from the centre of the patch (figure D8 of the paper).

    Patches are divided by their medians; then the mean at each Chebyshev distance from the centre
    is taken, patch by patch.

    Parameters
    ----------
    values
        Values at pixels, (..., y, x): ``value`` of :func:`sensx_sc.im.sensx`, say.
    patch
        Pixels along a patch.

    Returns
    -------
    DataFrame with a row for each distance (.5, 1.5, ... pixels for patches of even size), and for
    each entry of the dimensions before y and x (a column each): ``distance``, ``mean`` and ``sd``
    over the patches, ``n_patches``.

    Raises
    ------
    TypeError, ValueError
        No map of pixels, or no whole patch.

    Examples
    --------
    >>> import numpy as np, xarray as xr, sensx_sc as sx
    >>> ring = np.ones((8, 8))
    >>> ring[3:5, 3:5] = 3.0
    >>> found = sx.im.patch_profile(xr.DataArray(ring, dims=("y", "x")), 8)
    >>> found["distance"].tolist(), found["mean"].tolist()
    ([0.5, 1.5, 2.5, 3.5], [3.0, 1.0, 1.0, 1.0])

    References
    ----------
    Aggarwal, Cogan, Periwal (2026), SensX, TMLR, figures 4, D8 and D9.
    """
    import pandas as pd

    scaled = normalise_patches(values, patch)
    _, split = _in_patches(scaled, patch)
    lead = split.shape[:-4]
    patches = split.swapaxes(-3, -2).reshape(*lead, -1, patch, patch)
    offset = np.abs(np.arange(patch) - (patch - 1) / 2)
    distance = np.maximum(offset[:, None], offset[None, :])
    names = [str(name) for name in scaled.dims[:-2]]
    tables = []
    for at in np.unique(distance):
        means = patches[..., distance == at].mean(axis=-1)  # (..., patches)
        known = np.isfinite(means)
        count = known.sum(axis=-1)
        total = np.where(known, means, 0.0)
        mean = np.divide(total.sum(axis=-1), count, where=count > 0, out=np.full(lead, np.nan))
        off = np.where(known, means - mean[..., None], 0.0)
        sd = np.sqrt(
            np.divide((off**2).sum(axis=-1), count - 1, where=count > 1, out=np.full(lead, np.nan))
        )
        entries: dict[str, Any] = {}
        for axis, name in enumerate(names):
            labels = scaled.coords[name].values if name in scaled.coords else np.arange(lead[axis])
            shape = [-1 if k == axis else 1 for k in range(len(lead))]
            entries[name] = np.broadcast_to(labels.reshape(shape), lead).ravel()
        entries |= {"distance": at, "mean": np.ravel(mean), "sd": np.ravel(sd)}
        tables.append(pd.DataFrame(entries | {"n_patches": np.ravel(count)}))
    table = pd.concat(tables, ignore_index=True)
    return table.sort_values([*names, "distance"], kind="stable").reset_index(drop=True)


def _in_patches(values: Any, patch: int) -> tuple[xr.DataArray, np.ndarray]:
    """The whole patches of a map, and the same as (..., rows, patch, columns, patch)."""
    import xarray as xr

    if not isinstance(values, xr.DataArray) or tuple(values.dims[-2:]) != ("y", "x"):
        got = tuple(values.dims) if isinstance(values, xr.DataArray) else type(values).__name__
        msg = f"`values` must be a DataArray whose last dimensions are y and x; got {got}."
        raise TypeError(msg)
    if not isinstance(patch, int | np.integer) or isinstance(patch, bool) or patch < 1:
        msg = f"`patch` must be a whole number of at least 1; got {patch!r}."
        raise ValueError(msg)
    rows, columns = (values.sizes[name] // patch for name in ("y", "x"))
    if not rows * columns:
        msg = f"`patch` {patch}: there is no whole patch in {values.sizes['y']} x "
        msg += f"{values.sizes['x']} pixels."
        raise ValueError(msg)
    whole = values.isel(y=slice(rows * patch), x=slice(columns * patch)).astype(np.float64)
    split = np.asarray(whole.data).reshape(*whole.shape[:-2], rows, patch, columns, patch)
    return whole, split
