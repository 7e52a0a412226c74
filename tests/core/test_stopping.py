"""``n_walks="auto"``: stops where halves agree, goes on where they do not, ends with the budget."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import sensx_sc as sx
from sensx_sc.core.agreement import spearman, spearman_brown, top_k_overlap
from sensx_sc.core.stopping import OVERLAP, RELIABILITY, top_of

N = 60


def noisy(z: np.ndarray) -> np.ndarray:
    """Half the features matter in one walk of many."""
    return np.tanh(20 * (z[:, : N // 2] - 0.9)).sum(axis=1) + z @ np.linspace(0.1, 4, N)


def linear(z: np.ndarray) -> np.ndarray:
    return z @ np.linspace(0.1, 4, N)


def explained(model: Any, **how: Any) -> sx.core.Explanation:
    x = np.zeros((how.pop("n_inputs", 1), N))
    settings: dict[str, Any] = {
        "lower": 0, "upper": 1, "deltas": [0.5, 1.0], "n_samples": 50, "tau": 0.1,
        "n_walks": "auto", "progress": False,
    }  # fmt: skip
    return sx.core.explain(x, model, **(settings | how))


@pytest.mark.parametrize("design", ["balanced", "uniform", "sobol"])
@pytest.mark.parametrize("rank_by", ["value", "change", "mean", "shapley"])
def test_the_walks_are_the_first_of_the_design(design: str, rank_by: str) -> None:
    """As many walks asked for by number give the same numbers, but for rounding."""
    found = explained(noisy, design=design, rank_by=rank_by, max_walks=600)
    made = int(found.n_walks[0])
    assert 64 <= made <= 640
    again = explained(noisy, design=design, rank_by=rank_by, n_walks=made)
    for name in ("value", "change", "mean", "std", "shapley", "se", "change_se", "n"):
        np.testing.assert_allclose(
            getattr(found, name), getattr(again, name), rtol=1e-12, atol=1e-12
        )
    assert (found.n == made).all()


def test_scores_that_differ_by_rounding_are_tied() -> None:
    """All weights equal: which of the features is first is rounding, and no halves need agree."""
    found = explained(lambda z: 3.7 * z.sum(axis=1), design="uniform")
    assert len(np.unique(found.value)) > 1
    assert found.n_walks[0] == 80
    assert found.settled[0]


def test_a_stable_ranking_stops_at_the_first_look() -> None:
    found = explained(linear)
    assert found.n_walks[0] == 80
    assert found.settled[0]
    assert found.reliability[0] == pytest.approx(1.0)
    assert found.overlap[0] == 1.0


def test_an_unstable_one_uses_up_its_budget_and_says_so() -> None:
    found = explained(lambda z: np.sin(40 * z).sum(axis=1), max_walks=130)
    assert found.n_walks[0] == 140  # whole blocks
    assert not found.settled[0]
    assert found.overlap[0] < OVERLAP or found.reliability[0] < RELIABILITY
    assert found.params["until_stable"]


def test_the_criterion_is_that_of_halves_of_blocks() -> None:
    """Halves made anew: two designs of single walks, every second one in each."""
    found = explained(noisy, design="uniform", rank_by="change", max_walks=2000)
    made = int(found.n_walks[0])
    assert 80 < made < 2000
    assert found.settled[0]
    kept: list[np.ndarray] = []
    _record(kept, made)
    dq = np.abs(np.concatenate(kept))
    assert len(dq) == made
    one, other = dq[::2].mean(axis=0), dq[1::2].mean(axis=0)
    assert found.reliability[0] == pytest.approx(spearman_brown(spearman(one, other)))
    assert found.overlap[0] == pytest.approx(top_k_overlap(one, other, top_of(N)))


def _record(kept: list[np.ndarray], made: int) -> None:
    from sensx_sc.core.options import Options
    from sensx_sc.core.preparation import prepare
    from sensx_sc.core.sampling import cell_key
    from sensx_sc.core.statistics import Tally
    from sensx_sc.core.walks import Walker, walk

    x = np.zeros((1, N))
    run = prepare(
        x, noisy, lower=0, upper=1, mask=None, qoi="auto", deltas=[0.5, 1.0], n_walks=made,
        design="uniform", out_of_domain="raise", names=None, batch_size="auto", device="cpu",
        options=Options(n_samples=50),
    )  # fmt: skip
    evaluator = next(iter(run.evaluators.values()))
    q_x = float(evaluator.at(x, np.zeros(1, np.int64))[0])
    walker = Walker(x[0], 0, cell_key(0), 1.0, (0.0, 1.0), 1e-6, q_x, Tally.empty(N))
    walk(
        [walker], evaluator, run.domain, run.design, seed=0,
        keep=lambda _, dq, dx: kept.append(dq),
    )  # fmt: skip


def test_inputs_stop_alone_and_company_changes_nothing() -> None:
    x = np.zeros((3, N))
    x[1, : N // 2] = 0.85
    x[2] = np.linspace(0.5, 1, N)
    how: dict[str, Any] = {
        "lower": 0, "upper": 1, "deltas": [0.5, 1.0], "n_samples": 50, "n_walks": "auto",
        "max_walks": 1000, "design": "uniform", "progress": False,
    }  # fmt: skip
    together = sx.core.explain(x, noisy, keys=["a", "b", "c"], **how)
    assert len(set(together.n_walks.tolist())) > 1
    for i, key in enumerate("abc"):
        alone = sx.core.explain(x[i : i + 1], noisy, keys=[key], **how)
        np.testing.assert_allclose(alone.value[0], together.value[i], rtol=1e-12)
        assert alone.n_walks[0] == together.n_walks[i]
        assert alone.settled[0] == together.settled[i]


def test_rankings_that_stopped_agree_with_long_runs() -> None:
    """What the criterion promises, on a net with many near ties: overlap with 4000 walks."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(N, 24), nn.Tanh(), nn.Linear(24, 1)).double().eval()
    shared = []
    for seed in range(5):
        found = explained(net, qoi="logit", seed=seed, design="uniform", max_walks=4000)
        assert found.settled[0]
        truth = explained(net, qoi="logit", seed=100, n_walks=8000)
        shared.append(top_k_overlap(found.value[0], truth.value[0], top_of(N)))
    assert np.mean(shared) >= OVERLAP


