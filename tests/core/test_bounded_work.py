"""The queue: batches neither too large nor too small, and no row more than the method needs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import sensx_sc as sx
from sensx_sc.core import Explanation, explain

N = 12


def saturating(z: np.ndarray) -> np.ndarray:
    return np.tanh(4 * z @ np.linspace(0.2, 2, N)) + 0.05 * z[:, 0] * z[:, 1]


@pytest.fixture(scope="module")
def cells() -> np.ndarray:
    rng = np.random.default_rng(3)
    x = 0.02 * rng.random((6, N)) * (rng.random((6, N)) < 0.4)
    x[0] = 0
    return x


def call(X: object, model: object = saturating, **arguments: Any) -> Explanation:
    base = {"lower": 0, "upper": 1, "n_walks": 24, "n_samples": 100, "seed": 2}
    return explain(X, model, **{**base, **arguments})


@pytest.mark.parametrize("batch_size", [1, 33, 1000, "auto"])
def test_no_batch_is_larger_than_asked(cells: np.ndarray, batch_size: int | str) -> None:
    sizes: list[int] = []

    def recorded(z: np.ndarray) -> np.ndarray:
        sizes.append(len(z))
        return saturating(z)

    r = call(cells[:2], recorded, batch_size=batch_size, n_samples=20)
    most = r.params["rows_a_batch"]["float64"]
    assert most == batch_size or batch_size == "auto"
    assert max(sizes[2:]) <= most


def test_work_is_what_the_method_needs(cells: np.ndarray) -> None:
    """n_walks F + n_deltas n_samples rows an input, and little more."""
    sizes: list[int] = []
    of_x = 0

    def recorded(z: np.ndarray) -> np.ndarray:
        nonlocal of_x
        sizes.append(len(z))
        of_x += int((z[:, None, :] == cells[None, 1:]).all(axis=2).sum())
        return saturating(z)

    n_walks, n_samples = 80, 200
    r = call(cells, recorded, n_walks=n_walks, n_samples=n_samples, deltas="linear")
    assert set(r.status) == {"resolved"}
    needed = 6 * (n_walks * N + 50 * n_samples)
    overhead = 6 * (n_walks + 2 * 2 * N + 4) + 3 * 12 + 4  # endpoints, probes, q(x), trial calls
    assert needed <= sum(sizes) <= needed + overhead
    # Not once a walk: a few times an input, in checks, probes and calibration.
    assert of_x <= 5 * 8


def test_small_inputs_run_in_batches_of_thousands() -> None:
    sizes: list[int] = []

    def recorded(z: np.ndarray) -> np.ndarray:
        sizes.append(len(z))
        return z[:, 0] - z[:, 1] * z[:, 2]

    call(np.zeros((100, 10)), recorded, n_walks=40, deltas=[1.0], n_samples=2000)
    walks, calls = 100 * 40 * 10, [s for s in sizes if s > 2000]
    assert max(sizes) > 15_000
    assert len(calls) <= walks // 10_000 + 2


def test_calibration_of_small_inputs_runs_in_batches_of_thousands() -> None:
    sizes: list[int] = []

    def recorded(z: np.ndarray) -> np.ndarray:
        sizes.append(len(z))
        return np.tanh(5 * z.sum(axis=1))

    call(np.zeros((20, 10)), recorded, n_samples=1000)
    assert np.average(sizes, weights=sizes) > 2000  # the batch of an average row


def test_x_is_not_evaluated_again_for_more_walks() -> None:
    x = np.full((1, 60), 0.125)
    counts = []
    for n_walks in (40, 400):
        of_x: list[int] = []

        def recorded(z: np.ndarray, of_x: list[int] = of_x) -> np.ndarray:
            of_x.append(int((z == x).all(axis=1).sum()))
            return z[:, 0] * z[:, 1]

        call(x, recorded, n_walks=n_walks, batch_size=500, deltas=[1.0], tau=1e-6)
        counts.append(sum(of_x))
    assert counts[0] == counts[1] <= 12


def test_memory_budget_reaches_the_model(cells: np.ndarray) -> None:
    sizes: list[int] = []

    def recorded(z: np.ndarray) -> np.ndarray:
        sizes.append(len(z))
        return saturating(z)

    with sx.settings.override(memory_budget=16 * 8 * N * 50):
        call(cells[:1], recorded)
    assert max(sizes) == 50


def test_blocks_of_inputs_are_joined_as_if_there_was_one() -> None:
    # One input needs the grid extended, one fails, one is insensitive: their blocks differ.
    def response(z: np.ndarray) -> np.ndarray:
        q = np.tanh(1e6 * z[:, 0]) * (z[:, 1] < 0.5) + np.tanh(3 * z[:, 2:].sum(axis=1)) * 0.2
        return np.where(z[:, 1] > 0.95, np.nan, q)

    x = np.zeros((5, 6))
    x[1, 1], x[2, 0] = 0.99, 0.5
    arguments = {"n_walks": 8, "n_samples": 60, "deltas": "auto"}
    whole = call(x, response, **arguments)
    # A budget so small that every input is a block of its own.
    with sx.settings.override(memory_budget=28 * 8 * 6 * 4):
        parted = call(x, response, **arguments, batch_size=64)
    assert whole.status == parted.status
    assert len(set(whole.status)) > 1
    np.testing.assert_array_equal(whole.deltas, parted.deltas)
    for name in ("value", "rank", "envelope", "delta_star", "bracket", "n", "qoi", "noise_floor"):
        np.testing.assert_allclose(getattr(parted, name), getattr(whole, name), rtol=1e-12)
    assert whole.messages == parted.messages
