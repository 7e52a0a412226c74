"""``sx.im.from_file``: TIFF and OME-TIFF, read lazily; other pictures whole."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.im._image import image_from

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from os import PathLike

    import xarray as xr

_TIFF = {".tif", ".tiff", ".svs", ".btf", ".ndpi", ".scn", ".qptiff"}


def from_file(
    path: str | PathLike[str],
    *,
    level: int = 0,
    series: int = 0,
    dims: str | None = None,
    scalef: float | None = None,
    c: Sequence[str] | None = None,
    library_id: str | None = None,
) -> xr.DataArray:
    """Open an image file.

    TIFF files, OME-TIFF and pyramids among them, are read lazily (with tifffile); pictures such as
    PNG and JPEG are read whole.

    Parameters
    ----------
    path
        The file.
    level
        Level of a pyramid, 0 = full resolution.
    series
        Which image of a file that holds several.
    dims
        What the axes are, such as ``"yxc"``; by default what the file says. Axes of length 1 that
        are neither y, x nor c are left out.
    scalef
        Scale factor; by default that of the level, 1 for the full resolution.
    c
        Names of the channels; by default those of the file, if it has any.
    library_id
        Kept as an attribute.

    Returns
    -------
    DataArray as :func:`sensx_sc.im.from_array` makes it. ``attrs["mpp"]``: width of a pixel of the
    full resolution in micrometres, where an OME-TIFF says it.

    Raises
    ------
    FileNotFoundError
        No such file.
    ValueError
        No such level or series; axes that are no image.
    ImportError
        A TIFF file, and tifffile is not installed.

    Examples
    --------
    >>> import matplotlib.cbook, sensx_sc as sx
    >>> path = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    >>> image = sx.im.from_file(path)
    >>> image.sizes["c"], image.sizes["y"], image.sizes["x"]
    (3, 600, 512)
    """
    path = Path(path).expanduser()
    if not path.exists():
        msg = f"there is no file {str(path)!r}."
        raise FileNotFoundError(msg)
    attrs: dict[str, Any] = {} if library_id is None else {"library_id": str(library_id)}
    if path.suffix.lower() in _TIFF:
        return _tiff(path, level, series, dims, scalef, c, attrs)
    for name, value in (("level", level), ("series", series)):
        if value != 0:
            msg = f"`{name}` must be 0, since {path.name} holds one picture; got {value!r}."
            raise ValueError(msg)
    data = _picture(path)
    return image_from(data, dims or "yxc"[: data.ndim], c=c, scalef=scalef or 1.0, attrs=attrs)


def _picture(path: Path) -> np.ndarray:
    from PIL import Image

    with Image.open(path) as picture:
        plain = picture.mode in ("L", "RGB", "RGBA", "F", "I", "I;16")
        return np.asarray(picture if plain else picture.convert("RGB"))


def _tiff(
    path: Path,
    level: int,
    series: int,
    dims: str | None,
    scalef: float | None,
    c: Sequence[str] | None,
    attrs: dict[str, Any],
) -> xr.DataArray:
    try:
        import tifffile
    except ImportError as error:
        msg = "TIFF files need tifffile: pip install 'sensx_sc[spatial]'."
        raise ImportError(msg) from error
    import dask.array as da

    with tifffile.TiffFile(path) as file:
        levels = _at(list(file.series), series, "series", path).levels
        chosen = _at(list(levels), level, "level", path)
        axes, full, shape = chosen.axes, levels[0].shape, chosen.shape
        described = _ome(file.ome_metadata, series) if file.is_ome else {}
    source = _Level(path, series, level)
    data: Any = da.from_array(source, chunks=source.chunks, name=False)
    given = (dims or axes).lower()
    if dims is None:
        data, given = _image_axes(data, given, path)
    if scalef is None:
        y = axes.lower().index("y")
        scalef = shape[y] / full[y]
    attrs |= {"mpp": described["mpp"]} if "mpp" in described else {}
    names = c if c is not None else described.get("c")
    n_channels = data.shape[given.replace("s", "c").index("c")] if set(given) & set("cs") else 1
    if c is None and names is not None and len(names) != n_channels:
        names = None
    return image_from(data, given, c=names, scalef=scalef, attrs=attrs)


class _Level:
    """A level of a TIFF file, of which parts are read; the file is open only meanwhile.

    So it can travel to the workers of a cluster that see the same files.
    """

    def __init__(self, path: Path, series: int, level: int) -> None:
        self.path, self.series, self.level = str(path), series, level
        with self._open() as found:
            self.shape, self.dtype, self.chunks = found.shape, found.dtype, found.chunks
        self.ndim = len(self.shape)

    @contextlib.contextmanager
    def _open(self) -> Iterator[Any]:
        import tifffile
        import zarr

        store = tifffile.imread(self.path, series=self.series, level=self.level, aszarr=True)
        try:
            yield zarr.open_array(store, mode="r")
        finally:
            store.close()

    def __getitem__(self, part: Any) -> np.ndarray:
        """Read a part."""
        with self._open() as found:
            return np.asarray(found[part])


def _at(found: list[Any], place: int, name: str, path: Path) -> Any:
    if not isinstance(place, int | np.integer) or not 0 <= place < len(found):
        msg = f"`{name}` must be from 0 to {len(found) - 1} for {path.name}; got {place!r}."
        raise ValueError(msg)
    return found[place]


def _image_axes(data: Any, axes: str, path: Path) -> tuple[Any, str]:
    """Leave out axes of length 1 that an image does not have."""
    kept = list(axes)
    if "s" in kept and "c" in kept:  # samples of one channel
        kept[kept.index("c")] = "?"
    for place in reversed(range(len(kept))):
        if kept[place] not in "yxcs":
            if data.shape[place] != 1:
                msg = (
                    f"{path.name} has the axes {axes.upper()} of sizes {tuple(data.shape)}; an "
                    "image has y, x and channels. Choose a plane: read the file with tifffile and "
                    "use sx.im.from_array."
                )
                raise ValueError(msg)
            data = data.squeeze(place)
            del kept[place]
    return data, "".join(kept)


def _ome(text: str | None, series: int) -> dict[str, Any]:
    """Pixel width in micrometres and names of channels, from OME-XML."""
    from xml.etree import ElementTree as ET

    found: dict[str, Any] = {}
    if not text:
        return found
    pixels = [node for node in ET.fromstring(text).iter() if node.tag.endswith("}Pixels")]
    if series >= len(pixels):
        return found
    width, unit = pixels[series].get("PhysicalSizeX"), pixels[series].get("PhysicalSizeXUnit", "µm")
    if width is not None and unit == "µm":
        found["mpp"] = float(width)
    names = [node.get("Name") for node in pixels[series].iter() if node.tag.endswith("}Channel")]
    if names and all(names) and len(set(names)) == len(names):
        found["c"] = [str(name) for name in names]
    return found
