"""Composite models: interfaces, and encodings that are looked up."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import PowerTransformer, StandardScaler
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
    each = model.stages_in(torch.float64)["encoder"]
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


N = 8
GENES = [f"g{j}" for j in range(N)]
CELLS = np.random.default_rng(1).random((90, N))
LABELS = np.array(["B", "NK", "T"])[np.digitize(CELLS @ np.linspace(-1, 1, N), [-0.3, 0.3])]
TABLE = pd.DataFrame(CELLS, columns=GENES)
HOW: dict[str, Any] = {"lower": 0, "upper": 1, "n_walks": 20, "n_samples": 50, "tau": 0.02}


def mixed(*, named: bool = True) -> tuple[Chain, Any]:
    """scikit-learn, torch, scikit-learn; and the same as one function of arrays."""
    torch.manual_seed(0)
    scaler = StandardScaler().fit(TABLE if named else CELLS)
    encoder = nn.Sequential(nn.Linear(N, 3), nn.Tanh()).double().eval()

    def encode(rows: np.ndarray) -> np.ndarray:
        scaled = scaler.transform(pd.DataFrame(rows, columns=GENES) if named else rows)
        with torch.no_grad():
            return encoder(torch.as_tensor(np.asarray(scaled))).numpy()

    head = LogisticRegression(C=30).fit(encode(CELLS), LABELS)
    chain = Chain({"scaler": scaler, "encoder": encoder, "head": head})
    return chain, lambda rows: head.predict_proba(encode(rows))


def test_stages_of_several_frameworks_are_one_model() -> None:
    """As a plain function around them; what is known of the ends is known of the chain."""
    chain, plain = mixed()
    assert (chain.kind, chain.dtypes) == ("probability", (torch.float64,))
    assert chain.output_names == ("B", "NK", "T")
    assert chain.feature_names == tuple(GENES)
    found = sx.core.explain(CELLS[:3], chain, names=GENES, target="NK", **HOW)
    expected = sx.core.explain(CELLS[:3], plain, target=1, **HOW)
    assert found.params["evaluator"] == "stem"
    assert expected.params["evaluator"] == "dense"
    np.testing.assert_allclose(found.delta_star, expected.delta_star)
    for name in ("value", "mean", "qoi"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-6)
    predicted = sx.core.explain(CELLS[:3], chain, names=GENES, **HOW)
    assert [predicted.output_names[k] for k in predicted.target] == LABELS[:3].tolist()


@pytest.mark.parametrize("stage", ["encoder", "scaler"])
def test_attribution_from_any_interface_of_them(stage: str) -> None:
    """Behind each stage the rest of the chain explains what that stage hands on."""
    chain, plain = mixed()
    codes, rest = chain.at(stage, CELLS[:2]), chain.after(stage)
    how = {**HOW, "lower": codes.min(axis=0) - 1, "upper": codes.max(axis=0) + 1}
    found = sx.core.explain(codes, rest, target="NK", **how)
    np.testing.assert_allclose(found.qoi, plain(CELLS[:2])[:, 1], rtol=1e-6)

    def behind(rows: np.ndarray) -> np.ndarray:
        head = chain.stages["head"].model.estimator
        encoder = chain.stages["encoder"]
        with torch.no_grad():
            rows = encoder(torch.as_tensor(rows)).numpy() if stage == "scaler" else rows
        return head.predict_proba(rows)

    expected = sx.core.explain(codes, behind, target=1, **how)
    np.testing.assert_allclose(found.value, expected.value, rtol=1e-6)


def test_genes_are_matched_by_name() -> None:
    chain, _ = mixed()
    with pytest.raises(ValueError, match="another order than the model's: position 0 holds 'g7'"):
        sx.core.explain(CELLS[:1], chain, names=GENES[::-1], **HOW)
    with pytest.raises(ValueError, match="1 missing: g7; 1 unknown to the model: other"):
        sx.core.explain(CELLS[:1], chain, names=[*GENES[:7], "other"], **HOW)
    wide = [*GENES[::-1], "other"]
    rows = np.concatenate([CELLS[:1, ::-1], [[0.5]]], axis=1)
    by_name = sx.models.as_model(chain, columns=wide)
    r = sx.core.explain(rows, by_name, names=wide, target="NK", **HOW)
    straight = sx.core.explain(CELLS[:1], chain, names=GENES, target="NK", keys=[0], **HOW)
    assert r.params["evaluator"] == "stem"
    assert r.value[0, -1] == 0
    np.testing.assert_allclose(r.qoi, straight.qoi, rtol=1e-12)
    unnamed, _ = mixed(named=False)
    assert unnamed.feature_names is None
    told = Chain(dict(unnamed.stages), feature_names=GENES)
    assert (told.feature_names, told.shape) == (tuple(GENES), (N,))


def test_slopes_go_through_all_stages() -> None:
    chain, _ = mixed()
    by_slopes = sx.core.explain(
        CELLS[:2], chain, names=GENES, target="NK", estimator="gradient", **HOW
    )
    walked = sx.core.explain(CELLS[:2], chain, names=GENES, target="NK", **HOW)
    assert all(audit is not None for audit in by_slopes.audits)
    for a, b in zip(by_slopes.value, walked.value, strict=True):
        assert np.corrcoef(a, b)[0, 1] > 0.9
    parted = make()  # parts that are looked up have slopes, too
    found = sx.core.explain(X, parted, target="a", estimator="gradient", **SMALL)
    assert found.value.shape == X.shape
    assert (found.value > 0).all()


def test_what_stands_in_the_way_of_a_stem_is_said() -> None:
    forest = RandomForestClassifier(5, random_state=0).fit(CELLS, LABELS)
    chains = {
        "its stage 'head', RandomForestClassifier|RandomForestClassifier, its stage 'head'": Chain(
            {"scale": StandardScaler().fit(CELLS), "head": forest}
        ),
        "its stage 'encoder' keeps what parts are encoded as": make(),
        "PowerTransformer, its stage 'bend', has no affine stem": Chain(
            {"bend": PowerTransformer().fit(CELLS), "head": LogisticRegression().fit(CELLS, LABELS)}
        ),
    }
    for why, chain in chains.items():
        rows = X[:1] if chain.shape == (18,) else CELLS[:1]
        plan = sx.core.plan(rows, chain, target=0, lower=0, upper=1, n_walks=20, n_samples=50)
        assert plan.evaluator == "dense"
        assert re.search(why, plan.why), plan.why


def test_a_failure_names_its_stage() -> None:
    chain = Chain({"pca": PCA(2).fit(CELLS), "head": nn.Linear(3, 1).double().eval()}, shape=(N,))
    with pytest.raises(RuntimeError) as caught:
        chain.outputs(torch.as_tensor(CELLS[:2]))
    assert caught.value.__notes__ == ["This was in the stage 'head' of pca > head."]


class Told:
    """A model that says what it costs and what it expects, and reads a covariate."""

    name, kind, output_names, input_range, source = "told", "value", None, (0.0, 1.0), None
    dtypes = (torch.float64,)
    held_names = ("batch",)
    feature_names = (*GENES, "batch")

    def __init__(self) -> None:
        self.announced: list[int] = []
        self.checked = 0

    def device(self, dtype: torch.dtype) -> torch.device:
        return torch.device("cpu")

    def outputs(self, rows: torch.Tensor) -> torch.Tensor:
        return rows[:, :N] * rows[:, N:]

    def held_values(self, obs: pd.DataFrame) -> np.ndarray:
        return obs[["batch"]].to_numpy(dtype=float)

    def check_rows(self, rows: np.ndarray) -> None:
        self.checked += 1

    def announce(self, n_rows: int) -> None:
        self.announced.append(n_rows)


def test_what_a_stage_says_reaches_the_run() -> None:
    """Covariates are held, rows are checked, costs are announced; also where genes are by name."""
    few = AnnData(CELLS[:3], obs=pd.DataFrame({"batch": [1.0, 2.0, 3.0]}, index=list("abc")))
    few.var_names = GENES
    for by_name in (False, True):
        told = Told()
        chain: Any = Chain({"told": told, "sum": lambda z: z.sum(dim=1)})
        assert chain.held_names == ("batch",)
        model = sx.models.as_model(chain, columns=GENES) if by_name else chain
        sx.tl.sensx(few, model, n_walks=20, n_samples=50, lower=0, upper=1)
        np.testing.assert_allclose(few.obs["sensx_qoi"], CELLS[:3].sum(axis=1) * [1, 2, 3])
        np.testing.assert_allclose(few.layers["sensx"], np.repeat([[1], [2], [3]], N, 1), rtol=1e-5)
        assert told.announced
        assert told.checked


WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "no stages": (lambda: Chain({}), TypeError, "at least one stage"),
    "a list": (lambda: Chain([encode]), TypeError, "`stages` must be a mapping"),
    "no stage": (lambda: Chain({"a": 3}), TypeError, "the stage 'a' must be a module, a callable on tensors, .* got 3"),
    "a class": (lambda: Chain({"a": nn.Linear}), TypeError, "the stage 'a' must be"),
    "training": (lambda: Chain({"a": nn.Sequential(nn.Dropout(), nn.Linear(2, 1))}), ValueError, r"model.eval\(\)"),
    "training inside": (lambda: Chain({"a": Each(nn.Sequential(nn.Dropout()))}), ValueError, r"model.eval\(\)"),
    "each of what": (lambda: Each(3), TypeError, "the stage 'function' must be a module"),
    "batch": (lambda: Each(encode, batch_size=0), ValueError, "`batch_size` must be a whole number"),
    "room": (lambda: Each(encode, cache_bytes=-1), ValueError, "`cache_bytes` must be a whole number"),
    "interface": (lambda: make().after("body"), KeyError, "no stage 'body'; there are 'parts', 'encoder', 'head'"),
    "at": (lambda: make().at("body", X), KeyError, "there is no stage 'body'"),
    "last": (lambda: make().after("head"), ValueError, "'head' is the last stage"),
    "unknown shape": (lambda: Chain({"a": encode, "b": encode}).after("a"), ValueError, "`shape` of the inputs must be known"),
    "other names": (lambda: Chain(dict(mixed()[0].stages), feature_names=GENES[::-1]), ValueError, "not those that the stage 'scaler' was fitted with: name 0 is 'g7', not 'g0'"),
    "fewer names": (lambda: Chain(dict(mixed()[0].stages), feature_names=GENES[:3]), ValueError, "3 names for 8 features"),
    "names of what": (lambda: Chain({"a": encode}, shape=(2, 2), feature_names=GENES), ValueError, r"shape \(2, 2\) has 4 values; 8 have names"),
    "not fitted": (lambda: Chain({"a": StandardScaler(), "b": encode}), ValueError, "StandardScaler is not fitted"),
    "no tensor": (lambda: Chain({"a": lambda z: [1]}, shape=(2,)).outputs(torch.zeros(1, 2)), TypeError, "must return a tensor"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "error", "words"), WRONG.values(), ids=WRONG.keys())
def test_wrong_input(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()
