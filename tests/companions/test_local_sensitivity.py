"""Local sensitivity of models: signed slopes, for every evaluator, whatever the input is like."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.ensemble import RandomForestRegressor
from torch import nn

import sensx_sc as sx
from sensx_sc.companions.slopes import STATISTICS
from sensx_sc.companions.windows import LADDER

WEIGHTS = np.array([3.0, -1.0, 0.0, 0.5])


def linear(z: np.ndarray) -> np.ndarray:
    return z @ WEIGHTS


def quadratic(z: np.ndarray) -> np.ndarray:
    return z @ WEIGHTS + 2 * z[:, 0] * z[:, 1] - z[:, 3] ** 2


def find(X: Any, model: Any, **how: Any) -> sx.companions.LocalSensitivity:
    return sx.companions.local_sensitivity(X, model, **{"lower": 0, "upper": 4, **how})


@pytest.fixture
def X(rng: np.random.Generator) -> np.ndarray:
    """Ten inputs, some of them at their bounds."""
    x = 4 * rng.random((10, 4))
    x[0] = 0.0
    x[1] = 4.0
    return x


@pytest.mark.parametrize("bandwidth", ["auto", "plug_in", 0.1, 1.0, (0.2, 0.7)])
def test_linear_and_quadratic_models_are_exact(X: np.ndarray, bandwidth: Any) -> None:
    found = find(X, linear, bandwidth=bandwidth)
    np.testing.assert_allclose(found.slope, np.broadcast_to(WEIGHTS, X.shape), atol=1e-10)
    np.testing.assert_allclose(found.curvature, 0, atol=1e-8)
    found = find(X, quadratic, bandwidth=bandwidth)
    expected = WEIGHTS + 2 * np.stack([X[:, 1], X[:, 0], 0 * X[:, 0], -X[:, 3]], axis=1)
    np.testing.assert_allclose(found.slope, expected, atol=1e-10)
    np.testing.assert_allclose(found.curvature, np.tile([0, 0, 0, -2.0], (10, 1)), atol=1e-8)
    np.testing.assert_allclose(found.qoi, quadratic(X))


@pytest.mark.parametrize("kappa", [0.8, 1.0])
def test_sage_is_exact_for_linear_models_and_knows_no_bounds(X: np.ndarray, kappa: float) -> None:
    found = find(X, linear, method="sage", kappa=kappa)
    np.testing.assert_allclose(found.slope, np.broadcast_to(WEIGHTS, X.shape), atol=1e-12)
    assert np.isnan(found.se).all()
    assert np.isnan(found.curvature).all()
    np.testing.assert_allclose(found.bandwidth, np.broadcast_to(0.3 * X.std(axis=0), X.shape))


def test_the_published_numbers_of_sage() -> None:
    """sage-explainer 0.1.1 on this data and response, through models and evaluators."""
    i = np.arange(40)
    X = np.stack([np.sin(i), 0.1 * i - 1.0, np.cos(2 * i) + 0.3, i % 7], axis=1)

    def response(z: np.ndarray) -> np.ndarray:
        return np.sin(z[:, 0]) * z[:, 1] + z[:, 2] ** 3 + 0.5 * np.floor(z[:, 3])

    found = find(X, response, method="sage", kappa=0.8, lower=X.min(0), upper=X.max(0))
    expected = [-0.286350100720708, -0.8185741444617196, 0.89014214587513, 1.3872019885459093]
    np.testing.assert_allclose(found.slope[5], expected, rtol=1e-11)


def net(n: int = 60) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(n, 8), nn.Tanh(), nn.Linear(8, 3)).double().eval()


def gradient(model: nn.Module, x: np.ndarray, target: np.ndarray) -> np.ndarray:
    rows = torch.tensor(x, requires_grad=True)
    p = torch.softmax(model(rows), dim=1)[torch.arange(len(x)), torch.as_tensor(target)]
    return torch.autograd.grad(p.sum(), rows)[0].numpy()


@pytest.mark.parametrize("method", ["local_poly", "sage"])
def test_slopes_of_a_net_are_its_gradient(rng: np.random.Generator, method: str) -> None:
    """By the stem and row by row; the error of a small window is of its square."""
    x = 3 * rng.random((4, 60))
    model = net()
    how: dict[str, Any] = {"bandwidth": 0.02, "radius": 0.02, "scale": 1.0, "method": method}
    found = find(x, model, **how)
    assert found.params["evaluator"] == "stem"
    exact = gradient(model, x, found.target)
    np.testing.assert_allclose(found.slope, exact, atol=2e-4 * np.abs(exact).max())
    black_box = sx.models.as_model(
        lambda z: model(torch.as_tensor(z)).detach().numpy(),
        n_features=60, rows="numpy", outputs="logit",
    )  # fmt: skip
    slow = find(x, black_box, target=found.target, **how)
    assert slow.params["evaluator"] == "dense"
    np.testing.assert_allclose(slow.slope, found.slope, atol=1e-12)


def test_sensx_at_a_small_scale_is_the_size_of_the_slope(rng: np.random.Generator) -> None:
    x = 1 + 2 * rng.random((2, 60))
    model = net()
    how: dict[str, Any] = {"lower": 0, "upper": 4, "precision": "float64"}
    found = sx.companions.local_sensitivity(x, model, scale=1.0, bandwidth=0.01, **how)
    sensx = sx.core.explain(x, model, deltas=[1e-5], tau=1e-12, n_walks=20, **how)
    np.testing.assert_allclose(sensx.value, np.abs(found.slope), rtol=2e-3, atol=1e-7)
    np.testing.assert_allclose(sensx.mean, found.slope, rtol=2e-3, atol=1e-7)


def test_a_forest(rng: np.random.Generator) -> None:
    """Signs are right where they are sure, unused features are exactly 0."""
    X = rng.normal(size=(600, 5))
    y = 2 * X[:, 0] - X[:, 1] + 0.05 * rng.normal(size=600)
    X[:, 4] = 7.0  # never split on
    forest = RandomForestRegressor(30, max_features=2, random_state=0, n_jobs=1).fit(X, y)
    found = find(X[:40], forest, lower=-4, upper=8, scale=1.0)
    assert (found.slope[:, 4] == 0).all()
    sure = np.abs(found.slope) > 3 * found.se
    for j, sign in ((0, 1), (1, -1)):
        assert (np.sign(found.slope[sure[:, j], j]) == sign).mean() > 0.95
        assert sure[:, j].mean() > 0.5
    assert sure[:, 2:4].mean() < 0.2
    assert (found.se[:, :2] > 0).mean() > 0.95


# ------------------------------------------------------------------ inputs that spoil others' code


@pytest.mark.parametrize("method", ["local_poly", "sage"])
@pytest.mark.parametrize("dtype", [np.float32, np.int32, "sparse"])
def test_other_types_are_not_dropped(X: np.ndarray, method: str, dtype: Any) -> None:
    rows = np.rint(X)
    given = sparse.csr_matrix(rows) if dtype == "sparse" else rows.astype(dtype)
    found = find(given, linear, method=method)
    np.testing.assert_allclose(found.slope, np.broadcast_to(WEIGHTS, X.shape), atol=1e-9)


@pytest.mark.parametrize("method", ["local_poly", "sage"])
def test_constant_features_are_not_tested(X: np.ndarray, method: str) -> None:
    X[:, 1] = 2.7
    found = find(X, linear, method=method)
    for name in STATISTICS:
        assert np.isnan(getattr(found, name)[:, 1]).all()
    np.testing.assert_allclose(found.slope[:, [0, 2, 3]], np.tile(WEIGHTS[[0, 2, 3]], (10, 1)))
    found = find(X, linear, method=method, lower=[0, 2.7, 0, 0], upper=[4, 2.7, 4, 4], scale=1.0)
    assert np.isnan(found.slope[:, 1]).all()


@pytest.mark.parametrize("method", ["local_poly", "sage"])
def test_a_mean_far_above_the_spread(rng: np.random.Generator, method: str) -> None:
    X = 1e6 + 1e-3 * rng.random((20, 4))
    found = find(X, linear, method=method, lower=0, upper=2e6)
    # Both q and x are rounded at 1e-16 of their size, 1e-5 of a step.
    np.testing.assert_allclose(found.slope, np.broadcast_to(WEIGHTS, X.shape), atol=2e-3)


def test_no_value_leaves_the_domain(X: np.ndarray) -> None:
    seen: list[np.ndarray] = []

    def watched(z: np.ndarray) -> np.ndarray:
        seen.append(z.copy())
        return z.sum(axis=1)

    find(X, watched)
    rows = np.concatenate(seen)
    assert rows.min() >= 0
    assert rows.max() <= 4


def test_only_some_features_of_each_input(X: np.ndarray) -> None:
    every = find(X, quadratic)
    wanted = [np.array([3, 0]) if i % 2 else np.array([], dtype=int) for i in range(10)]
    found = find(X, quadratic, features=wanted)
    assert np.isnan(found.slope[::2]).all()
    assert np.isnan(found.slope[1::2, 1:3]).all()
    np.testing.assert_allclose(found.slope[1::2, [0, 3]], every.slope[1::2][:, [0, 3]])


def test_results_depend_on_nothing_else(X: np.ndarray) -> None:
    """Not on the batch, the other inputs, or a mask of other features."""
    every = find(X, quadratic, scale=1.3)
    for how in ({"batch_size": 7}, {"mask": np.array([True, True, False, True])}):
        found = find(X, quadratic, scale=1.3, **how)
        tested = ~np.isnan(found.slope)
        np.testing.assert_allclose(found.slope[tested], every.slope[tested], rtol=1e-13)
    some = find(X[3:5], quadratic, scale=1.3).slope
    np.testing.assert_allclose(some, every.slope[3:5], rtol=1e-13)


def test_scale(X: np.ndarray) -> None:
    found = find(X, quadratic)
    np.testing.assert_allclose(found.scale, np.minimum(X.std(axis=0), 2))
    assert found.widths.tolist() == list(LADDER)
    assert find(X, quadratic, scale=[1, 3, 5, 7]).scale.tolist() == [1, 2, 2, 2]  # half the range
    found = find(X, quadratic, scale=[1, 0, 0.5, 1], bandwidth=0.2)
    assert np.isnan(found.slope[:, 1]).all()
    np.testing.assert_allclose(found.bandwidth[:, [0, 2, 3]], np.tile([0.2, 0.1, 0.2], (10, 1)))


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_standard_errors_know_the_rounding(rng: np.random.Generator, precision: str) -> None:
    """In float32 small windows are all noise: wider ones are taken, and errors cover it."""
    x = 3 * rng.random((4, 60))
    model = net().float()
    found = find(x, model, scale=1.0, bandwidth=(1e-4, 1e-2, 1.0), precision=precision)
    exact = gradient(net().float().double(), x, found.target)
    narrow = found.bandwidth < 0.5
    if precision == "float64":
        assert narrow.mean() > 0.9
    off = np.abs(found.slope - exact)[narrow]
    assert np.quantile(off / found.se[narrow], 0.9) < 5 or precision == "float64"
    assert np.abs(found.slope - exact).max() < 0.05 * np.abs(exact).max()


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "method": ({"method": "lime"}, ValueError, r"`method` must be one of \('local_poly', 'sage'\)"),
    "word": ({"bandwidth": "wide"}, ValueError, "`bandwidth` must be 'auto', one of .*'wide'"),
    "negative": ({"bandwidth": -0.1}, ValueError, "`bandwidth` must be .* got -0.1"),
    "falling": ({"bandwidth": (0.5, 0.1)}, ValueError, "increasing ones; got"),
    "empty": ({"bandwidth": ()}, ValueError, "increasing ones; got"),
    "too wide": ({"bandwidth": 1.5}, ValueError, "must not exceed 1.* got 1.5.*larger `scale`"),
    "odd": ({"n_points": 7}, ValueError, "`n_points` must be an even number of at least 6; got 7"),
    "few": ({"n_points": 4}, ValueError, "at least 6; got 4"),
    "radius": ({"radius": 0}, ValueError, "`radius` must be a positive number.* got 0"),
    "kappa": ({"kappa": np.nan}, ValueError, "`kappa` must be a positive number.* got nan"),
    "scale": ({"scale": [1, 2]}, ValueError, "`scale` must be a number or 4 numbers"),
    "scale below 0": ({"scale": -1.0}, ValueError, "`scale` must be .* not negative"),
    "no scale": ({"scale": 0.0}, ValueError, "not all zero; got 0.0"),
    "scale of text": ({"scale": "SD"}, TypeError, "`scale` must be a number or 4 numbers"),
    "features": ({"features": [[0]]}, ValueError, "`features` must hold an array for each of the"),
    "feature": ({"features": [[9]] * 10}, ValueError, "indices from 0 to 3; got"),
    "feature names": ({"features": [["a"]] * 10}, ValueError, "1-d arrays of indices"),
    "target": ({"target": "B"}, KeyError, "`target` 'B' is not an output"),
    "bounds": ({"upper": 1.0}, ValueError, "outside the domain"),
    "precision": ({"precision": "half"}, ValueError, "`precision` must be one of"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input(X: np.ndarray, case: str) -> None:
    how, error, message = WRONG[case]
    with pytest.raises(error, match=message):
        find(X, linear, **how)


def test_precision_is_that_of_the_settings_where_none_is_given(X: np.ndarray) -> None:
    net = nn.Sequential(nn.Linear(4, 1)).double().eval()
    with sx.settings.override(precision="float32"):
        assert find(X, net).params["precision"] == "float32"
        assert find(X, net, precision="auto").params["precision"] == "auto"
