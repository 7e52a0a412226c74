"""What ``tl.sensx`` leaves in an AnnData, made up: all slots, all statuses, planted genes."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

STATUSES = ["resolved", "insensitive", "left_censored", "unsaturated", "failed", "skipped"]
N_DELTAS = 25


def explained(
    n_obs: int = 300,
    n_vars: int = 60,
    n_groups: int = 3,
    *,
    seed: int = 0,
    statistics: tuple[str, ...] = ("mean", "std", "change", "shapley", "se", "n"),
    sparse: bool = True,
    long_names: bool = False,
    key: str = "sensx",
) -> ad.AnnData:
    """Group g of ``cell_type`` is driven by genes 3g .. 3g + 2 (modulo the number of genes).

    The first of the three is present, raises q and has the largest ``value``; the second is
    present, lowers q and has the largest ``change``; the third is absent and lowers q. The last
    gene is constant, so never tested.
    """
    rng = np.random.default_rng(seed)
    types = ["CD4", "NK", "B", "Mono", "Platelet", "pDC", "mDC", "Treg", "ILC", "Plasma"]
    types = [types[g] if g < len(types) else f"type {g}" for g in range(n_groups)]
    stem = "ENSG00000{:06d}-novel-transcript" if long_names else "GENE{}"
    genes = [stem.format(j) for j in range(n_vars)]
    group = np.arange(n_obs) % n_groups
    planted = (3 * group[:, None] + np.arange(3)) % (n_vars - 1)
    rows = np.arange(n_obs)

    x = np.log1p(rng.poisson(rng.gamma(0.5, 1.0, n_vars), (n_obs, n_vars))).astype(np.float32)
    x[rows, planted[:, 0]] = 1.5
    x[rows, planted[:, 1]] = 1.0
    x[rows, planted[:, 2]] = 0.0
    x[:, -1] = 0.0

    value = rng.gamma(2.0, 0.004, (n_obs, n_vars))
    for place, size in enumerate((0.09, 0.05, 0.07)):
        value[rows, planted[:, place]] = size * rng.lognormal(0, 0.15, n_obs)
    sign = rng.choice([-1.0, 1.0], (1, n_vars)) * np.ones((n_obs, 1))
    for place, direction in enumerate((1.0, -1.0, -1.0)):
        sign[rows, planted[:, place]] = direction
    change = value * rng.uniform(0.05, 0.15, (n_obs, n_vars))
    change[rows, planted[:, 1]] = value[rows, planted[:, 1]] * 0.5
    layers = {
        "value": value,
        "mean": value * sign * 0.9,
        "std": value * 0.5,
        "change": change,
        "shapley": -change * sign,
        "se": value * 0.05,
        "n": np.full((n_obs, n_vars), 200.0),
    }

    status = rng.choice(STATUSES, n_obs, p=[0.72, 0.05, 0.06, 0.07, 0.02, 0.08])
    status[:6] = STATUSES
    deltas = np.geomspace(1e-4, 1, N_DELTAS)
    middle = rng.normal(12 + 3 * np.sin(group), 2.0).round().clip(1, N_DELTAS - 2).astype(int)
    star = deltas[middle]
    star[status == "insensitive"] = 0.0
    star[status == "left_censored"] = deltas[0]
    star[status == "unsaturated"] = 1.0
    star[np.isin(status, ["failed", "skipped"])] = np.nan
    has_row = np.isin(status, ["resolved", "left_censored", "unsaturated"])
    q = rng.uniform(0.99, 1.0, n_obs)
    envelope = np.full((n_obs, N_DELTAS, 2), np.nan)
    for i in np.flatnonzero(~np.isin(status, ["failed", "skipped"])):
        level = np.arange(N_DELTAS) - (middle[i] if status[i] == "resolved" else 30)
        fall = 1 / (1 + np.exp(-(level + 4.0)))
        if status[i] == "left_censored":
            fall[:] = 1.0
        if status[i] == "unsaturated":
            fall = np.linspace(0, 0.8, N_DELTAS) ** 2
        if status[i] == "insensitive":
            fall = np.linspace(0, 0.01, N_DELTAS)
        envelope[i, :, 1] = q[i] * (1 - 0.97 * fall**4)
        envelope[i, :, 0] = q[i] * (1 - fall)

    adata = ad.AnnData(sp.csr_matrix(x) if sparse else x)
    adata.obs_names = [f"cell{i}" for i in range(n_obs)]
    adata.var_names = genes
    adata.obs["cell_type"] = pd.Categorical([types[g] for g in group], categories=types)
    target = [None if s == "skipped" else types[g] for s, g in zip(status, group, strict=True)]
    adata.obs[f"{key}_delta_star"] = star
    adata.obs[f"{key}_status"] = pd.Categorical(status, categories=STATUSES)
    adata.obs[f"{key}_target"] = pd.Categorical(target, categories=types)
    adata.obs[f"{key}_qoi"] = np.where(status == "skipped", np.nan, q)
    for layer in layers.values():
        layer[~has_row] = np.nan
        layer[:, -1] = np.nan
    adata.layers[key] = layers["value"].astype(np.float32)
    rank = (-layers["value"]).argsort(axis=1, kind="stable").argsort(axis=1) + 1
    adata.layers[f"{key}_rank"] = np.where(np.isnan(value), 0, rank).astype(np.int32)
    for name in statistics:
        array = layers[name]
        adata.layers[f"{key}_{name}"] = (
            np.nan_to_num(array).astype(np.int32) if name == "n" else array.astype(np.float32)
        )
    adata.obsm[f"{key}_envelope"] = envelope
    angle = 2 * np.pi * group / n_groups
    centre = 4 * np.column_stack([np.cos(angle), np.sin(angle)])
    adata.obsm["X_umap"] = centre + rng.normal(0, 0.8, (n_obs, 2))
    adata.var[f"{key}_lower"] = np.zeros(n_vars)
    adata.var[f"{key}_upper"] = x.max(axis=0).astype(np.float64)
    rankings = _rankings(adata, has_row, layers, x, types)
    first = {name: part.head(100) for name, part in rankings.groupby("group", sort=False)}
    adata.uns[key] = {
        "params": {
            "groupby": f"{key}_target",
            "reference": "rest",
            "method": "sensx",
            "use_raw": False,
            "layer": None,
            "tau": 0.1,
            "rank_by": "value",
            "n_walks": 200,
            "design": "balanced",
            "block": 20,
            "n_blocks": 10,
            "top_k": None,
            "until_stable": False,
            "seed": 0,
            "qoi": "probability",
        },
        "deltas": deltas,
        "noise_floor": 1e-7,
        "versions": {"sensx_sc": "0.1.0"},
        "rankings": rankings,
        "names": pd.DataFrame({k: v["names"].to_numpy() for k, v in first.items()}).to_records(
            index=False, column_dtypes="O"
        ),
        "scores": pd.DataFrame({k: v["value"].to_numpy() for k, v in first.items()}).to_records(
            index=False, column_dtypes="float32"
        ),
    }
    return adata


def _rankings(
    adata: ad.AnnData,
    has_row: np.ndarray,
    layers: dict[str, np.ndarray],
    x: np.ndarray,
    types: list[str],
) -> pd.DataFrame:
    parts = []
    for name in types:
        cells = has_row & (adata.obs["cell_type"] == name).to_numpy()
        frame = pd.DataFrame({"group": name, "names": adata.var_names, "rank": 0})
        for column in ("value", "value_se", "change", "mean"):
            rows = pd.DataFrame(layers[column.removesuffix("_se")][cells])
            frame[column] = (rows.sem() if column == "value_se" else rows.mean()).to_numpy()
        frame["presence"] = (x[cells] > 0).mean(axis=0)
        frame["n_cells"] = int(cells.sum())
        frame = frame.iloc[:-1].sort_values("value", ascending=False, kind="stable")
        frame["rank"] = np.arange(1, len(frame) + 1)
        parts.append(frame)
    return pd.concat(parts, ignore_index=True)
