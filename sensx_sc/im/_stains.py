"""Stains of tissue: from colours to amounts of haematoxylin and eosin, and back.

A pixel's optical density is -ln(max(I, 1) / 255) in each colour. Stains absorb along fixed axes,
haematoxylin (.65, .70, .29) and eosin (.07, .99, .11), with the normalised cross product of the two
as residual, so that taking an image apart and putting it together again is exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

HAEMATOXYLIN, EOSIN = (0.65, 0.70, 0.29), (0.07, 0.99, 0.11)
"""How strongly each stain absorbs red, green and blue (Ruifrok and Johnston 2001)."""
TISSUE = 0.15
"""Mean optical density above which a pixel is tissue."""


def stain_matrix(haematoxylin: ArrayLike = HAEMATOXYLIN, eosin: ArrayLike = EOSIN) -> Floats:
    """Absorption of both stains and of the residual, as rows, (3, 3).

    Parameters
    ----------
    haematoxylin, eosin
        Axes of the stains, (3,) each; those of a slide may be measured (Macenko et al. 2009).

    Raises
    ------
    ValueError
        Not three numbers each, or two axes that are one.

    Examples
    --------
    >>> from sensx_sc.im.edits import stain_matrix
    >>> stain_matrix().shape
    (3, 3)
    """
    axes = [np.asarray(axis, dtype=np.float64) for axis in (haematoxylin, eosin)]
    for name, axis in zip(("haematoxylin", "eosin"), axes, strict=True):
        if axis.shape != (3,) or not np.isfinite(axis).all():
            msg = f"`{name}` must be the absorption of red, green and blue; got {axis.tolist()!r}."
            raise ValueError(msg)
    residual = np.cross(axes[0], axes[1])
    size = float(np.linalg.norm(residual))
    if size < 1e-6:
        msg = "`haematoxylin` and `eosin` must be two different axes."
        raise ValueError(msg)
    return np.stack([*axes, residual / size])


def optical_density(image: ArrayLike, *, channel_axis: int = -3) -> Floats:
    """-ln(max(I, 1) / 255) of each colour, in the layout of the image.

    Examples
    --------
    >>> import numpy as np
    >>> from sensx_sc.im.edits import optical_density
    >>> optical_density(np.full((3, 1, 1), 255.0)).ravel().tolist()
    [0.0, 0.0, 0.0]
    """
    colours = colours_last(image, channel_axis)
    return back(np.log(255 / np.maximum(colours, 1.0)), channel_axis)


def concentrations(
    image: ArrayLike, *, stains: Floats | None = None, channel_axis: int = -3
) -> Floats:
    """How much haematoxylin, eosin and residual there is in every pixel.

    Returns
    -------
    The layout of the image, with the three stains for the three colours.

    Examples
    --------
    >>> import numpy as np
    >>> from sensx_sc.im.edits import concentrations, stained
    >>> image = 20 + 200 * np.random.default_rng(0).random((3, 4, 4))
    >>> bool(np.abs(stained(concentrations(image)) - image).max() < 1e-12)
    True
    """
    density = colours_last(optical_density(image, channel_axis=channel_axis), channel_axis)
    return back(density @ np.linalg.inv(stains_or_default(stains)), channel_axis)


def stained(amounts: ArrayLike, *, stains: Floats | None = None, channel_axis: int = -3) -> Floats:
    """The image that amounts of the stains give: 255 exp(-C M), cut at 255.

    Examples
    --------
    >>> import numpy as np
    >>> from sensx_sc.im.edits import stained
    >>> stained(np.zeros((3, 2, 2))).max()
    np.float64(255.0)
    """
    density = colours_last(amounts, channel_axis) @ stains_or_default(stains)
    return back(np.minimum(255 * np.exp(-density), 255.0), channel_axis)


def tissue(image: ArrayLike, *, channel_axis: int = -3) -> NDArray[np.bool_]:
    """Pixels that are tissue, (..., y, x): their mean optical density exceeds 0.15.

    Examples
    --------
    >>> import numpy as np
    >>> from sensx_sc.im.edits import tissue
    >>> tissue(np.array([250.0, 90.0])[None, None].repeat(3, axis=0)).tolist()
    [[False, True]]
    """
    density = colours_last(optical_density(image, channel_axis=channel_axis), channel_axis)
    found: NDArray[np.bool_] = density.mean(axis=-1) > TISSUE
    return found


def colours_last(image: ArrayLike, channel_axis: int) -> Floats:
    """The image as floats, (..., y, x, c)."""
    array = np.asarray(image, dtype=np.float64)
    if array.ndim < 3 or array.shape[channel_axis] != 3:
        msg = (
            f"images need three colours on axis {channel_axis} and two axes of pixels; got shape "
            f"{array.shape}. Pass channel_axis=-1 if the colours are last."
        )
        raise ValueError(msg)
    return np.moveaxis(array, channel_axis, -1)


def back(colours: Floats, channel_axis: int) -> Floats:
    """The image in the layout that it came in."""
    return np.moveaxis(colours, -1, channel_axis)


def stains_or_default(stains: Floats | None) -> Floats:
    """A stain matrix, by default the usual one."""
    matrix = stain_matrix() if stains is None else np.asarray(stains, dtype=np.float64)
    if matrix.shape != (3, 3):
        msg = f"`stains` must be a matrix of three axes, see stain_matrix(); got {matrix.shape}."
        raise ValueError(msg)
    return matrix
