"""Grounded walks (equation 3 of the paper): one bounded queue over cells, blocks and chunks."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sensx_sc.core.sampling import endpoints, orders
from sensx_sc.core.workers import in_order, n_workers
from sensx_sc.evaluators.walk_set import WalkSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sensx_sc.core.arrays import Floats, Ints
    from sensx_sc.core.domain import Domain
    from sensx_sc.core.sampling import Design
    from sensx_sc.core.statistics import Tally
    from sensx_sc.evaluators.protocol import Evaluator


class UnrepeatableError(RuntimeError):
    """The model's output for a row depends on more than the row."""


_SUMMED = 20  # walks whose effects are summed together, where blocks are single walks


@dataclass
class Walker:
    """One input that is walked, and what its walks have yielded so far.

    Attributes
    ----------
    x, target, key, delta_star
        The input (n,), its explained output, its random key and its scale.
    envelope
        1st and 99th percentile of q at ``delta_star``.
    tolerance
        Largest difference that rounding can make between two evaluations of one row.
    q_x
        q at the input, in the type of the walks.
    tally, ends, inside
        Running statistics, the endpoints reached, and how many lie inside the envelope.
    not_finite
        Steps at which q was NaN or infinite.
    """

    x: Floats
    target: int
    key: int
    delta_star: float
    envelope: tuple[float, float]
    tolerance: float
    q_x: float
    tally: Tally
    ends: int = 0
    inside: int = 0
    not_finite: int = 0


@dataclass(frozen=True)
class _Task:
    """Consecutive blocks of walks of one input."""

    walker: int
    blocks: range


@dataclass(frozen=True)
class _Steps:
    """What consecutive walks of one input have yielded.

    ``dq`` and ``dx`` are the changes of q and of the feature (the length, of a group) at each
    step, (walks, S); ``last`` is q at the ends, (walks,); ``not_finite`` counts the steps at which
    q was not.
    """

    walker: int
    dq: Floats
    dx: Floats
    last: Floats
    not_finite: int


def walk(
    walkers: list[Walker],
    evaluator: Evaluator,
    domain: Domain,
    design: Design,
    *,
    seed: int,
    min_step: float = 0.0,
    blocks: range | None = None,
    keep: Callable[[int, Floats, Floats], object] | None = None,
    advance: Callable[[int], object] = lambda _: None,
) -> None:
    """Walk every input ``design.n_walks`` times and add to its tally.

    Tasks of different inputs share a batch until the evaluator has enough, so inputs of ten
    features run in batches of thousands of rows, and one of 30,000 never needs more.

    Parameters
    ----------
    min_step
        Steps shorter than this fraction of delta* times the feature's range are not made.
    blocks
        Only these blocks of the design.
    keep
        Told what whole blocks of walks have yielded, each input's in the order of its blocks: which
        input, the changes of q and the steps, (walks, F) each.
    advance
        Told how many more steps are done.

    Raises
    ------
    UnrepeatableError
        The response at the end of a walk is not that of its endpoint.
    """
    blocks = range(design.n_blocks) if blocks is None else blocks

    def work(batch: list[_Task]) -> list[_Steps]:
        walks = _draw(batch, walkers, evaluator, domain, design, seed, min_step)
        q = evaluator.walks(walks)
        with np.errstate(invalid="ignore"):  # infinite responses are counted
            dq_in_order = np.diff(q, axis=1, prepend=walks.q_x[walks.cell, None])
        dq = np.empty_like(dq_in_order)
        np.put_along_axis(dq, walks.order, dq_in_order, axis=1)
        tolerance = np.array([walkers[task.walker].tolerance for task in batch])
        _check_ends(q[:, -1], walks, tolerance, evaluator)
        dx = domain.lengths(_starts(walks, evaluator), walks.endpoint)
        ends = np.cumsum(np.bincount(walks.cell))
        parts = [slice(a, b) for a, b in itertools.pairwise([0, *ends])]
        return [
            _Steps(task.walker, dq[part], dx[part], q[part, -1], _not_finite(q[part]))
            for task, part in zip(batch, parts, strict=True)
        ]

    batches = _batches(len(walkers), blocks, design, domain.n_steps, evaluator)
    for made in in_order(work, batches, parallel=evaluator.parallel):
        for steps in made:
            _gather(walkers[steps.walker], steps, design.block)
            if keep is not None and not steps.not_finite:
                keep(steps.walker, steps.dq, steps.dx)
            advance(steps.dq.size)


def walk_chosen(
    walkers: list[Walker],
    chosen: list[Ints],
    evaluator: Evaluator,
    domain: Domain,
    design: Design,
    *,
    seed: int,
    min_step: float = 0.0,
    blocks: range,
) -> None:
    """Make the same walks, but evaluate some steps of each input only.

    Parameters
    ----------
    chosen
        For each input the steps whose tally grows: positions into ``domain.places``.
    blocks
        Blocks of the design.
    """
    unit = _unit(design)
    starts = range(0, len(blocks), unit)
    tasks = [_Task(w, blocks[a : a + unit]) for w in range(len(walkers)) for a in starts]

    def work(task: _Task) -> _Steps:
        walks = _draw([task], walkers, evaluator, domain, design, seed, min_step)
        at = chosen[task.walker]
        dq, start = evaluator.steps(walks, at), _starts(walks, evaluator)
        if domain.groups is None and domain.kinds is None:
            dx = walks.endpoint[:, at] - start[:, at]
        else:
            dx = domain.lengths(start, walks.endpoint)[:, at]
        return _Steps(task.walker, dq, dx, np.empty(0), _not_finite(dq))

    for steps in in_order(work, tasks, parallel=evaluator.parallel):
        _gather(walkers[steps.walker], steps, design.block, chosen[steps.walker])


