"""Grounded walks (equation 3): endpoints, steps, the queue and the guard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sensx_sc.core.domain import Domain, make_domain
from sensx_sc.core.sampling import Design, endpoints, make_design, orders
from sensx_sc.core.statistics import Tally
from sensx_sc.core.walks import Walker, place, walk
from sensx_sc.evaluators import DenseEvaluator
from sensx_sc.models import as_model
from sensx_sc.models.qoi import make_response

if TYPE_CHECKING:
    from collections.abc import Callable


def evaluator(
    function: Callable, n: int, rows: int = 64, dtype: type = np.float64
) -> DenseEvaluator:
    response = make_response(as_model(function, n_features=n, rows="numpy"), "value")
    return DenseEvaluator(response, np.dtype(dtype), rows)


def walker(
    x: list[float],
    key: int,
    delta: float = 1.0,
    tolerance: float = 1e-9,
    q_x: float = 0.0,
    tested: int | None = None,
) -> Walker:
    tally = Tally.empty(len(x) if tested is None else tested)
    return Walker(np.array(x), 0, key, delta, (-np.inf, np.inf), tolerance, q_x, tally)


# ---- endpoints

coordinate = st.tuples(st.floats(-5, 5), st.floats(0.01, 4), st.floats(0, 1))


@given(st.lists(coordinate, min_size=1, max_size=4), st.floats(1e-3, 1), st.floats(0, 0.999))
def test_fractions_run_over_the_neighbourhood(
    features: list[tuple[float, float, float]], delta: float, u: float
) -> None:
    lower = np.array([f[0] for f in features])
    r = np.array([f[1] for f in features])
    x = lower + r * np.array([f[2] for f in features])
    low = np.maximum(lower, x - delta * r)
    high = np.minimum(lower + r, x + delta * r)
    got = place(np.full(len(x), u), x, make_domain(lower, lower + r, len(x)), delta)
    np.testing.assert_allclose(got, low + u * (high - low), atol=1e-12)


def test_a_gene_at_zero_moves_by_u_delta_r() -> None:
    got = place(np.array([0.25]), np.array([0.0]), make_domain(0, 8, 1), 0.5)
    assert got[0] == 1.0


@pytest.mark.parametrize("x", [0.0, 0.1, 0.5, 0.97])
def test_min_step_leaves_the_rest_uniform(x: float) -> None:
    # 20,000 steps against the law's distribution function, KS at the 1e-3 level: sees .014.
    rho, delta, r = 0.3, 0.4, 1.0
    u = np.random.default_rng(1).random((20_000, 1))
    e = place(u, np.array([x]), make_domain(0, r, 1), delta, rho)[:, 0]
    low, high, gap = max(0.0, x - delta * r), min(r, x + delta * r), rho * delta * r
    assert (np.abs(e - x) >= gap * (1 - 1e-12)).all()
    assert ((e >= low - 1e-12) & (e <= high + 1e-12)).all()
    below, above = max(x - gap - low, 0.0), max(high - x - gap, 0.0)

    def law(z: np.ndarray) -> np.ndarray:
        left = np.clip(z, low, low + below) - low
        right = np.clip(z, x + gap, x + gap + above) - (x + gap)
        return (left + right) / (below + above)

    assert stats.kstest(e, law).pvalue > 1e-3


# ---- the statistics of given walks


def response(z: np.ndarray) -> np.ndarray:
    return z[:, 0] * z[:, 1] + np.sin(z[:, 2]) + z[:, 3] ** 2


def walked(domain: Domain, design: Design, x: np.ndarray, key: int, delta: float) -> tuple:
    """Every walk step by step, from the definition."""
    order = orders(5, key, design, range(design.n_blocks), 4, domain.free)
    u = endpoints(5, key, design, range(design.n_blocks), 4, domain.free)
    e = place(u, x, domain, delta)
    dq, dx = np.empty_like(e), np.empty_like(e)
    for w in range(len(e)):
        t = x.copy()
        for f in order[w]:
            before = response(t[None])[0]
            t[domain.free[f]] = e[w, f]
            dq[w, f] = response(t[None])[0] - before
            dx[w, f] = e[w, f] - x[domain.free[f]]
    return dq, dx


@pytest.mark.parametrize("design", [Design("uniform", 1, 12), Design("balanced", 4, 3)], ids=str)
@pytest.mark.parametrize("mask", [[True] * 4, [True, False, True, True]], ids=["all", "masked"])
@pytest.mark.parametrize("rows", [1, 5, 1000])
def test_walks_are_those_of_the_definition(design: Design, mask: list[bool], rows: int) -> None:
    domain = make_domain(-1, 2, 4, mask=mask)
    inputs = [([0.3, -1.0, 2.0, 0.1], 3, 0.7), ([0.0, 1.0, 0.5, -0.5], 8, 0.2)]
    walkers = [
        walker(x, key, delta, q_x=float(response(np.array([x]))[0]), tested=len(domain.free))
        for x, key, delta in inputs
    ]
    walk(walkers, evaluator(response, 4, rows), domain, design, seed=5)
    for one in walkers:
        dq, dx = walked(domain, design, one.x, one.key, one.delta_star)
        got = one.tally.statistics()
        np.testing.assert_allclose(got["value"], np.abs(dq / dx).mean(0), rtol=1e-10)
        np.testing.assert_allclose(got["mean"], (dq / dx).mean(0), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(got["std"], (dq / dx).std(0, ddof=1), rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(got["change"], np.abs(dq).mean(0), rtol=1e-10)
        np.testing.assert_allclose(got["shapley"], -dq.mean(0), rtol=1e-9, atol=1e-12)
        assert (got["n"] == 12).all()
        means = np.abs(dq / dx).reshape(design.n_blocks, design.block, -1).mean(1)
        se = means.std(0, ddof=1) / np.sqrt(design.n_blocks)
        np.testing.assert_allclose(got["se"], se, rtol=1e-6, atol=1e-9)
        # Telescoping: the steps of each walk sum to q(e) - q(x).
        assert got["shapley"].sum() == pytest.approx(-dq.sum(1).mean(), rel=1e-9)


def test_a_step_that_rounds_to_nothing_is_not_counted() -> None:
    # 1e8 in float32 has a spacing of 8: most endpoints within +- 6 are x itself.
    domain = make_domain(0, 2e8, 1)
    one = walker([1e8], 1, 3e-8, tolerance=1e3, q_x=1e8)
    walk([one], evaluator(lambda z: z[:, 0], 1, dtype=np.float32), domain, Design("uniform", 1, 40),
         seed=0)  # fmt: skip
    got = one.tally.statistics()
    assert 0 < got["n"][0] < 40
    assert got["value"][0] == 1.0  # the step is the difference of two inputs of the model


def test_endpoints_inside_the_envelope_are_counted() -> None:
    one = walker([0.0], 1)
    one.envelope = (0.25, 0.5)
    walk([one], evaluator(lambda z: z[:, 0], 1), make_domain(0, 1, 1), make_design("balanced", 400),
         seed=0)  # fmt: skip
    assert one.inside == 100  # a Latin hypercube of 20 strata a block: exactly a quarter


# ---- the queue


def recording(sizes: list[int]) -> Callable:
    def function(z: np.ndarray) -> np.ndarray:
        sizes.append(len(z))
        return response(z)

    return function


@pytest.mark.parametrize("rows", [1, 3, 7, 64, 2000])
def test_no_batch_exceeds_the_rows(rows: int) -> None:
    sizes: list[int] = []
    model = evaluator(recording(sizes), 4, rows)
    sizes.clear()
    many = [walker([0.1, 0.2, 0.3, 0.4], key) for key in range(30)]
    walk(many, model, make_domain(0, 1, 4), Design("balanced", 4, 5), seed=0)
    assert max(sizes) <= rows
    steps, ends = 30 * 20 * 4, 30 * 20
    assert steps + ends <= sum(sizes) <= steps + ends + 30 * 5  # and x once a task
    if rows == 2000:  # small inputs share batches
        assert max(sizes) > 1900


def test_progress_adds_up() -> None:
    done: list[int] = []
    many = [walker([0.1, 0.2, 0.3, 0.4], key) for key in range(5)]
    walk(many, evaluator(response, 4, 100), make_domain(0, 1, 4), Design("balanced", 4, 5), seed=0,
         advance=done.append)  # fmt: skip
    assert sum(done) == 5 * 20 * 4  # walks times steps
    assert len(done) > 1


# ---- the guard


def test_an_output_that_depends_on_the_batch_is_caught_at_the_end_of_a_walk() -> None:
    def batchy(z: np.ndarray) -> np.ndarray:
        return z[:, 0] + 0.01 * len(z)

    with pytest.raises(RuntimeError, match="the model's output for a row depends on more than the"):
        walk([walker([0.5, 0.5], 1)], evaluator(batchy, 2), make_domain(0, 1, 2),
             Design("uniform", 1, 30), seed=0)  # fmt: skip
