"""Stem evaluation against dense evaluation on the paper's single-cell net, in one run.

Run it as ``python tests/benchmarks/stem_against_dense.py``; it prints one table of ratios. The net
is 27,399-250-50-1, the cell expresses 1500 genes. Seconds depend on the machine, ratios hardly.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

import sensx_sc as sx
from sensx_sc.core import make_design, make_domain
from sensx_sc.core.sampling import endpoints, orders, uniforms
from sensx_sc.core.walks import place
from sensx_sc.evaluators import DenseEvaluator
from sensx_sc.evaluators.choose import choose_evaluator
from sensx_sc.evaluators.full_precision import full_precision
from sensx_sc.models.qoi import make_response

if TYPE_CHECKING:
    from collections.abc import Callable

PAPER_WALKS_A_SECOND = 20  # on an A100


def seconds(function: Callable[[], object], repeats: int) -> float:
    """The fastest of some runs."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return min(times)


def main(n_genes: int, n_expressed: int, dtype: str) -> None:
    """Measure and print."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(n_genes, 250), nn.ReLU(), nn.Linear(250, 50), nn.ReLU(), nn.Linear(50, 1)
    ).eval()
    rng = np.random.default_rng(0)
    x = np.zeros((1, n_genes))
    x[0, rng.choice(n_genes, n_expressed, replace=False)] = 0.3 + 4 * rng.random(n_expressed)
    domain = make_domain(0, 9.3, n_genes)
    free, design = domain.free, make_design("balanced", 80)
    kind = np.dtype(dtype)
    response = make_response(sx.models.as_model(net, device="cpu"), "probability")
    stem, why = choose_evaluator(response, kind, 600, np.repeat(x, 4, axis=0))
    dense = DenseEvaluator(response, kind, 600)
    target = np.zeros(1, dtype=np.int64)
    q_x = dense.at(x, target)

    def draw(n_walks: int) -> tuple[np.ndarray, np.ndarray]:
        order = orders(0, 1, design, range(1), n_genes, free)[:n_walks]
        end = place(endpoints(0, 1, design, range(1), n_genes, free), x[0], domain, 0.087)
        return end[:n_walks], order

    def walk(evaluator: DenseEvaluator, n_walks: int, made: tuple[np.ndarray, np.ndarray]) -> None:
        cell = np.zeros(n_walks, dtype=np.int64)
        evaluator.walks(x, target, q_x, cell, free, *made)

    few, many = draw(1), draw(20)
    a_walk = seconds(lambda: walk(stem, 20, draw(20)), 3) / 20
    kernel = seconds(lambda: walk(stem, 20, many), 3) / 20
    dense_walk = seconds(lambda: walk(dense, 1, few), 1)
    head, states = nn.Sequential(*net[1:]).to(stem._torch_dtype), torch.randn(4096, 250)
    states = states.to(stem._torch_dtype)
    with full_precision():
        only_head = seconds(lambda: head(states), 30) / 4096 * n_genes
    deltas = np.geomspace(1e-4, 1, 50)
    down, up = (
        np.stack(part) for part in zip(*(domain.reach(x[0], d) for d in deltas), strict=True)
    )
    u = uniforms(0, 1, "calibration", 0, 150, n_genes)
    sweep = seconds(lambda: stem.sweep(x[0], 0, free, down, up, u), 2)
    dense_sweep = seconds(lambda: dense.sweep(x[0], 0, free, down[::10], up[::10], u), 1) * 10
    cell = 1000 / 150 * sweep + 200 * a_walk
    rows = [
        ("walks a second (the paper's A100: 20)", f"{1 / a_walk:.1f}"),
        ("dense / stem, one walk", f"{dense_walk / a_walk:.0f}"),
        ("stem / head alone, one walk", f"{kernel / only_head:.2f}"),
        ("dense / stem, calibration of 50 scales", f"{dense_sweep / sweep:.0f}"),
        ("calibration's share of a cell of 200 walks", f"{1000 / 150 * sweep / cell:.2f}"),
    ]
    sys.stdout.write(f"{n_genes} genes, {n_expressed} expressed, {dtype}, evaluated {why}\n")
    for name, value in rows:
        sys.stdout.write(f"  {name:<45}{value:>10}\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--genes", type=int, default=27_399)
    parser.add_argument("--expressed", type=int, default=1500)
    options = parser.parse_args()
    for dtype in ("float32", "float64"):
        main(options.genes, options.expressed, dtype)
