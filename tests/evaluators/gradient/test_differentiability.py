"""Gradients that add up to the response's changes pass; thresholds, roundings and lies do not."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

import sensx_sc as sx
from sensx_sc.evaluators.gradient import gradients
from sensx_sc.evaluators.gradient.differentiability import why_not_differentiable
from sensx_sc.models.qoi import make_response

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

N = 6
NO_PATH = "its outputs do not depend on its inputs through anything that has a gradient"
STEPS = "it is made of steps: its gradient is zero wherever it was tried, yet it varies"
JUMPS = (
    r"its response jumps: along one of 10 segments its gradients do not account for \d+% of the "
    r"\S+ by which it varies"
)


class StraightThrough(torch.autograd.Function):
    """Eight bits, and a gradient that knows nothing of them."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        return torch.round(rows * 255) / 255

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Tensor:
        return upstream


class NoWayBack(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        return rows.clone()

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Tensor:
        msg = "there is no way back"
        raise RuntimeError(msg)


class Model(nn.Module):
    task = "regression"

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, rows: Tensor) -> Tensor:
        return self.function(rows)


def net(activation: nn.Module, gain: float = 1.0) -> nn.Module:
    torch.manual_seed(0)
    parts = [nn.Linear(N, 250), activation, nn.Linear(250, 50), activation, nn.Linear(50, 1)]
    made = nn.Sequential(*parts).double()
    for weight in made.parameters():
        weight.data *= gain
    return made


SMOOTH = net(nn.Tanh())
WEIGHT = torch.linspace(-1, 2, N, dtype=torch.float64)

DIFFERENTIABLE: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda x: x @ WEIGHT,
    "constant": lambda x: 0 * x.sum(1) + 5,
    "tanh net": SMOOTH,
    "relu net": net(nn.ReLU(), 2.0),
    "leaky net": net(nn.LeakyReLU(0.3), 2.0),
    "absolute": lambda x: (x - 0.5).abs().sum(1),
    "maximum": lambda x: x.max(1).values,
    "clamped": lambda x: torch.clamp(6 * x, 0, 3).sum(1),
    "steep": lambda x: torch.sigmoid(100 * (x.sum(1) - 3)),
    "steeper": lambda x: torch.sigmoid(2000 * (x.sum(1) - 3)),
    "wavy": lambda x: torch.sin(60 * x).sum(1),
    "log": lambda x: torch.log1p(x).sum(1),
    "an offset": lambda x: 1e10 + 0.01 * SMOOTH(x),
    # Near x all that happens is a jump, of 1e-4 of what happens elsewhere.
    "flat but for a jump": lambda x: torch.relu(x.sum(1) - 3) + 1e-4 * (x[:, 0] > 0.001),
    # Steps of well below the 5 % of the range that are let pass.
    "a tiny step": lambda x: SMOOTH(x)[:, 0] + 0.002 * (x[:, 0] > 0.5),
}
REFUSED: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "threshold": (lambda x: (x[:, 0] > 0.5).to(x), NO_PATH),
    "argmax": (lambda x: x.argmax(1).to(x), NO_PATH),
    "detached": (lambda x: x.detach().sum(1), NO_PATH),
    "no gradients": (torch.no_grad()(SMOOTH), NO_PATH),
    "rounded": (lambda x: torch.round(4 * x).sum(1), STEPS),
    "binned": (lambda x: torch.where(x > 0.3, 1 + 0 * x, 0 * x).sum(1), STEPS),
    "a step": (lambda x: SMOOTH(x)[:, 0] + 0.3 * (x[:, 0] > 0.5), JUMPS),
    "leaves": (lambda x: torch.where(x[:, 0] > 0.4, x[:, 1], 1 + x[:, 2]), JUMPS),
    "stairs on a slope": (lambda x: (x + torch.floor(3 * x)).sum(1), JUMPS),
    "eight bits": (lambda x: SMOOTH(StraightThrough.apply(x)), JUMPS),
    "half of a product": (lambda x: SMOOTH(x)[:, 0] * x.detach()[:, 1], JUMPS),
    "root of zero": (
        lambda x: torch.sqrt(x[:, :1]).sum(1),
        r"its gradient is not finite at \d+ of 90 points that were tried",
    ),
    "not finite": (
        lambda x: torch.log(x.sum(1) - 100),
        "its response is not finite along any of the segments that were tried",
    ),
    "no way back": (NoWayBack.apply, r"its backward pass fails \(there is no way back\)"),
}


def segments() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """From x to random points of three neighbourhoods, and across the domain."""
    rng = np.random.default_rng(1)
    x = np.concatenate([np.zeros(1), 0.1 + 0.8 * rng.random(N - 1)])
    scales = np.repeat([1, 0.1, 0.01], [4, 2, 2])[:, None]
    near = np.clip(x + scales * (2 * rng.random((8, N)) - 1), 0, 1)
    starts = np.concatenate([np.repeat(x[None], 8, axis=0), rng.random((2, N))])
    return starts, np.concatenate([near, rng.random((2, N))]), np.zeros(10, dtype=np.int64)


def why(function: Callable[[Tensor], Tensor], rows: int = 64) -> str | None:
    ready = sx.models.as_model(Model(function).eval(), device="cpu")
    return why_not_differentiable(make_response(ready), *segments(), rows)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_kinks_and_steep_slopes_pass(name: str) -> None:
    assert why(DIFFERENTIABLE[name]) is None


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_say_why(name: str) -> None:
    function, message = REFUSED[name]
    found = why(function)
    assert found is not None
    assert re.fullmatch(message, found)


def test_a_step_counts_from_five_percent_on() -> None:
    # The smooth part varies by about .2 along the longest segments, which cross the step.
    found = [why(lambda x, h=h: SMOOTH(x)[:, 0] + h * (x[:, 0] > 0.5)) for h in (0.002, 0.05)]
    assert found[0] is None
    assert found[1] is not None


def test_the_verdict_does_not_depend_on_the_batch() -> None:
    for name in ("relu net", "steep"):
        assert why(DIFFERENTIABLE[name], rows=5) is None
    function, _ = REFUSED["leaves"]
    assert why(function, rows=5) == why(function, rows=1000)


def test_a_translation_that_is_another_model_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn")
    from sklearn.linear_model import Ridge

    X = np.random.default_rng(0).random((50, N))
    made = make_response(sx.models.as_model(Ridge().fit(X, X.sum(1))))
    assert why_not_differentiable(made, *segments(), 64) is None
    monkeypatch.setattr(gradients, "as_module", lambda model: nn.Linear(N, 1).double())
    found = why_not_differentiable(made, *segments(), 64)
    assert found == "the torch module that was made of it does not give its outputs"


def test_models_of_single_precision_only() -> None:
    weight = WEIGHT.float()
    for function, fine in (
        (lambda z: torch.tanh(z @ weight), True),
        (lambda z: torch.tanh(z @ weight) + (z[:, 1] > 0.5), False),
    ):
        ready = sx.models.as_model(function, n_features=N, rows="torch", device="cpu")
        if fine:
            assert ready.dtypes == (torch.float32,)
        found = why_not_differentiable(make_response(ready), *segments(), 64)
        assert (found is None) is fine
