"""States of a stem along walks of groups, against rows written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sensx_sc.evaluators.stem.groups import GroupRows
from sensx_sc.evaluators.stem.stem import Branch, Stem


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_states_of_groups_of_any_sizes(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    n, free = 12, np.array([1, 2, 3, 5, 7, 8, 11])
    member = np.array([2, 0, 0, 1, 2, 3, 0])
    branches = tuple(
        Branch(torch.randn(n, h, dtype=dtype), torch.randn(h, dtype=dtype), phi)
        for h, phi in ((4, None), (3, lambda values, _: torch.sin(values)))
    )
    stem = Stem(branches, torch.nn.Identity())
    x, end = torch.rand(1, n, dtype=dtype), torch.rand(5, len(free), dtype=dtype)
    features = torch.as_tensor(free)
    moves = [b.transformed(end, features) - b.transformed(x[:, free], features) for b in branches]
    order = np.stack([np.random.default_rng(w).permutation(4) for w in range(5)])
    found = GroupRows(stem, features, member).states(stem.states(x).expand(5, -1), moves, order)
    assert found.shape == (5, 5, 7)
    assert found.dtype == torch.float64
    for w in range(5):
        row = x[0].clone()
        for k in range(5):
            expected = stem.states(row[None])[0]
            torch.testing.assert_close(
                found[k, w],
                expected.double(),
                rtol=1e-5,
                atol=1e-12 if dtype.itemsize == 8 else 1e-5,
            )
            if k < 4:
                at = member == order[w, k]
                row[free[at]] = end[w, np.flatnonzero(at)]
