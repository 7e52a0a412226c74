"""Walks whose blocks are kept apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sensx_sc.core.attribution import make_walker
from sensx_sc.core.sampling import cell_key
from sensx_sc.core.walks import walk
from sensx_sc.metrics.stability import BlockSums

if TYPE_CHECKING:
    from collections.abc import Callable

    from sensx_sc.core.arrays import Floats
    from sensx_sc.metrics.explained import Explained
    from sensx_sc.words import RankBy


def record(
    cells: Explained,
    i: int,
    rank_by: RankBy,
    *,
    advance: Callable[[int], object] = lambda _: None,
) -> BlockSums:
    """Walk input ``i`` as the run's design says, and keep what each block yields.

    The walks are those of :func:`sensx_sc.core.explain` with the same seed and design, so the sums
    over all blocks give its statistic.
    """
    run = cells.run
    size, block = len(cells.free), run.design.block
    total = np.empty((run.design.n_blocks, size))
    weight = np.empty((run.design.n_blocks, size))
    made = 0

    def keep(_: int, dq: Floats, dx: Floats) -> None:
        nonlocal made
        part = slice(made, made + len(dq) // block)
        made = part.stop
        top, bottom = _terms(dq, dx, rank_by)
        total[part] = top.reshape(-1, block, size).sum(axis=1)
        weight[part] = bottom.reshape(-1, block, size).sum(axis=1)

    walk_input(cells, i, keep, advance=advance)
    return BlockSums(total[:made], weight[:made], block)


def walk_input(
    cells: Explained,
    i: int,
    keep: Callable[[int, Floats, Floats], object],
    *,
    advance: Callable[[int], object] = lambda _: None,
) -> None:
    """Walk input ``i`` as the run's design says.

    Parameters
    ----------
    keep
        Told what whole blocks of walks have yielded, in their order: 0, the changes of q and the
        steps, (walks, F) each.
    """
    run, evaluator = cells.run, cells.evaluator_of(i)
    x, target = cells.x(i), int(cells.target[i])
    q_x = float(evaluator.at(x[None], cells.target[i : i + 1])[0])
    walker = make_walker(
        x,
        target,
        cell_key(cells.keys[i]),
        float(cells.delta_star[i]),
        (q_x, q_x),
        q_x,
        evaluator,
        run,
        cells.noise_floor[i] if cells.noise_floor else 0.0,
    )
    walk(
        [walker],
        evaluator,
        run.domain,
        run.design,
        seed=run.options.seed,
        min_step=run.options.min_step,
        keep=keep,
        advance=advance,
    )


def _terms(dq: Floats, dx: Floats, rank_by: RankBy) -> tuple[Floats, Floats]:
    """What a statistic is the ratio of, walk by walk."""
    if rank_by in ("change", "shapley"):
        return np.abs(dq) if rank_by == "change" else dq, np.ones_like(dq)
    valid = dx != 0
    effect = np.divide(dq, dx, out=np.zeros_like(dq), where=valid)
    return np.abs(effect) if rank_by == "value" else effect, valid.astype(np.float64)
