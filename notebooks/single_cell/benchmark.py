"""The paper's single-cell case study (section 4.3, appendices B and F.3) on the cells you have.

python notebooks/single_cell/benchmark.py
python notebooks/single_cell/benchmark.py --data hlca_core.h5ad --label cell_type --cells 1000

Without --data on the blood cells that come with the package. Tables go to results/<name>/, which
the notebook beside this file reads. Nets are kept in --cache. One process, one thread: about an
hour of one core for the blood cells.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import time
import warnings
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import torch

import sensx_sc as sx
from sensx_sc.core.calibration import criterion

HERE = Path(__file__).parent
METHODS = (
    "value", "change", "ig_zero", "ig_mean", "ig_own", "ig_expected", "deeplift_shap",
    "gradient_shap", "kernel_shap", "permutation_shap", "random",
)  # fmt: skip
TAUS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
SAMPLES = (100, 500, 1000, 5000)
GRID_SIZES = (10, 25, 50, 100)
SURE = 0.99


def load(options: argparse.Namespace) -> ad.AnnData:
    """Log-normalised cells with a column ``cell_type``; types with too few cells are left out."""
    if options.data is None:
        adata = sx.datasets.pbmc()
    else:
        adata = ad.read_h5ad(options.data)
        if adata.raw is not None and options.use_raw:
            adata = adata.raw.to_adata()
        adata.obs["cell_type"] = adata.obs[options.label].astype("category")
    counts = adata.obs["cell_type"].value_counts()
    common = counts.index[counts >= options.fewest]
    adata = adata[adata.obs["cell_type"].isin(common)].copy()
    adata.obs["cell_type"] = adata.obs["cell_type"].cat.remove_unused_categories()
    mean, square = (
        np.asarray(m.mean(axis=0)).ravel() for m in (adata.X, adata.X.multiply(adata.X))
    )
    variance = square - mean**2
    keep = variance > 1e-6  # the paper's filter
    if options.genes is not None:
        keep[np.argsort(-variance, kind="stable")[options.genes :]] = False
    adata = adata[:, keep].copy()
    sx.pp.domain(adata)
    return adata


def nets_of(adata: ad.AnnData, options: argparse.Namespace) -> dict[str, Any]:
    """A binary 250-50 net a type, from the cache if it is there."""
    nets = {}
    for name in adata.obs["cell_type"].cat.categories:
        safe = "".join(c if c.isalnum() else "_" for c in name)
        path = options.cache / f"{options.name}-{adata.n_vars}-{safe}-{options.seed}.pt"
        if not path.exists():
            sx.models.fit_mlp(adata, "cell_type", name, seed=options.seed).save(path)
        nets[name] = sx.models.ExpressionMLP.load(path)
    return nets


def sure_cells(adata: ad.AnnData, nets: dict[str, Any], most: int) -> ad.AnnData:
    """Up to so many cells of each type that its net calls with p >= .99; held-out ones first."""
    chosen: list[str] = []
    for name, net in nets.items():
        held_out = set(net.report["test_obs_names"])
        own = adata[(adata.obs["cell_type"] == name).to_numpy()]
        with torch.inference_mode():
            p = torch.cat([
                torch.sigmoid(net(torch.as_tensor(own.X[i : i + 512].toarray()))).ravel()
                for i in range(0, own.n_obs, 512)
            ]).numpy()  # fmt: skip
        sure = own.obs_names[p >= SURE]
        chosen += sorted(sure, key=lambda cell: (cell not in held_out, cell))[:most]
    cells = adata[chosen].copy()
    return cells


def explain(cells: ad.AnnData, nets: dict[str, Any], n_samples: int, **how: Any) -> None:
    """SensX with 50 log-spaced scales, tau .1."""
    settings = {"target": "cell_type", "n_walks": 200, "n_samples": n_samples,
                "statistics": ("change", "mean", "rank")}  # fmt: skip
    sx.tl.sensx(cells, nets, **(settings | how))


def training(adata: ad.AnnData, nets: dict[str, Any], cells: ad.AnnData) -> pd.DataFrame:
    """C1: how well the nets do."""
    rows = [
        {
            "cell_type": name, "cells": int((adata.obs["cell_type"] == name).sum()),
            "f1": net.report["f1"], "precision": net.report["precision"],
            "recall": net.report["recall"],
            "explained": int((cells.obs["cell_type"] == name).sum()),
        }
        for name, net in nets.items()
    ]  # fmt: skip
    return pd.DataFrame(rows)


def areas(
    adata: ad.AnnData, cells: ad.AnnData, nets: dict[str, Any], options: argparse.Namespace
) -> dict[str, pd.DataFrame]:
    """C6, C7: the protocol for all methods, at delta* and at 1."""
    rng = np.random.default_rng(options.seed)
    rows = np.sort(rng.choice(adata.n_obs, options.background, replace=False))
    sx.tl.compare(
        cells, nets, methods=options.methods, background=adata.X[rows].toarray(),
        n_draws=options.draws, n_steps=options.steps,
    )  # fmt: skip
    found = cells.uns["sensx_compare"]
    kind = dict(zip(cells.obs_names, cells.obs["cell_type"].astype(str), strict=True))
    return {
        "auc": found["auc"].assign(cell_type=found["auc"]["cell"].map(kind)),
        "curves": found["curves"],
        "methods": found["table"],
    }


def domains(cells: ad.AnnData, nets: dict[str, Any], n_samples: int) -> pd.DataFrame:
    """C4: the domain [0, 10] for every gene against the data's smallest and largest values."""
    wide = cells.copy()
    tested = (cells.var["sensx_upper"] > cells.var["sensx_lower"]).to_numpy()
    explain(wide, nets, n_samples, lower=0.0, upper=10.0, mask_var=tested, key_added="wide")
    rows = []
    for statistic in ("value", "change"):
        one, other = ("sensx", "wide") if statistic == "value" else ("sensx_change", "wide_change")
        for i, cell in enumerate(cells.obs_names):
            a, b = (np.asarray(x.layers[name])[i, tested].astype(float)
                    for x, name in ((cells, one), (wide, other)))  # fmt: skip
            if np.isnan(a).all() or np.isnan(b).all():
                continue
            rows.append({
                "cell": cell, "cell_type": str(cells.obs["cell_type"].iloc[i]),
                "statistic": statistic, "spearman": sx.core.spearman(a, b),
                "top50": sx.core.top_k_overlap(a, b, 50),
                "delta_star_data": cells.obs["sensx_delta_star"].iloc[i],
                "delta_star_wide": wide.obs["wide_delta_star"].iloc[i],
            })  # fmt: skip
    return pd.DataFrame(rows)


