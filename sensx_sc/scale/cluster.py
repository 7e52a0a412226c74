"""Blocks of cells on the workers of a Dask client: a LocalCluster, SLURM, GPUs."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dask
import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sensx_sc.core.arrays import Floats
    from sensx_sc.scale.results import BlockResult
    from sensx_sc.scale.run import Job

    Task = tuple[int, slice, Floats]
    """Number of a block, its inputs' place in the job, the inputs."""

_AHEAD = 2  # blocks a thread that are under way or waiting
_RETRIES = 3
_ALONE = threading.Lock()  # a model whose inside is unknown is not called twice at a time


def active_client() -> Any:
    """The Dask client of this process, or None."""
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return None
    try:
        return distributed.default_client()
    except ValueError:
        return None


@contextmanager
def local_client(n_workers: int, **how: Any) -> Iterator[Any]:
    """A Dask client of so many processes of this machine, one thread each, for a while.

    Parameters
    ----------
    how
        Passed to :class:`distributed.LocalCluster`.
    """
    from distributed import Client, LocalCluster

    class Local(LocalCluster):  # type: ignore[misc,unused-ignore]
        def _update_worker_status(self, op: str, msg: Any) -> None:
            # A worker that died may be told to be gone twice; the second time, distributed's
            # watcher would end with a KeyError that closing the cluster raises again.
            with suppress(KeyError):
                super()._update_worker_status(op, msg)

    how = {"threads_per_worker": 1, "dashboard_address": ":0"} | how
    with Local(n_workers=n_workers, **how) as cluster, Client(cluster) as client:
        yield client


def on_workers(
    client: Any, job: Job, tasks: Iterable[Task], work: Callable[[Job, slice, Floats], BlockResult]
) -> Iterator[tuple[Task, BlockResult]]:
    """Results of blocks from the workers, in the order of the tasks.

    The job without its inputs travels to each worker once; a block that was on a worker that died
    is done again on another.

    Parameters
    ----------
    tasks
        Blocks; few are read ahead of what is taken.
    work
        Explains one.
    """
    threads = sum(client.nthreads().values()) or 1
    lean = replace(job, rows=None)
    there = _everywhere(client, lean)

    def submitted(task: Task) -> Any:
        _, part, x = task
        # Inputs travel with their task: on one worker alone they would die with it.
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "10GB"}):
            return client.submit(_on_worker, work, there, part, x, pure=False, retries=_RETRIES)

    under_way: deque[tuple[Task, Any]] = deque()

    def taken() -> tuple[Task, BlockResult]:
        nonlocal there
        for attempt in range(_RETRIES):
            task, future = under_way[0]
            try:
                result = future.result()
            except CancelledError:
                # All workers that had the job are gone: those that came get it now.
                if attempt == _RETRIES - 1:
                    raise
                there = _everywhere(client, lean)
                again = [(task, submitted(task)) for task, _ in under_way]
                under_way.clear()
                under_way.extend(again)
                continue
            under_way.popleft()
            return task, result
        raise AssertionError

    try:
        for task in tasks:
            under_way.append((task, submitted(task)))
            if len(under_way) >= _AHEAD * threads:
                yield taken()
        while under_way:
            yield taken()
    finally:
        client.cancel([future for _, future in under_way])


def _everywhere(client: Any, job: Job) -> Any:
    """The job on every worker; again if one dies meanwhile."""
    for attempt in range(_RETRIES):
        try:
            return client.scatter(job, broadcast=True, hash=False)
        except OSError:
            if attempt == _RETRIES - 1:
                raise
            time.sleep(1)
    return None


def _on_worker(
    work: Callable[[Job, slice, Floats], BlockResult], job: Job, part: slice, x: Floats
) -> BlockResult:
    """One block, on a worker."""
    from distributed import get_worker

    torch.set_num_threads(max(1, int(get_worker().state.nthreads)))
    if all(evaluator.parallel for evaluator in job.run.evaluators.values()):
        return work(job, part, x)
    with _ALONE:
        return work(job, part, x)
