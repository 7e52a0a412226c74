"""Designs against independent walks: variance of the means at an equal number of walks.

Run it as ``python tests/benchmarks/design_study.py``; it prints one table, in some ten minutes on
two idle cores (``--blocks 20`` for a first look; ``--models``, ``--designs`` and ``--genes`` for
parts of it and other sizes). Entries are the mean over features of
the ratio of variances, with its standard error in units of the last digit: 0.013(2) means that a
mean over as many walks has 1.3 % of the variance that it has with independent walks, give or take
.2 %. Every design leaves each single walk the paper's law: uniform endpoint, uniform order.

A design is a function of a generator, the walks a block and the number of features. It returns
times (walks, F), which a walk follows upwards, and endpoints (walks, F) as fractions.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from cases import paper_case

import sensx_sc as sx
from sensx_sc.core import make_domain
from sensx_sc.core.sampling import SOBOL_FEATURES, Design, endpoints, orders
from sensx_sc.core.walks import place
from sensx_sc.evaluators.choose import choose_evaluator
from sensx_sc.evaluators.walk_set import WalkSet
from sensx_sc.models.qoi import make_response

if TYPE_CHECKING:
    from collections.abc import Callable

    from sensx_sc.core.domain import Domain
    from sensx_sc.evaluators.protocol import Evaluator

    Draw = Callable[[np.random.Generator, int, int], tuple[np.ndarray, np.ndarray]]

STEPS_TOGETHER = 200_000


# ---- ingredients: times


def independent(rng: np.random.Generator, m: int, size: int) -> np.ndarray:
    return rng.random((m, size))


def rotations(rng: np.random.Generator, m: int, size: int) -> np.ndarray:
    """One random order, rotated by k / m."""
    place = rng.permutation(size)
    turns = np.arange(m)[:, None] * size // m
    return ((place - turns) % size + 0.5) / size


def latin_times(rng: np.random.Generator, m: int, size: int) -> np.ndarray:
    """As evenly spread for each feature as rotations are, but each order has other neighbours."""
    return hypercube(rng, m, size)


def and_reversed(times: np.ndarray) -> np.ndarray:
    return np.stack([times, 1 - times], axis=1).reshape(-1, times.shape[1])


# ---- ingredients: endpoints


def hypercube(rng: np.random.Generator, m: int, size: int) -> np.ndarray:
    return (strata(rng, m, size) + rng.random((m, size))) / m


def strata(rng: np.random.Generator, m: int, size: int) -> np.ndarray:
    return np.argsort(rng.random((m, size)), axis=0)


def in_pairs(stratum: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """A walk and the next, its reversal, in one stratum at mirrored places."""
    pair = np.stack([stratum + inside, stratum + 1 - inside], axis=1) / len(stratum)
    return pair.reshape(-1, stratum.shape[1])


def fours(rng: np.random.Generator, m: int, size: int, *, same_side: bool = True) -> np.ndarray:
    """Pairs, and after each one another that goes to its mirror images."""
    away = in_pairs(strata(rng, m // 4, size), rng.random((m // 4, size))) / 2
    away = away.reshape(m // 4, 2, size) * rng.choice([-1, 1], (m // 4, 1, size))
    if not same_side:
        away[:, 1] *= -1
    return 0.5 + np.concatenate([away, -away], axis=1).reshape(m, size)


# ---- designs


def hypercube_alone(rng: np.random.Generator, m: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    return independent(rng, m, size), hypercube(rng, m, size)


def reversals_alone(rng: np.random.Generator, m: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    return and_reversed(independent(rng, m // 2, size)), independent(rng, m, size)


def rotations_alone(rng: np.random.Generator, m: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    return rotations(rng, m, size), independent(rng, m, size)


def all_three(rng: np.random.Generator, m: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    return and_reversed(rotations(rng, m // 2, size)), hypercube(rng, m, size)


def reversed_to_mirror_image(
    rng: np.random.Generator, m: int, size: int
) -> tuple[np.ndarray, np.ndarray]:
    u = hypercube(rng, m // 2, size)
    both = np.stack([u, 1 - u], axis=1).reshape(m, size)
    return and_reversed(rotations(rng, m // 2, size)), both


def pairs_in_one_stratum(
    rng: np.random.Generator, m: int, size: int
) -> tuple[np.ndarray, np.ndarray]:
    u = in_pairs(strata(rng, m // 2, size), rng.random((m // 2, size)))
    return and_reversed(rotations(rng, m // 2, size)), u


def mirrored_in_next_rotation(
    rng: np.random.Generator, m: int, size: int
) -> tuple[np.ndarray, np.ndarray]:
    return and_reversed(rotations(rng, m // 2, size)), fours(rng, m, size)


def mirrored_on_other_side(
    rng: np.random.Generator, m: int, size: int
) -> tuple[np.ndarray, np.ndarray]:
    return and_reversed(rotations(rng, m // 2, size)), fours(rng, m, size, same_side=False)


def mirrored_on_same_order(
    rng: np.random.Generator, m: int, size: int
) -> tuple[np.ndarray, np.ndarray]:
    times = and_reversed(rotations(rng, m // 4, size)).reshape(m // 4, 2, size)
    return np.concatenate([times, times], axis=1).reshape(m, size), fours(rng, m, size)


def lattice(rng: np.random.Generator, m: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Position and endpoint on a rank-1 lattice: the stratum is 3 k + shift in rotation k."""
    half = m // 2
    stratum = (3 * np.arange(half)[:, None] + rng.integers(0, half, size)) % half
    return and_reversed(rotations(rng, half, size)), in_pairs(stratum, rng.random((half, size)))


