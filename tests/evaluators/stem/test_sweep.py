"""Neighbourhoods of many scales by one product, to the last digits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sensx_sc.evaluators.stem.sweep import affine_sweep, rows_of

F, H, S = 300, 5, 40


def reaches(deltas: np.ndarray, x: np.ndarray, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Down and up, of a domain [0, r]."""
    return np.minimum(x, deltas[:, None] * r), np.minimum(r - x, deltas[:, None] * r)


def directly(weight: np.ndarray, u: np.ndarray, down: np.ndarray, up: np.ndarray) -> np.ndarray:
    return np.stack(
        [(u * high - (1 - u) * low) @ weight for low, high in zip(down, up, strict=True)]
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("first", [1e-9, 1e-4])
@pytest.mark.parametrize(
    "kind", ["most at zero", "inside", "all at once", "a light one goes on", "two go on later"]
)
def test_every_scale_is_that_of_its_own_product(
    kind: str, first: float, dtype: torch.dtype, rng: np.random.Generator
) -> None:
    deltas, r = np.geomspace(first, 1, 30), rng.random(F) + 0.5
    weight, u = rng.normal(size=(F, H)), rng.random((S, F))
    x = rng.random(F) * r * (rng.random(F) < 0.1)
    if kind == "inside":
        x = rng.random(F) * r
    elif kind == "all at once":
        x = 0.5 * r
    elif kind == "a light one goes on":
        x = 1.5 * first * r  # all leave their lower line at once
        weight[1:] = np.where(np.arange(1, F)[:, None] % 2, weight[1:], 0)
        weight[0] *= 1e-3
        held = slice(1, None)
        down, up = reaches(deltas, x, r)
        up[:, held] = np.minimum(up[:, held], 3 * first * r[held])  # and all but one the upper one
    if kind != "a light one goes on":
        down, up = reaches(deltas, x, r)
    if kind == "two go on later":
        up[10:20, :2], up[20:, :2] = up[9, :2], 1.5 * up[9, :2]
    kept = torch.float64 if dtype == torch.float64 else torch.float32
    w, fractions = torch.as_tensor(weight, dtype=kept), torch.as_tensor(u, dtype=kept)
    found = np.stack([part.double().numpy() for part in affine_sweep(w, fractions, down, up)])
    expected = directly(w.double().numpy(), fractions.double().numpy(), down, up)
    size = np.maximum(down, up) @ np.abs(weight)
    error = (np.abs(found - expected) / size[:, None]).max()
    assert error < (1e-14 if dtype == torch.float64 else 2e-6)


def test_rows_are_copied_unless_they_are_all_in_order() -> None:
    weight = torch.randn(4, 2)
    assert rows_of(weight, torch.arange(4)) is weight
    for chosen in ([1, 0, 2, 3], [0, 3], [2, 2, 2, 2]):
        assert torch.equal(rows_of(weight, torch.tensor(chosen)), weight[chosen])
