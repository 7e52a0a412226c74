"""What the evidence tools leave in ``uns``, made up: any number of groups, methods and levels."""

from __future__ import annotations

from itertools import product
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd

KS = np.unique(np.rint(np.linspace(1, 200, 25)).astype(int))
METHODS = (
    "value", "change", "ig_zero", "ig_mean", "ig_random", "ig_expected", "ig_own",
    "deeplift_shap", "gradient_shap", "kernel_shap", "permutation_shap", "random", "my_layer",
)  # fmt: skip


def groups_of(n_cells: int, n_groups: int) -> tuple[list[str], list[str]]:
    """Names of cells, and a group for each."""
    return [f"cell{i}" for i in range(n_cells)], [f"type {i % n_groups}" for i in range(n_cells)]


def curves(
    tool: str = "compare", n_groups: int = 3, n_cells: int = 30, n_methods: int = 13,
    unfit: tuple[str, ...] = (), *, accuracy: bool = False,
) -> ad.AnnData:  # fmt: skip
    """Results of ``tl.compare`` or ``tl.perturbation_curve``."""
    rng = np.random.default_rng(0)
    cells, group = groups_of(n_cells, n_groups)
    methods = [name for name in METHODS[:n_methods] if name not in unfit]
    auc, curve = [], []
    for (m, method), direction, scale in product(
        enumerate(methods), ("top", "bottom"), ("delta_star", "1")
    ):
        good = 0.3 + 0.05 * m + (0.1 if scale == "1" else 0)
        area = np.clip(
            rng.normal(good if direction == "top" else 1.1 - 0.4 * good, 0.06, n_cells), 0, 1
        )
        auc.append(pd.DataFrame({"cell": cells, "method": method, "direction": direction,
                                 "scale": scale, "auc": area}))  # fmt: skip
        fraction = np.concatenate([[0], KS]) / 200
        rate = 8 * (1 - good) if direction == "top" else 0.5
        for g in range(n_groups):
            mean = np.exp(-rate * (1 + 0.1 * g) * fraction ** (1 if direction == "top" else 4))
            curve.append(pd.DataFrame({
                "group": f"type {g}", "method": method, "direction": direction, "scale": scale,
                "k": np.concatenate([[0], KS]), "fraction": fraction, "mean": mean,
                "std": 0.1 * (1 - mean) if n_cells > n_groups else np.nan,
                "n_cells": sum(name == f"type {g}" for name in group),
            }))  # fmt: skip
    adata = ad.AnnData(np.zeros((n_cells, 4), dtype=np.float32))
    adata.obs_names = cells
    tables: dict[str, Any] = {"auc": pd.concat(auc, ignore_index=True),
                              "curves": pd.concat(curve, ignore_index=True)}  # fmt: skip
    if tool == "compare":
        tables["table"] = pd.DataFrame({
            "method": [*methods, *unfit],
            "applies": [True] * len(methods) + [False] * len(unfit),
            "reason": [""] * len(methods) + [
                "needs 230 GB of memory, more than the budget of 1.07 GB"
            ] * len(unfit),
        })  # fmt: skip
    if accuracy:
        tables["accuracy"] = pd.concat([
            pd.DataFrame({"method": name, "k": range(1, 6),
                          "accuracy": np.linspace(1, 0.5 - 0.03 * m, 5)})
            for m, name in enumerate(methods)
        ], ignore_index=True)  # fmt: skip
    adata.uns[f"sensx_{'compare' if tool == 'compare' else 'perturbation'}"] = {
        "params": {"tool": tool},
        **tables,
    }
    return adata


