"""Several tasks at a time: a thread a core, one torch thread in each.

Torch's own threads meet after every operation, which costs much where operations are small, and
ruins everything where another process keeps a core busy. Whole tasks side by side never wait.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Task = TypeVar("Task")
Result = TypeVar("Result")


def n_workers(*, parallel: bool) -> int:
    """How many tasks run side by side: as many as torch may use threads."""
    return torch.get_num_threads() if parallel else 1


def in_order(
    function: Callable[[Task], Result], tasks: Iterable[Task], *, parallel: bool
) -> Iterator[Result]:
    """Results of tasks in the tasks' order; only a few tasks are begun ahead of what is taken.

    Parameters
    ----------
    parallel
        Whether the tasks may overlap.
    """
    n = n_workers(parallel=parallel)
    if n == 1:
        yield from map(function, tasks)
        return
    begun: deque[Future[Result]] = deque()
    try:
        with ThreadPoolExecutor(n, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            try:
                for task in tasks:
                    begun.append(pool.submit(function, task))
                    if len(begun) > n:
                        yield begun.popleft().result()
                while begun:
                    yield begun.popleft().result()
            finally:
                for future in begun:
                    future.cancel()
    finally:
        torch.set_num_threads(n)  # parts of torch keep the number for all threads
