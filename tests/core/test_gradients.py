"""The gradient estimator: its law, closed forms, and walks in the limit of small steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

import sensx_sc as sx
from sensx_sc.core.domain import Domain, make_domain
from sensx_sc.core.gradients import estimate, why_no_gradients
from sensx_sc.core.sampling import Design, make_design
from sensx_sc.core.statistics import Tally
from sensx_sc.core.walks import Walker, walk
from sensx_sc.evaluators import DenseEvaluator
from sensx_sc.evaluators.gradient.gradients import Gradients
from sensx_sc.models.qoi import make_response

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from sensx_sc.models.qoi import Response

DOUBLE, SINGLE = np.dtype(np.float64), np.dtype(np.float32)
DESIGNS = [Design("balanced", 20, 50), Design("balanced", 14, 70), Design("uniform", 1, 1000)]
designs = pytest.mark.parametrize("design", DESIGNS, ids=str)


class Model(nn.Module):
    task = "regression"

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, rows: Tensor) -> Tensor:
        return self.function(rows)


def response(function: Callable[[Tensor], Tensor], device: str = "cpu") -> Response:
    return make_response(sx.models.as_model(Model(function).eval(), device=device))


def paper_net(n: int) -> nn.Module:
    torch.manual_seed(1)
    parts = [nn.Linear(n, 30), nn.ReLU(), nn.Linear(30, 10), nn.ReLU(), nn.Linear(10, 1)]
    net = nn.Sequential(*parts).eval()
    net[0].weight.data *= 4
    return net


def walker(x: Any, key: int, delta: float, domain: Domain, made: Response) -> Walker:
    x = np.asarray(x, dtype=float)
    q_x = float(DenseEvaluator(made, DOUBLE, 64).at(x[None], np.zeros(1, int))[0])
    tally = Tally.empty(len(domain.free))
    return Walker(x, 0, key, delta, (-np.inf, np.inf), 1e-9, q_x, tally)


def run(
    function: Callable[[Tensor], Tensor],
    x: Any,
    lower: float,
    upper: float,
    design: Design,
    delta: float = 1.0,
    key: int = 3,
    **options: Any,
) -> tuple[dict[str, Any], float]:
    made, domain = response(function), make_domain(lower, upper, len(x))
    one = walker(x, key, delta, domain, made)
    gap = estimate([one], Gradients(made, DOUBLE, 64), domain, design, seed=4, **options)
    return one.tally.statistics(), float(gap[0])


def near(got: np.ndarray, expected: Any, se: np.ndarray) -> None:
    """Within 4 standard errors: a correct estimate fails once in 16,000 comparisons."""
    assert (np.abs(got - np.asarray(expected)) <= 1e-9 + 4 * se).all(), (got, expected, se)


# ---- closed forms


@designs
@pytest.mark.parametrize("delta", [1e-3, 1.0])
def test_linear_is_exact(design: Design, delta: float) -> None:
    weight = torch.tensor([2.0, -0.5, 0.0, 7.0], dtype=torch.float64)
    got, gap = run(lambda z: z @ weight + 3, [0, 0.2, 0.5, 1], 0, 1, design, delta)
    np.testing.assert_allclose(got["value"], [2, 0.5, 0, 7], rtol=1e-12)
    np.testing.assert_allclose(got["mean"], [2, -0.5, 0, 7], rtol=1e-12)
    assert got["value"][2] == 0
    assert got["std"].max() < 1e-9
    assert got["se"].max() < 1e-9
    assert abs(gap) < 1e-9
    assert (got["n"] == design.n_walks).all()


@designs
def test_bilinear_is_exact_in_law(design: Design) -> None:
    # METHOD 9. A response that is linear in each feature has the same secant everywhere.
    got, gap = run(lambda z: z[:, 0] * z[:, 1], [0.3, -0.4], -1, 1, design)
    spread = got["std"] / np.sqrt(design.n_walks)
    near(got["value"], [0.45, 0.40], 1.2 * spread)
    near(got["mean"], [-0.20, 0.15], 1.2 * spread)
    near(got["std"], [0.454606, 0.434933], 1.2 * spread)
    # The steps of both features add up to q(x) - q(e) only on average.
    assert abs(gap) < 4 * 0.5 / np.sqrt(design.n_walks)


@designs
def test_sum_of_squares_has_the_mean_of_both_ends(design: Design) -> None:
    # A state knows the feature at one of its two ends: E |2 z| = |x| + E |e|, not (1 + x^2) / 2.
    x = np.array([-1.0, -0.3, 0.0, 0.5])
    got, _ = run(lambda z: (z**2).sum(1), x, -1, 1, design)
    spread = got["std"] / np.sqrt(design.n_walks)
    near(got["value"], np.abs(x) + 0.5, 1.2 * spread)
    near(got["mean"], x, 1.2 * spread)
    # A trapezoid is exact for a square: the Shapley value is that of walks, x^2 - E e^2.
    near(got["shapley"], x**2 - 1 / 3, 4 / np.sqrt(design.n_walks) * np.ones(4))


@pytest.mark.parametrize("design", [Design("balanced", 20, 10), Design("uniform", 1, 400)], ids=str)
def test_small_steps_are_those_of_walks(design: Design) -> None:
    # At delta 1e-4 every secant is the derivative at x, up to its change over the step.
    made, domain = response(paper_net(12)), make_domain(0, 2, 12)
    x = np.random.default_rng(0).random(12)
    exact, found = (walker(x, 3, 1e-4, domain, made) for _ in range(2))
    walk([exact], DenseEvaluator(made, DOUBLE, 64), domain, design, seed=4)
    estimate([found], Gradients(made, DOUBLE, 64), domain, design, seed=4)
    a, b = exact.tally.statistics(), found.tally.statistics()
    np.testing.assert_allclose(b["value"], a["value"], rtol=1e-3)
    np.testing.assert_allclose(b["mean"], a["mean"], rtol=1e-3)
    # The endpoints are others: 400 independent ones give E |dx| to 4 x 3 %.
    np.testing.assert_allclose(b["change"], a["change"], rtol=0.12)


def test_many_small_effects_are_those_of_walks_at_any_scale() -> None:
    # 400 features of which none matters much: the feature's own step is small where the walk's
    # is not, and q runs through much of its range. The scatter of either sum is .6 %.
    torch.manual_seed(0)
    weight = torch.randn(400, dtype=torch.float64)
    made = response(lambda z: torch.sigmoid(z @ weight / 4))
    domain, x = make_domain(0, 1, 400), np.zeros(400)
    exact, found = (walker(x, 3, 1.0, domain, made) for _ in range(2))
    design = make_design("balanced", 2000)
    walk([exact], DenseEvaluator(made, DOUBLE, 4096), domain, design, seed=4)
    estimate([found], Gradients(made, DOUBLE, 500), domain, design, seed=4)
    for statistic in (Tally.value, Tally.change):
        a, b = statistic(exact.tally), statistic(found.tally)
        assert b.sum() / a.sum() == pytest.approx(1, abs=0.03)
        assert stats.spearmanr(a, b)[0] > 0.995


def test_mirrored_pairs_cancel_what_a_response_does_along_the_way() -> None:
    # q = (w z)^2: the gradient runs with w z, which has the same sum for a state and its mirror
    # image. Spread of the estimate over 60 keys, against independent states.
    weight = torch.linspace(0.1, 1, 30, dtype=torch.float64)

    def scatter(design: Design) -> float:
        found = [
            run(lambda z: (z @ weight) ** 2, np.zeros(30), 0, 1, design, key=key)[0]["value"][0]
            for key in range(60)
        ]
        return float(np.var(found))

    assert scatter(Design("balanced", 20, 1)) < 0.03 * scatter(Design("uniform", 1, 20))


# ---- the law of the states


def recorded(design: Design, domain: Domain, x: np.ndarray, delta: float, **options: Any) -> tuple:
    """The states at which gradients were taken, and the endpoints."""
    states: list[np.ndarray] = []
    ends: list[np.ndarray] = []

    def function(z: Tensor) -> Tensor:
        (states if torch.is_grad_enabled() else ends).append(z.detach().numpy().copy())
        return z.sum(1)

    made = response(function)
    one = walker(x, 3, delta, domain, made)
    ends.clear()
    estimate([one], Gradients(made, DOUBLE, 64), domain, design, seed=4, **options)
    return np.concatenate(states), np.concatenate(ends), one


@designs
def test_states_are_x_or_the_endpoint_with_a_uniform_share(design: Design) -> None:
    n = 200
    domain, x = make_domain(0, 2, n), np.full(n, 0.5)
    states, ends, _ = recorded(design, domain, x, 0.5)
    assert states.shape == ends.shape == (design.n_walks, n)
    moved = states != x
    np.testing.assert_array_equal(states[moved], ends[moved])
    assert ends.min() >= 0
    assert ends.max() <= 1.5
    share = moved.mean(axis=1).reshape(design.n_blocks, design.block)
    # One state of each block: independent, so the Kolmogorov-Smirnov test holds at its 1e-3.
    picked = share[np.arange(design.n_blocks), np.arange(design.n_blocks) % design.block]
    assert stats.kstest(picked, "uniform").pvalue > 1e-3
    fractions = ends.reshape(design.n_blocks, design.block, n)[:, 0] / 1.5
    assert stats.kstest(fractions[:, :5].ravel(), "uniform").pvalue > 1e-3
    # Whether a feature has moved says nothing of where it goes.
    assert abs(np.corrcoef(moved.ravel(), ends.ravel())[0, 1]) < 4 / np.sqrt(moved.size)


@pytest.mark.parametrize("m", [2, 14, 20])
def test_pairs_mirror_each_other(m: int) -> None:
    domain, x, pairs = make_domain(0, 1, 300), np.zeros(300), m // 2
    states, ends, _ = recorded(Design("balanced", m, 6), domain, x, 1.0)
    moved = (states != x).reshape(6, 2, pairs, 300)
    np.testing.assert_array_equal(moved[:, 0], ~moved[:, 1])
    # One time in each of m strata: half a stratum is 4 sd of a share of 300 for m = 2 only, so
    # the order and the mean of the shares are looked at.
    share = moved.mean(axis=3)
    assert (share[:, 0] < share[:, 1] + 4 * 0.5 / np.sqrt(300)).all()
    np.testing.assert_allclose(share.mean(axis=(1, 2)), 0.5)
    e = ends.reshape(6, 2, pairs, 300)
    strata = np.floor(e * pairs)
    np.testing.assert_array_equal(strata[:, 0], strata[:, 1])
    np.testing.assert_allclose(e.sum(axis=1), (2 * strata[:, 0] + 1) / pairs)
    np.testing.assert_array_equal(
        np.sort(strata[:, 0], axis=1), np.broadcast_to(np.arange(pairs)[:, None], (6, pairs, 300))
    )


def test_masked_features_stay_and_leave_the_others_their_numbers() -> None:
    mask = np.ones(9, dtype=bool)
    mask[[1, 4]] = False
    x = np.linspace(0.1, 0.9, 9)
    design = Design("balanced", 6, 3)
    every, _, _ = recorded(design, make_domain(0, 1, 9), x, 0.7)
    some, ends, one = recorded(design, make_domain(0, 1, 9, mask=mask), x, 0.7)
    assert (some[:, ~mask] == x[~mask]).all()
    assert (ends[:, ~mask] == x[~mask]).all()
    np.testing.assert_array_equal(some[:, mask], every[:, mask])
    assert one.tally.n.shape == (7,)


def test_steps_below_the_least_are_not_made() -> None:
    x = np.full(40, 0.5)
    _, ends, one = recorded(Design("balanced", 6, 9), make_domain(0, 1, 40), x, 0.5, min_step=0.4)
    assert np.abs(ends - x).min() >= 0.2 - 1e-12
    assert one.tally.change().min() >= 0.2 - 1e-12


# ---- what a run counts


def test_endpoints_inside_the_envelope_are_counted() -> None:
    made, domain = response(lambda z: z[:, 0]), make_domain(0, 1, 1)
    one = walker([0.0], 3, 1.0, domain, made)
    one.envelope = (0.2, 0.5)
    design = make_design("balanced", 400)
    estimate([one], Gradients(made, DOUBLE, 64), domain, design, seed=0)
    assert one.ends == 400
    assert one.inside == 120  # ten strata a block, three of them inside


def test_the_gap_is_what_completeness_misses() -> None:
    def cubes(z: Tensor) -> Tensor:
        return (z**3).sum(1)

    design = Design("balanced", 20, 5)
    _, ends, _ = recorded(design, make_domain(0, 1, 3), np.full(3, 0.2), 1.0)
    got, gap = run(cubes, np.full(3, 0.2), 0, 1, design)
    assert gap == pytest.approx(3 * 0.008 - (ends**3).sum(1).mean() - got["shapley"].sum())
    assert abs(gap) > 0.1


@pytest.mark.parametrize(
    "function",
    [
        lambda z: torch.log(z[:, 0] - 0.9) + z[:, 1],
        lambda z: torch.sqrt(z).sum(1),
    ],
    ids=["log", "infinite slope"],
)
def test_what_is_not_finite_is_counted_and_not_added(function: Callable) -> None:
    made, domain = response(function), make_domain(0, 1, 2)
    bad, good = walker([0.0, 0.5], 1, 1.0, domain, made), walker([0.95, 0.5], 2, 1e-3, domain, made)
    gap = estimate([bad, good], Gradients(made, DOUBLE, 8), domain, Design("balanced", 20, 100),
                   seed=0)  # fmt: skip
    assert bad.not_finite > 0
    assert np.isnan(gap[0])
    assert good.not_finite == 0
    assert np.isfinite(gap[1])
    assert (good.tally.n == 2000).all()


def test_no_input_takes_no_work() -> None:
    made, domain = response(lambda z: z.sum(1)), make_domain(0, 1, 3)
    gap = estimate([], Gradients(made, DOUBLE, 50), domain, Design("balanced", 20, 3), seed=0)
    assert gap.shape == (0,)


def test_progress_adds_up() -> None:
    made, domain = response(lambda z: z.sum(1)), make_domain(0, 1, 3)
    done: list[int] = []
    many = [walker([0, 0, 0], key, 0.5, domain, made) for key in range(4)]
    estimate(many, Gradients(made, DOUBLE, 50), domain, Design("balanced", 20, 3), seed=0,
             advance=done.append)  # fmt: skip
    assert sum(done) == 4 * 60 * 3


# ---- reproducibility


@pytest.mark.parametrize("kind", [SINGLE, DOUBLE], ids=str)
def test_results_depend_on_nothing_but_the_key(kind: np.dtype) -> None:
    # In float32 to the last digit; float64 rows are not padded, and their last digit may differ.
    made, domain = response(paper_net(30)), make_domain(0, 1, 30)
    rng = np.random.default_rng(0)
    x, design = rng.random((5, 30)), Design("balanced", 20, 4)

    def run_of(keys: list[int], rows: int, seed: int = 4) -> list[np.ndarray]:
        many = [walker(x[key], key, 0.3, domain, made) for key in keys]
        estimate(many, Gradients(made, kind, rows), domain, design, seed=seed)
        return [np.stack(list(one.tally.statistics().values())) for one in many]

    together = run_of([0, 1, 2, 3, 4], 400)
    for rows in (1, 48, 64, 10_000):
        for key, found in zip([3, 1], run_of([3, 1], rows), strict=True):
            if kind == SINGLE:
                np.testing.assert_array_equal(found, together[key])
            else:
                np.testing.assert_allclose(found, together[key], rtol=1e-9, atol=1e-13)
    assert not np.allclose(run_of([0], 400, seed=5)[0], together[0])


def test_no_batch_exceeds_the_rows() -> None:
    sizes: list[int] = []

    def function(z: Tensor) -> Tensor:
        sizes.append(len(z))
        return z.sum(1)

    made, domain = response(function), make_domain(0, 1, 3)
    many = [walker([0, 0, 0], key, 0.5, domain, made) for key in range(40)]
    sizes.clear()
    estimate(many, Gradients(made, DOUBLE, 500), domain, Design("balanced", 20, 3), seed=0)
    assert max(sizes) == 500  # inputs share batches
    sizes.clear()
    estimate(many, Gradients(made, DOUBLE, 7), domain, Design("balanced", 20, 3), seed=0)
    assert max(sizes) == 7


def test_on_every_device_in_single_precision(device: str) -> None:
    net, domain = paper_net(30), make_domain(0, 1, 30)
    x, design = np.random.default_rng(0).random(30), Design("balanced", 20, 4)
    exact = walker(x, 3, 0.5, domain, response(net))
    estimate([exact], Gradients(response(net), DOUBLE, 64), domain, design, seed=4)
    found = walker(x, 3, 0.5, domain, response(net))
    estimate([found], Gradients(response(net, device), SINGLE, 64), domain, design, seed=4)
    np.testing.assert_allclose(found.tally.value(), exact.tally.value(), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(found.tally.change(), exact.tally.change(), rtol=1e-3, atol=1e-5)


# ---- the check before it


def test_the_check_tries_segments_of_the_inputs_inside_the_domain() -> None:
    seen: list[np.ndarray] = []

    def function(z: Tensor) -> Tensor:
        seen.append(z.detach().numpy().copy())
        return torch.tanh(z).sum(1)

    mask = np.array([True, True, True, False])
    domain = make_domain(-1, [1, 2, 3, 9], 4, mask=mask)
    x = np.array([[0.0, 0.5, 3.0, 7.0], [-1.0, 1.0, 2.0, 7.0]])
    made = response(function)
    assert why_no_gradients(made, x, np.zeros(2, int), domain, rows=64, seed=0) is None
    rows = np.concatenate(seen)
    assert (rows[:, 3] == 7).all()
    assert (rows >= domain.lower - 1e-12).all()
    assert (rows <= domain.upper + 1e-12).all()
    for one in x:  # near both inputs, and far from them
        distance = np.abs((rows - one)[:, :3]).max(axis=1)
        assert (distance == 0).any()
        assert ((distance > 0) & (distance < 0.04)).any()
        assert (distance > 1).any()


@pytest.mark.parametrize("seed", range(5))
def test_the_check_finds_a_step(seed: int) -> None:
    domain, x = make_domain(0, 1, 5), np.full((1, 5), 0.3)
    for function, fine in (
        (paper_net(5), True),
        (lambda z: torch.tanh(z).sum(1) + (z[:, 2] > 0.6), False),
    ):
        why = why_no_gradients(response(function), x, np.zeros(1, int), domain, rows=64, seed=seed)
        assert (why is None) is fine