def convergence(cells: ad.AnnData, nets: dict[str, Any], n_walks: int) -> pd.DataFrame:
    """C5: the paper's curve and the honest ones, independent and balanced walks."""
    parts = []
    for design in ("uniform", "balanced"):
        for statistic in ("value", "change"):
            sx.tl.convergence(
                cells, nets, design=design, n_walks=n_walks, rank_by=statistic, n_boot=2
            )
            found = cells.uns["sensx_convergence"]
            about = found["cells"].set_index("cell")["group"]
            table = found["curves"].assign(design=design, statistic=statistic)
            parts.append(table.assign(cell_type=table["cell"].map(about)))
    return pd.concat(parts, ignore_index=True)


def stars(envelope: np.ndarray, deltas: np.ndarray, q_x: float, tau: float) -> tuple[float, str]:
    """delta* and status from an envelope (equation 2, and METHOD's names for the ends)."""
    low, high = envelope[:, 0], envelope[:, 1]
    if max(high.max(), q_x) - min(low.min(), q_x) < tau:
        return 0.0, "insensitive"
    below = criterion(low, high) < tau
    if not below.any():
        return float(deltas[-1]), "unsaturated"
    first = int(np.argmax(below))
    return float(deltas[first]), "left_censored" if first == 0 else "resolved"


def appendix_b(cells: ad.AnnData, nets: dict[str, Any], grids: tuple[str, ...],
               sizes: tuple[int, ...]) -> pd.DataFrame:  # fmt: skip
    """B1 to B3: delta* against tau, kind and size of the grid, and samples; one walk a cell."""
    rows = []
    for grid in grids:
        for size in sizes:
            deltas = (
                np.geomspace(1e-4, 1, size) if grid == "log" else np.linspace(1 / size, 1, size)
            )
            for n in SAMPLES:
                for name, net in nets.items():
                    own = cells[(cells.obs["cell_type"] == name).to_numpy()]
                    if not own.n_obs:
                        continue
                    found = sx.core.explain(
                        own.X, net, lower=cells.var["sensx_lower"], upper=cells.var["sensx_upper"],
                        deltas=deltas, n_samples=n, n_walks=1, design="uniform",
                        names=list(cells.var_names), keys=list(own.obs_names), progress=False,
                    )  # fmt: skip
                    for i, cell in enumerate(own.obs_names):
                        for tau in TAUS:
                            star, status = stars(found.envelope[i], found.deltas, found.qoi[i], tau)
                            rows.append({
                                "cell": cell, "cell_type": name, "grid": grid, "size": size,
                                "n_samples": n, "tau": tau, "delta_star": star, "status": status,
                            })  # fmt: skip
            logging.info("appendix B: %s grid of %d", grid, size)
    return pd.DataFrame(rows)


