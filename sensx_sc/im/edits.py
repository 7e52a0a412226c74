"""Edits of stained tissue: eight editors of H&E images, and what they change.

Pure functions on arrays of red, green and blue from 0 to 255, (..., c, y, x) or, with
``channel_axis=-1``, (..., y, x, c). Whole numbers are taken, floats come back: nothing is rounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from sensx_sc.im._measures import (
    LUMA,
    YIQ,
    mean_density,
    mean_eosin,
    mean_haematoxylin,
    mean_hue,
    mean_luma,
    mean_ratio,
    mean_saturation,
    sharpness,
)
from sensx_sc.im._stains import (
    back,
    colours_last,
    concentrations,
    optical_density,
    stain_matrix,
    stained,
    stains_or_default,
    tissue,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

__all__ = [
    "EDITORS",
    "ImageEditor",
    "blur",
    "brightness",
    "concentrations",
    "eosin",
    "gamma",
    "haematoxylin",
    "hue",
    "optical_density",
    "saturation",
    "stain_matrix",
    "stain_ratio",
    "stained",
    "tissue",
]
_N_STEPS = 41


def haematoxylin(
    image: ArrayLike, factor: float, *, stains: Floats | None = None, channel_axis: int = -3
) -> Floats:
    """Multiply the haematoxylin; eosin stays.

    Examples
    --------
    >>> import numpy as np
    >>> from sensx_sc.im.edits import haematoxylin
    >>> bool((haematoxylin(np.full((3, 2, 2), 120.0), 1.5) <= 120).all())
    True
    """
    return _scaled(image, (factor, 1.0, 1.0), stains, channel_axis)


def eosin(
    image: ArrayLike, factor: float, *, stains: Floats | None = None, channel_axis: int = -3
) -> Floats:
    """Multiply the eosin; haematoxylin stays.

    Examples
    --------
    >>> import numpy as np
    >>> from sensx_sc.im.edits import eosin
    >>> eosin(np.full((3, 2, 2), 120.0), 1.0).round(9).max()
    np.float64(120.0)
    """
    return _scaled(image, (1.0, factor, 1.0), stains, channel_axis)


def stain_ratio(
    image: ArrayLike, factor: float, *, stains: Floats | None = None, channel_axis: int = -3
) -> Floats:
    """Multiply the ratio of haematoxylin to eosin at the same total optical density.

    Pixels in which either stain is not there keep what they have.

    Examples
    --------
    >>> import numpy as np
    >>> from sensx_sc.im.edits import optical_density, stain_ratio
    >>> image = np.array([120.0, 80.0, 150.0]).reshape(3, 1, 1)
    >>> edited = stain_ratio(image, 1.5)
    >>> bool(np.isclose(optical_density(edited).sum(), optical_density(image).sum()))
    True
    """
    matrix = stains_or_default(stains)
    amounts = colours_last(
        concentrations(image, stains=matrix, channel_axis=channel_axis), channel_axis
    )
    dark = amounts[..., :2] * matrix[:2].sum(axis=1)
    whole, shifted = dark.sum(axis=-1), factor * dark[..., 0] + dark[..., 1]
    both = (dark > 0).all(axis=-1) & (shifted > 0)
    common = np.where(both, whole / np.where(both, shifted, 1.0), 1.0)
    scale = np.stack([np.where(both, factor, 1.0) * common, common], axis=-1)
    amounts = np.concatenate([amounts[..., :2] * scale, amounts[..., 2:]], axis=-1)
    return stained(back(amounts, channel_axis), stains=matrix, channel_axis=channel_axis)


def gamma(image: ArrayLike, factor: float, *, channel_axis: int = -3) -> Floats:
    """Multiply the optical density: 255 (I / 255)^a, all stains alike (overall staining).

    Examples
    --------
    >>> import numpy as np
    >>> from sensx_sc.im.edits import gamma
    >>> gamma(np.full((3, 1, 1), 255 / np.e), 2.0).round(6).ravel().tolist()
    [34.510497, 34.510497, 34.510497]
    """
    del channel_axis  # every colour alike
    colours = np.maximum(np.asarray(image, dtype=np.float64), 1.0)
    return np.asarray(np.minimum(255 * (colours / 255) ** factor, 255.0), dtype=np.float64)


def saturation(image: ArrayLike, factor: float, *, channel_axis: int = -3) -> Floats:
    """Multiply the colours' distance from their luma. Not neutral to stains: eosin is colour.

    Examples
    --------
    >>> import numpy as np
    >>> from sensx_sc.im.edits import saturation
    >>> grey = saturation(np.array([200.0, 100.0, 50.0]).reshape(3, 1, 1), 0.0)
    >>> float(np.ptp(grey).round(9))
    0.0
    """
    colours = colours_last(image, channel_axis)
    luma = (colours @ LUMA)[..., None]
    return back(np.clip(luma + factor * (colours - luma), 0, 255), channel_axis)


def brightness(image: ArrayLike, factor: float, *, channel_axis: int = -3) -> Floats:
    """Multiply all colours. Above 1 light pixels are cut at 255; :func:`gamma` cuts nothing.

    Examples
    --------
    >>> import numpy as np
    >>> from sensx_sc.im.edits import brightness
    >>> brightness(np.full((3, 1, 1), 200.0), 1.5).max()
    np.float64(255.0)
    """
    del channel_axis
    return np.clip(np.asarray(image, dtype=np.float64) * factor, 0, 255)


def blur(image: ArrayLike, sigma: float, *, channel_axis: int = -3) -> Floats:
    """Blur by a Gaussian of so many pixels; edges are mirrored.

    Examples
    --------
    >>> import numpy as np
    >>> from sensx_sc.im.edits import blur
    >>> blur(np.full((3, 5, 5), 90.0), 2.0).round(9).max()
    np.float64(90.0)
    """
    colours = colours_last(image, channel_axis)
    width = [0.0] * (colours.ndim - 3) + [sigma, sigma, 0.0]
    return back(ndimage.gaussian_filter(colours, width, mode="reflect"), channel_axis)


def hue(image: ArrayLike, degrees: float, *, channel_axis: int = -3) -> Floats:
    """Turn the hue, in YIQ: the luma stays.

    Examples
    --------
    >>> import numpy as np
    >>> from sensx_sc.im.edits import hue
    >>> hue(np.full((3, 1, 1), 90.0), 20.0).round(9).max()
    np.float64(90.0)
    """
    angle = np.deg2rad(degrees)
    turn = np.eye(3)
    turn[1:, 1:] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    colours = colours_last(image, channel_axis) @ (np.linalg.inv(YIQ) @ turn @ YIQ).T
    return back(np.clip(colours, 0, 255), channel_axis)


@dataclass(frozen=True)
class ImageEditor:
    """An editor of images with its usual strengths and what it means to change.

    Attributes
    ----------
    edit
        Image (..., c, y, x) and strength to the edited image.
    strengths
        (S,), ascending.
    neutral
        The strength that changes nothing.
    measure
        Images (..., c, y, x) and a mask to the property, (...).
    unit, axis
        Of the property; what the strengths are.
    of_stains
        Which rows of the stain matrix it acts along: random axes in their place are a placebo.
    """

    edit: Callable[..., Floats]
    strengths: Floats
    neutral: float
    measure: Callable[..., Floats]
    unit: str
    axis: str = "factor"
    of_stains: tuple[int, ...] = ()


def _steps(low: float, high: float) -> Floats:
    return np.linspace(low, high, _N_STEPS)


EDITORS: dict[str, ImageEditor] = {
    "haematoxylin": ImageEditor(
        haematoxylin, _steps(0.5, 1.5), 1.0, mean_haematoxylin, "haematoxylin", of_stains=(0,)
    ),
    "eosin": ImageEditor(eosin, _steps(0.5, 1.5), 1.0, mean_eosin, "eosin", of_stains=(1,)),
    "stain ratio": ImageEditor(
        stain_ratio, _steps(0.5, 1.5), 1.0, mean_ratio, "log2 H:E", of_stains=(0, 1)
    ),
    "overall staining": ImageEditor(gamma, _steps(0.6, 1.6), 1.0, mean_density, "optical density"),
    "saturation": ImageEditor(saturation, _steps(0.0, 2.0), 1.0, mean_saturation, "saturation"),
    "brightness": ImageEditor(brightness, _steps(0.7, 1.3), 1.0, mean_luma, "luma"),
    "blur": ImageEditor(blur, _steps(0.0, 3.0), 0.0, sharpness, "sharpness", "sigma (pixels)"),
    "hue": ImageEditor(hue, _steps(-20.0, 20.0), 0.0, mean_hue, "degrees", "degrees"),
}
"""The eight editors, by the name of what they change."""


def _scaled(
    image: ArrayLike, factors: tuple[float, ...], stains: Floats | None, channel_axis: int
) -> Floats:
    matrix = stains_or_default(stains)
    amounts = concentrations(image, stains=matrix, channel_axis=channel_axis)
    scaled = back(colours_last(amounts, channel_axis) * np.array(factors), channel_axis)
    return stained(scaled, stains=matrix, channel_axis=channel_axis)