def landscape(
    n_groups: int = 3, n_cells: int = 6, n_deltas: int = 13, n_ks: int = 20
) -> ad.AnnData:
    """Results of ``tl.landscape``."""
    rng = np.random.default_rng(1)
    cells, group = groups_of(n_cells, n_groups)
    deltas = np.geomspace(0.01, 1, n_deltas) if n_deltas > 1 else np.array([0.1])
    ks = np.unique(np.rint(np.geomspace(1, 6000, n_ks)).astype(int))
    grid, edge, about = [], [], []
    for name, kind in zip(cells, group, strict=True):
        star = float(10 ** rng.normal(-1.1, 0.15))
        for direction in ("top", "bottom"):
            size = np.outer(deltas / star, (ks / 600) ** 0.7)
            size *= 1 if direction == "top" else 0.03
            median = 0.995 * np.exp(-size)
            part = pd.MultiIndex.from_product([deltas, ks], names=["delta", "k"]).to_frame(
                index=False
            )
            part["median"] = median.ravel()
            part["low"], part["high"] = part["median"] * 0.7, np.minimum(part["median"] * 1.2, 1)
            grid.append(part.assign(cell=name, direction=direction))
            if direction == "top":
                fewest = len(ks)
                for d, row in enumerate(median < 0.5):
                    first = int(np.argmax(row)) if row.any() else len(ks)
                    if first < fewest:
                        edge.append((name, deltas[d], ks[first]))
                        fewest = first
        about.append({"cell": name, "group": kind, "qoi": 0.995, "threshold": 0.4975,
                      "delta_star": star, "n_significant": 40, "significant_at": star})  # fmt: skip
    adata = ad.AnnData(np.zeros((n_cells, 4), dtype=np.float32))
    adata.uns["sensx_landscape"] = {
        "params": {"tool": "landscape"},
        "grid": pd.concat(grid, ignore_index=True),
        "pareto": pd.DataFrame(edge, columns=["cell", "delta", "k"]),
        "cells": pd.DataFrame(about),
    }
    return adata


def convergence(n_groups: int = 3, n_cells: int = 12, n_points: int = 30) -> ad.AnnData:
    """Results of ``tl.convergence``."""
    rng = np.random.default_rng(2)
    cells, group = groups_of(n_cells, n_groups)
    walks = 20 * np.arange(1, n_points + 1)
    parts = []
    for name in cells:
        half = walks / (walks + 60 * rng.lognormal(0, 0.3))
        parts.append(pd.DataFrame({
            "cell": name, "n_walks": walks,
            "successive": np.where(walks > 20, 1 - 1.5 / walks**0.8, np.nan),
            "split_half": np.where(walks > 20, half, np.nan),
            "reliability": np.where(walks > 20, 2 * half / (1 + half), np.nan),
            "overlap": np.where(walks > 20, 0.9 * half**2, np.nan), "relative_error": 1 / walks,
        }))  # fmt: skip
    adata = ad.AnnData(np.zeros((n_cells, 4), dtype=np.float32))
    adata.uns["sensx_convergence"] = {
        "params": {"tool": "convergence", "top_k": 50},
        "curves": pd.concat(parts, ignore_index=True),
        "cells": pd.DataFrame({"cell": cells, "group": group}),
    }
    return adata


def randomization(n_levels: int = 3, n_cells: int = 20, mode: str = "cascade") -> ad.AnnData:
    """Results of ``tl.randomization_check``."""
    rng = np.random.default_rng(3)
    cells, group = groups_of(n_cells, 2)
    parts = []
    for level in range(n_levels + 1):
        r = np.clip(rng.normal(0.99 if level == 0 else 0.5 / level, 0.05, n_cells), -1, 1)
        flat = rng.random(n_cells) < (0 if level < n_levels else 1 if n_levels > 2 else 0.5)
        name = "another seed" if level == 0 else f"encoder.block.{12 - level}.attention.projection"
        parts.append(pd.DataFrame({
            "cell": cells, "group": group, "level": level, "layers": name,
            "spearman": np.where(flat, np.nan, r), "overlap": np.where(flat, np.nan, r**2),
            "delta_star": np.where(flat, 0, 0.08 * (1 + level)),
            "status": np.where(flat, "insensitive", "resolved"), "qoi": 0.9,
        }))  # fmt: skip
    adata = ad.AnnData(np.zeros((n_cells, 4), dtype=np.float32))
    adata.uns["sensx_randomization"] = {
        "params": {"tool": "randomization_check", "mode": mode},
        "levels": pd.concat(parts, ignore_index=True),
    }
    return adata


def noise(n_groups: int = 3, n_cells: int = 30) -> ad.AnnData:
    """Results of ``tl.noise_screening``."""
    rng = np.random.default_rng(5)
    cells, group = groups_of(n_cells, n_groups)
    adata = ad.AnnData(np.zeros((n_cells, 4), dtype=np.float32))
    adata.uns["sensx_noise"] = {
        "params": {"tool": "noise_screening", "n_features": 6289, "alpha": 0.05},
        "cells": pd.DataFrame({
            "cell": cells, "group": group, "threshold": 10 ** rng.normal(-7, 0.4, n_cells),
            "rate": 0.01, "n_walks": 200,
            "n_found": np.minimum(rng.normal(5200, 500, n_cells).astype(int), 6289),
        }),
    }  # fmt: skip
    return adata
