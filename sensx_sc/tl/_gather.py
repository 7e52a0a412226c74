"""The work of ``tl.sensx``: blocks of cells explained, or found in a store, and gathered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sensx_sc.core.progress import progress_bar
from sensx_sc.logger import logger
from sensx_sc.scale.run import block_numbers, blocks, n_inputs
from sensx_sc.tl._results import Results

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sensx_sc.models.shared_response import Memory
    from sensx_sc.scale.results import BlockResult
    from sensx_sc.scale.run import Job
    from sensx_sc.scale.shard import Shard
    from sensx_sc.scale.store import Store


def gather(
    job: Job,
    together: int,
    store: Store | None,
    shard: Shard | None,
    *,
    progress: bool | None,
    noun: str = "cell",
) -> Results | None:
    """Explain the cells of a job; None where it was a shard and others are not done.

    Raises
    ------
    ValueError
        The model failed on all cells.
    """
    n_cells = n_inputs(job, store, shard)
    with progress_bar(n_cells, job.run.evaluations, progress, unit=noun) as shown:
        found = blocks(job, together, store, shard=shard, progress=shown)
        results = _gathered(job, store, found)
    if store is not None and shard is not None:
        if not _is_complete(job, store, shard):
            return None
        results = _gathered(job, store, blocks(job, together, store))
    _refuse_all_failed(results, noun)
    return results


def gather_each(jobs: list[Job], memory: Memory, *, progress: bool | None) -> list[Results]:
    """Explain the same cells for several targets, cell by cell, so that they share evaluations.

    Raises
    ------
    ValueError
        The model failed on all cells.
    """
    found = [Results(job, job.statistics) for job in jobs]
    n_cells = sum(len(job.cells) for job in jobs)
    with progress_bar(n_cells, jobs[0].run.evaluations, progress) as shown:
        streams = [blocks(job, 1, None, progress=shown) for job in jobs]
        for of_each in zip(*streams, strict=True):
            for results, block in zip(found, of_each, strict=True):
                results.add(block)
            memory.forget()
    for results in found:
        _refuse_all_failed(results, "cell")
    return found


def _gathered(job: Job, store: Store | None, found: Iterable[BlockResult]) -> Results:
    results = Results(job, () if store is not None else job.statistics)
    for block in found:
        results.add(block)
    return results


def _is_complete(job: Job, store: Store, shard: Shard) -> bool:
    """Whether the other shards are done as well; else it is said what is missing."""
    whole = block_numbers(job, store)
    missing = store.missing(whole)
    if missing:
        logger.info(
            "sensx: shard %s is done; %d of %d blocks of cells are still to be explained by others "
            "(to finish what a shard has left, run it again, or run without `shard`).",
            shard,
            len(missing),
            len(whole),
        )
    return not missing


def _refuse_all_failed(results: Results, noun: str) -> None:
    counts = results.counts
    if set(counts) == {"failed"}:
        cell, message = next(iter(results.messages.items()))
        msg = (
            f"the model failed on all {counts['failed']} {noun}s; on the first (row {cell}): "
            f"{message}."
        )
        raise ValueError(msg + (" adata is unchanged." if noun == "cell" else ""))
