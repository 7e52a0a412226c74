"""Do rankings find the genes a biologist would name? Three real data sets, several training seeds.

python notebooks/biology/benchmark.py
python notebooks/biology/benchmark.py --oligo path/to/oligodendroglioma.h5ad

The third set comes with the package infercnvpy (pip install infercnvpy), or its file is given.
Writes results/recovery.csv, which the notebook beside this file reads. One process, one thread.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pandas as pd
import torch
from scipy import sparse

import sensx_sc as sx

if TYPE_CHECKING:
    from collections.abc import Iterator

RESULTS = Path(__file__).parent / "results"
SURE, TOP, N_DE = 0.99, 20, 50
BASELINES = ("ig_zero", "ig_mean", "ig_expected", "deeplift_shap", "gradient_shap")
STATISTICS = ("value", "change", "mean", "shapley")
OF_68K = {
    "Dendritic": "mDC",
    "CD14+ Monocyte": "Monocytes",
    "CD19+ B": "B cells",
    "CD4+/CD25 T Reg": "Tregs",
    "CD8+ Cytotoxic T": "T cells CD8",
    "CD8+/CD45RA+ Naive Cytotoxic": "T cells CD8",
    "CD56+ NK": "NK cells",
}
OF_OLIGO = {  # Tirosh et al., Nature 539 (2016) 309, and textbook lineage markers
    "Microglia/Macrophage": (
        "CD14", "AIF1", "CSF1R", "CD74", "TYROBP", "C1QA", "C1QB", "C1QC", "FCGR3A", "CX3CR1",
        "P2RY12", "TREM2", "LAPTM5", "HLA-DRA",
    ),
    "Oligodendrocytes (non-malignant)": (
        "MBP", "PLP1", "MOG", "MAG", "CNP", "MOBP", "CLDN11", "TF", "ERMN", "KLK6",
    ),
    "malignant": (
        "OLIG1", "OLIG2", "SOX11", "SOX4", "SOX2", "PDGFRA", "DLL3", "EGFR", "APOD", "OMG",
    ),
}  # fmt: skip


def pbmc() -> tuple[ad.AnnData, dict[str, set[str]]]:
    """Hao et al., 9 types, 11,180 genes."""
    adata = sx.datasets.pbmc()
    counts = adata.obs["cell_type"].value_counts()
    adata = adata[adata.obs["cell_type"].isin(counts.index[counts >= 80])].copy()
    markers = sx.datasets.pbmc_markers()
    return adata, {name: set(part["gene"]) for name, part in markers.groupby("cell_type")}


def pbmc68k() -> tuple[ad.AnnData, dict[str, set[str]]]:
    """Zheng et al., reduced, 765 genes; the same markers under the names of these types."""
    adata = sx.datasets.pbmc68k()
    markers = sx.datasets.pbmc_markers()
    of = {name: set(part["gene"]) for name, part in markers.groupby("cell_type")}
    return adata, {name: of[theirs] for name, theirs in OF_68K.items()}


def oligodendroglioma(path: Path | None) -> tuple[ad.AnnData, dict[str, set[str]]]:
    """Tirosh et al., 184 cells, full-length reads; malignant cells of four tumours together."""
    if path is None:
        import infercnvpy

        path = Path(infercnvpy.__file__).parent / "datasets" / "data" / "oligodendroglioma.h5ad"
    adata = ad.read_h5ad(path)
    X = sparse.csr_matrix(adata.X, dtype=np.float64)
    X.data = np.log1p(
        X.data / np.repeat(np.asarray(X.sum(axis=1)).ravel(), np.diff(X.indptr)) * 1e4
    )
    kind = adata.obs["cell_type"].astype(str)
    found = ad.AnnData(X.astype(np.float32), obs=pd.DataFrame(index=adata.obs_names),
                       var=pd.DataFrame(index=adata.var_names))  # fmt: skip
    kind[kind.str.startswith("malignant")] = "malignant"
    found.obs["cell_type"] = pd.Categorical(kind.to_numpy())
    return found, {name: set(genes) for name, genes in OF_OLIGO.items()}


def most_variable(adata: ad.AnnData, n_genes: int | None) -> ad.AnnData:
    """The so many genes of largest variance; None: all."""
    if n_genes is None or n_genes >= adata.n_vars:
        return adata
    spread = adata.X.toarray().var(axis=0)
    return adata[:, np.sort(np.argsort(-spread, kind="stable")[:n_genes])].copy()


def de_genes(adata: ad.AnnData) -> dict[str, np.ndarray]:
    """Standardised rank sums of each type against the rest: genes that are higher there."""
    X = adata.X.toarray()
    kind = adata.obs["cell_type"].to_numpy()
    return {
        name: np.nan_to_num(sx.metrics.rank_test(X[kind == name], X[kind != name]).z)
        for name in adata.obs["cell_type"].cat.categories
    }


def bounds(adata: ad.AnnData) -> dict[str, np.ndarray]:
    """Upper ends of the two domains."""
    X = adata.X.toarray()
    return {"max": X.max(axis=0), "q999": np.quantile(X, 0.999, axis=0)}


def explained_cells(adata: ad.AnnData, name: str, net: Any, most: int) -> np.ndarray:
    """Names of cells of a type that its net is sure of, held-out ones first."""
    own = adata[(adata.obs["cell_type"] == name).to_numpy()]
    with torch.inference_mode():
        p = torch.sigmoid(net(torch.as_tensor(own.X.toarray()))).numpy().ravel()
    held_out = set(net.report["test_obs_names"])
    sure = own.obs_names[p >= SURE]
    return np.array(
        sorted(sure, key=lambda cell: (cell not in held_out, cell))[:most], dtype=object
    )


def group_scores(
    adata: ad.AnnData, name: str, net: Any, cells: np.ndarray, uppers: dict[str, np.ndarray],
    options: argparse.Namespace, seed: int,
) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:  # fmt: skip
    """Method, domain, mean size of the scores over the cells, and presence of each gene."""
    whole = adata.X.toarray()
    for domain, upper in uppers.items():
        some = adata[cells].copy()
        sx.tl.sensx(
            some, net, target=name, lower=0.0, upper=upper, out_of_domain="clip",
            n_walks=options.walks, n_samples=options.samples,
            statistics=("change", "mean", "shapley"), seed=seed,
        )  # fmt: skip
        there = some.obs["sensx_delta_star"].to_numpy() > 0
        if not there.any():
            continue
        present = (some.X.toarray()[there] > 0).mean(axis=0)
        for statistic in STATISTICS:
            layer = "sensx" if statistic == "value" else f"sensx_{statistic}"
            scores = np.abs(np.asarray(some.layers[layer], dtype=float)[there])
            yield statistic, domain, scores.mean(axis=0), present
        if domain != "max":
            continue
        rng = np.random.default_rng(seed)
        background = whole[rng.choice(len(whole), options.background, replace=False)]
        sx.tl.compare(
            some, net, methods=BASELINES, background=background, n_draws=1, ks=[1], scales=1.0,
            n_steps=options.steps, keep_scores=True, key_added="other",
        )  # fmt: skip
        for method in BASELINES:
            scores = np.abs(np.asarray(some.layers[f"other_{method}"], dtype=float)[there])
            yield method, "max", scores.mean(axis=0), present
        control = np.where(upper > 0, rng.random(len(upper)), np.nan)
        yield "random", "max", control, present


def measured(scores: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Hits among the first 20 and AUROC."""
    return (
        float(sx.metrics.hits(scores[None], truth, TOP)[0]),
        float(sx.metrics.auroc(scores[None], truth)[0]),
    )


