"""Cells on disk, two workers, the cost of storing: figures of the page about scale.

Run by hand: ``python tests/benchmarks/scale.py atlas|workers|storing [--cells N] ...``. ``atlas``
makes a sparse matrix of 200,000 x 20,000 in a folder (about 1.6 GB), explains 2,000 of its cells in
a process of its own and prints its peak memory; the folder is removed. With ``--out
docs/benchmarks.csv`` figures are also written to the file that the page about benchmarks reads.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import torch
import zarr
from kept import keep
from torch import nn

import sensx_sc as sx
from sensx_sc.scale.cluster import local_client

N_OBS, N_VARS, PER_CELL = 200_000, 20_000, 1000
_TOGETHER = 5000
DELTAS = np.geomspace(0.002, 1, 12)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def make_atlas(path: Path, n_obs: int, n_vars: int) -> None:
    """A sparse AnnData in a zarr store, written a few thousand cells at a time."""
    import pandas as pd

    rng = np.random.default_rng(0)
    per_cell = min(PER_CELL, n_vars // 2)
    names = (
        pd.Index([f"cell_{i}" for i in range(n_obs)]),
        pd.Index([f"g{j}" for j in range(n_vars)]),
    )
    empty = ad.AnnData(obs=pd.DataFrame(index=names[0]), var=pd.DataFrame(index=names[1]))
    root = zarr.open_group(path, mode="w", zarr_format=3)
    ad.io.write_elem(root, "/", empty)
    group = root.create_group(
        "X",
        overwrite=True,
        attributes={"encoding-type": "csr_matrix", "encoding-version": "0.1.0",
                    "shape": [n_obs, n_vars]},
    )  # fmt: skip
    array = {"encoding-type": "array", "encoding-version": "0.2.0"}
    length = n_obs * per_cell
    for name, kind in (("data", "f4"), ("indices", "i4")):
        group.create_array(
            name, shape=(length,), chunks=(2**20,), dtype=kind, attributes=array, compressors=None
        )
    group.create_array("indptr", shape=(n_obs + 1,), dtype="i8", attributes=array)
    group["indptr"][:] = np.arange(n_obs + 1, dtype=np.int64) * per_cell
    for start in range(0, n_obs, _TOGETHER):
        cells = min(_TOGETHER, n_obs - start)
        # One gene of each stretch of genes: sorted, all different, and quickly drawn.
        width = n_vars // per_cell
        genes = rng.integers(0, width, (cells, per_cell)) + width * np.arange(per_cell)
        part = slice(start * per_cell, (start + cells) * per_cell)
        group["indices"][part] = genes.ravel().astype(np.int32)
        group["data"][part] = rng.gamma(2.0, 0.7, size=genes.size).astype(np.float32)
    zarr.consolidate_metadata(path)


def net(n: int, width: int = 64) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(n, width), nn.ReLU(), nn.Linear(width, 8)).eval()


def atlas(options: argparse.Namespace) -> None:
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    try:
        started = time.perf_counter()
        make_atlas(folder / "atlas.zarr", options.obs, options.vars)
        size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
        seconds = time.perf_counter() - started
        say(f"made {options.obs} x {options.vars}: {size / 1e9:.2f} GB, {seconds:.0f} s")
        words = [sys.executable, "-W", "ignore", __file__, "explain", "--folder", str(folder)]
        words += ["--cells", str(options.cells), "--walks", str(options.walks)]
        words += ["--keep", options.keep]
        done = subprocess.run(words, capture_output=True, text=True)
        say(done.stderr[-1500:])
        done.check_returncode()
        told = done.stdout.splitlines()[-1]
        say(told)
        if options.out is not None:
            keep(options.out, "scale_atlas", atlas_rows(options, json.loads(told)))
    finally:
        shutil.rmtree(folder)


def atlas_rows(options: argparse.Namespace, told: dict[str, Any]) -> list[tuple[str, str]]:
    what = f"{told['cells']} of {options.obs} x {options.vars} cells, {told['walks']} walks"
    return [(f"{what}: seconds", str(told["seconds"])),
            (f"{what}: peak memory, GiB", str(told["peak_GiB"]))]  # fmt: skip


def explain(options: argparse.Namespace) -> None:
    path = Path(options.folder) / "atlas.zarr"
    adata = ad.experimental.read_lazy(path)
    mask = np.zeros(adata.n_obs, dtype=bool)
    mask[np.linspace(0, adata.n_obs - 1, options.cells).astype(int)] = True
    started = time.perf_counter()
    sx.tl.sensx(
        adata, net(adata.n_vars), mask_obs=mask, lower=0, upper=20, n_walks=options.walks,
        n_samples=100, deltas=DELTAS, tau=0.05, store=path, keep=options.keep, progress=False,
    )  # fmt: skip
    seconds = time.perf_counter() - started
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    statuses = adata.obs["sensx_status"]
    counts = (statuses.to_series() if hasattr(statuses, "to_series") else statuses).value_counts()
    say(json.dumps({"cells": options.cells, "walks": options.walks, "seconds": round(seconds),
                      "peak_GiB": round(peak / 2**30, 2), "keep": options.keep,
                      "statuses": {k: int(v) for k, v in counts.items() if v}}))  # fmt: skip


class BlackBox(nn.Module):
    """A net whose graph cannot be read, so that rows are written out."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.net = net(n, 256)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.net(rows + 0.0 * rows.sum(dim=1, keepdim=True).sign())


