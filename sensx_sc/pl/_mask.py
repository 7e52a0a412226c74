"""``sx.pl.mask``: an image of which only the top features are shown (figure 3 of the paper)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sensx_sc.pl._maps import as_picture, bare, pick_map
from sensx_sc.pl._panels import panels

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes


def mask(
    image: xr.DataArray,
    result: xr.Dataset | xr.DataArray,
    *,
    top_k: int = 500,
    name: str = "rank",
    obs: str | None = None,
    tile: str | None = None,
    dim: float = 0.85,
    ax: Axes | None = None,
) -> Axes:
    """Draw an image in which all but the ``top_k`` first features are dimmed.

    Parameters
    ----------
    image
        What was explained: an image, images or tiles.
    result
        What :func:`sensx_sc.im.sensx` returned, or one of its variables, or a map of your own,
        whose whole numbers are ranks, and of which else the largest values are taken.
    top_k
        How many features; with values (channels apart), a pixel is shown if any of its is.
    name
        ``"rank"``, or a statistic whose largest values are taken.
    obs, tile
        Which input and which tile; by default the only one, and the spot's own.
    dim
        How far the rest is faded to white, 0 to 1.
    ax
        Axes to draw on.

    Returns
    -------
    The Axes.

    Raises
    ------
    KeyError, ValueError, TypeError
        No such statistic, input or tile; an image of another size; numbers out of their range.

    Examples
    --------
    >>> import numpy as np, sensx_sc as sx
    >>> image = sx.im.from_array(np.full((4, 4, 3), 100, dtype=np.uint8))
    >>> found = sx.im.sensx(
    ...     image, lambda z: z[:, :, 1, 2].mean(axis=1), n_walks=20, n_samples=40, progress=False
    ... )
    >>> sx.pl.mask(image, found, top_k=1).get_title()
    'top 1'
    """
    values = pick_map(result, name, obs=obs, tile=tile)
    found = top_features(
        np.asarray(values.data, dtype=np.float64), top_k, ranked=_ranked(result, name)
    )
    top = np.asarray(found.any(axis=0)) if found.ndim == 3 else found
    if not 0 <= dim <= 1:
        msg = f"`dim` must lie between 0 and 1; got {dim!r}."
        raise ValueError(msg)
    picture = as_picture(_same(image, obs, tile))
    if picture.shape[:2] != top.shape:
        msg = f"`image` has {picture.shape[:2]} pixels and the map {top.shape}."
        raise ValueError(msg)
    (axes,), _ = panels(1, ax, width=3.4, height=3.4)
    faded = picture * (1 - dim) + dim
    axes.imshow(np.where(top[..., None], picture, faded), interpolation="nearest")
    axes.set_title(f"top {top_k:,}", fontsize=10)
    bare(axes)
    return axes


def _ranked(result: xr.Dataset | xr.DataArray, name: str) -> bool:
    """Whether the map holds ranks: those of a result do if they are called so."""
    import xarray as xr

    if isinstance(result, xr.Dataset):
        return name.startswith("rank")
    whole = np.issubdtype(result.dtype, np.integer)
    return bool(whole) or str(result.name).startswith("rank")


def top_features(values: np.ndarray, top_k: int, *, ranked: bool) -> np.ndarray:
    """Which values are among the first ``top_k``, by rank or by size."""
    if not isinstance(top_k, int | np.integer) or isinstance(top_k, bool) or top_k < 1:
        msg = f"`top_k` must be a whole number of at least 1; got {top_k!r}."
        raise ValueError(msg)
    if ranked:
        return (values > 0) & (values <= top_k)
    size = np.where(np.isnan(values), -np.inf, np.abs(values)).ravel()
    first = np.argsort(-size, kind="stable")[:top_k]
    top = np.zeros(size.size, dtype=bool)
    top[first] = np.isfinite(size[first])
    return top.reshape(values.shape)


def _same(image: xr.DataArray, obs: str | None, tile: str | None) -> xr.DataArray:
    """The input and the tile that the map is of."""
    for dim, wanted in (("obs", obs), ("tile", tile)):
        if dim in image.dims:
            there = [str(each) for each in image.coords[dim].values]
            chosen = wanted or ("C" if dim == "tile" and "C" in there else there[0])
            if chosen not in there:
                msg = f"`image` has no {dim} {chosen!r}."
                raise KeyError(msg)
            image = image.isel({dim: there.index(chosen)})
    return image
