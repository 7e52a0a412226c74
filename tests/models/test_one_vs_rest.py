"""Binary classifiers in a mapping."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

import sensx_sc as sx


class Counted(nn.Module):
    """One logit; remembers how many rows it has seen."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight
        self.seen: list[int] = []

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        if type(rows) is torch.Tensor:  # and not what stands for one while the module is traced
            self.seen.append(len(rows))
        return self.weight * rows.cumsum(dim=1)[:, -1:]  # a sum that is evaluated row by row

    def __deepcopy__(self, memo: Any) -> Counted:
        copied = Counted(self.weight)
        copied.seen = self.seen
        return copied.eval()


def test_outputs_are_the_probabilities_of_the_members() -> None:
    model = sx.models.as_model({"a": Counted(1.0).eval(), "b": Counted(-2.0).eval()})
    rows = torch.arange(6.0).reshape(2, 3) / 10
    expected = torch.sigmoid(torch.stack([rows.sum(1), -2 * rows.sum(1)], dim=1))
    torch.testing.assert_close(model.outputs(rows), expected.double(), atol=1e-6, rtol=1e-6)
    assert model.output_names == ("a", "b")
    assert model.kind == "probability"


def test_only_the_explained_member_is_run() -> None:
    members = {"a": Counted(1.0).eval(), "b": Counted(1.0).eval()}
    sx.core.explain(np.full((1, 3), 0.5), members, lower=0, upper=1, target="a", n_walks=40)
    assert sum(members["b"].seen) < 100 < sum(members["a"].seen)


def test_rows_of_several_targets_share_a_batch() -> None:
    members = {"up": Counted(1.0).eval(), "down": Counted(-3.0).eval()}
    x = np.full((4, 3), 0.3)
    both = sx.core.explain(
        x, members, lower=0, upper=1, target=["up", "down", "up", "down"], precision="float64"
    )
    for k, name in ((0, "up"), (1, "down")):
        alone = sx.core.explain(
            x, members[name], lower=0, upper=1, keys=range(4), precision="float64"
        )
        np.testing.assert_allclose(both.value[k], alone.value[k], rtol=1e-12)


def test_two_column_classifiers_count_as_their_second_column() -> None:
    def two(rows: np.ndarray) -> np.ndarray:
        p = 1 / (1 + np.exp(-rows.sum(axis=1)))
        return np.stack([1 - p, p], axis=1)

    model = sx.models.as_model({"a": two}, n_features=3, outputs="probability")
    rows = torch.ones(2, 3, dtype=torch.float64)
    np.testing.assert_allclose(model.outputs(rows)[:, 0], 1 / (1 + np.exp(-3.0)))


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ({}, "at least one"),
        ({"a": nn.Linear(3, 4).eval()}, "must be binary; Linear has 4 outputs"),
        ({"a": lambda rows: rows[:, 0]}, "plain values"),
        (
            {"a": nn.Linear(3, 1).eval(), "b": LogisticRegression()},
            "the model of 'b': the estimator",
        ),
        (
            {
                "a": sx.models.as_model(nn.Linear(3, 1).eval(), feature_names="xyz"),
                "b": sx.models.as_model(nn.Linear(3, 1).eval(), feature_names="xyw"),
            },
            "the same features; 'b' takes others",
        ),
    ],
)
def test_wrong_members(members: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        sx.core.explain(np.full((1, 3), 0.5), members, lower=0, upper=1, target=0, n_walks=8)


def test_names_that_are_said_are_those_of_every_member() -> None:
    members = {"a": nn.Linear(3, 1).eval(), "b": nn.Linear(3, 1).eval()}
    model = sx.models.as_model(members, feature_names="xyz")
    assert model.feature_names == ("x", "y", "z")
    how = {"lower": 0, "upper": 1, "target": "a", "n_walks": 8}
    with pytest.raises(ValueError, match="position 0 holds 'z', the model expects 'x'"):
        sx.core.explain(np.full((1, 3), 0.5), model, names="zyx", **how)
    with pytest.raises(ValueError, match="named by its keys, 'a', 'b'; `output_names` is for oth"):
        sx.models.as_model(members, output_names=["c", "d"])


def test_explained_as_a_plain_function_around_it() -> None:
    """Estimators of one class each, by their stems."""
    x = np.random.default_rng(0).random((60, 4))
    fitted = {
        name: LogisticRegression().fit(x, x[:, k] > x[:, 3]) for k, name in enumerate(("a", "b"))
    }
    how = {"lower": 0, "upper": 1, "n_walks": 20, "n_samples": 50, "tau": 0.01}
    found = sx.core.explain(x[:3], fitted, target="b", **how)
    expected = sx.core.explain(x[:3], lambda z: fitted["b"].predict_proba(z)[:, 1], **how)
    assert found.params["evaluator"] == "stem"
    np.testing.assert_allclose(found.value, expected.value, rtol=1e-6)
    np.testing.assert_allclose(found.qoi, expected.qoi, rtol=1e-6)
