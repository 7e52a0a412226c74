"""``sx.pl.overlay``: a map on its slide."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sensx_sc.pl._maps import SIGNED, as_picture, bare, colour_bar, colours, label_of
from sensx_sc.pl._panels import panels

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr
    from matplotlib.axes import Axes


def overlay(
    image: xr.DataArray,
    attribution: xr.DataArray,
    *,
    crop: Sequence[float] | None = None,
    signed: bool | None = None,
    alpha: float = 0.9,
    alpha_by_value: bool = True,
    quantile: float = 0.99,
    cmap: str | None = None,
    scale_bar: float | None = None,
    mpp: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw a map over the slide; both are placed by their coordinates, whatever their resolution.

    Parameters
    ----------
    image
        The slide, (c, y, x).
    attribution
        The map, (y, x), as :func:`sensx_sc.im.stitch` returns it; NaN is transparent.
    crop
        Left, right, top and bottom in full-resolution units: only this part is drawn.
    signed
        Red and blue about 0; None: where the map is of ``mean`` or ``shapley``.
    alpha
        Opacity of the largest values.
    alpha_by_value
        Whether small values are more transparent.
    quantile
        Where the colours end, as a quantile of the sizes.
    cmap
        Name of a colour map.
    scale_bar
        Length of a scale bar, in micrometres if ``mpp`` is known, else in full-resolution pixels.
    mpp
        Micrometres a full-resolution pixel; None: what the image knows.
    ax
        Axes to draw on.

    Returns
    -------
    The Axes, in full-resolution units.

    Raises
    ------
    TypeError, ValueError
        No image or map, an empty part, numbers out of their range.

    Examples
    --------
    >>> import numpy as np, sensx_sc as sx
    >>> image = sx.im.from_array(np.full((40, 60, 3), 200, dtype=np.uint8))
    >>> found = image.isel(c=0, drop=True).astype(float)
    >>> ax = sx.pl.overlay(image, found, scale_bar=20, crop=(10, 50, 0, 30))
    >>> [float(end) for end in ax.get_xlim()]
    [10.0, 50.0]
    """
    from matplotlib.cm import ScalarMappable

    from sensx_sc.im._grid import grid_of
    from sensx_sc.im._image import check_image

    check_image(image)
    if tuple(getattr(attribution, "dims", ())) != ("y", "x"):
        msg = "`attribution` must be a DataArray (y, x): choose a channel first."
        raise TypeError(msg)
    if not 0 < alpha <= 1:
        msg = f"`alpha` must be above 0 and at most 1; got {alpha!r}."
        raise ValueError(msg)
    left, right, top, bottom = _part(crop, image)
    name = str(attribution.name or "value")
    signed = name in SIGNED if signed is None else signed
    shown_image = image.sel(x=slice(left, right), y=slice(top, bottom))
    shown_map = attribution.sel(x=slice(left, right), y=slice(top, bottom))
    if 0 in shown_image.shape or 0 in shown_map.shape:
        told = ", ".join(f"{edge:g}" for edge in (left, right, top, bottom))
        msg = f"`crop` ({told}) holds nothing of the image or of the map."
        raise ValueError(msg)
    values = np.asarray(shown_map.data, dtype=np.float64)
    palette, norm = colours(values, signed=signed, quantile=quantile, cmap=cmap or _colours(signed))
    (axes,), _ = panels(1, ax, width=6.0, height=4.8)
    picture = as_picture(shown_image)
    axes.imshow(picture, extent=grid_of(shown_image).extent, interpolation="nearest")
    strength = np.clip(np.abs(np.nan_to_num(values)) / norm.vmax, 0, 1) if alpha_by_value else 1.0
    coloured = palette(norm(np.nan_to_num(values)))
    coloured[..., 3] = np.where(np.isnan(values), 0.0, alpha * strength)
    axes.imshow(coloured, extent=grid_of(shown_map).extent, interpolation="nearest")
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    colour_bar(axes, ScalarMappable(norm, palette), label_of(name, attribution.attrs))
    if scale_bar is not None:
        _draw_scale(axes, scale_bar, mpp if mpp is not None else image.attrs.get("mpp"))
    bare(axes)
    return axes


def _colours(signed: bool) -> str | None:
    return None if signed else "inferno"


def _part(crop: Sequence[float] | None, image: xr.DataArray) -> tuple[float, float, float, float]:
    from sensx_sc.im._grid import grid_of

    if crop is None:
        left, right, bottom, top = grid_of(image).extent
        return left, right, top, bottom
    told = tuple(float(edge) for edge in crop)
    if len(told) != 4 or not (told[0] < told[1] and told[2] < told[3]):
        msg = f"`crop` must be left < right and top < bottom; got {tuple(crop)}."
        raise ValueError(msg)
    return told[0], told[1], told[2], told[3]


def _draw_scale(ax: Axes, length: float, mpp: float | None) -> None:
    """A bar in the lower left corner, white on a dark edge."""
    from matplotlib.patheffects import withStroke

    if not length > 0:
        msg = f"`scale_bar` must be a positive length; got {length!r}."
        raise ValueError(msg)
    pixels = length / mpp if mpp else length
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    x, y = left + 0.05 * (right - left), bottom + 0.06 * (top - bottom)
    edge = [withStroke(linewidth=4, foreground="black")]
    ax.plot([x, x + pixels], [y, y], color="white", linewidth=2.5, path_effects=edge)
    text = ax.text(
        x + pixels / 2,
        y + 0.02 * (top - bottom),
        f"{length:g} {'µm' if mpp else 'px'}",
        color="white",
        ha="center",
        va="bottom",
        fontsize=8,
    )
    text.set_path_effects([withStroke(linewidth=2, foreground="black")])