def test_with_top_k_the_certificate_is_the_criterion() -> None:
    found = explained(linear, top_k=5, max_walks=700)
    assert found.top_k_certified[0]
    assert np.isnan(found.reliability[0])
    assert found.params["n_walks"] == 700


def test_one_block_says_nothing() -> None:
    found = explained(linear, max_walks=1)
    assert np.isnan(found.reliability[0])
    assert not found.settled[0]


def test_a_response_that_ends_is_a_failure() -> None:
    def fragile(z: np.ndarray) -> np.ndarray:
        return np.where((z > 0.2).sum(axis=1) == N // 2, np.nan, z.sum(axis=1))

    found = explained(fragile, deltas=[0.1, 0.4])
    assert found.status == ("failed",)
    assert found.n_walks[0] == 0


def test_the_door_writes_what_was_made(adata: Any) -> None:
    sx.tl.sensx(adata, lambda z: z.sum(axis=1), n_walks="auto", n_samples=50, deltas=[0.3, 1.0],
                statistics=("change", "change_se", "n"))  # fmt: skip
    table = adata.uns["sensx"]["cells"]
    assert {"n_walks", "reliability", "overlap", "settled"} <= set(table.columns)
    assert table["settled"].all()
    assert (adata.layers["sensx_n"].max(axis=1) == table["n_walks"]).all()
    assert np.isfinite(adata.layers["sensx_change_se"]).any()


@pytest.mark.parametrize(
    ("how", "error", "match"),
    [
        ({"n_walks": "many"}, ValueError, "`n_walks` must be 'auto' or a whole number.*'many'"),
        ({"n_walks": 0}, ValueError, "`n_walks` must be a whole number of at least 1; got 0"),
        ({"max_walks": 0}, ValueError, "`max_walks` must be a whole number of at least 1"),
        ({"max_walks": "all"}, TypeError, "`max_walks` must be a whole number"),
        ({"estimator": "gradient"}, ValueError, "'auto' needs estimator='walks'; got 'gradient'"),
    ],
)
def test_wrong_input(how: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        explained(linear, **how)
