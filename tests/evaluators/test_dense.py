"""The dense evaluator against a plain loop over rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import sensx_sc as sx
from sensx_sc.evaluators import DenseEvaluator
from sensx_sc.evaluators.dense import tiles
from sensx_sc.evaluators.stem.stem import Stem
from sensx_sc.evaluators.walk_set import WalkSet
from sensx_sc.models import as_model
from sensx_sc.models.qoi import make_response
from sensx_sc.models.torch_module import TorchModel

N, FREE = 5, np.array([0, 2, 3])


def two_outputs(z: np.ndarray) -> np.ndarray:
    return np.stack([z[:, 0] * z[:, 2] + z[:, 1], np.cos(z[:, 3]) * z[:, 4] + z[:, 0]], axis=1)


def dense(rows: int, dtype: type = np.float64) -> DenseEvaluator:
    model = as_model(two_outputs, n_features=N, rows="numpy")
    return DenseEvaluator(make_response(model, "value"), np.dtype(dtype), rows)


def one(z: np.ndarray, target: int) -> float:
    return float(two_outputs(z[None])[0, target])


@pytest.mark.parametrize("rows", [1, 3, 4, 1000])
def test_at(rng: np.random.Generator, rows: int) -> None:
    x, target = rng.normal(size=(10, N)), np.arange(10) % 2
    expected = [one(row, k) for row, k in zip(x, target, strict=True)]
    np.testing.assert_allclose(dense(rows).at(x, target), expected, rtol=1e-13)
    np.testing.assert_allclose(dense(rows).outputs(x), two_outputs(x), rtol=1e-13)


@pytest.mark.parametrize("rows", [1, 3, 1000])
@pytest.mark.parametrize("free", [FREE, np.arange(N)], ids=["some", "all"])
def test_sweep(rng: np.random.Generator, rows: int, free: np.ndarray) -> None:
    x, u = rng.normal(size=N), rng.random((7, len(free)))
    down, up = rng.random((4, len(free))), rng.random((4, len(free)))
    got = dense(rows).sweep(x, 1, free, down, up, u)
    for k in range(4):
        for s in range(7):
            z = x.copy()
            z[free] = x[free] - down[k] + u[s] * (down[k] + up[k])
            assert got[k, s] == pytest.approx(one(z, 1), rel=1e-12)


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("free", [FREE, np.arange(N), np.array([4])], ids=["some", "all", "one"])
def test_walks(rng: np.random.Generator, rows: int, free: np.ndarray) -> None:
    x, target = rng.normal(size=(3, N)), np.array([0, 1, 1])
    cell = np.array([0, 0, 1, 2, 2, 2])
    end = rng.normal(size=(6, len(free)))
    order = np.stack([rng.permutation(len(free)) for _ in cell])
    got = dense(rows).walks(WalkSet(x, target, np.zeros(len(x)), cell, free, end, order))
    for w in range(6):
        z = x[cell[w]].copy()
        for k in range(len(free)):
            j = order[w, k]
            z[free[j]] = end[w, j]
            assert got[w, k] == pytest.approx(one(z, target[cell[w]]), rel=1e-12)


@pytest.mark.parametrize("rows", [1, 3, 8, 1000])
@pytest.mark.parametrize("features", [FREE, np.array([4, 1]), np.arange(0)], ids=len)
def test_one_at_a_time(rng: np.random.Generator, rows: int, features: np.ndarray) -> None:
    x, values = rng.normal(size=(3, N)), rng.normal(size=(len(features), 4))
    target, cell = np.array([1, 0, 1]), np.arange(len(features)) % 3
    got = dense(rows).one_at_a_time(x, target, cell, features, values)
    assert got.shape == values.shape
    for k, m in np.ndindex(*values.shape):
        z = x[cell[k]].copy()
        z[features[k]] = values[k, m]
        assert got[k, m] == pytest.approx(one(z, target[cell[k]]), rel=1e-12)


def test_the_arrays_it_is_given_stay_as_they_are(rng: np.random.Generator) -> None:
    def greedy(z: np.ndarray) -> np.ndarray:
        z *= 2  # a black box may write into its rows
        return z.sum(axis=1)

    model = as_model(greedy, n_features=N, rows="numpy")
    spoiled = DenseEvaluator(make_response(model, "value"), np.dtype(np.float64), 100)
    x, u = rng.normal(size=(1, N)), rng.random((2, N))
    reach = rng.random((3, N))
    kept = [part.copy() for part in (x, u, reach)]
    zero, every = np.zeros(1, dtype=np.int64), np.arange(N)
    np.testing.assert_allclose(spoiled.at(x, zero), 2 * x.sum(axis=1))
    first = spoiled.sweep(x[0], 0, every, reach, reach, u)
    np.testing.assert_array_equal(first, spoiled.sweep(x[0], 0, every, reach, reach, u))
    q = spoiled.walks(WalkSet(x, zero, np.zeros(1), zero, every, u[:1], every[None]))
    assert q[0, -1] == pytest.approx(2 * u[0].sum())
    for part, before in zip((x, u, reach), kept, strict=True):
        np.testing.assert_array_equal(part, before)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_have_the_type_that_was_asked_for(dtype: type) -> None:
    seen: set[np.dtype] = set()

    def spy(z: np.ndarray) -> np.ndarray:
        seen.add(z.dtype)
        return z.sum(axis=1)

    model = as_model(spy, n_features=2, rows="numpy")
    seen.clear()
    made = DenseEvaluator(make_response(model, "value"), np.dtype(dtype), 10)
    every, zero = np.arange(2), np.zeros(1, dtype=np.int64)
    made.at(np.ones((1, 2)), zero)
    made.sweep(np.ones(2), 0, every, np.ones((1, 2)), np.ones((1, 2)), np.ones((1, 2)))
    ones = np.ones((1, 2))
    made.walks(WalkSet(ones, zero, np.zeros(1), zero, every, ones, every[None]))
    assert seen == {np.dtype(dtype)}


def test_on_every_device(device: str, rng: np.random.Generator) -> None:
    net = torch.nn.Sequential(torch.nn.Linear(N, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2)).eval()
    response = make_response(as_model(net, device=device), "logit")
    made = DenseEvaluator(response, np.dtype(np.float32), 16)
    x, target = rng.normal(size=(20, N)), np.arange(20) % 2
    with torch.no_grad():
        expected = net(torch.as_tensor(x, dtype=torch.float32)).numpy()[np.arange(20), target]
    np.testing.assert_allclose(made.at(x, target), expected, rtol=1e-4, atol=1e-5)
    every, zero = np.arange(N), np.zeros(1, dtype=np.int64)
    q = made.walks(WalkSet(x[:1], target[:1], np.zeros(1), zero, every, x[1:2], every[None]))
    assert q[0, -1] == pytest.approx(made.at(x[1:2], target[:1])[0], abs=1e-5)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 200))
def test_tiles_cover_exactly_once(n_walks: int, n_steps: int, rows: int) -> None:
    covered = np.zeros((n_walks, n_steps), dtype=int)
    for walks, steps in tiles(n_walks, n_steps, rows):
        part = covered[walks, steps]
        assert 0 < part.size <= rows
        covered[walks, steps] += 1
    assert (covered == 1).all()


def test_tiles_are_full() -> None:
    # 10 features, 1000 walks, 4096 rows: batches of thousands, not of ten.
    sizes = [(w.stop - w.start) * (s.stop - s.start) for w, s in tiles(1000, 10, 4096)]
    assert len(sizes) == 3
    assert max(sizes) == 4090


@pytest.mark.parametrize("batch_size", [1, 7, 33, 333, 512])
def test_single_precision_does_not_depend_on_the_batch(batch_size: int) -> None:
    torch.manual_seed(0)
    # The layer norm reads every gene: no stem, so rows are written out.
    net = torch.nn.Sequential(
        torch.nn.LayerNorm(90), torch.nn.Linear(90, 40), torch.nn.ReLU(), torch.nn.Linear(40, 1)
    ).eval()
    for parameter in net.parameters():
        parameter.data *= 2
    x = np.random.default_rng(0).gamma(0.3, size=(3, 90))
    arguments: dict[str, Any] = {
        "lower": 0, "upper": 9, "out_of_domain": "clip", "n_walks": 40, "n_samples": 60,
        "deltas": [0.1, 0.5, 1.0], "tau": 1e-3, "precision": "float32", "device": "cpu",
    }  # fmt: skip
    whole = sx.core.explain(x, net, **arguments)
    parts = sx.core.explain(x, net, **arguments, batch_size=batch_size)
    assert whole.params["evaluator"] == parts.params["evaluator"] == "dense"
    for name in ("value", "mean", "change", "shapley", "qoi", "envelope"):
        np.testing.assert_allclose(
            getattr(parts, name), getattr(whole, name), rtol=1e-6, atol=1e-12, err_msg=name
        )
    np.testing.assert_array_equal(parts.rank, whole.rank)


@pytest.mark.parametrize("width", [3, 30], ids=["stem", "dense"])
def test_a_device_without_memory_gets_smaller_batches(
    width: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As a GPU says it, from a model that takes no more than 50 rows."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(40, width), torch.nn.Tanh(), torch.nn.Linear(width, 1)
    )
    how = {"lower": 0, "upper": 5, "n_walks": 20, "n_samples": 60, "progress": False, "seed": 3,
           "deltas": [0.1, 0.5], "precision": "float64"}  # fmt: skip
    x = np.zeros((3, 40))
    expected = sx.core.explain(x, model.eval(), **how)
    kind = Stem if width == 3 else TorchModel
    whole, most = kind.outputs, [0]

    def limited(self: Any, rows: torch.Tensor) -> torch.Tensor:
        if len(rows) > 50:
            msg = "CUDA out of memory"
            raise torch.OutOfMemoryError(msg)
        most[0] = max(most[0], len(rows))
        return whole(self, rows)

    monkeypatch.setattr(kind, "outputs", limited)
    found = sx.core.explain(x, model.eval(), **how)
    np.testing.assert_allclose(found.value, expected.value, rtol=1e-9)
    assert "ran out of memory; batches now have" in caplog.text
    assert 20 <= most[0] <= 50


def test_a_device_without_memory_for_one_row_says_so() -> None:
    class Never(torch.nn.Module):
        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            msg = "CUDA out of memory"
            raise torch.OutOfMemoryError(msg)

    with pytest.raises((torch.OutOfMemoryError, ValueError), match="out of memory"):
        sx.core.explain(np.zeros((1, 4)), Never().eval(), lower=0, upper=1, progress=False)
