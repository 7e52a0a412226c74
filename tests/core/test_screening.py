"""Gradients in the place of walks: opt-in, audited, exact where exact values are reported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

import sensx_sc as sx
from sensx_sc.core.walks import walk_chosen

if TYPE_CHECKING:
    from collections.abc import Callable

    from sensx_sc.core import Explanation

N = 400


class Square(nn.Module):
    """Far from linear in each feature: a secant says other things than its ends."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.register_buffer("w", torch.rand(N) * 3)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return (torch.sin(4 * rows * self.w)).sum(dim=1, keepdim=True)


class Step(nn.Module):
    """Jumps, and is flat in between."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return (rows > 0.5).to(rows.dtype).sum(dim=1, keepdim=True) + 1e-3 * rows.sum(
            dim=1, keepdim=True
        )


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(N, 30), nn.ReLU(), nn.Linear(30, 1)).eval()
    with torch.no_grad():
        net[0].weight *= torch.exp(0.7 * torch.randn(N))
    return net


def explained(model: Any, estimator: str, delta: float = 0.05, **how: Any) -> Explanation:
    x = np.zeros((2, N))
    x[0, ::7] = x[1, ::11] = 1.0
    settings: dict[str, Any] = {
        "lower": 0, "upper": 5, "deltas": [delta], "n_samples": 40, "tau": 1e-4, "top_k": 20,
        "n_walks": 200, "precision": "float64", "progress": False, "qoi": "logit",
    }  # fmt: skip
    return sx.core.explain(x, model, estimator=estimator, **(settings | how))


def test_gradients_agree_with_walks_on_small_steps_and_say_what_they_are(net: nn.Module) -> None:
    walks = explained(net, "walks", top_k=None)
    found = explained(net, "gradient")
    assert found.estimator == ("gradient", "gradient")
    assert not found.exact.any()
    for audit in found.audits:
        assert audit is not None
        assert audit.passed, audit.message
    np.testing.assert_allclose(found.value, walks.value, rtol=0.4)
    assert found.value.sum() == pytest.approx(walks.value.sum(), rel=0.01)
    assert found.params["estimator"] == "gradient"


def test_candidates_have_the_values_of_exact_walks(net: nn.Module) -> None:
    walks, found = explained(net, "walks", top_k=None), explained(net, "auto")
    assert found.exact.sum(axis=1).tolist() == [80 + 256] * 2
    for name in ("value", "change", "mean", "shapley", "se", "n"):
        np.testing.assert_allclose(
            getattr(found, name)[found.exact], getattr(walks, name)[found.exact], rtol=1e-9
        )
    top = walks.rank <= 20
    assert (found.exact & top).sum() == top.sum()  # none of the true top was screened out
    np.testing.assert_array_equal(found.rank <= 20, top)
    assert all(audit.missed_at_most < 40 for audit in found.audits if audit)


def test_where_the_audit_fails_all_features_are_walked() -> None:
    walks, found = explained(Square(), "walks", 1.0, top_k=None), explained(Square(), "auto", 1.0)
    assert found.estimator == ("walks", "walks")
    assert found.exact.all()
    np.testing.assert_allclose(found.value, walks.value, rtol=1e-12)
    assert [audit.passed for audit in found.audits if audit] == [False, False]
    alone = explained(Square(), "gradient", 1.0)
    assert alone.estimator == ("gradient", "gradient")
    assert [audit.passed for audit in alone.audits if audit] == [False, False]


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (lambda: Step().eval(), "jumps|gradient"),
        (lambda: lambda z: z.sum(axis=1), "black box"),
    ],
    ids=["jumpy", "black box"],
)
def test_models_without_useful_gradients_are_refused_or_walked(
    model: Callable[[], Any], why: str
) -> None:
    qoi = {"qoi": "value", "top_k": None}
    made = model()
    if isinstance(made, nn.Module):
        made.task = "regression"
    with pytest.raises(ValueError, match=rf"'gradient' cannot be used for .*({why})"):
        explained(made, "gradient", 1.0, **qoi)
    found = explained(made, "auto", 1.0, **qoi)
    assert found.estimator == ("walks", "walks")
    assert found.audits == (None, None)
    np.testing.assert_array_equal(found.value, explained(made, "walks", 1.0, **qoi).value)


def test_the_audit_is_as_large_as_it_is_asked_to_be(
    net: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []

    def watched(*args: Any, **how: Any) -> None:
        _, at, _, _, design = args
        seen.extend((len(each), len(how["blocks"]) * design.block) for each in at[:1])
        walk_chosen(*args, **how)

    monkeypatch.setattr("sensx_sc.core.screening.walk_chosen", watched)
    usual = explained(net, "gradient")
    small = explained(net, "gradient", audit_features=30, audit_walks=40)
    least = explained(net, "gradient", audit_features=30, audit_walks=2)
    assert seen == [(20 + 256, 80), (20 + 30, 40), (20 + 30, 2)]
    assert [audit.n_sampled for audit in small.audits if audit] == [30, 30]
    assert all(audit.passed for audit in small.audits if audit)
    assert [audit.n_sampled for audit in least.audits if audit] == [30, 30]
    np.testing.assert_array_equal(small.value, usual.value)
    # What "auto" reports comes from all walks, whatever the audit of "gradient" is told.
    explained(net, "auto", audit_features=30, audit_walks=40)
    assert seen[-1] == (80 + 30, 200)


def test_results_do_not_depend_on_the_company(net: nn.Module) -> None:
    for estimator in ("gradient", "auto"):
        whole = explained(net, estimator)
        few = explained(net, estimator, batch_size=7)
        np.testing.assert_allclose(few.value, whole.value, rtol=1e-9)


def test_dead_and_masked_features(net: nn.Module) -> None:
    mask = np.arange(N) % 3 > 0
    found = explained(net, "auto", mask=mask)
    assert np.isnan(found.value[:, ~mask]).all()
    assert not found.exact[:, ~mask].any()
    assert (found.rank[:, mask] > 0).all()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"estimator": "gradients"}, "`estimator` must be one of"),
        ({"estimator": "gradient", "rank_by": "mean"}, "`estimator` 'gradient' needs `rank_by`"),
        ({"estimator": "auto", "rank_by": "shapley"}, "`estimator` 'auto' needs `rank_by`"),
    ],
)
def test_wrong_input(how: dict[str, Any], message: str, net: nn.Module) -> None:
    with pytest.raises(ValueError, match=message):
        explained(net, **({"top_k": None} | how))
