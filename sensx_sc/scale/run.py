"""A run over blocks of cells: what is stored is taken from there, the rest is explained."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.core.attribution import attribute, failure
from sensx_sc.core.explanation import joined
from sensx_sc.core.preparation import read
from sensx_sc.core.progress import Progress
from sensx_sc.core.sampling import cell_key, uniforms
from sensx_sc.core.walks import UnrepeatableError, place
from sensx_sc.scale.cluster import active_client, on_workers
from sensx_sc.scale.facts import Facts
from sensx_sc.scale.results import condense
from sensx_sc.scale.store import Store, data_digests

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import pandas as pd

    from sensx_sc.core.arrays import Floats, Ints, Rows
    from sensx_sc.core.explanation import Explanation
    from sensx_sc.core.run import Run
    from sensx_sc.scale.cluster import Task
    from sensx_sc.scale.results import BlockResult
    from sensx_sc.scale.shard import Shard
    from sensx_sc.slots import Section
    from sensx_sc.words import OnError

_LEFT_OUT = ("rows_a_batch", "model", "evaluator", "max_walks")  # the last is in "n_walks"
_RAISED = "the model raised"
_N_PROBES = 8


@dataclass(frozen=True)
class Job:
    """The cells of a run.

    Attributes
    ----------
    rows
        Inputs, (C, n), and behind them what the model reads beside features.
    cells
        Their rows in the AnnData, ascending, (C,), of ``n_obs``.
    keys
        Their names, which key the random numbers.
    target
        Index of each one's explained output, -1 where the model does not say, (C,).
    output_names, names
        Names of the outputs and of the features.
    run
        What was prepared.
    statistics
        What to keep for every cell and feature.
    on_error
        ``"mark"`` cells on which the model fails, or ``"raise"``.
    sections
        Which columns of the results go where.
    keep
        Only so many features of each cell; None: all.
    features
        Names of all columns of the rows.
    n_matrix
        How many of them are features of the matrix, with covariates behind them; None: all.
    """

    rows: Rows
    cells: Ints
    n_obs: int
    keys: Sequence[str]
    target: Ints
    output_names: tuple[str, ...]
    names: tuple[str, ...]
    run: Run
    statistics: tuple[str, ...]
    on_error: OnError
    sections: tuple[Section, ...]
    keep: int | None = None
    features: tuple[str, ...] = ()
    n_matrix: int | None = None


def open_store(
    path: str | os.PathLike[str],
    job: Job,
    chunk_size: int | str,
    *,
    key: str,
    obs_names: pd.Index[Any],
    var_names: pd.Index[Any],
    slots: Mapping[str, list[str]],
) -> Store:
    """The store of a job, new or to be resumed; the arguments are those of :class:`Store`."""
    run, domain, n = job.run, job.run.domain, job.run.n_features
    # How the model is called, and what it is called, does not matter: its outputs do.
    left_out = _LEFT_OUT if run.options.top_k else (*_LEFT_OUT, "alpha")
    facts = Facts(
        {name: value for name, value in run.params.items() if name not in left_out},
        job.statistics,
        "all" if job.keep is None else f"top:{job.keep}",
        job.names,
        job.output_names,
        job.cells,
        job.target,
        domain.lower[:n],
        domain.upper[:n],
        domain.tested[:n],
        run.grouping(n),
        run.deltas,
        _model_outputs(job),
    )
    return Store(
        path,
        key,
        obs_names=obs_names,
        var_names=var_names,
        slots=slots,
        facts=facts,
        sections=job.sections,
        chunk_size=None if chunk_size == "auto" else int(chunk_size),
    )


def _model_outputs(job: Job) -> Floats:
    """What the model gives at points of the domain, (P, K + 1); NaN where it raises.

    At the first half of the points features that are not tested are at their lower bounds. With
    a quantity of interest that is a function of the outputs, its value is the last column.
    """
    run, domain = job.run, job.run.domain
    u = uniforms(0, cell_key("store"), "calibration", 0, 2 * _N_PROBES, domain.n_features)
    points = domain.lower + u * (domain.upper - domain.lower)
    if not domain.continuous:
        points[:, domain.free] = place(u[:, domain.free], run.trial[0], domain, 1.0)
    points[:_N_PROBES, ~domain.tested] = domain.lower[~domain.tested]
    evaluator = next(iter(run.evaluators.values()))
    found = np.full((len(points), len(job.output_names) + 1), np.nan)
    for i, row in enumerate(points):
        # A model may raise anything; the inputs on which it does are marked later on.
        with contextlib.suppress(Exception):
            found[i, :-1] = evaluator.outputs(row[None])
            if callable(run.response.qoi):
                found[i, -1] = evaluator.at(row[None], np.zeros(1, dtype=np.int64))[0]
    return found


def blocks(
    job: Job,
    together: int,
    store: Store | None,
    *,
    shard: Shard | None = None,
    progress: Progress | None = None,
) -> Iterator[BlockResult]:
    """Explain cells a block at a time, or take what the store has of them.

    Parameters
    ----------
    together
        Cells a block, without a store; a store's blocks are its chunks of the AnnData's cells.
    shard
        Only the blocks of this part of a job array.

    Yields
    ------
    The results of each block; with a store without its large arrays, which are there.
    """
    shown = progress or Progress()
    parts = _parts(job, together, store, shard)
    if (client := active_client()) is not None:
        yield from _from_workers(client, job, parts, store, shown)
        return
    for number, part in parts:
        x, found = _looked_up(job, number, part, store, shown)
        if found is None:
            block = _block(job, part, x, shown.advance)
            found = _stored(block, number, x, store)
        yield found


def n_inputs(job: Job, store: Store | None, shard: Shard | None) -> int:
    """How many inputs a job, or its shard, has."""
    if shard is None:
        return len(job.cells)
    return sum(part.stop - part.start for _, part in _parts(job, 0, store, shard))


def block_numbers(job: Job, store: Store) -> list[int]:
    """Numbers of all blocks of a job in a store."""
    return [number for number, _ in _parts(job, 0, store)]


def _looked_up(
    job: Job, number: int, part: slice, store: Store | None, shown: Progress
) -> tuple[Floats, BlockResult | None]:
    """The inputs of a block, and its results if the store has them.

    A block with cells on which the model raised is tried again.
    """
    x = read(job.rows[part], job.run)
    found = None if store is None else store.read(number, data_digests(x), job.keys[part])
    if found is not None and any(text.startswith(_RAISED) for text in found.table["message"]):
        found = None
    if found is not None:
        shown.found(len(x))
    return x, found


def _stored(block: BlockResult, number: int, x: Floats, store: Store | None) -> BlockResult:
    """The results of a block once they are in the store, if there is one."""
    if store is None:
        return block
    store.write(number, block, data_digests(x))
    return replace(block, genes=None, arrays={})


def _from_workers(
    client: Any,
    job: Job,
    parts: Iterable[tuple[int, slice]],
    store: Store | None,
    shown: Progress,
) -> Iterator[BlockResult]:
    """The same on the workers of a Dask client; this process reads, stores and keeps the order."""
    before: dict[int, BlockResult] = {}

    def missing() -> Iterator[Task]:
        for number, part in parts:
            x, found = _looked_up(job, number, part, store, shown)
            if found is None:
                yield number, part, x
            else:
                before[number] = found

    made: dict[int, BlockResult] = {}
    for (number, _, x), block in on_workers(client, job, missing(), _block):
        made[number] = _stored(block, number, x, store)
        shown.advance(len(x) * job.run.evaluations)
        if not before:
            yield made.pop(number)
    whole = made | before
    for number in sorted(whole):
        yield whole[number]


def _parts(
    job: Job, together: int, store: Store | None, shard: Shard | None = None
) -> list[tuple[int, slice]]:
    """Number and inputs of each block, or of those of a shard."""
    if shard is not None:
        whole = _parts(job, together, store)
        return [part for i, part in enumerate(whole) if shard.has(i)]
    if store is None:
        starts = range(0, len(job.cells), together)
        return [(i, slice(a, min(a + together, len(job.cells)))) for i, a in enumerate(starts)]
    numbers, begins = np.unique(job.cells // store.chunk_size, return_index=True)
    ends = [*begins[1:].tolist(), len(job.cells)]
    parts = zip(numbers.tolist(), begins.tolist(), ends, strict=True)
    return [(number, slice(begin, end)) for number, begin, end in parts]


def _block(
    job: Job, part: slice, x: Floats, advance: Callable[[int], object] = lambda _: None
) -> BlockResult:
    work = explained if job.on_error == "mark" else attribute
    found = work(x, job.target[part], job.output_names, job.keys[part], job.run, advance=advance)
    raced = job.run.options.top_k is not None and not job.run.gradients
    present, found = job.run.present(x), found.features(job.run.n_features)
    return condense(job.cells[part], found, present, job.statistics, keep=job.keep, raced=raced)


def explained(
    x: Floats,
    target: Ints,
    output_names: tuple[str, ...],
    keys: Sequence[str],
    run: Run,
    *,
    advance: Callable[[int], object] = lambda _: None,
) -> Explanation:
    """Explain inputs; those on which the model raises are marked as failed, the rest goes on."""
    known = (target >= 0).all()
    message = "the model returned NaN at the cell itself, so that its class is not known"
    try:
        if known:
            return attribute(x, target, output_names, keys, run, advance=advance)
        if len(x) == 1 and np.isfinite(next(iter(run.evaluators.values())).outputs(x)).all():
            message = f"{_RAISED} at the cell itself, though not always: its class is not known"
    except UnrepeatableError:
        raise
    except Exception as error:  # noqa: BLE001 - a model may raise anything
        message = f"{_RAISED} {type(error).__name__}: {error}"
    if len(x) == 1:
        advance(run.evaluations)
        return failure(target, output_names, message, run)
    alone: list[Any] = [slice(i, i + 1) for i in range(len(x))]
    return joined(
        [explained(x[i], target[i], output_names, keys[i], run, advance=advance) for i in alone]
    )
