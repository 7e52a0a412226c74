"""q and its gradient: finite differences, every quantity of interest, refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

import sensx_sc as sx
from sensx_sc.evaluators import DenseEvaluator
from sensx_sc.evaluators.gradient.gradients import Gradients, NotDifferentiableError
from sensx_sc.models.qoi import make_response

if TYPE_CHECKING:
    from collections.abc import Callable

    from sensx_sc.models.qoi import Response

N = 7
DOUBLE, SINGLE = np.dtype(np.float64), np.dtype(np.float32)


class Model(nn.Module):
    """A net whose forward pass is a function of itself and the rows."""

    def __init__(self, function: Callable[[Any, torch.Tensor], Any], **parts: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, rows: torch.Tensor) -> Any:
        return self.function(self, rows)


def batch_norm() -> nn.BatchNorm1d:
    layer = nn.BatchNorm1d(6)
    layer.running_mean, layer.running_var = torch.randn(6), torch.rand(6) + 0.3
    return layer


def net(outputs: int, last: nn.Module | None = None) -> nn.Module:
    torch.manual_seed(3)
    parts = [nn.Linear(N, 6), batch_norm(), nn.GELU(), nn.Linear(6, outputs)]
    return nn.Sequential(*parts, *([last] if last else [])).eval()


def convolution() -> nn.Module:
    torch.manual_seed(4)
    parts = [nn.Unflatten(1, (1, N)), nn.Conv1d(1, 3, 3), nn.Tanh(), nn.Flatten()]
    return nn.Sequential(*parts, nn.Linear(3 * (N - 2), 2)).eval()


def attention() -> nn.Module:
    torch.manual_seed(5)
    layer = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self: Any, rows: torch.Tensor) -> torch.Tensor:
        tokens = self.embed(rows[:, :, None])
        mixed: torch.Tensor = self.attend(tokens, tokens, tokens, need_weights=False)[0]
        return self.out(mixed.mean(1))

    return Model(forward, embed=nn.Linear(1, 4), attend=layer, out=nn.Linear(4, 1)).eval()


def response(model: Any, qoi: str = "auto", **described: Any) -> Response:
    ready = sx.models.as_model(model, n_features=N, device="cpu", **described)
    return make_response(ready, qoi)


RESPONSES: dict[str, Callable[[], Response]] = {
    "one logit, probability": lambda: response(net(1), "probability"),
    "one logit": lambda: response(net(1), "logit"),
    "logits, probability": lambda: response(net(3), "probability"),
    "logits": lambda: response(net(3), "logit"),
    "raw logits": lambda: response(net(3), "value"),
    "sigmoid, probability": lambda: response(net(1, nn.Sigmoid()), "probability"),
    "sigmoid, logit": lambda: response(net(1, nn.Sigmoid()), "logit"),
    "softmax, probability": lambda: response(net(3, nn.Softmax(dim=1)), "probability"),
    "softmax, logit": lambda: response(net(3, nn.Softmax(dim=1)), "logit"),
    "values": lambda: response(net(3), "value", outputs="value"),
    "convolution": lambda: response(convolution()),
    "attention": lambda: response(attention()),
    "squeezed": lambda: response(Model(lambda m, x: m.part(x)[:, 0], part=net(1)).eval()),
    "in place": lambda: response(Model(lambda m, x: m.part(x.mul_(2)), part=net(2)).eval()),
    "function": lambda: response(lambda z: torch.stack([z[:, 0] ** 2, z.prod(1)], 1), rows="torch"),
    "mapping, probability": lambda: response({"a": net(1), "b": net(2), "c": convolution()}),
    "mapping, logit": lambda: response({"a": net(1), "b": net(2), "c": convolution()}, "logit"),
}


def rows(rng: np.random.Generator, made: Response, n: int = 11) -> tuple[np.ndarray, np.ndarray]:
    x = rng.normal(size=(n, N))
    found = DenseEvaluator(made, DOUBLE, 64).outputs(x).shape[1]
    return x, np.arange(n) % found


def differences(made: Response, x: np.ndarray, target: np.ndarray) -> np.ndarray:
    evaluator, step = DenseEvaluator(made, DOUBLE, 64), 1e-5
    columns = [
        evaluator.at(x + step * e, target) - evaluator.at(x - step * e, target) for e in np.eye(N)
    ]
    return np.stack(columns, axis=1) / (2 * step)


@pytest.mark.parametrize("name", RESPONSES)
def test_gradients_are_those_of_finite_differences(name: str, rng: np.random.Generator) -> None:
    made = RESPONSES[name]()
    x, target = rows(rng, made)
    q, gradient = Gradients(made, DOUBLE, 4).at(x, target)
    expected = differences(made, x, target)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-8 * np.abs(expected).max())
    exact = DenseEvaluator(made, DOUBLE, 64).at(x, target)
    np.testing.assert_allclose(q, exact, rtol=1e-12)
    np.testing.assert_allclose(Gradients(made, DOUBLE, 4).q(x, target), exact, rtol=1e-12)


def in_pieces(made: Response, x: np.ndarray, target: np.ndarray, size: int) -> tuple:
    gradients = Gradients(made, SINGLE, size)
    assert gradients.rows % 16 == 0
    pieces = [gradients.at(x[part], target[part]) for part in (slice(0, 7), slice(7, 45))]
    return tuple(np.concatenate(parts) for parts in zip(*pieces, strict=True))


def test_single_precision_does_not_depend_on_the_batch(rng: np.random.Generator) -> None:
    torch.manual_seed(0)
    paper = nn.Sequential(
        nn.Linear(400, 50), nn.ReLU(), nn.Linear(50, 16), nn.ReLU(), nn.Linear(16, 1)
    )
    made = make_response(sx.models.as_model(paper.eval(), device="cpu"))
    x, target = rng.random((45, 400)), np.zeros(45, int)
    q, gradient = Gradients(made, SINGLE, 64).at(x, target)
    for size in (1, 16, 40):
        pieces = in_pieces(made, x, target, size)
        np.testing.assert_array_equal(pieces[0], q)
        np.testing.assert_array_equal(pieces[1], gradient)


@pytest.mark.parametrize("name", RESPONSES)
def test_single_precision_loses_little(name: str, rng: np.random.Generator) -> None:
    # To 1e-3 of the largest, some 1e4 roundings.
    made = RESPONSES[name]()
    x, target = rows(rng, made, 45)
    _, exact = Gradients(made, DOUBLE, 64).at(x, target)
    _, gradient = in_pieces(made, x, target, 20)
    np.testing.assert_allclose(gradient, exact, rtol=1e-3, atol=1e-3 * np.abs(exact).max())


@pytest.mark.parametrize("kind", [SINGLE, DOUBLE], ids=str)
def test_saturated_probabilities_keep_their_slopes(kind: np.dtype) -> None:
    # p(1 - p) is 1e-44 at a logit of 100: below the smallest normal float32, and 1 - p is 0.
    layer = nn.Linear(N, 1, bias=False)
    nn.init.ones_(layer.weight)
    x = np.concatenate([np.full((1, N), 100 / N), np.full((1, N), -100 / N)])
    _, gradient = Gradients(response(layer, "probability"), kind, 8).at(x, np.zeros(2, int))
    np.testing.assert_allclose(gradient, np.exp(-100.0), rtol=1e-4)
    both = nn.Linear(N, 2, bias=False)
    both.weight.data[0], both.weight.data[1] = 0.0, 1.0
    _, gradient = Gradients(response(both, "probability"), kind, 8).at(x, np.ones(2, int))
    np.testing.assert_allclose(gradient, np.exp(-100.0), rtol=1e-4)


def test_callers_that_switch_gradients_off(rng: np.random.Generator) -> None:
    made = RESPONSES["logits, probability"]()
    x, target = rows(rng, made)  # a dense evaluation: the model's copy is made without gradients
    expected = differences(made, x, target)
    for mode in (torch.inference_mode, torch.no_grad):
        with mode():
            _, gradient = Gradients(made, DOUBLE, 4).at(x, target)
            assert not torch.is_grad_enabled()
        np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-9)


def test_the_module_is_left_alone(rng: np.random.Generator) -> None:
    module = net(3)
    made = response(module)
    Gradients(made, DOUBLE, 4).at(rng.normal(size=(3, N)), np.zeros(3, int))
    for parameter in module.parameters():
        assert parameter.requires_grad
        assert parameter.grad is None
        assert parameter.dtype == torch.float32


def test_the_backward_pass_is_in_full_precision(rng: np.random.Generator) -> None:
    seen = []

    class Probe(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, rows: torch.Tensor) -> torch.Tensor:
            return rows.clone()

        @staticmethod
        def backward(ctx: Any, upstream: torch.Tensor) -> torch.Tensor:
            autocast = torch.is_autocast_enabled("cpu")
            seen.append((torch.get_float32_matmul_precision(), autocast, upstream.dtype))
            return upstream

    made = response(Model(lambda m, x: m.part(Probe.apply(x)), part=net(1)).eval())
    kept = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        with torch.autocast("cpu", dtype=torch.bfloat16):
            Gradients(made, SINGLE, 16).at(rng.normal(size=(3, N)), np.zeros(3, int))
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(kept)
    assert seen == [("highest", False, torch.float32)]


def test_on_every_device(device: str, rng: np.random.Generator) -> None:
    x, target = rng.normal(size=(20, N)), np.arange(20) % 3
    here = make_response(sx.models.as_model(net(3), device=device))
    _, expected = Gradients(response(net(3)), DOUBLE, 8).at(x, target)
    for kind, tolerance in ((DOUBLE, 1e-9), (SINGLE, 1e-4)):
        _, gradient = Gradients(here, kind, 8).at(x, target)
        np.testing.assert_allclose(gradient, expected, atol=tolerance * np.abs(expected).max())


def test_scikit_learn_models_that_are_affine_or_perceptrons(rng: np.random.Generator) -> None:
    pytest.importorskip("sklearn")
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    X = rng.normal(size=(200, N))
    y = np.digitize(X[:, 0] * X[:, 1] + X[:, 2], [-0.5, 0.5])
    perceptron = MLPClassifier((8,), activation="tanh", max_iter=40, tol=1, random_state=0)
    for estimator, labels in (
        (make_pipeline(StandardScaler(), PCA(5), LogisticRegression()), y > 1),
        (LogisticRegression(), y),
        (make_pipeline(StandardScaler(), perceptron), y),
        (Ridge(), X[:, 0]),
    ):
        made = response(estimator.fit(X, labels))
        x, target = rows(rng, made)
        q, gradient = Gradients(made, DOUBLE, 4).at(x, target)
        expected = differences(made, x, target)
        np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(q, DenseEvaluator(made, DOUBLE, 64).at(x, target), rtol=1e-9)


# ---- refusals


def forest() -> Response:
    from sklearn.ensemble import RandomForestClassifier

    X = np.random.default_rng(0).normal(size=(60, N))
    return response(RandomForestClassifier(3, random_state=0).fit(X, X[:, 0] > 0))


def callable_qoi() -> Response:
    ready = sx.models.as_model(net(3), device="cpu")
    return make_response(ready, lambda outputs: outputs[:, 0])


REFUSED_AT_ONCE: dict[str, tuple[Callable[[], Response], str]] = {
    "black box": (
        lambda: response(lambda z: np.asarray(z).sum(axis=1), rows="numpy"),
        "<lambda> is a black box",
    ),
    "trees": (forest, "RandomForestClassifier is neither a linear model nor a perceptron"),
    "black box in a mapping": (
        lambda: response({"a": net(1), "b": lambda z: np.asarray(z)[:, 0]}, outputs="probability"),
        "<lambda> is a black box",
    ),
    "callable": (
        callable_qoi,
        "its `qoi` is a function of numpy arrays, which have no gradients",
    ),
}


@pytest.mark.parametrize("name", REFUSED_AT_ONCE)
def test_models_that_have_no_gradients(name: str) -> None:
    if name == "trees":
        pytest.importorskip("sklearn")
    make, message = REFUSED_AT_ONCE[name]
    with pytest.raises(NotDifferentiableError) as refused:
        Gradients(make(), DOUBLE, 4)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    "function",
    [
        lambda m, x: (x > 0).to(x).sum(1),
        lambda m, x: x.detach().sum(1),
        lambda m, x: m.part.weight.sum() + torch.zeros(len(x)).to(x),
    ],
    ids=["threshold", "detached", "constant"],
)
def test_outputs_without_a_path_to_the_rows(function: Callable) -> None:
    made = response(Model(function, part=nn.Linear(N, 1)).eval())
    with pytest.raises(
        NotDifferentiableError, match="do not depend on its inputs through anything"
    ):
        Gradients(made, DOUBLE, 4).at(np.zeros((2, N)), np.zeros(2, int))


def test_outputs_that_are_no_tensor() -> None:
    made = response(Model(lambda m, x: (m.part(x),), part=nn.Linear(N, 1)).eval())
    with pytest.raises(NotDifferentiableError, match="Model does not return a tensor"):
        Gradients(made, DOUBLE, 4).at(np.zeros((2, N)), np.zeros(2, int))
