"""A small part of a Visium section of mouse brain, with its image."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from sensx_sc.datasets._pbmc import _lines

if TYPE_CHECKING:
    import numpy as np
    from anndata import AnnData

FILE, IMAGE = "mouse_brain.npz", "mouse_brain.jpg"
LIBRARY = "V1_Adult_Mouse_Brain"
_BINNED = 2  # pixels of the file along a pixel of the image
_DIAMETER = 89.44476048022638


def mouse_brain() -> AnnData:
    """Load 49 spots of a Visium section of mouse brain and the image below them, without network.

    A part of 10x Genomics' section "Adult Mouse Brain", stained with haematoxylin and eosin, as
    squidpy keeps it for its tests. Few spots: enough to try things on, too few to train a
    predictor of expression that one would trust.

    Returns
    -------
    AnnData (49, 1999) with

    - ``.X``: log-normalised expression, CSR float32
    - ``.obs["leiden"]``: categorical, clusters of the source
    - ``.var["gene_ids"]``: Ensembl's identifiers
    - ``.obsm["spatial"]``: (x, y) of the spots in pixels of the source's image (950 x 1717)
    - ``.uns["spatial"]["V1_Adult_Mouse_Brain"]``: image ``hires`` (858, 475, 3) uint8, means over
      2 x 2 pixels of the source's, with ``tissue_hires_scalef`` .5, and ``spot_diameter_fullres``
    - ``.uns["log1p"]``: scanpy's note that ``.X`` is log-transformed

    Examples
    --------
    >>> import sensx_sc as sx
    >>> adata = sx.datasets.mouse_brain()
    >>> adata.shape, sx.im.from_adata(adata).shape
    ((49, 1999), (3, 858, 475))

    References
    ----------
    10x Genomics, Adult Mouse Brain Section 1, Visium (CC BY 4.0); subset: Palla, Spitzer et al.,
    Squidpy, Nature Methods 19 (2022) 171-178 (BSD-3-Clause).
    """
    import numpy as np
    import pandas as pd
    from anndata import AnnData
    from scipy import sparse

    source = files("sensx_sc.datasets").joinpath("data", FILE)
    with source.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
        parts = dict(stored)
    genes, spots = _lines(parts["genes"]), _lines(parts["spots"])
    gene, spot = np.divmod(np.cumsum(parts["gap"], dtype=np.int64), len(spots))
    adata = AnnData(
        X=sparse.csr_matrix((parts["value"], (spot, gene)), shape=(len(spots), len(genes))),
        obs=pd.DataFrame({"leiden": pd.Categorical(parts["leiden"].astype(str))}, index=spots),
        var=pd.DataFrame({"gene_ids": _lines(parts["gene_ids"])}, index=genes),
    )
    adata.obsm["spatial"] = parts["spatial"].astype(np.float64)
    adata.uns["spatial"] = {
        LIBRARY: {
            "images": {"hires": _image()},
            "scalefactors": {
                "tissue_hires_scalef": 1 / _BINNED,
                "spot_diameter_fullres": _DIAMETER,
            },
        }
    }
    adata.uns["log1p"] = {}
    return adata


def _image() -> np.ndarray:
    """The image, (y, x, 3) uint8: means over squares of the file's pixels."""
    import numpy as np
    from PIL import Image

    source = files("sensx_sc.datasets").joinpath("data", IMAGE)
    with source.open("rb") as stream, Image.open(stream) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    rows, columns = (size // _BINNED for size in pixels.shape[:2])
    whole = pixels[: rows * _BINNED, : columns * _BINNED]
    means = whole.reshape(rows, _BINNED, columns, _BINNED, 3).mean(axis=(1, 3))
    return np.rint(means).astype(np.uint8)
