"""A memory of rows that were answered, for several targets."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

import sensx_sc as sx
from sensx_sc.models.qoi import make_response
from sensx_sc.models.shared_response import Memory, SharedResponse

ROWS = torch.as_tensor(np.random.default_rng(0).random((6, 4)))


class Counted:
    """Three outputs; how many rows were seen."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        self.seen += len(rows)
        return np.tanh(rows[:, :3] * [1.0, -2.0, 3.0])


@pytest.fixture
def made() -> tuple[Counted, SharedResponse]:
    function = Counted()
    model = sx.models.as_model(function, n_features=4, outputs="logit")
    plain = make_response(model)
    function.seen = 0
    memory = Memory(10_000)
    memory.targets = np.array([0, 2])
    return function, SharedResponse(plain.model, plain.qoi, memory)


def test_a_batch_is_evaluated_once_for_all_targets(made: tuple[Counted, SharedResponse]) -> None:
    function, shared = made
    plain = make_response(shared.model)
    for target in (np.zeros(6, int), np.full(6, 2), np.array([0, 2, 2, 0, 0, 2])):
        expected = plain(ROWS, target)
        function.seen = 0
        np.testing.assert_array_equal(shared(ROWS, target), expected)
    assert function.seen == 0  # the last two were known
    assert (shared.memory.n_asked, shared.memory.n_evaluated) == (18, 6)
    shared(ROWS[:5], np.zeros(5, int))  # another batch
    assert function.seen == 5


def test_other_targets_are_not_kept(made: tuple[Counted, SharedResponse]) -> None:
    function, shared = made
    for _ in range(2):
        shared(ROWS, np.ones(6, int))
    assert function.seen == 12
    shared.memory.targets = np.empty(0, int)
    shared(ROWS, np.zeros(6, int))
    assert shared.memory.n_asked == 0


def test_the_oldest_is_forgotten(made: tuple[Counted, SharedResponse]) -> None:
    function, shared = made
    shared.memory.room = 2 * 6 * 2 * 8
    for shift in (0, 1, 2):
        shared(ROWS + shift, np.zeros(6, int))
    function.seen = 0
    shared(ROWS + 2, np.zeros(6, int))
    assert function.seen == 0
    shared(ROWS, np.zeros(6, int))
    assert function.seen == 6
    shared.memory.forget()
    shared(ROWS, np.zeros(6, int))
    assert function.seen == 12


def test_types_and_shapes_are_kept_apart(made: tuple[Counted, SharedResponse]) -> None:
    _, shared = made
    zeros = torch.zeros(4, 4, dtype=torch.float64)
    shared(zeros, np.zeros(4, int))
    shared(zeros.float(), np.zeros(4, int))
    assert shared.memory.n_evaluated == 8


def test_it_travels_empty() -> None:
    memory = Memory(100)
    memory.targets = np.array([1])
    memory.put(b"k", np.ones((2, 1)))
    copied = pickle.loads(pickle.dumps(memory))  # noqa: S301
    assert copied.get(b"k", 2) is None
    assert copied.targets.tolist() == [1]
    assert copied.room == 100
