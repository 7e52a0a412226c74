"""A run over blocks of cells: what is stored is taken from there, the rest is explained."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.core.attribution import attribute, failure
from sensx_sc.core.explanation import joined
from sensx_sc.core.preparation import read
from sensx_sc.core.sampling import cell_key, uniforms
from sensx_sc.core.walks import UnrepeatableError, place
from sensx_sc.scale.cluster import active_client, on_workers
from sensx_sc.scale.results import condense
from sensx_sc.scale.store import Store, data_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sensx_sc.core.arrays import Floats, Ints, Rows
    from sensx_sc.core.explanation import Explanation
    from sensx_sc.core.preparation import Run
    from sensx_sc.scale.results import BlockResult
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
        Inputs, (C, n).
    cells
        Their rows in the AnnData, ascending, (C,), of ``n_obs``.
    keys
        Their names, which key the random numbers.
    target
        Index of each one's explained output, (C,).
    output_names, names
        Names of the outputs and of the features.
    run
        What was prepared.
    statistics
        What to keep for every cell and feature.
    on_error
        ``"mark"`` cells on which the model fails, or ``"raise"``.
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


def open_store(path: str | os.PathLike[str], job: Job, chunk_size: int | str) -> Store:
    """The store of a job, new or to be resumed."""
    if not isinstance(path, str | os.PathLike) or not str(path):
        msg = f"`store` must be the path of a folder; got {path!r}."
        raise TypeError(msg)
    run, domain = job.run, job.run.domain
    # How the model is called, and what it is called, does not matter: its outputs do.
    left_out = _LEFT_OUT if run.options.top_k else (*_LEFT_OUT, "alpha")
    params = {name: value for name, value in run.params.items() if name not in left_out}
    labels = np.array([*job.keys, *job.names, *job.output_names], dtype=str)
    depends = params | {
        "domain": _fingerprint(domain.lower, domain.upper, domain.tested),
        "groups": [_fingerprint(part.label) for part in (domain.groups, run.within) if part],
        "deltas": _fingerprint(run.deltas),
        "cells": _fingerprint(job.cells, labels),
        "target": _fingerprint(job.target),
    }
    u = uniforms(0, cell_key("store"), "calibration", 0, _N_PROBES, domain.n_features)
    probes = np.repeat(read(job.rows[:1], run), _N_PROBES, axis=0)
    probes[:, domain.free] = place(u[:, domain.free], domain.lower, domain, 1.0)
    evaluator = next(iter(run.evaluators.values()))
    # The response itself, for each output that is explained: it depends on `qoi`, too.
    q = [evaluator.at(probes, np.full(_N_PROBES, t)) for t in np.unique(job.target)]
    wanted = None if chunk_size == "auto" else int(chunk_size)
    shape = (job.n_obs, run.n_places)
    return Store(path, depends, np.array(q), shape, job.statistics, wanted)


def _fingerprint(*arrays: np.ndarray) -> str:
    told = hashlib.blake2b(digest_size=8)
    for array in arrays:
        told.update(np.ascontiguousarray(array).tobytes())
    return told.hexdigest()


def blocks(
    job: Job,
    together: int,
    store: Store | None,
    *,
    advance: Callable[[int], object] = lambda _: None,
) -> Iterator[BlockResult]:
    """Explain cells a block at a time, or take what the store has of them.

    Parameters
    ----------
    together
        Cells a block, without a store; a store's blocks are its chunks of the AnnData's cells.

    Yields
    ------
    The results of each block; with a store without its arrays, which are there.
    """
    if (client := active_client()) is not None:
        yield from _from_workers(client, job, together, store, advance)
        return
    for number, part in _parts(job, together, store):
        x = read(job.rows[part], job.run)
        data = data_digest(x) if store is not None else ""
        found = None if store is None else _finished(store, number, data)
        if found is not None:
            advance(len(x) * job.run.evaluations)
            yield found
            continue
        block = _block(job, part, x, advance)
        if store is not None:
            store.write(number, block, data)
        yield block


def _from_workers(
    client: Any,
    job: Job,
    together: int,
    store: Store | None,
    advance: Callable[[int], object],
) -> Iterator[BlockResult]:
    """The same on the workers of a Dask client; this process reads, stores and keeps the order."""
    stored: dict[int, BlockResult] = {}

    def missing() -> Iterator[tuple[int, slice, Floats, str]]:
        for number, part in _parts(job, together, store):
            x = read(job.rows[part], job.run)
            data = data_digest(x) if store is not None else ""
            found = None if store is None else _finished(store, number, data)
            if found is None:
                yield number, part, x, data
            else:
                stored[number] = found

    made: dict[int, BlockResult] = {}
    for (number, _, x, data), block in on_workers(client, job, missing(), _block):
        if store is not None:
            store.write(number, block, data)
        made[number] = block if store is None else replace(block, arrays={})
        advance(len(x) * job.run.evaluations)
        if not stored:
            yield made.pop(number)
    whole = made | stored
    for number in sorted(whole):
        yield whole[number]


def _finished(store: Store, number: int, data: str) -> BlockResult | None:
    """A block that the store has; not one with cells on which the model raised: tried again."""
    found = store.read(number, data)
    if found is not None and any(text.startswith(_RAISED) for text in found.table["message"]):
        return None
    return found


def _parts(job: Job, together: int, store: Store | None) -> Iterator[tuple[int, slice]]:
    """Number and inputs of each block."""
    if store is None:
        for number, start in enumerate(range(0, len(job.cells), together)):
            yield number, slice(start, min(start + together, len(job.cells)))
        return
    of_chunk = job.cells // store.chunk_size
    for number in np.unique(of_chunk).tolist():
        start, stop = np.searchsorted(of_chunk, [number, number + 1])
        yield number, slice(int(start), int(stop))


def _block(
    job: Job, part: slice, x: Floats, advance: Callable[[int], object] = lambda _: None
) -> BlockResult:
    work = explained if job.on_error == "mark" else attribute
    found = work(x, job.target[part], job.output_names, job.keys[part], job.run, advance=advance)
    return condense(job.cells[part], found, job.run.present(x), job.statistics)


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
    try:
        return attribute(x, target, output_names, keys, run, advance=advance)
    except UnrepeatableError:
        raise
    except Exception as error:  # noqa: BLE001 - a model may raise anything
        if len(x) == 1:
            message = f"{_RAISED} {type(error).__name__}: {error}"
            return failure(target, output_names, message, run)
    alone: list[Any] = [slice(i, i + 1) for i in range(len(x))]
    return joined([explained(x[i], target[i], output_names, keys[i], run) for i in alone])
