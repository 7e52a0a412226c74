"""How the time of a cell grows with genes, and of a run with cells; draws docs/images/cost.png.

``python tests/benchmarks/cost.py --plot docs/images/cost.png``
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

import numpy as np
import torch
from cases import paper_case, seconds
from torch import nn

import sensx_sc as sx

if TYPE_CHECKING:
    from cases import Row

GENES = (1000, 3000, 10_000, 30_000)
CELLS = (1, 3, 10, 30, 100, 300, 1000)


def of_genes() -> list[float]:
    """Seconds of one cell (20 scales x 200 samples, 80 walks) for each number of genes."""
    found = []
    for n in GENES:
        case = paper_case(n)
        how = {"lower": case.domain.lower, "upper": case.domain.upper, "progress": False,
               "n_samples": 200, "n_walks": 80, "precision": "float32"}  # fmt: skip
        found.append(seconds(lambda: sx.core.explain(case.x, case.net, **how), 3))
    return found


def of_cells(n: int = 1000) -> list[float]:
    """Seconds of a run for each number of cells of 1,000 genes."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(n, 50), nn.ReLU(), nn.Linear(50, 1)).eval()
    rng = np.random.default_rng(0)
    x = rng.random((max(CELLS), n)) * (rng.random((max(CELLS), n)) < 0.1)
    how = {"lower": 0, "upper": 5, "progress": False, "n_samples": 200, "n_walks": 20,
           "deltas": np.geomspace(0.01, 1, 10), "precision": "float32"}  # fmt: skip
    sx.core.explain(x[:1], net, **how)
    return [seconds(lambda: sx.core.explain(x[:c], net, **how), 2) for c in CELLS]


def exponent(sizes: tuple[int, ...], times: list[float]) -> float:
    """Slope of the line through the larger half on logarithmic axes."""
    half = len(sizes) // 2
    return float(np.polyfit(np.log(sizes[half - 1 :]), np.log(times[half - 1 :]), 1)[0])


def plot(genes: list[float], cells: list[float], path: str) -> None:
    """Both curves beside lines of slope one."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.1), layout="constrained")
    for ax, sizes, times, label in (
        (axes[0], GENES, genes, "genes of one cell"),
        (axes[1], CELLS, cells, "cells of 1,000 genes"),
    ):
        size, relative = np.array(sizes), np.array(times) / times[0]
        ax.loglog(size, relative, "o-", label=f"measured, exponent {exponent(sizes, times):.2f}")
        ax.loglog(size, size / size[-1] * relative[-1], ":", color="0.5", label="proportional")
        ax.set(xlabel=label, ylabel="time, relative to the smallest")
        ax.legend(frameon=False, fontsize=8)
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def table(path: str | None = None) -> list[Row]:
    """Rows of the table."""
    genes, cells = of_genes(), of_cells()
    if path:
        plot(genes, cells, path)
    points = [
        (f"time, {size} {what} / {sizes[0]}", f"{took / times[0]:.3g}")
        for what, sizes, times in (("genes", GENES, genes), ("cells", CELLS, cells))
        for size, took in zip(sizes, times, strict=True)
    ]
    return [
        *points,
        ("exponent of the time in genes, 1k to 30k", f"{exponent(GENES, genes):.2f}"),
        ("exponent of the time in cells, 1 to 1000", f"{exponent(CELLS, cells):.2f}"),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plot", default=None)
    for name, value in table(parser.parse_args().plot):
        sys.stdout.write(f"  {name:<48}{value:>14}\n")
