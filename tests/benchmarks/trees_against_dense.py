"""Tree evaluation against dense evaluation of an XGBoost classifier, in one run.

Run it as ``python tests/benchmarks/trees_against_dense.py``; it prints one table of ratios. The
classifier has 500 trees of depth 6 on 20,000 genes, of which it splits on about 2000; it is trained
on made-up sparse counts, which takes a while. Seconds depend on the machine, ratios hardly. Dense
evaluation is timed on some of a walk's steps and of the sweep's scales, and scaled up.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
from xgboost import XGBClassifier

import sensx_sc as sx
from sensx_sc.core import make_design, make_domain
from sensx_sc.core.sampling import endpoints, orders, uniforms
from sensx_sc.core.walks import place
from sensx_sc.evaluators import DenseEvaluator
from sensx_sc.evaluators.choose import choose_evaluator
from sensx_sc.evaluators.trees.evaluator import TreeEvaluator, UsedFeaturesEvaluator
from sensx_sc.evaluators.walk_set import WalkSet
from sensx_sc.models.qoi import make_response

if TYPE_CHECKING:
    from collections.abc import Callable

N_CELLS = 600
N_STEPS = 600  # of a walk that dense evaluation takes
N_SAMPLES = 150  # of a scale
N_WALKS = 200
SAMPLES_A_SCALE = 1000


def seconds(function: Callable[[], object], repeats: int) -> float:
    """The fastest of some runs."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return min(times)


def made_up(n_genes: int, n_varying: int) -> tuple[np.ndarray, np.ndarray]:
    """Log-normalised counts of cells, most of whose genes are silent; and a class of each cell."""
    rng = np.random.default_rng(0)
    genes = np.sort(rng.choice(n_genes, n_varying, replace=False))
    rate = rng.lognormal(-1.5, 1.2, n_varying) * rng.lognormal(0, 0.3, (N_CELLS, 1))
    counts = rng.poisson(rate)
    shown = np.log1p(1e4 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))
    X = np.zeros((N_CELLS, n_genes))
    X[:, genes] = shown
    score = (shown - shown.mean(axis=0)) @ rng.normal(size=n_varying)
    return X, (score > 0).astype(int)


def table(
    n_genes: int = 20_000, n_varying: int = 2100, n_trees: int = 500
) -> list[tuple[str, str]]:
    """Measure and print."""
    X, y = made_up(n_genes, n_varying)
    model = XGBClassifier(
        n_estimators=n_trees, max_depth=6, max_bin=32, colsample_bytree=0.05, colsample_bynode=0.1,
        learning_rate=0.05, min_child_weight=0, n_jobs=1,
    ).fit(X, y)  # fmt: skip
    domain = make_domain(0, X.max(), n_genes)
    free, design = domain.free, make_design("balanced", 80)
    kind = np.dtype(np.float64)
    response = make_response(sx.models.as_model(model), "probability")
    x, target = X[:1], np.zeros(1, dtype=np.int64)
    read = seconds(lambda: choose_evaluator(response, kind, 600, X[:4]), 1)
    trees, why = choose_evaluator(response, kind, 600, X[:4])
    if type(trees) is not TreeEvaluator:
        msg = f"the model is evaluated {why}"
        raise RuntimeError(msg)
    dense = DenseEvaluator(response, kind, 600)
    used = UsedFeaturesEvaluator(response, kind, 600, trees.used)
    q_x = dense.at(x, target)
    deltas = np.geomspace(1e-4, 1, 50)
    down, up = (
        np.stack(part) for part in zip(*(domain.reach(x[0], d) for d in deltas), strict=True)
    )
    u = uniforms(0, 1, "calibration", 0, N_SAMPLES, n_genes)
    swept = {
        evaluator.name: seconds(
            lambda evaluator=evaluator, every=every: evaluator.sweep(
                x[0], 0, free, down[::every], up[::every], u
            ),
            3,
        )
        * every / N_SAMPLES
        for evaluator, every in ((trees, 1), (used, 5), (dense, 5))
    }  # fmt: skip
    same = np.array_equal(
        trees.sweep(x[0], 0, free, down, up, u)[::5],
        dense.sweep(x[0], 0, free, down[::5], up[::5], u),
    )
    rows = [
        ("seconds to read and check the trees", f"{read:.2f}"),
        ("dense / trees, calibration of 50 scales", f"{swept['dense'] / swept['trees']:.0f}"),
        (
            "rows of used genes / trees, calibration",
            f"{swept['used features'] / swept['trees']:.1f}",
        ),
    ]
    for delta in (0.03, 0.1, 0.3, 1.0):

        def draw(n_walks: int, delta: float = delta) -> WalkSet:
            blocks = range(n_walks // design.block)
            order = orders(0, 1, design, blocks, n_genes, free)
            u = endpoints(0, 1, design, blocks, n_genes, free)
            cell = np.zeros(n_walks, dtype=np.int64)
            return WalkSet(x, target, q_x, cell, free, place(u, x[0], domain, delta), order)

        many = draw(40)
        kernel = seconds(lambda many=many: trees.walks(many), 3) / 40
        a_walk = seconds(lambda: trees.walks(draw(40)), 3) / 40
        one = many.some(slice(1))
        chosen = one.order[0, np.linspace(0, n_genes - 1, N_STEPS).astype(np.int64)]
        # Dense evaluation of a step alone takes two rows.
        a_step = seconds(lambda given=(one, chosen): dense.steps(*given), 3) / (2 * N_STEPS)
        dense_walk = a_step * n_genes
        same &= np.array_equal(trees.steps(one, chosen), dense.steps(one, chosen))
        a_cell = [
            N_WALKS * walked + SAMPLES_A_SCALE * sweep
            for walked, sweep in ((dense_walk, swept["dense"]), (a_walk, swept["trees"]))
        ]
        rows += [
            (f"delta {delta}: walks a second", f"{1 / kernel:.0f}"),
            (f"delta {delta}: walks a second, with drawing them", f"{1 / a_walk:.0f}"),
            (f"delta {delta}: dense / trees, one walk", f"{dense_walk / kernel:.0f}"),
            (
                f"delta {delta}: dense / trees, calibration and {N_WALKS} walks",
                f"{a_cell[0] / a_cell[1]:.0f}",
            ),
        ]
    rows.append(("equal to dense evaluation to the last bit", str(same)))
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--genes", type=int, default=20_000)
    parser.add_argument("--varying", type=int, default=2100)
    parser.add_argument("--trees", type=int, default=500)
    options = parser.parse_args()
    for name, value in table(options.genes, options.varying, options.trees):
        sys.stdout.write(f"  {name:<50}{value:>10}\n")
