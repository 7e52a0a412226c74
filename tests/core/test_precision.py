"""Rounding: how large it is found to be, and which type it leads to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from sensx_sc.core import explain
from sensx_sc.core.domain import make_domain
from sensx_sc.core.precision import (
    choose_precision,
    moved_differences,
    noise_floor,
    probe_steps,
    repeated_differences,
)
from sensx_sc.core.sampling import make_design, orders
from sensx_sc.evaluators import DenseEvaluator
from sensx_sc.models import as_model
from sensx_sc.models.qoi import make_response

if TYPE_CHECKING:
    from collections.abc import Callable

N = 30


@pytest.fixture(scope="module")
def net() -> torch.nn.Module:
    """A net of 30 features; the last ten are true dummies."""
    generator = torch.Generator().manual_seed(0)
    layers = torch.nn.Sequential(
        torch.nn.Linear(N, 200), torch.nn.ReLU(), torch.nn.Linear(200, 50), torch.nn.ReLU(),
        torch.nn.Linear(50, 1),
    )  # fmt: skip
    with torch.no_grad():
        for parameter in layers.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 7)
        layers[0].weight[:, -10:] = 0
    return layers.eval()


def evaluator(model: object, dtype: type, n: int = N, rows: int = 64) -> DenseEvaluator:
    ready = as_model(model, n_features=n)
    return DenseEvaluator(make_response(ready, "auto"), np.dtype(dtype), rows)


def run(net: torch.nn.Module, delta: float, precision: str = "auto", n_walks: int = 40) -> object:
    x = np.random.default_rng(0).random((2, N))
    return explain(
        x, net, lower=-1, upper=2, deltas=[delta / 2, delta], tau=1e-12, n_samples=50,
        n_walks=n_walks, precision=precision, qoi="logit", seed=1,
    )  # fmt: skip


def test_float32_where_it_is_harmless(net: torch.nn.Module) -> None:
    r = run(net, 1.0)
    assert r.precision == ("float32", "float32")
    exact = run(net, 1.0, "float64")
    assert exact.precision == ("float64", "float64")
    np.testing.assert_allclose(r.value[:, :-10], exact.value[:, :-10], rtol=1e-3)


def test_float64_where_float32_would_drown_the_live_features(net: torch.nn.Module) -> None:
    # METHOD, Numerics: at a tiny scale a true dummy competes with live genes in float32.
    rough, r = run(net, 1e-5, "float32"), run(net, 1e-5)
    exact = run(net, 1e-5, "float64")
    assert rough.precision == ("float32", "float32")
    live = np.abs(exact.value[:, :-10])
    assert np.abs(rough.value[:, :-10] / exact.value[:, :-10] - 1).max() > 0.05
    assert r.precision == ("float64", "float64")
    np.testing.assert_array_equal(r.value, exact.value)
    assert exact.value[:, -10:].max() < 1e-6 * np.median(live)


def test_dead_features_are_below_noise_and_live_ones_are_not(net: torch.nn.Module) -> None:
    for delta, precision in ((1.0, "float32"), (1.0, "float64"), (1e-5, "float64")):
        r = run(net, delta, precision)
        assert r.below_noise[:, -10:].all()
        assert not r.below_noise[:, :-10].any()


def test_the_floor_is_reported_and_is_of_the_size_of_rounding(net: torch.nn.Module) -> None:
    size = np.abs(run(net, 1.0).qoi).max()
    for precision in ("float32", "float64"):
        eps = float(np.finfo(precision).eps)
        floor = run(net, 1.0, precision).noise_floor
        assert floor.shape == (2,)
        assert (floor > 0.01 * eps * size).all()
        assert (floor < 1000 * eps * max(size, 1)).all()


def noisy(size: float) -> Callable:
    """The first row of every batch is off by a known size."""

    def function(z: np.ndarray) -> np.ndarray:
        return z.sum(axis=1) + size * (np.arange(len(z)) == 0)

    return function


def test_noise_floor_sees_what_depends_on_the_position_in_the_batch() -> None:
    rows = np.random.default_rng(0).random((9, 3))
    made = evaluator(noisy(1e-4), np.float64, 3)
    assert noise_floor(rows, 0, made) == pytest.approx(1e-4, rel=1e-6)


def test_noise_floor_is_at_least_the_spacing_of_the_response() -> None:
    rows = np.full((4, 2), 512.0)
    floor = noise_floor(rows, 0, evaluator(lambda z: z.sum(axis=1), np.float64, 2))
    assert floor == np.spacing(1024.0)


def test_noise_floor_leaves_out_rows_that_are_not_finite_both_times() -> None:
    def function(z: np.ndarray) -> np.ndarray:  # NaN for another row each time
        q = noisy(1e-4)(z)
        q[1] = np.nan
        return q

    rows = np.random.default_rng(0).random((9, 3))
    floor = noise_floor(rows, 0, evaluator(function, np.float64, 3))
    assert floor == pytest.approx(1e-4, rel=1e-6)


def test_probe_steps_are_neighbouring_rows_of_the_first_walk() -> None:
    domain = make_domain(0, 1, 40, mask=np.arange(40) != 3)
    x = np.random.default_rng(0).random(40)
    rows = probe_steps(x, 0.3, domain, make_design("balanced", 80), seed=1, key=2)
    before, after = np.split(rows, 2)
    assert 10 <= len(before) <= 32
    changed = before != after
    np.testing.assert_array_equal(changed.sum(axis=1), 1)
    assert not (rows[:, 3] != x[3]).any()
    moved = (before != x).sum(axis=1)
    assert moved.min() == 0  # the first step
    assert moved.max() == 38  # and the last
    assert len(set(moved)) == len(moved)
    order = orders(1, 2, make_design("balanced", 80), range(1), 40, domain.leaders)[0]
    np.testing.assert_array_equal(np.argmax(changed, axis=1), domain.free[order[moved]])


@pytest.mark.parametrize("asked", ["float32", "float64"])
def test_what_is_asked_for_is_used(net: torch.nn.Module, asked: str) -> None:
    made = {name: evaluator(net, getattr(np, name)) for name in ("float32", "float64")}
    rows = np.random.default_rng(0).random((8, N))
    assert choose_precision(rows, 0, made, asked)[0] == asked


def test_float64_only_models_stay_in_float64() -> None:
    made = {"float64": evaluator(lambda z: z.sum(axis=1), np.float64, 3)}
    chosen, floor = choose_precision(np.ones((4, 3)), 0, made, "auto")
    assert chosen == "float64"
    assert floor == np.spacing(3.0)


def test_callables_run_in_float64() -> None:
    r = explain(np.zeros((1, 2)), lambda z: z.sum(axis=1), lower=0, upper=1, n_walks=8)
    assert r.precision == ("float64",)


def test_precision_settings_are_off_inside_and_restored_after() -> None:
    inside: set[tuple[object, ...]] = set()

    class Spy(torch.nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            inside.add((
                torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32,
                torch.is_autocast_enabled("cpu"), torch.is_grad_enabled(),
            ))  # fmt: skip
            return z.sum(dim=1)

    kept = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    try:
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True
        with torch.autocast("cpu", dtype=torch.bfloat16):
            explain(np.zeros((1, 2)), Spy().eval(), lower=0, upper=1, n_walks=8, device="cpu")
            assert torch.is_autocast_enabled("cpu")
        assert torch.is_grad_enabled()
        assert torch.get_float32_matmul_precision() == "high"
        assert torch.backends.cudnn.allow_tf32

        def broken(z: np.ndarray) -> np.ndarray:
            if len(z) > 2:
                msg = "no"
                raise RuntimeError(msg)
            return z.sum(axis=1)

        with pytest.raises(RuntimeError, match="no"):
            explain(np.zeros((4, 2)), broken, lower=0, upper=1, n_walks=8)
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(kept[0])
        torch.backends.cudnn.allow_tf32 = kept[1]
    assert inside == {("highest", False, False, False)}


@pytest.mark.skipif(
    not hasattr(torch.backends.cuda.matmul, "fp32_precision"), reason="this torch is older"
)
def test_torchs_new_precision_settings_are_respected_too() -> None:
    matmul = torch.backends.cuda.matmul
    kept = matmul.fp32_precision
    try:
        matmul.fp32_precision = "tf32"
        explain(np.zeros((1, 2)), torch.nn.Linear(2, 1).eval(), lower=0, upper=1, n_walks=8,
                tau=1e-9)  # fmt: skip
        assert matmul.fp32_precision == "tf32"
    finally:
        matmul.fp32_precision = kept


def test_delta_star_is_not_that_of_rounding() -> None:
    # A million with a range of one: float32 rows move by .06 or not at all.
    class Count(torch.nn.Module):
        task = "regression"

        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return torch.tanh(1e4 * (z - 1e6).sum(dim=1))

    found = {
        precision: explain(
            np.full((1, 4), 1e6), Count().eval(), lower=1e6, upper=1e6 + 1, n_walks=8,
            precision=precision, device="cpu",
        ).delta_star[0]
        for precision in ("auto", "float64")
    }  # fmt: skip
    assert found["float64"] < 1e-3
    assert found["auto"] == found["float64"]


def test_below_the_automatic_grid_rows_are_double() -> None:
    """At a scale of 1e-7 float32 inputs of .5 stay where they are, or move by 6e-8."""

    class Steep(torch.nn.Module):
        task = "regression"

        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return torch.tanh(1e7 * (z.double() - 0.5).sum(dim=1)).to(z.dtype)

    found = {
        precision: explain(
            np.full((1, 4), 0.5), Steep().eval(), lower=0.5, upper=1.5, n_walks=8, n_samples=400,
            precision=precision, device="cpu",
        )
        for precision in ("auto", "float32", "float64")
    }  # fmt: skip
    assert 1e-8 < found["float64"].delta_star[0] < 1e-4
    np.testing.assert_array_equal(found["auto"].delta_star, found["float64"].delta_star)
    below = found["float64"].deltas < 1e-4
    spans = {name: np.ptp(each.envelope[0, below], axis=1) for name, each in found.items()}
    np.testing.assert_allclose(spans["auto"], spans["float64"])
    assert not np.allclose(spans["float32"], spans["float64"], rtol=0.1)


def test_two_evaluations_of_a_row_differ_by_rounding_alone() -> None:
    rows = np.random.default_rng(0).random((7, N))
    exact = evaluator(lambda x: x[:, 0], np.float64)
    assert repeated_differences(rows, 0, exact).tolist() == [0.0] * 7
    # What a row gives depends on how many stand before it in its batch.
    uneven = evaluator(lambda x: x[:, 0] + 1e-9 * np.arange(len(x)), np.float64)
    found = repeated_differences(rows, 0, uneven)
    assert found.shape == (7,)
    # Alone a batch of 7; once more batches of 2 and 5, each the other way round.
    again = [1, 0, 4, 3, 2, 1, 0]
    np.testing.assert_allclose(found, 1e-9 * np.abs(np.arange(7) - again), atol=1e-12)


def test_moving_values_by_the_grain_of_reduced_precision() -> None:
    rows = np.array([[1.0, 5.0], [100.0, 5.0]])
    linear = evaluator(lambda x: x[:, 0], np.float64, n=2)
    moved = moved_differences(rows, 0, linear, 1e-3)
    assert moved.shape == (4 * 2,)
    sizes = moved.reshape(4, 2).max(axis=0)
    assert 0 < sizes[0] <= 1e-3  # by at most the grain of a value's own size
    assert 1e-3 < sizes[1] <= 1e-1
    assert noise_floor(rows, 0, linear, grain=1e-3) == pytest.approx(moved.max())
    assert noise_floor(rows, 0, linear) == np.spacing(100.0)
