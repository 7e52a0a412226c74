"""The gradient estimator against exact walks on a trained single-cell net, in one run.

Run it as ``python tests/benchmarks/gradients_against_walks.py``; it prints one table. The net is
27,399-250-50-1, trained to tell one of three made-up cell types from sparse log counts. At each
scale 260 states of gradients are held against 200 balanced walks of all genes, and audited by
walks that evaluate the candidates and a random sample of the others only. Other walks in the place
of gradients show what their own noise leaves of the agreement.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import nn

import sensx_sc as sx
from sensx_sc.core import make_design, make_domain
from sensx_sc.core.audit import audit, choose_audited
from sensx_sc.core.gradients import estimate, why_no_gradients
from sensx_sc.core.sampling import uniforms
from sensx_sc.core.statistics import Tally
from sensx_sc.core.walks import Walker, walk, walk_chosen
from sensx_sc.evaluators.choose import choose_evaluator
from sensx_sc.evaluators.gradient.gradients import Gradients
from sensx_sc.models.qoi import make_response

if TYPE_CHECKING:
    from collections.abc import Callable

    from sensx_sc.core import Domain

SEED = 0
WALKS = make_design("balanced", 200)
STATES = make_design("balanced", 260)
AUDIT = make_design("balanced", 80)
TOP, SAMPLED, K = 150, 400, 50
ROWS = 260


def log_counts(n_cells: int, n_genes: int) -> tuple[np.ndarray, np.ndarray]:
    """Log counts of ten thousand, about 1500 genes a cell, and the types of the cells."""
    rng = np.random.default_rng(SEED)
    mean = rng.lognormal(0, 2, n_genes)
    fold = np.ones((3, n_genes))
    for own in fold:
        markers = rng.choice(n_genes, n_genes // 50, replace=False)
        own[markers] = rng.lognormal(1, 0.7, len(markers))
    cell_type = rng.integers(0, 3, n_cells)
    rate = mean * fold[cell_type]
    depth = rng.lognormal(np.log(4000), 0.3, (n_cells, 1))
    counts = rng.poisson(rate / rate.sum(axis=1, keepdims=True) * depth).astype(np.float32)
    return np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4), cell_type


def trained(X: np.ndarray, label: np.ndarray, steps: int) -> nn.Module:
    """The paper's net, trained briefly."""
    torch.manual_seed(SEED)
    net = nn.Sequential(
        nn.Linear(X.shape[1], 250), nn.ReLU(), nn.Linear(250, 50), nn.ReLU(), nn.Linear(50, 1)
    )
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-4, weight_decay=1e-4)
    rows, wanted = torch.as_tensor(X), torch.as_tensor(label, dtype=torch.float32)
    for _ in range(steps):
        batch = torch.randint(0, len(rows), (64,))
        loss = nn.functional.binary_cross_entropy_with_logits(net(rows[batch])[:, 0], wanted[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval()


def timed(function: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def main(n_genes: int, n_cells: int, steps: int) -> None:
    """Measure and print."""
    X, cell_type = log_counts(n_cells, n_genes)
    net = trained(X, cell_type == 0, steps)
    x = X[np.flatnonzero(cell_type == 0)[0]].astype(np.float64)
    domain = make_domain(0, np.log1p(1e4), n_genes)
    response = make_response(sx.models.as_model(net, device="cpu"), "probability")
    kind, target = np.dtype("float64"), np.zeros(1, dtype=np.int64)
    evaluator, _ = choose_evaluator(response, kind, ROWS, np.repeat(x[None], 4, axis=0))
    gradients = Gradients(response, kind, ROWS)
    q_x = float(evaluator.at(x[None], target)[0])
    began = time.perf_counter()
    why = why_no_gradients(response, x[None], target, domain, rows=ROWS, seed=SEED)
    check = time.perf_counter() - began
    star = float(
        sx.core.explain(
            x[None], net, lower=0, upper=np.log1p(1e4), n_walks=1, n_samples=300, progress=False
        ).delta_star[0]
    )
    sys.stdout.write(
        f"{n_genes} genes, {(x > 0).sum()} expressed, q(x) = {q_x:.4f}, delta* = {star:.3f}; "
        f"gradients {'pass' if why is None else 'fail: ' + why} in {check:.1f} s\n"
        f"{'delta':>6} {'against walks':>14} {'time':>6}"
        f"{'value: Spearman':>17} {'top 50':>7} {'total':>7}"
        f"{'change: Spearman':>18} {'top 50':>7} {'total':>7}   gap\n"
    )
    for delta in sorted({0.01, star, 0.087, 0.5, 1.0}):
        compare(delta, x, q_x, evaluator, gradients, domain)


def compare(
    delta: float,
    x: np.ndarray,
    q_x: float,
    evaluator: sx.evaluators.Evaluator,
    gradients: Gradients,
    domain: Domain,
) -> None:
    """One scale: two lines of the table, and the audits."""

    def walker(key: int) -> Walker:
        tally = Tally.empty(len(domain.free))
        return Walker(x, 0, key, delta, (-np.inf, np.inf), 1e-6, q_x, tally)

    exact, other, screened, audited = walker(1), walker(2), walker(1), walker(3)
    walking = timed(lambda: walk([exact], evaluator, domain, WALKS, seed=SEED))
    walk([other], evaluator, domain, WALKS, seed=SEED)
    began = time.perf_counter()
    gap = estimate([screened], gradients, domain, STATES, seed=SEED)[0]
    ratio = walking / (time.perf_counter() - began)
    for name, found, took in (("gradients", screened, f"1/{ratio:.0f}"), ("walks", other, "1")):
        line = f"{delta:>6.3f} {name:>14} {took:>6}"
        for statistic, width in ((Tally.value, 17), (Tally.change, 18)):
            a, b = statistic(found.tally), statistic(exact.tally)
            common = len(set(np.argsort(-a)[:K]) & set(np.argsort(-b)[:K]))
            line += f"{spearmanr(a, b)[0]:>{width}.4f} {common:>7} {a.sum() / b.sum():>7.3f}"
        sys.stdout.write(line + (f" {gap:>+.2f}\n" if found is screened else "\n"))
    u = uniforms(SEED, 1, "time", 10**6, 10**6 + 1, len(domain.free))[0]
    for statistic in ("value", "change"):
        estimated = getattr(screened.tally, statistic)()
        top, sampled = choose_audited(estimated, u, TOP, SAMPLED)
        chosen = np.sort(np.concatenate([top, sampled]))
        audited.tally = Tally.empty(len(domain.free))
        began = time.perf_counter()
        walk_chosen(
            [audited], [chosen], evaluator, domain, AUDIT, seed=SEED, blocks=range(AUDIT.n_blocks)
        )
        share = (time.perf_counter() - began) / walking
        tally = audited.tally
        se = tally.value_error() if statistic == "value" else tally.change_error()
        found = audit(estimated, getattr(tally, statistic)(), se, top, sampled, K)
        sys.stdout.write(
            f"{'':>6} audit of {statistic}, in {share:.2f} of the walks' time: "
            f"{'passed' if found.passed else 'failed'}, {found.message}; missed at most "
            f"{found.missed_at_most}\n"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--genes", type=int, default=27_399)
    parser.add_argument("--cells", type=int, default=600)
    parser.add_argument("--steps", type=int, default=200)
    options = parser.parse_args()
    main(options.genes, options.cells, options.steps)
