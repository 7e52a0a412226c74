"""What the benchmarks share: the paper's single-cell net on realistic counts, and a stopwatch."""

from __future__ import annotations

import functools
import itertools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

import sensx_sc as sx
from sensx_sc.core.domain import make_domain
from sensx_sc.core.sampling import cell_key, endpoints, make_design, orders, uniforms
from sensx_sc.core.statistics import Tally
from sensx_sc.core.walks import Walker, place
from sensx_sc.core.workers import in_order
from sensx_sc.evaluators import DenseEvaluator
from sensx_sc.evaluators.choose import choose_evaluator
from sensx_sc.evaluators.walk_set import WalkSet
from sensx_sc.models.qoi import make_response

if TYPE_CHECKING:
    from collections.abc import Callable

    from sensx_sc.core.domain import Domain
    from sensx_sc.evaluators.protocol import Evaluator

PAPER_GENES = 27_399
PAPER_WALKS_A_SECOND = 20  # on an A100
Row = tuple[str, str]


def seconds(function: Callable[[], object], repeats: int = 1) -> float:
    """The fastest of some runs."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return min(times)


def counts(
    n_cells: int, n_genes: int, n_kinds: int = 8, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Log-normalised counts of some kinds of cells; of 27,399 genes a cell expresses about 1500.

    Gene means are log-normal and a twentieth of the genes is shifted in each kind; counts are
    negative binomial, scaled to 10,000 a cell and log1p-transformed.
    """
    rng = np.random.default_rng(seed)
    mean = np.exp(rng.normal(-4.3, 2.0, n_genes))
    shift = np.where(
        rng.random((n_kinds, n_genes)) < 0.05, rng.normal(0.5, 1.5, (n_kinds, n_genes)), 0.0
    )
    kind = rng.integers(0, n_kinds, n_cells)
    rate = mean * np.exp(shift[kind]) * rng.gamma(10, 0.1, (n_cells, 1))
    drawn = rng.poisson(rate * rng.gamma(2.0, 0.5, rate.shape)).astype(np.float32)
    total = np.maximum(drawn.sum(axis=1, keepdims=True), 1)
    return np.log1p(drawn / total * 1e4), kind


def trained(layers: tuple[int, ...], rows: np.ndarray, kind: np.ndarray) -> nn.Module:
    """A ReLU net with one logit, after a few passes over the rows."""
    torch.manual_seed(0)
    sizes = (rows.shape[1], *layers)
    parts: list[nn.Module] = []
    for a, b in itertools.pairwise(sizes):
        parts += [nn.Linear(a, b), nn.ReLU()]
    net = nn.Sequential(*parts, nn.Linear(sizes[-1], 1))
    x, y = torch.as_tensor(rows), torch.as_tensor(kind, dtype=torch.float32)[:, None]
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=1e-4)
    for _ in range(8):
        for batch in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            nn.functional.binary_cross_entropy_with_logits(net(x[batch]), y[batch]).backward()
            optimizer.step()
    return net.eval()


@dataclass(frozen=True)
class Case:
    """A net, a cell it is sure of, and that cell's scale."""

    net: nn.Module
    x: np.ndarray
    domain: Domain
    delta_star: float
    envelope: tuple[float, float]
    stem: Evaluator
    dense: DenseEvaluator

    @property
    def n(self) -> int:
        return self.x.shape[1]

    @property
    def q_x(self) -> np.ndarray:
        return self.dense.at(self.x, np.zeros(1, dtype=np.int64))

    def walker(self, seed: int = 1) -> Walker:
        """The cell, ready to be walked."""
        tally = Tally.empty(len(self.domain.free))
        return Walker(
            self.x[0], 0, cell_key(seed), self.delta_star, self.envelope, 1.0, self.q_x[0], tally
        )

    def draw(self, n_walks: int, design: str = "balanced") -> WalkSet:
        """Some walks of the cell."""
        made, free = make_design(design, max(n_walks, 80)), self.domain.free
        blocks = range(-(-n_walks // made.block))
        order = orders(0, 1, made, blocks, self.n, free)[:n_walks]
        end = place(
            endpoints(0, 1, made, blocks, self.n, free)[:n_walks],
            self.x[0],
            self.domain,
            self.delta_star,
        )
        target = np.zeros(1, dtype=np.int64)
        cell = np.zeros(n_walks, dtype=np.int64)
        return WalkSet(self.x, target, self.q_x, cell, free, end, order)

    def sweep(self, evaluator: Evaluator, n_deltas: int, n_samples: int) -> None:
        """A calibration, or a piece of one."""
        deltas = np.geomspace(1e-4, 1, 50)[:: 50 // n_deltas]
        down, up = (
            np.stack(part)
            for part in zip(*(self.domain.reach(self.x[0], d) for d in deltas), strict=True)
        )
        together = max(2**22 // self.n, 1)

        def part(start: int) -> np.ndarray:
            stop = min(start + together, n_samples)
            u = uniforms(0, 1, "calibration", start, stop, self.n)[:, self.domain.free]
            return evaluator.sweep(self.x[0], 0, self.domain.free, down, up, u)

        starts = range(0, n_samples, together)
        list(in_order(part, starts, parallel=evaluator.parallel))


@functools.cache
def paper_case(
    n_genes: int = PAPER_GENES, dtype: str = "float32", layers: tuple[int, ...] = (250, 50)
) -> Case:
    """The paper's single-cell net, trained, and a cell it is sure of."""
    rows, kind = counts(1200, n_genes)
    net = trained(layers, rows, kind == 0)
    with torch.no_grad():
        logit = net(torch.as_tensor(rows))[:, 0].numpy()
    sure = int(np.argmin(np.abs(logit - 6.0)))  # a probability of .998
    x = rows[sure : sure + 1].astype(np.float64)
    upper = rows.max(axis=0).astype(np.float64)
    domain = make_domain(0, np.where(upper > 0, upper, 1.0), n_genes)
    response = make_response(sx.models.as_model(net, device="cpu"), "probability")
    stem, _ = choose_evaluator(response, np.dtype(dtype), 600, np.repeat(x, 4, axis=0))
    found = sx.core.explain(
        x, net, lower=domain.lower, upper=domain.upper, n_walks=1, progress=False, seed=0
    )
    star = float(found.delta_star[0])
    low, high = found.envelope[0, int(np.flatnonzero(found.deltas == star)[0])]
    dense = DenseEvaluator(response, np.dtype(dtype), 600)
    return Case(net, x, domain, star, (float(low), float(high)), stem, dense)
