"""The paper's four synthetic problems, checked one sample at a time."""

from __future__ import annotations

from math import exp, sin

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sensx_sc as sx

KINDS = ["xor", "orange_skin", "nonlinear_additive", "switch"]


def logit(kind: str, x: list[float], branch: str | None) -> float:
    if kind == "xor":
        return x[0] * x[1]
    if kind == "orange_skin":
        return x[0] ** 2 + x[1] ** 2 + x[2] ** 2 + x[3] ** 2 - 4
    if kind == "nonlinear_additive":
        return -100 * sin(0.2 * x[0]) + abs(x[1]) + x[2] + exp(-x[3]) - 2.4
    return logit(branch, x[:4] if branch == "orange_skin" else x[4:8], None)


@pytest.mark.parametrize("kind", KINDS)
def test_labels_follow_the_formula(kind):
    adata = sx.datasets.synthetic(kind, 300, seed=3)
    assert adata.X.dtype == np.float32
    for i in range(adata.n_obs):
        branch = adata.obs["branch"].iloc[i] if kind == "switch" else None
        value = logit(kind, [float(v) for v in adata.X[i]], branch)
        assert adata.obs["prob_1"].iloc[i] == pytest.approx(1 / (1 + exp(value)), rel=1e-9)
        assert adata.obs["label"].iloc[i] == ("1" if value < 0 else "0")


@pytest.mark.parametrize(
    ("kind", "relevant"),
    [("xor", {1, 2}), ("orange_skin", {1, 2, 3, 4}), ("nonlinear_additive", {1, 2, 3, 4})],
)
def test_relevant_features(kind, relevant):
    adata = sx.datasets.synthetic(kind, 50)
    assert set(adata.var_names[adata.var["relevant"]]) == {f"x{j}" for j in relevant}
    assert (adata.obsm["relevant"] == adata.var["relevant"].to_numpy()).all()
    assert "branch" not in adata.obs


def test_switch_has_relevant_features_by_branch():
    adata = sx.datasets.synthetic("switch", 400)
    truth = {"orange_skin": [0, 1, 2, 3, 9], "nonlinear_additive": [4, 5, 6, 7, 9]}
    for branch, expected in truth.items():
        rows = adata.obsm["relevant"][(adata.obs["branch"] == branch).to_numpy()]
        assert np.array_equal(np.flatnonzero(rows[0]), expected)
        assert (rows == rows[0]).all()
    assert adata.var_names[~adata.var["relevant"]].tolist() == ["x9"]


def test_distributions():
    """Means and standard deviations within 5 standard errors; a shift of .03 would be seen."""
    adata = sx.datasets.synthetic("switch", 50_000)
    X = adata.X.astype(float)
    orange = (adata.obs["branch"] == "orange_skin").to_numpy()
    se = 1 / np.sqrt(len(X))
    assert np.abs(X[:, :9].mean(axis=0)).max() < 5 * se
    assert np.abs(X[:, :9].std(axis=0) - 1).max() < 5 * se
    assert abs(orange.mean() - 0.5) < 5 * se / 2
    assert abs(X[orange, 9].mean() - 3) < 5 * se * np.sqrt(2)
    assert abs(X[~orange, 9].mean() + 3) < 5 * se * np.sqrt(2)
    assert np.abs(np.corrcoef(X[:, :9].T) - np.eye(9)).max() < 5 * se


@given(kind=st.sampled_from(KINDS), n_obs=st.integers(1, 40), seed=st.integers(0, 2**40))
def test_same_seed_same_samples(kind, n_obs, seed):
    first, second = (sx.datasets.synthetic(kind, n_obs, seed=seed) for _ in range(2))
    assert first.shape == (n_obs, 10)
    assert np.array_equal(first.X, second.X)
    assert first.obs.equals(second.obs)
    likelier = np.where(first.obs["prob_1"] > 0.5, "1", "0")
    assert (first.obs["label"].to_numpy() == likelier).all()


def test_other_seed_other_samples():
    assert not np.array_equal(
        sx.datasets.synthetic("xor", 5, seed=0).X, sx.datasets.synthetic("xor", 5, seed=1).X
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"kind": "or"}, r"`kind` must be one of 'xor', 'orange_skin', .*; got 'or'"),
        ({"kind": "xor", "n_obs": 0}, r"`n_obs` must be an integer of at least 1; got 0"),
        ({"kind": "xor", "n_obs": 2.5}, r"`n_obs` must be an integer .*; got 2.5"),
        ({"kind": "xor", "n_obs": True}, r"`n_obs` must be an integer .*; got True"),
        ({"kind": "xor", "seed": -1}, r"`seed` must be an integer of at least 0; got -1"),
    ],
)
def test_wrong_arguments(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        sx.datasets.synthetic(**arguments)
