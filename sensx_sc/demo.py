"""The main job on real cells: train classifiers, explain cells, look at what drives the calls."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sensx_sc.logger import logger

if TYPE_CHECKING:
    from anndata import AnnData

    from sensx_sc.models.mlp import ExpressionMLP

SURE = 0.99
TOP = 20
FEWEST_CELLS = 80


def run_demo(
    out: str | Path,
    *,
    cells: int = 5,
    n_walks: int = 200,
    n_genes: int | None = None,
    seed: int = 0,
    progress: bool | None = None,
) -> pd.DataFrame:
    """Explain sure calls of cell types on blood cells, and write tables, figures and the AnnData.

    Trains one binary net a cell type of :func:`sensx_sc.datasets.pbmc` (the paper's 250-50
    nets), explains held-out cells that are called with a probability of at least 0.99, and
    compares the genes that drive the calls with known markers.

    Parameters
    ----------
    out
        Folder for the results; made if missing.
    cells
        Cells a type to explain, at most.
    n_walks
        Walks a cell.
    n_genes
        Use the most variable genes; None: all.
    seed
        Seed of training and explanation.
    progress
        Show progress bars; None: ``settings.progress``.

    Returns
    -------
    The table, one row a cell type.
    """
    import sensx_sc as sx

    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    adata = most_variable(sx.datasets.pbmc(), n_genes)
    sx.pp.domain(adata, lower=0)
    nets = train(adata, seed=seed, progress=progress)
    explained = adata[sure_cells(adata, nets, cells)].copy()
    sx.tl.sensx(
        explained,
        nets,
        target="cell_type",
        n_walks=n_walks,
        statistics=("value", "rank", "change", "mean", "se"),
        seed=seed,
        progress=progress,
    )
    table = summary(explained, nets)
    table.to_csv(folder / "table.csv", index=False)
    sx.get.rankings(explained).to_csv(folder / "rankings.csv", index=False)
    explained.write_h5ad(folder / "explained.h5ad")
    draw(explained, folder)
    logger.info("demo: wrote table, rankings, explained.h5ad and figures to %s.", folder)
    return table


def most_variable(adata: AnnData, n_genes: int | None) -> AnnData:
    """The genes of largest variance, in their order."""
    if n_genes is None or n_genes >= adata.n_vars:
        return adata
    mean = np.asarray(adata.X.mean(axis=0)).ravel()
    square = np.asarray(adata.X.multiply(adata.X).mean(axis=0)).ravel()
    best = np.sort(np.argsort(mean**2 - square, kind="stable")[:n_genes])
    return adata[:, best].copy()


def train(adata: AnnData, *, seed: int, progress: bool | None) -> dict[str, ExpressionMLP]:
    """One binary net for each cell type with enough cells."""
    import sensx_sc as sx

    counts = adata.obs["cell_type"].value_counts()
    common = [
        name for name in adata.obs["cell_type"].cat.categories if counts[name] >= FEWEST_CELLS
    ]
    return {
        name: sx.models.fit_mlp(adata, "cell_type", name, seed=seed, progress=progress)
        for name in common
    }


def sure_cells(adata: AnnData, nets: dict[str, ExpressionMLP], most: int) -> list[str]:
    """Held-out cells of each type that its net is sure of: the first ones, at most ``most``."""
    import torch

    chosen: list[str] = []
    for name, net in nets.items():
        held_out = adata[list(net.report["test_obs_names"])]
        own = held_out[(held_out.obs["cell_type"] == name).to_numpy()]
        with torch.inference_mode():
            probability = torch.sigmoid(net(torch.as_tensor(own.X.toarray()))).numpy().ravel()
        chosen += own.obs_names[probability >= SURE][:most].tolist()
    return chosen


def summary(explained: AnnData, nets: dict[str, ExpressionMLP]) -> pd.DataFrame:
    """What came out, a row a cell type, with the known markers among the top genes."""
    import sensx_sc as sx

    known = sx.datasets.pbmc_markers()
    rows = []
    for name, net in nets.items():
        own = (explained.obs["cell_type"] == name).to_numpy()
        row: dict[str, object] = {"type": name, "held-out F1": round(net.report["f1"], 3)}
        row["cells"] = int(own.sum())
        if own.any():
            status = explained.obs["sensx_status"][own].value_counts()
            markers = set(known.loc[known["cell_type"] == name, "gene"]) & set(explained.var_names)
            tops = {
                "value": sx.get.rankings(explained, groups=name, rank_by="value", n_genes=TOP),
                "change": sx.get.rankings(explained, groups=name, rank_by="change", n_genes=TOP),
                "present": sx.get.rankings(
                    explained, groups=name, rank_by="change", presence="present", n_genes=TOP
                ),
            }
            row["median delta*"] = float(f"{explained.obs['sensx_delta_star'][own].median():.2g}")
            row["statuses"] = ", ".join(f"{n} {label}" for label, n in status.items() if n)
            row["markers"] = len(markers)
            for label, top in tops.items():
                row[f"by {label}"] = len(markers & set(top["names"]))
            row["top genes by value"] = _top_genes(tops["value"], interval=True)
            row["top genes by change, where present"] = _top_genes(tops["present"])
        rows.append(row)
    table = pd.DataFrame(rows)
    counts = [name for name in table if str(name) == "markers" or str(name).startswith("by ")]
    return table.astype(dict.fromkeys(counts, "Int64"))


def _top_genes(table: pd.DataFrame, n: int = 5, *, interval: bool = False) -> str:
    """The first genes with their sign, and the 95 % interval of the group's mean value."""
    from sensx_sc.core.statistics import interval as student

    shown = []
    for gene in table.head(n).itertuples():
        text = f"{gene.names}{'+' if gene.mean > 0 else '-'}"
        if interval:
            _, half = student(np.zeros(1), np.array([gene.value_se]), max(2, gene.n_cells))
            text += f" {gene.value:.2g}±{half[0]:.1g}"
        shown.append(text)
    return ", ".join(shown)


def draw(explained: AnnData, folder: Path) -> None:
    """The figures."""
    import matplotlib as mpl

    import sensx_sc as sx

    mpl.use("Agg")
    first = explained.obs_names[0]
    pictures = {
        "rankings_present": sx.pl.rankings(
            explained, rank_by="change", presence="present", n_genes=10
        ),
        "rankings_value": sx.pl.rankings(explained, n_genes=10),
        "delta_star": sx.pl.delta_star(explained, "cell_type"),
        "envelope": sx.pl.envelope(explained, first),
        "heatmap": sx.pl.heatmap(explained, groupby="cell_type", rank_by="change", n_genes=5),
    }
    for name, axes in pictures.items():
        figure = np.ravel(np.asarray(axes, dtype=object))[0].figure
        figure.savefig(folder / f"{name}.png", dpi=120, bbox_inches="tight")
