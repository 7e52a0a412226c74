"""Parts that are encoded once: several inputs with an encoder each, other frameworks, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import nn

from sensx_sc.models import Each

RNG = np.random.default_rng(0)


def test_an_encoder_for_each_modality() -> None:
    """A step changes one modality, and the other is not encoded again."""
    sizes: dict[str, int] = {"rna": 0, "adt": 0}

    def counted(name: str, width: int) -> Any:
        weight = torch.as_tensor(RNG.normal(size=({"rna": 6, "adt": 2}[name], width)))

        def encode(parts: torch.Tensor) -> torch.Tensor:
            sizes[name] += len(parts)
            return torch.tanh(parts @ weight)

        return encode

    rna, adt = counted("rna", 4), counted("adt", 3)
    stage, plain = Each([rna, adt]), Each([rna, adt], cache=False)
    rows = torch.as_tensor(RNG.random((1, 8))).repeat(9, 1)
    for k in range(1, 9):
        rows[k] = rows[k - 1]
        rows[k, k - 1] += 1
    parts = [rows[:, None, :6], rows[:, None, 6:]]
    found = stage(parts)
    assert found.shape == (9, 7)
    assert (stage.n_asked, stage.n_encoded) == (18, 7 + 3)
    torch.testing.assert_close(found, plain(parts))
    assert plain.n_encoded == 18
    # Parts of the same numbers are not one part where they are encoded otherwise.
    twice = Each([lambda z: z + 1, lambda z: z + 2])
    same = torch.ones(1, 1, 2)
    assert twice([same, same]).tolist() == [[2, 2, 3, 3]]


def test_an_encoder_of_another_framework() -> None:
    parts = torch.as_tensor(RNG.random((4, 3, 5)))
    pca = PCA(2).fit(RNG.random((30, 5)))
    found = Each(pca)(parts)
    expected = pca.transform(parts.reshape(12, 5).numpy()).reshape(4, 3, 2)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_what_is_differentiated_goes_through_the_function() -> None:
    stage = Each(nn.Linear(3, 2).double().eval())
    parts = torch.as_tensor(RNG.random((2, 4, 3)))
    stage(parts)
    with_slope = parts.clone().requires_grad_()
    (slope,) = torch.autograd.grad(stage(with_slope).sum(), with_slope)
    expected = stage.functions[0].weight.sum(dim=0).expand(2, 4, 3)
    torch.testing.assert_close(slope, expected.detach())


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: Each(3), TypeError, "the stage 'function' must be a module"),
        (lambda: Each([]), ValueError, "`function` must hold at least one"),
        (lambda: Each([torch.sin, None]), TypeError, "the stage 'function' must be"),
        (lambda: Each(torch.sin, batch_size=0), ValueError, "`batch_size` .* at least 1; got 0"),
        (lambda: Each(torch.sin, cache_bytes=-1), ValueError, "`cache_bytes` .* least 0; got -1"),
        (
            lambda: Each([torch.sin, torch.cos])(torch.ones(1, 2, 3)), ValueError,
            "there are 2 functions, one for each input; the stage before hands on 1 inputs",
        ),
    ],
)  # fmt: skip
def test_what_is_refused(call: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call()
