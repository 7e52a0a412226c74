"""Where the pixels of an image are: the one rule that every function of this room follows.

Coordinates are in full-resolution units, that is in pixels of the largest image. Pixel i of a
level whose pixels are ``step`` units wide covers [i step, (i + 1) step) and its centre is
(i + .5) step. A level of scale factor s has step 1 / s, so centres are (i + .5) / s: as in
spatialdata, and such that int(coordinate * s) is the pixel, as in squidpy. Matplotlib, which puts
centres on whole numbers, is given the outer edges.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

_EVEN = 1e-6  # relative difference of steps that rounding of coordinates may make
_WHOLE = 1e-4  # pixels by which it may move an image


@dataclass(frozen=True)
class Axis:
    """The pixels along one axis.

    Attributes
    ----------
    offset
        Pixels before the first one: 0 for a whole image.
    step
        Width of a pixel.
    size
        Number of pixels.
    """

    offset: float
    step: float
    size: int

    @property
    def origin(self) -> float:
        """Outer edge of the first pixel."""
        return self.offset * self.step

    @property
    def centres(self) -> Floats:
        # The same to the last bit for a part of an image as for the whole.
        places: Floats = np.arange(self.size, dtype=np.float64)
        return (self.offset + places + 0.5) * self.step

    @property
    def end(self) -> float:
        """Outer edge of the last pixel."""
        return (self.offset + self.size) * self.step

    def position(self, coordinate: ArrayLike) -> Floats:
        """Coordinates in pixels from the outer edge: the whole part is the pixel."""
        position: Floats = np.asarray(coordinate, dtype=np.float64) / self.step - self.offset
        return position


@dataclass(frozen=True)
class Grid:
    """The pixels of an image."""

    y: Axis
    x: Axis

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom and top edge, for ``imshow`` with the first row on top."""
        return self.x.origin, self.x.end, self.y.end, self.y.origin


def scaled(shape: tuple[int, int], scalef: float | tuple[float, float]) -> Grid:
    """The grid of a level of so many rows and columns, with this scale factor (of y and x)."""
    sy, sx = scalef if isinstance(scalef, tuple) else (scalef, scalef)
    return Grid(Axis(0.0, 1 / sy, shape[0]), Axis(0.0, 1 / sx, shape[1]))


def grid_of(image: xr.DataArray) -> Grid:
    """The grid of an image from its coordinates ``y`` and ``x``.

    Raises
    ------
    ValueError
        No coordinates, or pixels that are not equally spaced.
    """
    axes = {}
    for name in ("y", "x"):
        if name not in image.coords:
            msg = (
                f"the image has no coordinate {name!r}; make it with sx.im.from_array, from_file, "
                "from_adata or from_sdata."
            )
            raise ValueError(msg)
        centres = np.asarray(image.coords[name].values, dtype=np.float64)
        step = _step_of(image.attrs, name)
        if len(centres) > 1:
            apart = (centres[-1] - centres[0]) / (len(centres) - 1)
            step = step if abs(apart - step) <= _EVEN * step else apart
            if step <= 0 or np.abs(np.diff(centres) - step).max() > _EVEN * abs(step):
                msg = (
                    f"the coordinate {name!r} must ascend in equal steps, one a pixel; got "
                    f"{_some(centres)}. Cut images with plain slices."
                )
                raise ValueError(msg)
        offset = centres[0] / step - 0.5
        whole = float(np.rint(offset))
        offset = whole if abs(offset - whole) <= _WHOLE else float(offset)
        axes[name] = Axis(offset, float(step), len(centres))
    return Grid(**axes)


def _step_of(attrs: dict[Any, Any], name: str) -> float:
    """Width of a pixel, from the scale factor."""
    scalef = attrs.get("scalef", 1.0)
    if isinstance(scalef, list | tuple):
        scalef = scalef[0 if name == "y" else 1]
    return 1 / float(scalef)


def _some(values: Floats) -> str:
    shown = ", ".join(f"{value:g}" for value in values[:4])
    return shown + (", ..." if len(values) > 4 else "")