def few(cells: ad.AnnData, n: int, only: str | None = None) -> ad.AnnData:
    """The first cells of each type."""
    place = cells.obs.groupby("cell_type", observed=True).cumcount().to_numpy()
    keep = place < n
    if only is not None:
        keep &= (cells.obs["cell_type"] == only).to_numpy()
    return cells[keep].copy()


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options: of the command line, or those given."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=None, help="h5ad with log-normalised X")
    parser.add_argument("--label", default="cell_type")
    parser.add_argument("--use-raw", action="store_true")
    parser.add_argument("--name", default=None, help="of the folder for the results")
    parser.add_argument("--fewest", type=int, default=80, help="cells a type (the paper: 10000)")
    parser.add_argument("--cells", type=int, default=15, help="explained cells a type")
    parser.add_argument("--genes", type=int, default=None, help="the most variable; else all")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--few", type=int, default=3, help="cells a type for C4 and B3")
    parser.add_argument("--sizes", type=int, nargs="+", default=GRID_SIZES, help="of B's grids")
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--background", type=int, default=30)
    parser.add_argument("--walks", type=int, default=600, help="of the convergence curves")
    parser.add_argument("--convergence-cells", type=int, default=2)
    parser.add_argument("--population", type=int, default=20, help="cells of appendix B")
    parser.add_argument("--type", default=None, help="type of appendix B; else the commonest")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--parts", nargs="+", default=["areas", "domains", "convergence", "b"])
    parser.add_argument("--cache", type=Path, default=Path("single_cell_nets"))
    options = parser.parse_args(arguments)
    options.name = options.name or ("pbmc" if options.data is None else options.data.stem)
    return options


def main() -> None:
    """Run what was asked for, and write the tables."""
    options = parsed()
    folder = HERE / "results" / options.name
    folder.mkdir(parents=True, exist_ok=True)
    options.cache.mkdir(parents=True, exist_ok=True)

    def write(name: str, table: pd.DataFrame) -> None:
        table.to_csv(folder / f"{name}.csv", index=False, float_format="%.5g")
        logging.info("wrote %s (%d rows)", name, len(table))

    def note() -> None:
        done = {name: str(value) for name, value in vars(options).items() if name != "cache"}
        done["data"] = "sx.datasets.pbmc()" if options.data is None else options.data.name
        done |= {"hours": f"{(time.time() - began) / 3600:.2f}", "cells_in_data": adata.n_obs,
                 "genes": adata.n_vars, "python": platform.python_version(),
                 "torch": torch.__version__, "sensx_sc": sx.__version__}  # fmt: skip
        (folder / "run.json").write_text(json.dumps(done, indent=1) + "\n")

    began = time.time()
    adata = load(options)
    note()  # what a stopped run was, too
    nets = nets_of(adata, options)
    cells = sure_cells(adata, nets, options.cells)
    write("training", training(adata, nets, cells))
    explain(cells, nets, options.samples)
    columns = ["cell_type", "sensx_delta_star", "sensx_status", "sensx_qoi"]
    write("delta_star", cells.obs[columns].rename_axis("cell").reset_index())
    tops = [
        sx.get.rankings(cells, rank_by=by, presence=presence, n_genes=20).assign(
            by=by, filter=presence or "all"
        )
        for by in ("value", "change")
        for presence in (None, "present")
    ]
    write("rankings", pd.concat(tops, ignore_index=True))
    if "areas" in options.parts:
        for name, table in areas(adata, cells, nets, options).items():
            write(name, table)
    if "domains" in options.parts:
        write("domains", domains(few(cells, options.few), nets, options.samples))
    if "convergence" in options.parts:
        some = few(cells, options.convergence_cells)
        write("convergence", convergence(some, nets, options.walks))
    if "b" in options.parts:
        options.type = options.type or str(cells.obs["cell_type"].value_counts().index[0])
        one = few(cells, 1, options.type)
        write("b1", appendix_b(one, nets, ("log", "linear"), options.sizes))
        write("b3", appendix_b(few(cells, options.few), nets, ("log",), (50,)))
        many = few(sure_cells(adata, nets, options.population), options.population, options.type)
        write("b2", appendix_b(many, nets, ("log",), options.sizes))
    note()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", force=True)
    logging.getLogger("sensx_sc").setLevel(logging.WARNING)
    torch.set_num_threads(1)
    sx.settings.progress = False
    main()
