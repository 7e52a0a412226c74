"""A made-up tissue section, whose genes are known to follow what its image shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sensx_sc.datasets._synthetic import _check_whole

if TYPE_CHECKING:
    import numpy as np
    from anndata import AnnData
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

HAEMATOXYLIN, EOSIN = (0.65, 0.70, 0.29), (0.07, 0.99, 0.11)
"""Optical density of the two stains in red, green and blue."""

DRIVERS = {
    "NUC1": "nuclei",
    "NUC2": "nuclei",
    "EOS1": "eosin",
    "EOS2": "eosin",
    "LUM1": "lumen",
    "LUM2": "lumen",
    "NEI1": "neighbours",
    "NULL1": "none",
}
"""What the expression of each gene follows."""

_FACTORS = ("nuclei", "eosin", "lumen", "neighbours")
_NUCLEI_A_SPOT = 14.0
_NOISE = 0.05


def tissue(*, n_rows: int = 10, n_columns: int = 10, tile_px: int = 48, seed: int = 0) -> AnnData:
    """Make a section stained with haematoxylin and eosin, and expression that its spots show.

    Nuclei (dark blue), matrix (pink, of varying strength) and lumina (light, round) are placed at
    random with densities that vary over the section, in units of optical density. Spots lie on a
    square grid whose spacing is the size of a tile. The expression of a gene is a function of one
    of these in the spot's tile, with little noise, so what a good model must look at is known.

    Parameters
    ----------
    n_rows, n_columns
        Spots; each has all eight neighbours on the image.
    tile_px
        Diameter and spacing of spots in pixels.
    seed
        Non-negative integer; the same seed gives the same section.

    Returns
    -------
    AnnData (n_rows * n_columns, 8) with

    - ``.X``: expression, float32, like log-normalised counts
    - ``.var["driver"]``: what a gene follows: nuclei, eosin, lumen, neighbours (nuclei of the
      spot, and a little those of the eight around it) or none
    - ``.obsm["spatial"]``: (x, y) of the spots in pixels
    - ``.obsm["factors"]``: DataFrame, share of nuclei, mean eosin, share of lumen of each tile,
      and mean share of nuclei of its neighbours
    - ``.obs["row"]``, ``.obs["column"]``: place on the grid
    - ``.uns["spatial"]["tissue"]``: images ``hires`` (uint8) and ``nuclei`` (a label map, int32,
      0 = none), scale factors (1) and ``spot_diameter_fullres``

    Raises
    ------
    ValueError
        A number that is no such number.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> adata = sx.datasets.tissue(n_rows=3, n_columns=4)
    >>> adata.shape, sx.im.from_adata(adata).shape
    ((12, 8), (3, 240, 288))
    """
    import numpy as np
    import pandas as pd
    from anndata import AnnData

    for name, value, least in (
        ("n_rows", n_rows, 1), ("n_columns", n_columns, 1), ("tile_px", tile_px, 9),
        ("seed", seed, 0),
    ):  # fmt: skip
        _check_whole(name, value, least=least)
    rng = np.random.default_rng(seed)
    shape = ((n_rows + 2) * tile_px, (n_columns + 2) * tile_px)
    section = _section(shape, tile_px, rng)
    every = {
        "nuclei": _of_tiles(section.nuclei > 0, tile_px),
        "eosin": _of_tiles(section.eosin, tile_px),
        "lumen": _of_tiles(section.lumen, tile_px),
    }
    factors = {name: grid[1:-1, 1:-1].ravel() for name, grid in every.items()}
    factors["neighbours"] = _around(every["nuclei"]).ravel()
    row, column = np.divmod(np.arange(n_rows * n_columns), n_columns)
    names = [f"spot_{r}_{c}" for r, c in zip(row, column, strict=True)]
    adata = AnnData(
        X=_expression(factors, rng).astype(np.float32),
        obs=pd.DataFrame({"row": row, "column": column}, index=names),
        var=pd.DataFrame({"driver": pd.Categorical(list(DRIVERS.values()))}, index=list(DRIVERS)),
    )
    adata.obsm["spatial"] = np.stack([column + 1.5, row + 1.5], axis=1) * tile_px
    adata.obsm["factors"] = pd.DataFrame(factors, index=names)
    adata.uns["spatial"] = {
        "tissue": {
            "images": {"hires": section.image, "nuclei": section.nuclei},
            "scalefactors": {
                "tissue_hires_scalef": 1.0,
                "tissue_nuclei_scalef": 1.0,
                "spot_diameter_fullres": float(tile_px),
            },
        }
    }
    return adata


@dataclass(frozen=True)
class _Section:
    image: NDArray[np.uint8]
    nuclei: NDArray[np.int32]
    eosin: Floats
    lumen: NDArray[np.bool_]


def _section(shape: tuple[int, int], tile_px: int, rng: np.random.Generator) -> _Section:
    """Place lumina and nuclei and stain them."""
    import numpy as np

    density = _smooth(shape, 1.5 * tile_px, rng)
    eosin = 0.15 + 0.6 * _smooth(shape, 1.2 * tile_px, rng)
    lumen = np.zeros(shape, dtype=bool)
    light = _smooth(shape, 2.0 * tile_px, rng)
    area = shape[0] * shape[1]
    for y, x in _points(light**2, 3.0 * area / tile_px**2, rng):
        _paint(lumen, y, x, rng.uniform(0.08, 0.22) * tile_px, 1.0, 0.0, value=True)
    nuclei = np.zeros(shape, dtype=np.int32)
    number = 0
    for y, x in _points(density**2, 2 * _NUCLEI_A_SPOT * area / tile_px**2, rng):
        if lumen[y, x] or nuclei[y, x]:
            continue
        number += 1
        size = rng.uniform(0.035, 0.06) * tile_px
        _paint(nuclei, y, x, size, rng.uniform(0.6, 1.0), rng.uniform(0, np.pi), value=number)
    nuclei[lumen] = 0
    blue = np.where(nuclei > 0, 0.9, 0.06)
    pink = np.where(nuclei > 0, 0.2, eosin)
    blue, pink = (np.where(lumen, 0.01, part) for part in (blue, pink))
    optical = blue[..., None] * np.array(HAEMATOXYLIN) + pink[..., None] * np.array(EOSIN)
    image = 255 * np.exp(-optical) + rng.normal(scale=2.0, size=(*shape, 3))
    return _Section(
        np.clip(np.rint(image), 0, 255).astype(np.uint8), nuclei, np.where(lumen, 0.0, pink), lumen
    )


def _smooth(shape: tuple[int, int], width: float, rng: np.random.Generator) -> Floats:
    """A smooth random field between 0 and 1."""
    import numpy as np
    from scipy.ndimage import gaussian_filter

    field = gaussian_filter(rng.normal(size=shape), width / 2, mode="wrap")
    ranks = np.argsort(np.argsort(field, axis=None), axis=None).reshape(shape)
    return ranks / max(ranks.size - 1, 1)


def _points(intensity: Floats, mean: float, rng: np.random.Generator) -> NDArray[np.intp]:
    """Places (N, 2) of about so many points, denser where the intensity is larger."""
    import numpy as np

    n = rng.poisson(mean)
    drawn = rng.choice(intensity.size, size=n, p=(intensity / intensity.sum()).ravel())
    return np.stack(np.unravel_index(drawn, intensity.shape), axis=1)


def _paint(
    canvas: np.ndarray, y: int, x: int, size: float, flat: float, angle: float, *, value: int
) -> None:
    """Fill an ellipse."""
    import numpy as np

    reach = int(np.ceil(size))
    rows = np.arange(max(y - reach, 0), min(y + reach + 1, canvas.shape[0]))
    columns = np.arange(max(x - reach, 0), min(x + reach + 1, canvas.shape[1]))
    dy, dx = (rows - y)[:, None], (columns - x)[None, :]
    along = dx * np.cos(angle) + dy * np.sin(angle)
    across = dy * np.cos(angle) - dx * np.sin(angle)
    inside = (along / size) ** 2 + (across / (size * flat)) ** 2 <= 1
    part = canvas[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    part[inside] = value


def _of_tiles(values: np.ndarray, tile_px: int) -> Floats:
    """Means over the tiles of the section."""
    rows, columns = values.shape[0] // tile_px, values.shape[1] // tile_px
    means: Floats = values.reshape(rows, tile_px, columns, tile_px).mean(axis=(1, 3))
    return means


def _around(values: Floats) -> Floats:
    """Means over the eight tiles around each that is not at the edge."""
    import numpy as np

    rows, columns = values.shape
    parts = [
        values[1 + i : rows - 1 + i, 1 + j : columns - 1 + j]
        for i in (-1, 0, 1)
        for j in (-1, 0, 1)
        if (i, j) != (0, 0)
    ]
    return np.mean(parts, axis=0)


def _expression(factors: dict[str, Floats], rng: np.random.Generator) -> Floats:
    """Genes (N, 8) between about 0 and 4."""
    import numpy as np

    def unit(name: str) -> Floats:
        values = factors[name]
        spread = values.std()
        return (values - values.mean()) / (spread if spread > 0 else 1.0)

    nuclei, eosin, lumen = unit("nuclei"), unit("eosin"), unit("lumen")
    means = [
        2.0 + 0.6 * nuclei,
        2.0 - 0.5 * nuclei,
        1.8 + 0.6 * eosin,
        2.2 - 0.4 * eosin,
        1.5 + 0.6 * lumen,
        2.0 - 0.4 * lumen,
        2.0 + 0.6 * nuclei + 0.1 * unit("neighbours"),
        np.full(len(nuclei), 2.0),
    ]
    noise = rng.normal(scale=_NOISE, size=(len(nuclei), len(means)))
    noise[:, -1] = rng.normal(scale=0.5, size=len(nuclei))
    return np.maximum(np.stack(means, axis=1) + noise, 0.0)
