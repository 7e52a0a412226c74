"""The gate: softmax identities, what can be identified, and what cannot."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import sensx_sc as sx
from sensx_sc.nn import ScoresActivation, ScoresMLP


def gate_of(scores: list[float], **how: Any) -> ScoresActivation:
    gate = ScoresActivation(len(scores), **how).double()
    with torch.no_grad():
        gate.scores.copy_(torch.tensor(scores, dtype=torch.float64))
    return gate


ROWS = torch.tensor(np.random.default_rng(0).normal(2.0, 3.0, (50, 4)))
SCORES = [0.3, -1.0, 2.0, 0.0]


def test_at_the_start_inputs_pass_as_they_are() -> None:
    gate = ScoresActivation(4).double()
    torch.testing.assert_close(gate(ROWS), ROWS)
    torch.testing.assert_close(gate.weights, torch.full((4,), 0.25, dtype=torch.float64))
    once = ScoresActivation(4, k=1.0).double()
    torch.testing.assert_close(once(ROWS), ROWS / 4)  # d times too small, as published


def test_weights_are_a_softmax() -> None:
    gate = gate_of(SCORES)
    expected = np.exp(SCORES) / np.exp(SCORES).sum()
    np.testing.assert_allclose(gate.weights, expected)
    torch.testing.assert_close(gate(ROWS), 4 * torch.tensor(expected) * ROWS)
    # A shift of all scores changes nothing.
    shifted = gate_of([s + 7.0 for s in SCORES])
    torch.testing.assert_close(shifted(ROWS), gate(ROWS))


def test_temperature() -> None:
    hard, soft = gate_of(SCORES, temperature=0.05), gate_of(SCORES, temperature=100.0)
    assert hard.weights.argmax() == 2
    assert hard.weights[2] > 0.999
    assert soft.weights.std() < 0.01
    torch.testing.assert_close(
        gate_of([2 * s for s in SCORES], temperature=2.0).weights, gate_of(SCORES).weights
    )


def test_inputs_are_standardised() -> None:
    gate = ScoresActivation(4).double().fit_standardisation(ROWS)
    found = gate(ROWS)
    torch.testing.assert_close(found.mean(dim=0), torch.zeros(4, dtype=torch.float64))
    torch.testing.assert_close(found.std(dim=0, correction=0), torch.ones(4, dtype=torch.float64))
    constant = ROWS.clone()
    constant[:, 1] = 5.0
    found = ScoresActivation(4).double().fit_standardisation(constant)(constant)
    assert (found[:, 1] == 0).all()
    assert torch.isfinite(found).all()


@pytest.mark.parametrize("constant", [0.1, 1e5 / 3, 0.0])
def test_single_precision_constants_and_means_far_above_the_spread(constant: float) -> None:
    rows = torch.tensor(np.random.default_rng(0).normal(size=(3000, 3)))
    rows[:, 0] = 1e5 + rows[:, 0]
    rows[:, 1] = constant
    rows[:, 2] *= 1e-7  # small units are no constant
    gate = ScoresActivation(3).fit_standardisation(rows.float())
    found = gate(rows.float()).detach().double()
    torch.testing.assert_close(
        found[:, [0, 2]].std(dim=0, correction=0), torch.ones(2, dtype=torch.float64),
        atol=1e-3, rtol=0,
    )  # fmt: skip
    assert abs(float(found[:, 0].mean())) < 0.01  # a mean of 1e5 is known to .004
    assert (found[:, 1] == 0).all()


def test_entropy() -> None:
    assert ScoresActivation(8).entropy().item() == pytest.approx(np.log(8))
    assert gate_of([0.0, 50.0, 0.0]).entropy().item() == pytest.approx(0, abs=1e-12)
    w = gate_of(SCORES).weights.numpy()
    assert gate_of(SCORES).entropy().item() == pytest.approx(-(w * np.log(w)).sum())


def test_effective_scores_are_what_weights_cannot_exchange() -> None:
    """Larger weights with smaller weights of the next layer: the same function, the same scores."""
    torch.manual_seed(0)
    layer, gate = nn.Linear(4, 3, bias=False).double(), gate_of(SCORES)
    other, moved = nn.Linear(4, 3, bias=False).double(), gate_of([1.0, 0.0, -1.0, 0.5])
    with torch.no_grad():
        other.weight.copy_(layer.weight * gate.weights / moved.weights)
    torch.testing.assert_close(other(moved(ROWS)), layer(gate(ROWS)))
    assert not torch.allclose(moved.weights, gate.weights)
    torch.testing.assert_close(moved.effective_scores(other), gate.effective_scores(layer))
    expected = 4 * gate.weights * layer.weight.detach().norm(dim=0)
    torch.testing.assert_close(gate.effective_scores(layer), expected)


def test_with_decay_weights_go_as_the_effective_score_to_two_thirds() -> None:
    """Least ridge for given effects: minimise sum (a_j / w_j)^2 on the simplex."""
    effects = torch.tensor([4.0, 2.0, 1.0, 0.5], dtype=torch.float64)
    gate = ScoresActivation(4, k=1.0).double()
    layer = nn.Linear(4, 1, bias=False).double()
    rows = torch.eye(4, dtype=torch.float64)
    optimizer = torch.optim.LBFGS(
        [*gate.parameters(), *layer.parameters()], lr=0.5, max_iter=400, tolerance_grad=1e-12,
        tolerance_change=1e-15, line_search_fn="strong_wolfe",
    )  # fmt: skip

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        misfit = ((layer(gate(rows))[:, 0] - effects) ** 2).sum()
        value = misfit + 1e-4 * layer.weight.square().sum()
        torch.autograd.backward(value)
        return value

    optimizer.step(loss)
    expected = effects ** (2 / 3) / (effects ** (2 / 3)).sum()
    torch.testing.assert_close(gate.weights, expected, rtol=1e-2, atol=0)


def test_gradients_reach_the_scores() -> None:
    gate = gate_of(SCORES)
    assert torch.autograd.gradcheck(
        lambda s: torch.func.functional_call(gate, {"scores": s}, (ROWS[:3],)),
        (gate.scores.detach().clone().requires_grad_(),),
    )


def test_a_gated_net_is_explained_by_its_stem(adata: Any) -> None:
    """The gate is a scaling of columns: the first layer behind it stays an affine stem."""
    net = ScoresMLP(list(adata.var_names), ["A", "B"], hidden=(6,)).eval()
    with torch.no_grad():
        net.gate.scores.normal_(generator=torch.Generator().manual_seed(1))
    net.gate.fit_standardisation(torch.tensor(adata.X.toarray()))
    found = sx.companions.local_sensitivity(
        adata.X[:3].toarray(), net, lower=0, upper=10, scale=1.0, bandwidth=0.02
    )
    assert found.params["evaluator"] == "stem"
    x = torch.tensor(adata.X[:3].toarray(), dtype=torch.float64, requires_grad=True)
    q = torch.softmax(net.double()(x), dim=1)[torch.arange(3), torch.tensor(found.target)]
    exact = torch.autograd.grad(q.sum(), x)[0].numpy()
    np.testing.assert_allclose(found.slope, exact, atol=1e-3 * np.abs(exact).max())


def test_moves_between_devices_and_types() -> None:
    gate = ScoresActivation(3).fit_standardisation(torch.randn(9, 3)).double()
    again = ScoresActivation(3).double()
    again.load_state_dict(gate.state_dict())
    torch.testing.assert_close(again(ROWS[:, :3]), gate(ROWS[:, :3]))
    assert "3, k=3, temperature=1" in repr(gate)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"n_features": 0}, "`n_features` must be a whole number of at least 1; got 0"),
        ({"n_features": 2.0}, "`n_features` must be a whole number"),
        ({"n_features": 2, "k": 0}, "`k` must be a positive number; got 0"),
        ({"n_features": 2, "temperature": -1.0}, "`temperature` must be a positive number"),
    ],
)
def test_wrong_input(how: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ScoresActivation(**how)


def test_a_net_without_a_hidden_layer_has_its_output_behind_the_gate() -> None:
    net = ScoresMLP(["a", "b"], ["x"], hidden=())
    assert net.first.out_features == 1
    net.body.layers = nn.Sequential(nn.ReLU())
    with pytest.raises(TypeError, match="no Linear but ReLU"):
        _ = net.first