def recovery(set_name: str, adata: ad.AnnData, markers: dict[str, set[str]],
             options: argparse.Namespace) -> Iterator[list[dict[str, Any]]]:  # fmt: skip
    """Every type, seed, domain, method and filter of one data set; yields after each net."""
    de, uppers = de_genes(adata), bounds(adata)
    counts = adata.obs["cell_type"].value_counts()
    types = [name for name in markers if name in counts.index and counts[name] >= options.fewest]
    types = [name for name in types if options.types is None or name in options.types]
    for name in types:
        known = adata.var_names.isin(list(markers[name])) & (uppers["max"] > 0)
        up = np.zeros(adata.n_vars, dtype=bool)
        up[np.argsort(-de[name], kind="stable")[:N_DE]] = True
        about = {"set": set_name, "cell_type": name, "n_markers": int(known.sum())}
        hits, area = measured(np.where(uppers["max"] > 0, np.maximum(de[name], 0), np.nan), known)
        yield [{**about, "seed": 0, "method": "differential expression", "domain": "max",
                "presence": "all", "hits": hits, "auroc": area}]  # fmt: skip
        for seed in range(options.seeds):
            net = sx.models.fit_mlp(adata, "cell_type", name, seed=seed)
            cells = explained_cells(adata, name, net, options.cells)
            if not len(cells):
                logging.info("%s, %s, seed %d: no cell with p >= %g", set_name, name, seed, SURE)
                continue
            rows = []
            for method, domain, scores, present in group_scores(
                adata, name, net, cells, uppers, options, seed
            ):
                for presence in ("all", "present", "absent"):
                    keep = np.ones(len(scores), dtype=bool)
                    if presence != "all":
                        keep = (present >= 0.5) == (presence == "present")
                    filtered = np.where(keep, scores, np.nan)
                    hits, area = measured(filtered, known)
                    de_hits, de_area = measured(filtered, up)
                    rows.append({
                        **about, "seed": seed, "method": method, "domain": domain,
                        "presence": presence, "hits": hits, "auroc": area, "de_hits": de_hits,
                        "de_auroc": de_area, "n_cells": len(cells), "f1": net.report["f1"],
                        "markers_left": int((known & keep).sum()),
                    })  # fmt: skip
            logging.info("%s, %s, seed %d", set_name, name, seed)
            yield rows


