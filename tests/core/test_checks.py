"""What is asked of names and of a model before any work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from sensx_sc.core import explain
from sensx_sc.core.checks import check_model, check_names, check_outputs
from sensx_sc.core.domain import make_domain
from sensx_sc.evaluators import DenseEvaluator
from sensx_sc.models import as_model
from sensx_sc.models.qoi import make_response

if TYPE_CHECKING:
    from collections.abc import Callable


def check(function: Callable, n_inputs: int = 3) -> None:
    ready = as_model(function, n_features=2, rows="numpy")
    made = DenseEvaluator(make_response(ready, "value"), np.dtype(np.float64), 100)
    check_model(np.full((n_inputs, 2), 0.5), make_domain(0, 1, 2), made, seed=0)


@pytest.mark.parametrize("names", [None, ("A", "B", "C")])
def test_the_models_names_in_its_order_pass(names: tuple[str, ...] | None) -> None:
    check_names(names, ("A", "B", "C"))
    check_names(("A", "B", "C"), None)


@pytest.mark.parametrize(
    ("names", "match", "advice"),
    [
        (("A", "B"), r"not those the model was fitted with \(1 missing: C\)", "none is filled in"),
        (("A", "B", "C", "D"), r"\(1 unknown to the model: D\)", "columns=adata.var_names"),
        (("A", "X", "Y"), r"2 missing: B, C; 2 unknown to the model: X, Y", "none is filled in"),
        (
            ("A", "C", "B"),
            r"another order .* position 1 holds 'C', the model expects 'B'",
            "adata[:, list(model.feature_names)]",
        ),
    ],
)
def test_other_names_are_refused(names: tuple[str, ...], match: str, advice: str) -> None:
    with pytest.raises(ValueError, match=match) as caught:
        check_names(names, ("A", "B", "C"))
    assert advice in str(caught.value)


def test_repeated_names_get_the_sentence_too() -> None:
    with pytest.raises(ValueError, match="must be unique; .B. occurs"):
        check_names(("A", "B", "B"), ("A", "B"))


def test_only_the_first_five_names_are_listed() -> None:
    with pytest.raises(ValueError, match=r"9 missing: g1, g2, g3, g4, g5, \.\.\.\)"):
        check_names(("g0",), tuple(f"g{i}" for i in range(10)))


def test_what_is_missing_is_a_gene() -> None:
    with pytest.raises(ValueError, match="the genes are not those"):
        check_names(("A",), ("B",), what="gene")


def test_a_deterministic_row_by_row_model_passes() -> None:
    for n_inputs in (1, 2, 3, 9):
        check(lambda z: z.sum(axis=1) * 1e6, n_inputs)
        check(lambda z: z * 1e-9, n_inputs)


def test_a_few_nan_do_not_stop_the_run() -> None:
    def partly(z: np.ndarray) -> np.ndarray:
        return np.where(z[:, 0] > 0.6, np.nan, z[:, 0])

    check(partly)


def test_nothing_but_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="returned only NaN or infinite values for the 3 inp"):
        check(lambda z: np.full(len(z), np.nan))
    with pytest.raises(ValueError, match="only NaN or infinite values"):
        check(lambda z: np.full(len(z), np.inf))


def test_a_random_model_is_refused() -> None:
    state = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"model is not deterministic.*model\.eval\(\)"):
        check(lambda z: z.sum(axis=1) + 1e-3 * state.random(len(z)))


def test_nan_now_and_then_is_random_too() -> None:
    state = np.random.default_rng(0)
    with pytest.raises(ValueError, match="not deterministic"):
        check(lambda z: np.where(state.random(len(z)) < 0.3, np.nan, z.sum(axis=1)))


def test_functional_dropout_in_eval_mode_is_found() -> None:
    class Monte(torch.nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.dropout(z, 0.5, training=True).sum(dim=1)

    torch.manual_seed(0)
    with pytest.raises(ValueError, match="the model is not deterministic"):
        explain(np.ones((3, 8)), Monte().eval(), lower=0, upper=2)


@pytest.mark.parametrize("n_inputs", [1, 2, 5])
def test_a_model_that_looks_at_the_batch_is_refused(n_inputs: int) -> None:
    with pytest.raises(ValueError, match="depends on the other rows of its batch"):
        check(lambda z: (z - z.mean(axis=0)) @ [1, -2], n_inputs)


def test_half_precision_is_no_batch_dependence() -> None:
    def halved(z: np.ndarray) -> np.ndarray:
        # The last row of a batch is summed in another order, as kernels do.
        out = (z.astype(np.float16).sum(axis=1)).astype(float)
        out[-1] *= 1 + 1e-3
        return out

    check(halved)


def outputs_of(values: np.ndarray, kind: Any) -> None:
    check_outputs(as_model(lambda z: z, n_features=2, outputs=kind, rows="numpy"), values)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([[0.0, 1.0], [0.3, 0.7]], "probability"),
        ([[0.2, 0.2], [np.nan, np.nan]], "probability"),
        ([[1.0000001], [0.5]], "probability"),
        ([[np.nan]], "probability"),
        ([[-3.0, 4.0]], "value"),
        ([[0.3, 0.7], [1.2, -0.2]], "logit"),
        ([[0.3, 0.7], [0.3, 0.7]], "logit"),  # constant: who knows
        ([[0.4], [0.6]], "logit"),
    ],
)
def test_outputs_in_range_pass(values: list[list[float]], kind: str) -> None:
    outputs_of(np.array(values), kind)


@pytest.mark.parametrize("values", [[[-0.1, 1.1]], [[2.0], [0.5]], [[0.5, 0.5], [0.5, 7.0]]])
def test_probabilities_out_of_range_are_refused(values: list[list[float]]) -> None:
    with pytest.raises(ValueError, match=r"said to be probabilities, but lie from .*outputs='log"):
        outputs_of(np.array(values), "probability")


def test_a_softmax_that_is_taken_for_logits_is_a_warning() -> None:
    values = np.random.default_rng(0).dirichlet(np.ones(4), size=6)
    with pytest.warns(UserWarning, match="positive and add up to 1 in every row"):
        outputs_of(values, "logit")

    class Softmax(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(2, 3)

        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            return torch.softmax(self.layer(rows), dim=1)

    with pytest.warns(UserWarning, match=r"as_model\(model, outputs='probability'\)"):
        explain([[0.5, 0.5]], Softmax().eval(), lower=0, upper=1, n_walks=4, n_samples=50)
    said = as_model(Softmax().eval(), outputs="probability")
    explain([[0.5, 0.5]], said, lower=0, upper=1, n_walks=4, n_samples=50)


def test_rows_on_which_a_model_raises_may_be_left_out() -> None:
    def partly(z: np.ndarray) -> np.ndarray:
        if (z[:, 0] > 0.6).any():
            msg = "too large"
            raise ArithmeticError(msg)
        return z.sum(axis=1)

    ready = as_model(partly, n_features=2, rows="numpy")
    made = DenseEvaluator(make_response(ready, "value"), np.dtype(np.float64), 100)
    x, domain = np.full((3, 2), 0.5), make_domain(0, 1, 2)
    found = check_model(x, domain, made, seed=0, mark=True)
    assert 3 <= len(found) < 3 + 8  # the inputs, and the random points that it takes
    np.testing.assert_allclose(found[:3], 1.0)
    with pytest.raises(ArithmeticError):
        check_model(x, domain, made, seed=0)
