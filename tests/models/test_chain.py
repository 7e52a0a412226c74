"""Composite models: interfaces, and encodings that are looked up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import sensx_sc as sx
from sensx_sc.models import Chain, Each

SMALL: dict[str, Any] = {"lower": 0, "upper": 1, "n_walks": 20, "n_samples": 40, "deltas": [0.5],
                         "tau": 1e-6, "precision": "float64"}  # fmt: skip


def parts(z: torch.Tensor) -> list[torch.Tensor]:
    """Six parts of two values and two of three."""
    return [z[:, :12].reshape(-1, 6, 2), z[:, 12:].reshape(-1, 2, 3)]


def encode(part: torch.Tensor) -> torch.Tensor:
    powers = torch.stack([part.sum(1), (part**2).sum(1), torch.sin(3 * part).sum(1)], 1)
    return powers


def make(*, cache: bool = True, **how: Any) -> Chain:
    torch.manual_seed(0)
    head = nn.Sequential(nn.Flatten(), nn.Linear(24, 5), nn.Tanh(), nn.Linear(5, 2)).eval()
    stages = {"parts": parts, "encoder": Each(encode, cache=cache, **how), "head": head}
    return Chain(stages, shape=(18,), output_names=["a", "b"])


X = np.random.default_rng(0).random((3, 18))


def test_cached_and_uncached_agree_and_the_cache_saves_calls() -> None:
    a, b = make(), make(cache=False)
    found = sx.core.explain(X, a, target="a", **SMALL)
    plain = sx.core.explain(X, b, target="a", **SMALL)
    for name in ("value", "change", "shapley", "delta_star", "qoi"):
        np.testing.assert_allclose(
            getattr(found, name), getattr(plain, name), rtol=1e-9, atol=1e-12
        )
    (asked, encoded), (_, every) = a.counts()["encoder"], b.counts()["encoder"]
    assert every == b.counts()["encoder"][0] == asked
    assert encoded < asked / 2  # a step changes one part of eight; the calibration changes all


def test_one_step_of_a_walk_encodes_one_part() -> None:
    model = make()
    rows = torch.as_tensor(X[:1]).repeat(19, 1)
    for k in range(1, 19):
        rows[k] = rows[k - 1]
        rows[k, k - 1] += 0.25
    model.outputs(rows)
    assert model.counts()["encoder"] == (19 * 8, 8 + 18)
    model.outputs(rows.flip(0))  # looked up
    assert model.counts()["encoder"] == (2 * 19 * 8, 8 + 18)


@pytest.mark.parametrize("room", [0, 100, 2**20])
def test_the_cache_keeps_to_its_room(room: int) -> None:
    model, plain = make(cache_bytes=room), make(cache=False)
    rows = torch.as_tensor(np.random.default_rng(1).random((50, 18)))
    for _ in range(2):
        torch.testing.assert_close(model.outputs(rows), plain.outputs(rows))
    each = model._of_type(torch.float64)["encoder"]
    assert each._used <= room
    if room == 2**20:
        assert each.n_encoded == 50 * 8


def test_attribution_from_an_interface() -> None:
    model = make()
    codes = model.at("encoder", X)
    assert codes.shape == (3, 24)
    rest = model.after("encoder")
    assert rest.shape == (8, 3)
    rows = torch.as_tensor(X)
    got = rest.outputs(torch.as_tensor(codes).double())
    torch.testing.assert_close(got, model.outputs(rows), rtol=1e-5, atol=1e-5)
    found = sx.core.explain(
        codes, rest, target="b", **SMALL | {"lower": codes.min() - 1, "upper": codes.max() + 1}
    )
    assert found.value.shape == (3, 24)
    assert found.params["model"] == "head"
    # Behind a stage that hands on several tensors.
    there = model.after("parts")
    np.testing.assert_allclose(model.at("parts", X), X, rtol=1e-6)
    torch.testing.assert_close(there.outputs(rows), model.outputs(rows))


def test_the_modules_of_the_caller_are_never_changed() -> None:
    model = make()
    before = {k: v.clone() for k, v in model.stages["head"].state_dict().items()}
    sx.core.explain(X, model, target=0, **SMALL)
    after = model.stages["head"].state_dict()
    assert all(torch.equal(after[k], before[k]) for k in before)
    assert all(v.dtype == torch.float32 for v in after.values())
    assert next(model.stages["head"].parameters()).requires_grad


def test_a_chain_takes_the_shape_of_the_images() -> None:
    image = sx.im.from_array(np.random.default_rng(0).integers(0, 255, (4, 5, 3), dtype=np.uint8))
    model = Chain({"scale": lambda z: z / 255, "net": lambda z: z[:, 0, 1, 2:4].sum(1)})
    found = sx.im.sensx(image, model, n_walks=20, n_samples=40, deltas=[1.0], tau=1e-6)
    assert np.argwhere(found["change"].values > 0).tolist() == [[1, 2], [1, 3]]


WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "no stages": (lambda: Chain({}), TypeError, "at least one stage"),
    "a list": (lambda: Chain([encode]), TypeError, "`stages` must be a mapping"),
    "no stage": (lambda: Chain({"a": 3}), TypeError, "the stage 'a' must be a module, a callable or Each; got 3"),
    "a class": (lambda: Chain({"a": nn.Linear}), TypeError, "the stage 'a' must be"),
    "training": (lambda: Chain({"a": nn.Sequential(nn.Dropout(), nn.Linear(2, 1))}), ValueError, r"model.eval\(\)"),
    "training inside": (lambda: Chain({"a": Each(nn.Sequential(nn.Dropout()))}), ValueError, r"model.eval\(\)"),
    "each of what": (lambda: Each(3), TypeError, "`function` must be a module or a callable"),
    "batch": (lambda: Each(encode, batch_size=0), ValueError, "`batch_size` must be a whole number"),
    "room": (lambda: Each(encode, cache_bytes=-1), ValueError, "`cache_bytes` must be a whole number"),
    "interface": (lambda: make().after("body"), KeyError, "no stage 'body'; there are 'parts', 'encoder', 'head'"),
    "at": (lambda: make().at("body", X), KeyError, "there is no stage 'body'"),
    "last": (lambda: make().after("head"), ValueError, "'head' is the last stage"),
    "unknown shape": (lambda: Chain({"a": encode, "b": encode}).after("a"), ValueError, "`shape` of the inputs must be known"),
    "no tensor": (lambda: Chain({"a": lambda z: [1]}, shape=(2,)).outputs(torch.zeros(1, 2)), TypeError, "must return a tensor"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "error", "words"), WRONG.values(), ids=WRONG.keys())
def test_wrong_input(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()
