"""Known marker genes of the blood cell types in pbmc()."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

FILE = "pbmc_markers.csv"


def pbmc_markers() -> pd.DataFrame:
    """Load known marker genes of the 11 cell types of :func:`pbmc`, each with its source.

    The sources, in the order in which a gene is looked up (one row per type and gene, the first
    source that has it): Azimuth's human PBMC reference (``celltype.l2``, then ``celltype.l1``),
    Azimuth's human bone marrow reference (``celltype.l2``), the annotation chapter of
    Single-cell best practices, and textbook lineage markers ("Textbook", chosen by the authors of
    this package). ``data/README.md`` beside the file tells which of their types stand for which
    of ours.

    The Azimuth PBMC markers were found in the study from which :func:`pbmc` has its cells, so
    that agreement with them is no independent evidence; the other sources are independent of
    those cells. Only about a third of the genes are in :func:`pbmc`, which has a subset of genes
    (6 for Plasma cells, 7 for Platelet, 21 for NK cells): intersect with ``adata.var_names``
    before counting.

    Returns
    -------
    DataFrame with string columns ``cell_type`` (a category of ``pbmc().obs["cell_type"]``),
    ``gene`` (symbol) and ``source``.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> markers = sx.datasets.pbmc_markers()
    >>> markers.loc[markers["cell_type"] == "Tregs", "gene"].head(3).tolist()
    ['RTKN2', 'FOXP3', 'AC133644.2']

    References
    ----------
    Hao, Hao et al., Cell 184 (2021) 3573-3587, doi:10.1016/j.cell.2021.04.048;
    https://azimuth.hubmapconsortium.org/references/; Heumos, Schaar et al., Best practices for
    single-cell analysis across modalities, Nature Reviews Genetics 24 (2023) 550-572,
    https://www.sc-best-practices.org.
    """
    import pandas as pd

    with files("sensx_sc.datasets").joinpath("data", FILE).open("rb") as stream:
        return pd.read_csv(stream, dtype=str, keep_default_na=False)
