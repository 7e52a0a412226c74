"""``sx.pl.tile`` and ``sx.pl.channels``: the map of one image or tile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.pl._maps import SIGNED, bare, colour_bar, colours, label_of, pick_map
from sensx_sc.pl._panels import one_or_all, panels

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import xarray as xr
    from matplotlib.axes import Axes


def tile(
    result: xr.Dataset | xr.DataArray,
    *,
    name: str = "change",
    obs: str | None = None,
    tile: str | None = None,
    lines: Sequence[float] = (),
    quantile: float = 0.99,
    cmap: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the map of one image or tile.

    Parameters
    ----------
    result
        What :func:`sensx_sc.im.sensx` returned, or one of its variables. Maps of values (c, y, x)
        are summed over the channels; see :func:`channels`.
    name
        Which statistic. ``mean`` and ``shapley`` are drawn in red (raises q) and blue (lowers q).
    obs, tile
        Which input and which tile; by default the only one, and the spot's own.
    lines
        Lines to draw, in pixels from the edge: those between sub-spots, say.
    quantile
        Where the colours end, as a quantile of the sizes.
    cmap
        Name of a colour map.
    ax
        Axes to draw on.

    Returns
    -------
    The Axes; values that are missing are grey.

    Raises
    ------
    KeyError, ValueError, TypeError
        No such statistic, input or tile; several, and none named; no map.

    Examples
    --------
    >>> import numpy as np, sensx_sc as sx
    >>> image = sx.im.from_array(np.full((4, 4, 3), 100, dtype=np.uint8))
    >>> found = sx.im.sensx(
    ...     image, lambda z: z[:, :, 1, 2].mean(axis=1), n_walks=20, n_samples=40, progress=False
    ... )
    >>> sx.pl.tile(found).get_title()
    ''
    """
    values = pick_map(result, name, obs=obs, tile=tile)
    signed = name.removesuffix("_coarse") in SIGNED
    if "c" in values.dims:
        values = values.sum("c", skipna=False).assign_attrs(values.attrs)
    (axes,), _ = panels(1, ax, width=4.2, height=3.6)
    shown = np.asarray(values.data, dtype=np.float64)
    if name == "rank":
        shown = np.where(shown > 0, shown, np.nan)
    palette, norm = colours(shown, signed=signed, quantile=quantile, cmap=cmap)
    drawn = axes.imshow(
        shown,
        cmap=palette,
        norm=norm,
        interpolation="nearest",
        extent=(0, shown.shape[1], shown.shape[0], 0),
    )
    for line in lines:
        axes.axhline(line, color="white", linewidth=0.6, linestyle=":")
        axes.axvline(line, color="white", linewidth=0.6, linestyle=":")
    colour_bar(axes, drawn, label_of(name, values.attrs))
    axes.set_title("" if obs is None else str(obs), fontsize=10)
    bare(axes)
    return axes


def channels(
    result: xr.Dataset | xr.DataArray,
    *,
    name: str = "value",
    obs: str | None = None,
    tile: str | None = None,
    quantile: float = 0.99,
    ax: Axes | Iterable[Axes] | None = None,
) -> Axes | np.ndarray[Any, Any]:
    """Draw the map of each channel, one panel each, in the same colours (figure D4).

    Parameters
    ----------
    result
        What :func:`sensx_sc.im.sensx` returned for ``features="value"``, or one of its variables.
    name, obs, tile, quantile
        As in :func:`tile`.
    ax
        Axes, one a channel.

    Returns
    -------
    The Axes, or an array of them.

    Raises
    ------
    KeyError, ValueError, TypeError
        As :func:`tile`; a map without channels.

    Examples
    --------
    >>> import numpy as np, sensx_sc as sx
    >>> image = sx.im.from_array(np.full((4, 4, 3), 100, dtype=np.uint8))
    >>> found = sx.im.sensx(
    ...     image, lambda z: z[:, 0, 1, 2], features="value", n_walks=20, n_samples=40
    ... )
    >>> [axes.get_title() for axes in sx.pl.channels(found)]
    ['r', 'g', 'b']
    """
    values = pick_map(result, name, obs=obs, tile=tile)
    if "c" not in values.dims:
        msg = "the map has no channels: explain features='value', or use sx.pl.tile."
        raise ValueError(msg)
    names = [str(c) for c in values.coords["c"].values]
    axes, _ = panels(len(names), ax, width=3.2, height=3.0, ncols=4)
    shown = np.asarray(values.data, dtype=np.float64)
    signed = name in SIGNED
    palette, norm = colours(shown, signed=signed, quantile=quantile)
    for each, title, one in zip(axes, names, shown, strict=True):
        drawn = each.imshow(one, cmap=palette, norm=norm, interpolation="nearest")
        each.set_title(title, fontsize=10)
        bare(each)
    colour_bar(axes[-1], drawn, label_of(name, values.attrs))
    return one_or_all(axes)