def main() -> None:
    """Run all sets and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cells", type=int, default=5, help="explained cells a type")
    parser.add_argument("--fewest", type=int, default=15)
    parser.add_argument("--types", nargs="+", default=None, help="only these types")
    parser.add_argument("--walks", type=int, default=100)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--genes", type=int, default=None, help="the most variable; else all")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--background", type=int, default=20)
    parser.add_argument("--oligo", type=Path, default=None)
    parser.add_argument("--sets", nargs="+", default=["pbmc68k", "oligodendroglioma", "pbmc"])
    options = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "recovery.csv"
    began, rows = time.time(), []
    if path.exists():  # sets that are not asked for stay as they are
        old = pd.read_csv(path)
        rows = old[~old["set"].isin(options.sets)].to_dict("records")
    for name in options.sets:
        load = {"pbmc": pbmc, "pbmc68k": pbmc68k,
                "oligodendroglioma": lambda: oligodendroglioma(options.oligo)}[name]  # fmt: skip
        adata, markers = load()
        for part in recovery(name, most_variable(adata, options.genes), markers, options):
            rows += part
            pd.DataFrame(rows).to_csv(path, index=False, float_format="%.5g")
    done = {key: value for key, value in vars(options).items() if key != "oligo"}
    done |= {"hours": round((time.time() - began) / 3600, 2), "python": platform.python_version(),
             "torch": torch.__version__, "sensx_sc": sx.__version__}  # fmt: skip
    noted = RESULTS / "runs.json"  # one entry a run, since the table may come from several
    runs = json.loads(noted.read_text()) if noted.exists() else []
    noted.write_text(json.dumps([*runs, done], indent=1) + "\n")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", force=True)
    logging.getLogger("sensx_sc").setLevel(logging.WARNING)
    torch.set_num_threads(1)
    sx.settings.progress = False
    main()
