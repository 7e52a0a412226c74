"""Parts of the modules that stand for estimators."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from sensx_sc.evaluators.graph.sklearn_parts import (
    BothClasses,
    Clamp,
    Columns,
    Mean,
    OneEach,
    Shares,
    linear,
)

ROWS = torch.tensor([[1.0, 3.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)


def test_shares_add_up_to_one() -> None:
    torch.testing.assert_close(
        Shares()(ROWS), torch.tensor([[0.25, 0.75, 0], [1 / 3, 1 / 3, 1 / 3]], dtype=torch.float64)
    )


def test_both_classes_are_exact_in_both_tails() -> None:
    p = BothClasses()(torch.tensor([[-600.0], [0.0], [600.0]], dtype=torch.float64))
    np.testing.assert_array_equal(p[1], [0.5, 0.5])
    assert 0 < p[0, 1] < 1e-250
    assert 0 < p[2, 0] < 1e-250


def test_one_of_each_and_means() -> None:
    members = [Columns([0, 1]), Columns([2, 1])]
    torch.testing.assert_close(OneEach(members)(ROWS), ROWS[:, [1, 1]])
    torch.testing.assert_close(Mean(members, None)(ROWS), (ROWS[:, [0, 1]] + ROWS[:, [2, 1]]) / 2)
    weighted = Mean(members, [1, 3])(ROWS)
    torch.testing.assert_close(weighted, 0.25 * ROWS[:, [0, 1]] + 0.75 * ROWS[:, [2, 1]])


def test_layers_of_arrays() -> None:
    layer = linear([1.0, 2.0, 3.0], 5.0)
    assert isinstance(layer, nn.Linear)
    torch.testing.assert_close(layer(ROWS), torch.tensor([[12.0], [5.0]], dtype=torch.float64))
    assert linear(np.ones((2, 3), dtype=np.float32), 0.0)(ROWS).tolist() == [[4, 4], [0, 0]]
    assert Clamp(0.5, 2)(ROWS).tolist() == [[1, 2, 0.5], [0.5, 0.5, 0.5]]
