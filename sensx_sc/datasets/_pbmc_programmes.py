"""Gene programmes of blood cells, for pbmc()."""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

FILE = "pbmc_programmes.gmt"


def pbmc_programmes() -> pd.DataFrame:
    """Load gene programmes of blood cells: 17 hallmark-like sets, some of which share genes.

    Lineage programmes (receptors, cytotoxicity, antigen presentation, platelets and others) and
    general ones (interferon response, translation, oxidative phosphorylation, cell cycle, stress),
    listed by the authors of this package from general knowledge, before anything was computed with
    them ("Textbook"); no table was copied. ``data/README.md`` beside the file tells more. They
    serve to show the method: for research take a curated collection.

    Returns
    -------
    DataFrame with string columns ``source`` (the programme) and ``target`` (gene symbol), a row a
    programme and gene: what ``groups=`` of :func:`sensx_sc.tl.sensx` takes. About half of the
    genes are in :func:`pbmc`.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> programmes = sx.datasets.pbmc_programmes()
    >>> programmes["source"].nunique()
    17
    >>> programmes.loc[programmes["target"] == "GZMB", "source"].tolist()
    ['Cytotoxicity', 'Plasmacytoid dendritic cell']

    References
    ----------
    ``sensx_sc/datasets/data/README.md``.
    """
    import pandas as pd

    from sensx_sc.pp._gene_sets import read_gmt

    with as_file(files("sensx_sc.datasets").joinpath("data", FILE)) as path:
        sets = read_gmt(path)
    rows = [(name, gene) for name, genes in sets.items() for gene in genes]
    return pd.DataFrame(rows, columns=["source", "target"], dtype=str)
