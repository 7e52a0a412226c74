"""Tasks side by side, their results in order."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from sensx_sc.core.workers import in_order, n_workers


@pytest.fixture(autouse=True)
def two_threads() -> None:
    """Torch with two threads, and as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("parallel", [False, True])
def test_results_are_in_order(parallel: bool) -> None:
    def slow_at_first(task: int) -> int:
        time.sleep(0.02 / (task + 1))
        return task * task

    assert list(in_order(slow_at_first, range(9), parallel=parallel)) == [k * k for k in range(9)]


def test_tasks_overlap_with_one_torch_thread_each() -> None:
    met = threading.Barrier(2, timeout=20)  # raises unless two are inside at a time

    def meet(_: int) -> int:
        met.wait()
        return torch.get_num_threads()

    assert list(in_order(meet, range(4), parallel=True)) == [1, 1, 1, 1]
    assert torch.get_num_threads() == 2
    assert n_workers(parallel=True) == 2
    assert n_workers(parallel=False) == 1


def test_few_tasks_are_begun_ahead() -> None:
    taken: list[int] = []

    def tasks() -> object:
        for task in range(50):
            taken.append(task)
            yield task

    results = in_order(lambda task: task, tasks(), parallel=True)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    assert len(taken) <= 6
    results.close()
    assert torch.get_num_threads() == 2


def test_an_error_in_a_task_is_raised_and_the_rest_is_not_begun() -> None:
    begun: list[int] = []

    def fail(task: int) -> int:
        begun.append(task)
        if task == 2:
            msg = "no"
            raise ValueError(msg)
        return task

    with pytest.raises(ValueError, match="no"):
        list(in_order(fail, range(100), parallel=True))
    assert len(begun) < 10