def _batches(
    n_walkers: int, wanted: range, design: Design, size: int, evaluator: Evaluator
) -> Iterator[list[_Task]]:
    """Tasks of at most as many walks as the evaluator likes, or of one block."""
    workers = n_workers(parallel=evaluator.parallel)
    share = -(-n_walkers * len(wanted) // workers)  # so that no worker is idle
    unit = _unit(design)
    most = min(evaluator.walks_together(size) // design.block, share)
    together = max(unit, most // unit * unit)
    batch: list[_Task] = []
    used = 0
    for walker in range(n_walkers):
        for first in range(0, len(wanted), together):
            blocks = wanted[first : first + together]
            if batch and used + len(blocks) > together:
                yield batch
                batch, used = [], 0
            batch.append(_Task(walker, blocks))
            used += len(blocks)
    if batch:
        yield batch


def _unit(design: Design) -> int:
    """Blocks that are summed together, and so never divided between batches."""
    return _SUMMED if design.block == 1 else 1


def _draw(
    batch: list[_Task],
    walkers: list[Walker],
    evaluator: Evaluator,
    domain: Domain,
    design: Design,
    seed: int,
    min_step: float,
) -> WalkSet:
    """The walks of some tasks, those of each task together."""
    free, n = domain.free, domain.n_features
    present = [walkers[task.walker] for task in batch]
    lengths = [len(task.blocks) * design.block for task in batch]
    order = _joined(
        orders(seed, walker.key, design, task.blocks, n, domain.leaders)
        for task, walker in zip(batch, present, strict=True)
    )
    end = _joined(
        place(
            endpoints(seed, walker.key, design, task.blocks, n, free),
            walker.x,
            domain,
            walker.delta_star,
            min_step,
        )
        for task, walker in zip(batch, present, strict=True)
    )
    return WalkSet(
        x=np.stack([walker.x for walker in present]),
        target=np.array([walker.target for walker in present]),
        q_x=np.array([walker.q_x for walker in present]),
        cell=np.repeat(np.arange(len(batch)), lengths),
        free=free,
        endpoint=_seen(end, evaluator),
        order=order,
        member=None if domain.groups is None else domain.member,
    )


def _starts(walks: WalkSet, evaluator: Evaluator) -> Floats:
    """Values of the features that change at the inputs of walks, (W, F)."""
    return _seen(walks.x[:, walks.free], evaluator)[walks.cell]


def _seen(values: Floats, evaluator: Evaluator) -> Floats:
    """Values as the model sees them, so that a step is the difference of two of its inputs."""
    return values.astype(evaluator.dtype).astype(np.float64)


def _not_finite(values: Floats) -> int:
    return int(np.count_nonzero(~np.isfinite(values)))


def _gather(walker: Walker, steps: _Steps, block: int, at: Ints | None = None) -> None:
    """Add what walks have yielded to their input's statistics."""
    walker.not_finite += steps.not_finite
    if steps.not_finite:
        return
    if at is not None:
        walker.tally.add_to(at, steps.dq, steps.dx, block)
        return
    # In the same portions whatever a batch holds, so that sums are the same to the last bit.
    portion = _SUMMED if block == 1 else block
    for first in range(0, len(steps.dq), portion):
        part = slice(first, first + portion)
        walker.tally.add(steps.dq[part], steps.dx[part], block)
    low, high = walker.envelope
    walker.inside += int(np.count_nonzero((steps.last >= low) & (steps.last <= high)))
    walker.ends += len(steps.last)


def _joined(parts: Iterable[np.ndarray]) -> np.ndarray:
    parts = list(parts)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def place(u: Floats, x: Floats, domain: Domain, delta: float, min_step: float = 0.0) -> Floats:
    """Points of a neighbourhood from fractions: uniform fractions give uniform points.

    With ``min_step`` rho > 0, uniform on what remains without the steps shorter than rho times
    the full step delta r: the fractions run over the two remaining parts. Features that are not
    continuous end at values that they take.

    Parameters
    ----------
    u
        Fractions in [0, 1), (..., F).
    x
        The input, (n,).

    Returns
    -------
    Values of the tested features, (..., F).
    """
    if domain.kinds is None:
        return _placed(u, x, domain, delta, min_step)
    moved = _placed(u, x, domain, delta, min_step)
    return domain.kinds.place(moved, u, x, domain.free, delta)


def _placed(u: Floats, x: Floats, domain: Domain, delta: float, min_step: float) -> Floats:
    """Where continuous features end."""
    down, up = domain.reach(x, delta)
    centre = x[domain.free]
    if min_step == 0.0:
        return centre - down + u * (down + up)
    gap = min_step * delta * (domain.upper - domain.lower)[domain.free]
    below, above = np.maximum(down - gap, 0.0), np.maximum(up - gap, 0.0)
    along = u * (below + above)
    moved = np.where(along < below, centre - down + along, centre + gap + (along - below))
    return np.where(below + above > 0, moved, centre)


def _check_ends(reached: Floats, walks: WalkSet, tolerance: Floats, evaluator: Evaluator) -> None:
    """Steps telescope: their sum is q(e) - q(x), with q(e) from an evaluation of its own."""
    with np.errstate(invalid="ignore"):
        difference = np.abs(reached - evaluator.at(walks.ends(), walks.targets))
    allowed = tolerance[walks.cell]
    wrong = np.flatnonzero(np.isfinite(reached) & ~(difference <= allowed))
    if wrong.size:
        w = int(wrong[0])
        msg = (
            f"the response at the end of a walk differs by {difference[w]:.3g} from that of its "
            f"endpoint (rounding explains {allowed[w]:.3g}), in {wrong.size} of {len(reached)} "
            "walks: the model's output for a row depends on more than the row."
        )
        raise UnrepeatableError(msg)