def _cells(n_obs: int, n_vars: int) -> ad.AnnData:
    rng = np.random.default_rng(1)
    return ad.AnnData(
        (rng.random((n_obs, n_vars)) * (rng.random((n_obs, n_vars)) < 0.1)).astype("f4")
    )


def workers(options: argparse.Namespace) -> None:
    """Throughput of two workers relative to one, one thread each."""
    adata, model = _cells(options.cells, 2000), BlackBox(2000).eval()
    how = {"lower": 0, "upper": 1, "n_walks": options.walks, "n_samples": 100,
           "deltas": [0.1, 0.5, 1], "chunk_size": 1, "progress": False, "copy": True,
           "target": 0, "tau": 1e-4}  # fmt: skip
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(options.repeat):
        for n in (1, 2):
            with local_client(n):
                sx.tl.sensx(adata[:n].copy(), model, **how)  # workers load torch
                started = time.perf_counter()
                sx.tl.sensx(adata, model, **how)
                seconds[n].append(time.perf_counter() - started)
    best = {n: min(found) for n, found in seconds.items()}
    say(json.dumps({"seconds": best, "throughput": round(best[1] / best[2], 2)}))
    if options.out is not None:
        rows = [("two Dask workers / one, throughput", f"{best[1] / best[2]:.2f}")]
        keep(options.out, "scale_workers", rows)


def storing(options: argparse.Namespace) -> None:
    """Time with a store relative to that without."""
    adata, model = _cells(options.cells, N_VARS), net(N_VARS)
    how = {"lower": 0, "upper": 1, "n_walks": options.walks, "n_samples": 200, "deltas": "linear",
           "progress": False, "copy": True, "target": 0, "tau": 0.01}  # fmt: skip
    seconds: dict[str, list[float]] = {"memory": [], "store": [], "top": []}
    for _ in range(options.repeat):
        for name, found in seconds.items():
            folder = Path(tempfile.mkdtemp(dir=options.folder))
            more = {} if name == "memory" else {"store": folder / "run.zarr"}
            more |= {"keep": "top:500"} if name == "top" else {}
            started = time.perf_counter()
            sx.tl.sensx(adata, model, **how, **more)
            found.append(time.perf_counter() - started)
            shutil.rmtree(folder)
    best = {name: min(found) for name, found in seconds.items()}
    over = {name: round(100 * (best[name] / best["memory"] - 1), 1) for name in ("store", "top")}
    say(json.dumps({"seconds": best, "overhead_percent": over}))
    if options.out is not None:
        names = {"memory": "in memory", "store": "into a store", "top": "into a store, top:500"}
        what = f"{options.cells} cells of {N_VARS} genes, {options.walks} walks"
        rows = [(f"{what}: seconds, {names[n]}", f"{best[n]:.1f}") for n in best]
        keep(options.out, "scale_storing", rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("atlas", "explain", "workers", "storing"))
    parser.add_argument("--folder", help="where large files go (the system's)")
    parser.add_argument("--obs", type=int, default=N_OBS)
    parser.add_argument("--vars", type=int, default=N_VARS)
    parser.add_argument("--cells", type=int)
    parser.add_argument("--walks", type=int, default=20)
    parser.add_argument("--keep", default="top:500")
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--out", type=Path, help="CSV to write the figures to as well")
    asked = parser.parse_args()
    asked.cells = (
        asked.cells or {"atlas": 2000, "explain": 2000, "workers": 24, "storing": 40}[asked.what]
    )
    warnings.simplefilter("ignore")
    {"atlas": atlas, "explain": explain, "workers": workers, "storing": storing}[asked.what](asked)