def orthogonal_array(rng: np.random.Generator, m: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Rotations and reversals; every quarter of the positions meets every part of the endpoints."""
    times = and_reversed(rotations(rng, m // 2, size))
    parts = m // 4
    rank = np.argsort(np.argsort(times, axis=0), axis=0)
    coarse = np.argsort(rng.random((4, parts, size)), axis=1)  # a part for each place of a quarter
    fine = np.argsort(rng.random((parts, 4, size)), axis=1)  # and a stratum in it for each quarter
    column = np.arange(size)
    part = coarse[rank // parts, rank % parts, column]
    stratum = 4 * part + fine[part, rank // parts, column]
    return times, (stratum + rng.random((m, size))) / m


def latin_orders(rng: np.random.Generator, m: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    return and_reversed(latin_times(rng, m // 2, size)), fours(rng, m, size)


def packaged(name: str, *, independent_orders: bool = False) -> Draw:
    """A design of the package."""

    def draw(rng: np.random.Generator, m: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        design, key, free = Design(name, m, 1), int(rng.integers(2**63)), np.arange(size)
        u = endpoints(0, key, design, range(1), size, free)
        if independent_orders:
            return independent(rng, m, size), u
        return np.argsort(orders(0, key, design, range(1), size, free), axis=1), u

    return draw


DESIGNS: list[tuple[str, Draw, int]] = [
    ("hypercube alone", hypercube_alone, 20),
    ("reversals alone", reversals_alone, 20),
    ("rotations alone", rotations_alone, 20),
    ("all three", all_three, 20),
    ("balanced", packaged("balanced"), 20),
    ("balanced", packaged("balanced"), 8),
    ("balanced", packaged("balanced"), 12),
    ("balanced", packaged("balanced"), 16),
    ("balanced", packaged("balanced"), 40),
    ("balanced", packaged("balanced"), 80),
    ("sobol", packaged("sobol"), 16),
    ("sobol, independent orders", packaged("sobol", independent_orders=True), 16),
    ("pairs in one stratum", pairs_in_one_stratum, 20),
    ("pairs, mirrored in next rotation", mirrored_in_next_rotation, 20),
    ("pairs, mirrored on other side", mirrored_on_other_side, 20),
    ("pairs, mirrored on same order", mirrored_on_same_order, 20),
    ("pairs, mirrored on same order", mirrored_on_same_order, 40),
    ("reversed to mirror image", reversed_to_mirror_image, 20),
    ("lattice", lattice, 20),
    ("orthogonal array", orthogonal_array, 20),
    ("Latin orders, not rotations", latin_orders, 20),
]


# ---- models


@dataclass(frozen=True)
class Walked:
    """An input of a model, at a scale."""

    x: np.ndarray
    target: int
    domain: Domain
    delta: float
    evaluator: Evaluator

    @property
    def size(self) -> int:
        return len(self.domain.free)

    def effects(self, times: np.ndarray, u: np.ndarray) -> np.ndarray:
        """|d| and |dq| of walks; (2, walks, F)."""
        order = np.argsort(times, axis=1, kind="stable")
        target = np.array([self.target])
        q_x = self.evaluator.at(self.x, target)
        end = place(u, self.x[0], self.domain, self.delta)
        cell, free = np.zeros(len(u), dtype=np.int64), self.domain.free
        q = self.evaluator.walks(WalkSet(self.x, target, q_x, cell, free, end, order))
        dq = np.empty_like(q)
        np.put_along_axis(dq, order, np.abs(np.diff(q, axis=1, prepend=q_x[0])), axis=1)
        dx = np.abs(end - self.x[0, free])
        return np.stack([np.divide(dq, dx, out=np.zeros_like(dq), where=dx > 0), dq])

    def block_means(self, draw: Draw, m: int, n_blocks: int) -> np.ndarray:
        """`value` and `change` of each block; (2, blocks, F)."""
        rng = np.random.default_rng(m)
        together = max(1, STEPS_TOGETHER // (m * self.size))
        means = []
        for first in range(0, n_blocks, together):
            blocks = range(first, min(first + together, n_blocks))
            times, u = zip(*(draw(rng, m, self.size) for _ in blocks), strict=True)
            effects = self.effects(np.concatenate(times), np.concatenate(u))
            means.append(effects.reshape(2, len(blocks), m, -1).mean(axis=2))
        return np.concatenate(means, axis=1)


def walked(
    model: Any, x: np.ndarray, upper: np.ndarray, lower: Any = 0.0, delta: float | None = None
) -> Walked:
    """A classifier's input, at its own delta* unless told."""
    x = np.atleast_2d(x).astype(np.float64)
    domain = make_domain(lower, upper, x.shape[1])
    ready = sx.models.as_model(model, n_features=x.shape[1], example=x, device="cpu")
    response = make_response(ready, "probability")
    probes = np.concatenate([x, np.random.default_rng(0).uniform(lower, upper, (4, x.shape[1]))])
    evaluator, _ = choose_evaluator(response, np.dtype("float64"), 4096, probes)
    target = int(evaluator.outputs(x)[0].argmax())
    if delta is None:
        found = sx.core.explain(x, model, lower=lower, upper=upper, n_walks=1, progress=False)
        delta = float(found.delta_star[0])
    return Walked(x, target, domain, delta, evaluator)


def made_up_net(n_genes: int, delta: float | None = None) -> Walked:
    """A net genes-250-50-1 on made-up counts."""
    case = paper_case(n_genes, "float64")
    return Walked(case.x, 0, case.domain, delta or case.delta_star, case.stem)


def blood_net(n_genes: int) -> Walked:
    """A net genes-250-50-1 that tells NK cells from other blood cells."""
    cells = sx.datasets.pbmc()
    detected = np.asarray((cells.X > 0).sum(axis=0)).ravel()
    cells = cells[:, np.sort(np.argsort(-detected, kind="stable")[:n_genes])].copy()
    net = sx.models.fit_mlp(cells, "cell_type", "NK cells", device="cpu", progress=False)
    rows = cells.X.toarray()
    with torch.no_grad():
        logit = net(torch.as_tensor(rows))[:, 0].numpy()
    return walked(net, rows[np.argmin(np.abs(logit - 6.0))], rows.max(axis=0))


def switch(*, forest: bool) -> Walked:
    """The paper's Switch problem, ten features: a net, or a forest, whose response jumps."""
    data = sx.datasets.synthetic("switch", 10_000)
    if forest:
        from sklearn.ensemble import RandomForestClassifier

        model = RandomForestClassifier(50, random_state=0).fit(data.X, data.obs["label"])
        sure = model.predict_proba(data.X[:200])[:, 1]
    else:
        model = sx.models.fit_mlp(
            data, "label", "1", hidden=(200, 100, 50), epochs=10, learning_rate=1e-3,
            device="cpu", progress=False,
        )  # fmt: skip
        with torch.no_grad():
            sure = model(torch.as_tensor(data.X[:200]))[:, 0].numpy()
    return walked(model, data.X[sure.argmax()], data.X.max(axis=0), data.X.min(axis=0), delta=1.0)


MODELS: dict[str, Callable[[int], Walked]] = {
    "net": made_up_net,
    "net .5": lambda n_genes: made_up_net(n_genes, 0.5),
    "blood": blood_net,
    "switch": lambda _: switch(forest=False),
    "forest": lambda _: switch(forest=True),
}


# ---- the table


def ratio(means: np.ndarray, m: int, single: np.ndarray) -> tuple[float, float]:
    """Mean over features of the variance ratio, and its standard error from blocks and walks."""
    blocks, walks = (part.shape[0] for part in (means, single))
    apart = m * (means - means.mean(axis=0)) ** 2 * blocks / (blocks - 1)
    alone = (single - single.mean(axis=0)) ** 2 * walks / (walks - 1)
    live = alone.mean(axis=0) > 0
    each = apart.mean(axis=0)[live] / alone.mean(axis=0)[live]
    of_block = (apart[:, live] / alone.mean(axis=0)[live]).mean(axis=1)
    of_walk = (alone[:, live] / alone.mean(axis=0)[live] * each).mean(axis=1)
    error = np.hypot(of_block.std() / np.sqrt(blocks), of_walk.std() / np.sqrt(walks))
    return float(each.mean()), float(error)


def entry(value: float, error: float) -> str:
    """0.0134 and 0.0021 as 0.013(2)."""
    digits = max(0, -int(np.floor(np.log10(error))))
    return f"{value:.{digits}f}({round(error * 10**digits)})"


def table(models: list[str], designs: list[str], n_blocks: int, n_genes: int) -> None:
    """Measure and print."""
    made = {name: MODELS[name](n_genes) for name in models}
    for name, one in made.items():
        sys.stdout.write(f"{name}: {one.size} features, delta {one.delta:.3g}\n")
    head = "".join(f"{name:>24}" for name in models)
    sys.stdout.write(f"\n{'':<34}{'':>4}{head}\n{'design':<34}{'m':>4}")
    sys.stdout.write(f"{'value':>12}{'change':>12}" * len(models) + "\n")
    scale = {name: 1 if one.size > 100 else 10 for name, one in made.items()}
    singles = {
        name: one.block_means(
            lambda rng, m, size: (rng.random((m, size)), rng.random((m, size))),
            1,
            40 * n_blocks * scale[name],
        )
        for name, one in made.items()
    }
    for title, draw, m in DESIGNS:
        if title not in designs:
            continue
        sys.stdout.write(f"{title:<34}{m:>4}")
        for name, one in made.items():
            if "sobol" in title and one.size > SOBOL_FEATURES:
                sys.stdout.write(f"{'':>24}")
                continue
            blocks = max(20, n_blocks * scale[name] * 20 // m)
            means = one.block_means(draw, m, blocks)
            for k in range(2):
                sys.stdout.write(f"{entry(*ratio(means[k], m, singles[name][k])):>12}")
            sys.stdout.flush()
        sys.stdout.write("\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    names = [title for title, _, _ in DESIGNS]
    parser.add_argument("--designs", nargs="+", choices=names, default=names)
    parser.add_argument("--blocks", type=int, default=60, help="blocks of 20 walks a design")
    parser.add_argument("--genes", type=int, default=4000, help="of the nets")
    options = parser.parse_args()
    table(options.models, options.designs, options.blocks, options.genes)
