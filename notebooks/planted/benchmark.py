"""Planted truth at gene scale: counts like real ones, driver genes that are known.

python notebooks/planted/benchmark.py

Counts are drawn from gamma-Poisson laws fitted to real blood cells, gene by gene, with the real
depths. Class labels depend on a few driver genes in one of three ways: additive; redundant, in
modules that rise and fall together; interacting, where one gene of a pair opens the gate for the
other. Two models are explained: the true response itself, where a method has no excuse, and a net
that was trained on the labels. Writes results/planted.csv, which the notebook beside this file
reads. One process, one thread.
"""

from __future__ import annotations

import argparse
import functools
import itertools
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
from scipy import sparse
from torch import nn

import sensx_sc as sx

RESULTS = Path(__file__).parent / "results"
KINDS = ("additive", "redundant", "interacting")
N_DRIVERS = 12
BASELINES = ("ig_zero", "ig_mean", "ig_expected", "deeplift_shap", "gradient_shap")
STATISTICS = ("value", "change", "mean", "shapley")


@functools.cache
def fitted(n_genes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Share of the counts and overdispersion of each gene, and depths, of real CD4 T cells."""
    adata = sx.datasets.pbmc()
    own = adata[(adata.obs["cell_type"] == "T cells CD4 conv").to_numpy()]
    counts = own.layers["counts"].toarray().astype(float)
    depth = counts.sum(axis=1)
    share = counts.sum(axis=0) / depth.sum()
    best = np.sort(np.argsort(-share, kind="stable")[:n_genes])
    expected = depth[:, None] * share[best]
    # Method of moments: Var = mu + phi mu^2, over cells of different depth.
    excess = ((counts[:, best] - expected) ** 2 - expected).sum(axis=0)
    phi = np.clip(excess / (expected**2).sum(axis=0), 0.01, 5.0)
    return share[best] / share[best].sum(), phi, depth, list(own.var_names[best])


def drawn(kind: str, n_cells: int, n_genes: int, seed: int) -> tuple[ad.AnnData, nn.Module]:
    """Cells, labels in ``.obs["label"]``, drivers in ``.var["driver"]``; and the true response."""
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    share, phi, depths, names = fitted(n_genes)
    depth = rng.choice(depths, n_cells) * 1.5
    seen = 1 - np.exp(-np.median(depth) * share)
    drivers = rng.choice(np.flatnonzero((seen > 0.15) & (seen < 0.85)), N_DRIVERS, replace=False)
    rate = np.repeat(share[None], n_cells, axis=0)
    module = np.arange(N_DRIVERS) // 3
    if kind == "redundant":  # genes of a module rise and fall together
        factor = 0.9 * rng.normal(size=(n_cells, N_DRIVERS // 3))
        rate[:, drivers] *= np.exp(factor[:, module] - 0.4)
    rate *= rng.gamma(1 / phi, phi, size=rate.shape)
    counts = sparse.csr_matrix(rng.poisson(depth[:, None] * rate).astype(np.float32))
    total = np.maximum(np.asarray(counts.sum(axis=1)).ravel(), 1)
    X = counts.copy()
    X.data = np.log1p(X.data / np.repeat(total, np.diff(X.indptr)) * 1e4).astype(np.float32)
    adata = ad.AnnData(X)
    adata.var_names, adata.obs_names = names, [f"cell_{i}" for i in range(n_cells)]
    adata.layers["counts"] = counts
    dense = X.toarray()[:, drivers].astype(np.float64)
    truth = Truth(kind, drivers, dense.mean(axis=0), dense.std(axis=0), rng, n_genes)
    with torch.no_grad():
        logit = truth(torch.as_tensor(X.toarray(), dtype=torch.float64)).numpy().ravel()
    truth.shift -= float(np.median(logit))
    adata.obs["label"] = pd.Categorical(np.where(logit > np.median(logit), "1", "0"))
    driver = np.zeros(n_genes, dtype=bool)
    driver[drivers] = True
    adata.var["driver"] = driver
    return adata, truth


class Truth(nn.Module):
    """The logit that the labels were made from, on log-normalised expression."""

    def __init__(self, kind: str, drivers: np.ndarray, mean: np.ndarray, sd: np.ndarray,
                 rng: np.random.Generator, n_genes: int) -> None:  # fmt: skip
        super().__init__()
        self.kind = kind
        pick = torch.zeros(n_genes, len(drivers), dtype=torch.float64)
        pick[drivers, np.arange(len(drivers))] = torch.as_tensor(1 / sd)
        self.register_buffer("pick", pick)
        self.register_buffer("centre", torch.as_tensor(mean / sd))
        parts = {"additive": 1, "redundant": 3, "interacting": 2}[kind]  # genes that share a sign
        sign = rng.permutation(np.resize([-1.0, 1.0], len(drivers) // parts))  # as many + as -
        self.register_buffer("sign", torch.as_tensor(np.repeat(sign, parts)))
        self.shift = 0.0

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        z = rows @ self.pick.to(rows.dtype) - self.centre.to(rows.dtype)
        sign = self.sign.to(rows.dtype)
        if self.kind == "additive":
            logit = 1.5 * (z * sign).sum(dim=1)
        elif self.kind == "redundant":
            each = z.reshape(len(z), -1, 3).mean(dim=2)
            logit = 3.0 * (each * sign[::3]).sum(dim=1)
        else:
            gate = torch.sigmoid(2 * z[:, ::2])  # open in cells that express the first of a pair
            logit = 4.0 * (gate * (z[:, 1::2] + 1) * sign[::2]).sum(dim=1)
        return (logit + self.shift)[:, None]


def sure(adata: ad.AnnData, net: nn.Module, names: list[str], most: int) -> list[str]:
    """The first cells that a model calls 1 with p >= .9."""
    rows = adata[names].X.toarray()
    dtype = next((b.dtype for b in (*net.parameters(), *net.buffers())), torch.float32)
    with torch.no_grad():
        p = torch.sigmoid(net(torch.as_tensor(rows, dtype=dtype))).numpy().ravel()
    return [names[i] for i in np.flatnonzero(p >= 0.9)[:most]]


def scored(adata: ad.AnnData, net: nn.Module, cells: list[str], options: argparse.Namespace,
           seed: int) -> tuple[dict[str, np.ndarray], np.ndarray, ad.AnnData]:  # fmt: skip
    """Sizes of every method's scores, (cells, genes), and which genes are present."""
    X = adata.X.toarray()
    some = adata[cells].copy()
    sx.tl.sensx(
        some, net, lower=0.0, upper=X.max(axis=0), n_walks=options.walks,
        n_samples=options.samples,
        statistics=("change", "mean", "shapley"), seed=seed,
    )  # fmt: skip
    there = some.obs["sensx_delta_star"].to_numpy() > 0
    if not there.any():
        return {}, np.empty((0, adata.n_vars)), some[there]
    scores = {
        name: np.abs(np.asarray(some.layers["sensx" if name == "value" else f"sensx_{name}"]))[
            there
        ]
        for name in STATISTICS
    }
    rng = np.random.default_rng(seed)
    sx.tl.compare(
        some, net, methods=BASELINES, background=X[rng.choice(len(X), options.background)],
        n_draws=1, ks=[1], scales=1.0, n_steps=options.steps, keep_scores=True, key_added="other",
    )  # fmt: skip
    for method in BASELINES:
        scores[method] = np.abs(np.asarray(some.layers[f"other_{method}"]))[there]
    scores["random"] = rng.random(scores["value"].shape)
    return scores, (some.X.toarray() > 0)[there], some[there]


def rows_of(scores: dict[str, np.ndarray], present: np.ndarray, driver: np.ndarray,
            about: dict[str, Any]) -> list[dict[str, Any]]:  # fmt: skip
    """Precision at the number of drivers, recall at 50, AUROC; means over the cells."""
    rows = []
    for method, size in scores.items():
        for presence in ("all", "present"):
            values = size.astype(float) if presence == "all" else np.where(present, size, np.nan)
            truth = np.broadcast_to(driver, values.shape)
            precision, recall = sx.metrics.precision_recall(values, truth, [N_DRIVERS, 50])
            rows.append({
                **about, "method": method, "presence": presence,
                "precision": float(np.nanmean(precision[:, 0])),
                "recall50": float(np.nanmean(recall[:, 1])),
                "auroc": float(np.nanmean(sx.metrics.auroc(values, truth))), "n_cells": len(values),
            })  # fmt: skip
    return rows


def main() -> None:
    """Run every kind, seed and model, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--n-cells", type=int, default=6000)
    parser.add_argument("--n-genes", type=int, default=2000)
    parser.add_argument("--cells", type=int, default=15, help="explained cells")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--walks", type=int, default=200)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--background", type=int, default=20)
    options = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    began, rows = time.time(), []
    for seed, kind in itertools.product(range(options.seeds), KINDS):
        adata, truth = drawn(kind, options.n_cells, options.n_genes, seed)
        net = sx.models.fit_mlp(adata, "label", "1", seed=seed, epochs=options.epochs)
        test = list(net.report["test_obs_names"])
        for name, model in (("true response", truth.eval()), ("trained net", net)):
            cells = sure(adata, model, test, options.cells)
            if not cells:
                logging.info("%s, seed %d, %s: no sure cell", kind, seed, name)
                continue
            scores, present, some = scored(adata, model, cells, options, seed)
            if not scores:
                logging.info("%s, seed %d, %s: insensitive cells only", kind, seed, name)
                continue
            about = {
                "kind": kind, "seed": seed, "model": name,
                "f1": net.report["f1"] if name == "trained net" else 1.0,
                "delta_star": float(some.obs["sensx_delta_star"].median()),
                "n_asked": len(cells),
            }  # fmt: skip
            rows += rows_of(scores, present, adata.var["driver"].to_numpy(), about)
            pd.DataFrame(rows).to_csv(RESULTS / "planted.csv", index=False, float_format="%.5g")
        logging.info("%s, seed %d: F1 %.3f", kind, seed, net.report["f1"])
    done = {key: str(value) for key, value in vars(options).items()}
    done |= {"hours": f"{(time.time() - began) / 3600:.2f}", "python": platform.python_version(),
             "torch": torch.__version__, "sensx_sc": sx.__version__}  # fmt: skip
    (RESULTS / "run.json").write_text(json.dumps(done, indent=1) + "\n")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", force=True)
    logging.getLogger("sensx_sc").setLevel(logging.WARNING)
    torch.set_num_threads(1)
    sx.settings.progress = False
    main()
