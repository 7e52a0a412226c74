"""Landscapes: the Pareto set, and the fewest features, by hand and by exhaustion."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensx_sc.core.options import Options
from sensx_sc.core.preparation import prepare
from sensx_sc.metrics import pareto
from sensx_sc.metrics.explained import Explained
from sensx_sc.metrics.landscape import default_grid, landscape_of

N = 30
W = np.linspace(3, 0.1, N)


@given(st.integers(0, 10_000))
def test_the_pareto_set_by_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    below = rng.random(rng.integers(1, 6, 2)) < 0.4
    holding = [tuple(map(int, point)) for point in np.argwhere(below)]
    expected = [
        (d, k)
        for d, k in holding
        if not any((a, b) != (d, k) and a <= d and b <= k for a, b in holding)
    ]
    assert pareto(below) == sorted(expected)


@pytest.mark.parametrize("wrong", [[1, 0], [[1, 0]], [True], [[[True]]]])
def test_grids_that_are_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="`below` must be a bool array of two dimensions"):
        pareto(wrong)


def linear(rows: np.ndarray) -> np.ndarray:
    return rows @ W


def cells() -> Explained:
    x = np.ones((1, N))
    run = prepare(
        x, linear, lower=0, upper=1, mask=None, qoi="auto", deltas="auto", n_walks=20,
        design="balanced", out_of_domain="raise", names=None, batch_size="auto", device="cpu",
        options=Options(),
    )  # fmt: skip
    return Explained(run, x, ("a",), np.zeros(1, np.int64), np.array([0.5]))


def made(**how: Any) -> Any:
    settings: dict[str, Any] = {
        "deltas": np.array([0.1, 0.25, 0.5, 1.0]), "ks": np.array([1, 4, 16, N]),
        "n_draws": 400, "threshold": None, "percentile": 50.0,
    }  # fmt: skip
    return landscape_of(cells(), 0, lambda _: W, **(settings | how))


def test_a_linear_response_by_hand() -> None:
    """At x = 1 on [0, 1] a feature falls by delta / 2 on average, so does the sum of the top k."""
    found = made()
    assert found.q.shape == (2, 4, 4, 3)
    for d, delta in enumerate([0.1, 0.25, 0.5, 1.0]):
        for k, number in enumerate([1, 4, 16, N]):
            top = W.sum() - delta / 2 * W[:number].sum()
            bottom = W.sum() - delta / 2 * W[N - number :].sum()
            spread = delta * np.sqrt((W**2).sum() / 12)
            assert found.q[0, d, k, 1] == pytest.approx(top, abs=0.2 * spread)
            assert found.q[1, d, k, 1] == pytest.approx(bottom, abs=0.2 * spread)
    assert (np.diff(found.q, axis=-1) > 0).all()


@pytest.mark.parametrize("share", [0.8, 0.9, 0.99])
def test_the_fewest_features_are_exact(share: float) -> None:
    """By looking at every number of features."""
    limit = share * W.sum()
    found = made(threshold=limit)
    every = made(threshold=limit, ks=np.arange(1, N + 1), deltas=np.array([0.5]))
    medians = every.q[0, 0, :, 1]
    expected = int(np.argmax(medians < limit)) + 1 if (medians < limit).any() else 0
    assert expected > 0
    assert found.n_significant == expected
    assert found.significant_at == 0.5
    assert found.order[:3].tolist() == [0, 1, 2]


def test_a_larger_scale_where_delta_star_is_not_enough() -> None:
    found = made(threshold=0.6 * W.sum())  # at .5 all features together leave .75
    assert found.significant_at == 1.0
    assert 0 < found.n_significant < N
    nothing = made(threshold=0.1 * W.sum())
    assert nothing.n_significant == 0
    assert np.isnan(nothing.significant_at)
    assert nothing.edge == []


def test_the_edge_is_that_of_the_medians() -> None:
    limit = 0.9 * W.sum()
    found = made(threshold=limit)
    assert found.edge == pareto(found.q[0, :, :, 1] < limit)
    assert len(found.edge) > 1
    strict = made(threshold=limit, percentile=99.0)
    assert strict.edge == pareto(strict.q[0, :, :, 2] < limit)
    assert strict.significant_at == found.significant_at == 0.5
    assert strict.n_significant > found.n_significant


def test_the_default_threshold_is_half() -> None:
    assert made().edge == made(threshold=W.sum() / 2).edge


def test_default_grid() -> None:
    deltas, ks = default_grid(27_399)
    assert (deltas[0], deltas[-1]) == pytest.approx((0.01, 1))
    assert (ks[0], ks[-1]) == (1, 27_399)
    assert len(ks) <= 25
    assert default_grid(1)[1].tolist() == [1]
