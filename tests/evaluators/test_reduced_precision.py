"""Models that compute in reduced precision are found out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from torch import nn

import sensx_sc as sx
from sensx_sc.evaluators.reduced_precision import Reduced, reduced_precision

N = 12
ROWS = np.random.default_rng(0).random((6, N))


def layers() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(N, 16), nn.ReLU(), nn.Linear(16, 3)).eval()


class Autocast(nn.Module):
    """Half the work in half precision, whatever it is given; outputs in single."""

    def __init__(self, dtype: torch.dtype = torch.bfloat16) -> None:
        super().__init__()
        self.inner, self.dtype = layers(), dtype

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", dtype=self.dtype):
            hidden = self.inner(rows.float())
        return torch.log_softmax(hidden.float(), dim=1).to(rows.dtype)


class Cut(nn.Module):
    """Products of single precision that are allowed to be cut."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = layers()

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high")
        try:
            return self.inner(rows)
        finally:
            torch.set_float32_matmul_precision(before)


def in_half(rows: np.ndarray) -> np.ndarray:
    weights = np.random.default_rng(1).normal(size=(N, 3)).astype(np.float16)
    return rows.astype(np.float16) @ weights


half = layers().half()


def torch_inside(rows: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return torch.softmax(half(torch.as_tensor(rows).half()).double(), dim=1).numpy()


FOUND: dict[str, tuple[Any, str]] = {
    "autocast to bfloat16": (Autocast(), "bfloat16"),
    "autocast to float16": (Autocast(torch.float16), "float16"),
    "TF32": (Cut(), "TF32"),
    "a function in numpy's half": (in_half, "float16"),
    "a function around a half net": (torch_inside, "float16"),
}


def found_in(model: sx.models.Model) -> Reduced | None:
    outputs = model.outputs(torch.as_tensor(ROWS, dtype=model.dtypes[0]))
    return reduced_precision(model, ROWS[:1], outputs.detach().double().numpy())


@pytest.mark.parametrize("name", FOUND)
def test_it_is_found_out(name: str) -> None:
    model, dtype = FOUND[name]
    made = sx.models.as_model(model, n_features=N)
    found = found_in(made)
    assert found is not None
    assert found.name == dtype
    assert found.grain == {"bfloat16": 2**-8}.get(dtype, 2**-11)


FINE: dict[str, Any] = {
    "a net": layers(),
    "a half net, which is converted": layers().half(),
    "a double net": layers().double(),
    "a function": lambda z: np.tanh(z),
    "whole numbers": lambda z: np.floor(z * 1000),
    "two values": lambda z: (z > 0.3).astype(float) / 2,
    "a forest": RandomForestClassifier(8, random_state=0).fit(ROWS, [0, 1, 0, 1, 0, 1]),
    "a constant": lambda z: np.full((len(z), 9), 0.5),
}


@pytest.mark.parametrize("name", FINE)
def test_others_are_not(name: str) -> None:
    made = sx.models.as_model(FINE[name], n_features=N)
    assert found_in(made) is None


def test_a_model_that_raises_is_left_to_others() -> None:
    made = sx.models.as_model(layers())
    assert reduced_precision(made, ROWS[:1, :3], np.zeros((2, 3))) is None


def test_the_floor_is_that_of_the_reduced_type(caplog: pytest.LogCaptureFixture) -> None:
    """A dummy moves a half-precision model by its rounding, and is marked as below it."""
    x = ROWS[:2]
    how: dict[str, Any] = {
        "lower": 0, "upper": 1, "n_walks": 40, "n_samples": 60, "tau": 1e-3, "deltas": [0.02],
        "target": 1, "qoi": "value",
    }  # fmt: skip
    with caplog.at_level("WARNING", logger="sensx_sc"):
        coarse = sx.core.explain(x, Autocast(), **how)
    assert "Autocast computes in bfloat16 inside" in caplog.text
    assert coarse.params["reduced_precision"] == "bfloat16"
    caplog.clear()
    fine = sx.core.explain(x, layers(), **how)
    assert not caplog.records
    assert fine.params["reduced_precision"] is None
    size = np.abs(coarse.qoi)
    assert (coarse.noise_floor > 2**-12 * size).all()
    assert (coarse.noise_floor < 2**-5 * size).all()
    assert (fine.noise_floor < 1e-5 * size).all()
    assert coarse.below_noise.sum() > fine.below_noise.sum() == 0
    # At a larger scale what moves the net by more than the floor is seen.
    how["deltas"] = [0.4]
    coarse, fine = (sx.core.explain(x, m, **how) for m in (Autocast(), layers()))
    clear = fine.change > 3 * coarse.noise_floor[:, None]
    assert clear.any()
    assert not coarse.below_noise[clear].any()
