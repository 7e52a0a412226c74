"""What the features of an image are: values, pixels, patches, whole tiles, labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sensx_sc.im._grid import Axis

    Ints = NDArray[np.int64]

KINDS = ("value", "pixel", "patch:<pixels>", "tile")


@dataclass(frozen=True)
class Frame:
    """The shape of what is explained: T tiles of C channels and H x W pixels; an image is one tile.

    Attributes
    ----------
    tiles
        Names of the tiles; empty for a plain image.
    c
        Names of the channels.
    y, x
        Pixels along each axis.
    perturbed
        Which tiles have features, positions.
    """

    tiles: tuple[str, ...]
    c: tuple[str, ...]
    y: Axis
    x: Axis
    perturbed: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """T, C, H and W."""
        return max(1, len(self.tiles)), len(self.c), self.y.size, self.x.size

    @property
    def whole(self) -> bool:
        """Whether all tiles have features."""
        return len(self.perturbed) == self.shape[0]


@dataclass(frozen=True)
class Features:
    """Features of images of one frame.

    Attributes
    ----------
    label
        Feature of each value, (T, C, H, W), -1 for values that are never perturbed.
    shape
        Shape of the results of an input; its product is the number of features.
    dims
        Names of its dimensions; without tiles if there are none.
    coords
        Coordinates of these dimensions.
    attrs
        What :func:`sensx_sc.im.to_pixels` needs to know.
    labels
        The label map, for features that are labels.
    """

    label: Ints
    shape: tuple[int, ...]
    dims: tuple[str, ...]
    coords: dict[str, Any]
    attrs: dict[str, Any] = field(default_factory=dict)
    labels: Ints | None = None

    @property
    def n(self) -> int:
        return int(np.prod(self.shape))

    @property
    def single(self) -> bool:
        """Whether each value is a feature of its own, in order."""
        return self.label.size == self.n and bool((np.diff(self.label.ravel()) == 1).all())


def make_features(kind: Any, frame: Frame) -> Features:
    """Settle what is meant by ``features``.

    Raises
    ------
    ValueError, TypeError
        None of what is allowed, or a label map of another shape.
    """
    if not isinstance(kind, str):
        return _of_labels(kind, frame)
    _, channels, height, width = frame.shape
    n_tiles = len(frame.perturbed)
    named = {"tile": [frame.tiles[t] for t in frame.perturbed]} if frame.tiles else {}
    pixels = {"y": frame.y.centres, "x": frame.x.centres}
    if kind == "value":
        at: Ints = np.arange(n_tiles * channels * height * width)
        at = at.reshape(n_tiles, channels, height, width)
        return _placed(at, frame, ("c", "y", "x"), {**named, "c": list(frame.c), **pixels})
    if kind == "pixel":
        at = np.arange(n_tiles * height * width).reshape(n_tiles, 1, height, width)
        return _placed(at, frame, ("y", "x"), {**named, **pixels})
    if kind == "tile":
        at = np.arange(n_tiles).reshape(n_tiles, 1, 1, 1)
        return _placed(at, frame, (), named, {"tile_px": [height, width]})
    size = _patch_size(kind, frame)
    down, across = -(-height // size), -(-width // size)
    at = (
        np.arange(n_tiles)[:, None, None, None] * down * across
        + (np.arange(height) // size)[None, None, :, None] * across
        + (np.arange(width) // size)[None, None, None, :]
    )
    coords = {"y": _patch_centres(frame.y, size), "x": _patch_centres(frame.x, size)}
    attrs = {"patch": size, "tile_px": [height, width]}
    return _placed(at, frame, ("y", "x"), {**named, **coords}, attrs)


def _patch_size(kind: str, frame: Frame) -> int:
    name, _, told = kind.partition(":")
    if name != "patch" or not told.isdigit() or int(told) < 1:
        msg = (
            f"`features` must be 'value', 'pixel', 'patch:16' (or another size), 'tile' or a label "
            f"map; got {kind!r}."
        )
        raise ValueError(msg)
    if int(told) > max(frame.y.size, frame.x.size):
        msg = (
            f"`features` {kind!r}: a patch of {told} pixels is larger than the image "
            f"({frame.y.size} x {frame.x.size}); use 'tile'."
        )
        raise ValueError(msg)
    return int(told)


def _patch_centres(axis: Axis, size: int) -> NDArray[np.float64]:
    """Centres of the patches; the last one may be smaller."""
    first = np.arange(0, axis.size, size)
    last = np.minimum(first + size, axis.size)
    centres: NDArray[np.float64] = (axis.offset + (first + last) / 2) * axis.step
    return centres


def _placed(
    at: Ints,
    frame: Frame,
    dims: tuple[str, ...],
    coords: dict[str, Any],
    attrs: dict[str, Any] | None = None,
) -> Features:
    """Features of the perturbed tiles; all values of the others are in none."""
    label: Ints = np.full(frame.shape, -1, dtype=np.int64)
    label[list(frame.perturbed)] = at
    dims = ("tile", *dims) if frame.tiles else dims
    shape = tuple(len(coords[name]) for name in dims)
    return Features(label, shape, dims, coords, attrs or {})


def _of_labels(labels: Any, frame: Frame) -> Features:
    """Features from a label map: numbers above 0 are labels, all else is not perturbed."""
    values = np.asarray(labels)
    if values.dtype.kind not in "iub":
        msg = (
            "`features` must be 'value', 'pixel', 'patch:16' (or another size), 'tile' or a label "
            f"map of whole numbers; got {type(labels).__name__} of {values.dtype}."
        )
        raise TypeError(msg)
    tiles, _, height, width = frame.shape
    allowed = [(height, width)] + ([(tiles, height, width)] if frame.tiles else [])
    if values.shape not in allowed:
        msg = (
            f"the label map must have the shape {' or '.join(map(str, allowed))}; got "
            f"{values.shape}."
        )
        raise ValueError(msg)
    if values.ndim == 2 and len(frame.perturbed) > 1:
        msg = (
            f"a label map of one tile needs `perturb` to name that tile; {len(frame.perturbed)} "
            f"tiles are perturbed. Or give labels of shape {(tiles, height, width)}."
        )
        raise ValueError(msg)
    values = np.broadcast_to(values, (tiles, height, width)).astype(np.int64)
    outside = np.setdiff1d(np.arange(tiles), frame.perturbed)
    values[outside] = 0
    known = np.unique(values[values > 0])
    if not len(known):
        msg = "the label map has no label above 0, so there is nothing to perturb."
        raise ValueError(msg)
    label = np.where(values > 0, np.searchsorted(known, values), -1)[:, None]
    label = np.broadcast_to(label, frame.shape)
    return Features(label, (len(known),), ("label",), {"label": known}, {}, values)


def pick_tiles(perturb: str | Sequence[str] | None, tiles: Sequence[str]) -> tuple[int, ...]:
    """Positions of the tiles whose values are perturbed."""
    if perturb is None:
        return tuple(range(max(1, len(tiles))))
    wanted = [perturb] if isinstance(perturb, str) else list(perturb)
    if not tiles:
        msg = "`perturb` names tiles, and a plain image has none."
        raise ValueError(msg)
    unknown = [name for name in wanted if name not in tiles]
    if unknown or not wanted:
        got = repr(unknown[0]) if unknown else "none"
        msg = f"`perturb` must name some of the tiles {', '.join(tiles)}; got {got}."
        raise ValueError(msg)
    return tuple(sorted(list(tiles).index(name) for name in dict.fromkeys(wanted)))
