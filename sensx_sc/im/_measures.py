"""What can be measured of an image: stains, colour, light, sharpness."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sensx_sc.im._stains import concentrations, optical_density

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LUMA = np.array([0.299, 0.587, 0.114])
YIQ = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
"""Luma, and from red, green and blue to YIQ."""


def mean_haematoxylin(
    image: Floats, mask: NDArray[np.bool_] | None = None, *, stains: Floats | None = None
) -> Floats:
    """Mean amount of haematoxylin in images (..., c, y, x), over the pixels of a mask."""
    return _mean_over(concentrations(image, stains=stains)[..., 0, :, :], mask)


def mean_eosin(
    image: Floats, mask: NDArray[np.bool_] | None = None, *, stains: Floats | None = None
) -> Floats:
    """Mean amount of eosin."""
    return _mean_over(concentrations(image, stains=stains)[..., 1, :, :], mask)


def mean_ratio(
    image: Floats, mask: NDArray[np.bool_] | None = None, *, stains: Floats | None = None
) -> Floats:
    """log2 of the mean haematoxylin over the mean eosin."""
    blue, red = (
        np.maximum(measure(image, mask, stains=stains), 1e-6)
        for measure in (mean_haematoxylin, mean_eosin)
    )
    return np.asarray(np.log2(blue / red), dtype=np.float64)


def mean_density(image: Floats, mask: NDArray[np.bool_] | None = None) -> Floats:
    """Mean optical density."""
    return _mean_over(optical_density(image).mean(axis=-3), mask)


def mean_saturation(image: Floats, mask: NDArray[np.bool_] | None = None) -> Floats:
    """Mean HSV saturation."""
    high, low = image.max(axis=-3), image.min(axis=-3)
    return _mean_over((high - low) / np.maximum(high, 1e-9), mask)


def mean_luma(image: Floats, mask: NDArray[np.bool_] | None = None) -> Floats:
    """Mean luma, 0 to 255."""
    return _mean_over(np.moveaxis(image, -3, -1) @ LUMA, mask)


def sharpness(image: Floats, mask: NDArray[np.bool_] | None = None) -> Floats:
    """Mean size of the luma's gradient, a pixel."""
    down, right = np.gradient(np.moveaxis(image, -3, -1) @ LUMA, axis=(-2, -1))
    return _mean_over(np.hypot(down, right), mask)


def mean_hue(image: Floats, mask: NDArray[np.bool_] | None = None) -> Floats:
    """Mean hue, the angle of the summed YIQ colours, in degrees."""
    colours = np.moveaxis(image, -3, -1) @ YIQ[1:].T
    in_phase, quadrature = (_mean_over(colours[..., k], mask) for k in range(2))
    return np.asarray(np.rad2deg(np.arctan2(quadrature, in_phase)), dtype=np.float64)


def _mean_over(values: Floats, mask: NDArray[np.bool_] | None) -> Floats:
    """Mean over the pixels of a mask (y, x); over all, if it is empty or None."""
    if mask is None or not mask.any():
        return np.asarray(values.mean(axis=(-2, -1)), dtype=np.float64)
    return np.asarray(values[..., mask].mean(axis=-1), dtype=np.float64)
