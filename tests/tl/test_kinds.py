"""Features that are no continuous numbers, and covariates that walk: what lands in AnnData."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import sensx_sc as sx

if TYPE_CHECKING:
    from pathlib import Path

SMALL: dict[str, Any] = {"n_walks": 40, "n_samples": 50, "deltas": [0.4, 1.0], "tau": 1e-6}
N = 6
W = np.array([1.0, -2.0, 0.5, 3.0, 1.5, 0.25])


@pytest.fixture
def counts() -> AnnData:
    """Raw counts of 20 cells, with covariates."""
    rng = np.random.default_rng(0)
    X = rng.poisson(2.0, (20, N)).astype(np.float32)
    obs = pd.DataFrame(index=[f"cell_{i}" for i in range(20)])
    obs["batch"] = pd.Categorical(list("abca") * 5)
    obs["stage"] = pd.Categorical(
        ["I", "II", "III", "I"] * 5, categories=["I", "II", "III"], ordered=True
    )
    obs["age"] = rng.uniform(20, 80, 20)
    obs["female"] = rng.random(20) < 0.5
    return AnnData(X, obs=obs, var=pd.DataFrame(index=[f"g{j}" for j in range(N)]))


def linear(z: np.ndarray) -> np.ndarray:
    return z[:, :N] @ W


# columns behind the genes: batch=a, batch=b, batch=c, stage, age, female=False, female=True
EFFECT = np.array([0.0, 2.0, 5.0])


def with_covariates(z: np.ndarray) -> np.ndarray:
    assert z.shape[1] == N + 7
    return linear(z) + z[:, 6:9] @ EFFECT + 4 * z[:, 9] + 0.1 * z[:, 10] + 3 * z[:, 12]


WALKING = ["batch", "stage", "age", "female"]


def test_declared_counts(counts: AnnData, caplog: Any) -> None:
    counts.var["sensx_kind"] = "count"
    with caplog.at_level(logging.INFO, logger="sensx_sc"):
        sx.tl.sensx(counts, linear, **SMALL)
    assert "6 count of 6 features, as declared" in caplog.text
    assert counts.uns["sensx"]["params"]["kinds"] == {"count": 6}
    np.testing.assert_allclose(counts.layers["sensx"], np.abs(W)[None].repeat(20, 0), rtol=1e-5)
    seen: list[np.ndarray] = []

    def watched(z: np.ndarray) -> np.ndarray:
        seen.append(z)
        return linear(z)

    sx.tl.sensx(counts, watched, **SMALL)
    rows = np.concatenate(seen)  # the model never sees anything but counts
    np.testing.assert_array_equal(rows, np.rint(rows))
    again = sx.tl.sensx(counts, linear, kinds="count", copy=True, **SMALL)
    assert again is not None
    np.testing.assert_array_equal(again.layers["sensx"], counts.layers["sensx"])
    with pytest.raises(ValueError, match="features that are no continuous numbers; this takes"):
        sx.tl.perturbation_curve(counts, linear)


def test_inferred_kinds_are_said(counts: AnnData, caplog: Any) -> None:
    counts.X[:, 0] = counts.X[:, 0] > 1
    counts.X[:, 1] += 0.5
    with caplog.at_level(logging.INFO, logger="sensx_sc"):
        sx.tl.sensx(counts, linear, kinds="infer", **SMALL)
    assert "4 count, 1 binary of 6 features, as their values look" in caplog.text
    assert counts.uns["sensx"]["params"]["kinds"] == {"count": 4, "binary": 1}
    plain = sx.tl.sensx(counts, linear, copy=True, **SMALL)
    assert plain is not None
    assert plain.uns["sensx"]["params"]["kinds"] is None


def test_levels_and_blocks_of_columns(counts: AnnData) -> None:
    counts.X[:, 0] = np.random.default_rng(1).choice([0, 1, 5], 20)
    hot = np.random.default_rng(2).integers(0, 3, 20)
    counts.X[:, 1:4] = np.eye(3)[hot]
    counts.var["sensx_kind"] = ["ordinal", None, None, None, "count", None]
    counts.var["sensx_levels"] = ["0, 1, 5", None, None, None, None, None]
    counts.var["sensx_block"] = [None, "kind", "kind", "kind", None, None]
    sx.tl.sensx(counts, linear, statistics=("value", "rank", "change"), **SMALL)
    found = counts.obsm["sensx_groups"]  # a block is a group
    assert found.columns.tolist() == ["g0", "kind", "g4", "g5"]
    np.testing.assert_allclose(found["g4"], 1.5, rtol=1e-5)
    others = np.array([np.abs(np.delete(W[1:4], k) - W[1 + k]) for k in hot])
    switched = found["kind"].to_numpy()
    assert ((switched >= others.min(axis=1)) & (switched <= others.max(axis=1))).all()
    assert counts.var["sensx_group"].tolist() == ["g0", "kind", "kind", "kind", "g4", "g5"]
    # The same from a table, and from a mapping with the columns of blocks in .var.
    table = counts.var[["sensx_kind", "sensx_levels", "sensx_block"]].iloc[::-1]
    bare = counts.copy()
    bare.var = bare.var[[]]
    sx.tl.sensx(bare, linear, kinds=table, **SMALL)
    pd.testing.assert_frame_equal(bare.obsm["sensx_groups"], found)


def test_covariates_walk_beside_genes(counts: AnnData, caplog: Any) -> None:
    how: dict[str, Any] = {"statistics": ("value", "rank", "change", "n"), **SMALL}
    with caplog.at_level(logging.INFO, logger="sensx_sc"):
        sx.tl.sensx(counts, with_covariates, covariates=WALKING, **how)
    assert "batch (categorical, 3 levels), stage (ordinal, 3 levels), age (continuous), " in (
        caplog.text
    )
    assert counts.layers["sensx"].shape == (20, N)
    np.testing.assert_allclose(counts.layers["sensx"], np.abs(W)[None].repeat(20, 0), rtol=1e-4)
    found = counts.obsm["sensx_covariates"]
    assert found.columns.tolist() == WALKING
    np.testing.assert_allclose(found["stage"], 8.0, rtol=1e-5)  # 4 a level, of two steps
    np.testing.assert_allclose(found["age"], 0.1, rtol=1e-4)
    np.testing.assert_allclose(found["female"], 3.0, rtol=1e-5)
    own = counts.obs["batch"].cat.codes.to_numpy()
    others = np.array([np.abs(np.delete(EFFECT, k) - EFFECT[k]) for k in own])
    batch = found["batch"].to_numpy()
    assert ((batch >= others.min(axis=1)) & (batch <= others.max(axis=1))).all()
    # Ranked among the genes, by name.
    ranks = np.hstack([counts.layers["sensx_rank"], counts.obsm["sensx_covariates_rank"]])
    assert np.array_equal(np.sort(ranks, axis=1), np.tile(np.arange(1, N + 5), (20, 1)))
    names = set(sx.get.rankings(counts)["names"])
    assert names == {*counts.var_names, *WALKING}
    assert counts.uns["sensx"]["params"]["covariates"] == WALKING
    assert counts.uns["sensx"]["params"]["n_groups"] is None
    assert "sensx_group" not in counts.var
    assert len(counts.var["sensx_lower"]) == N
    ds = sx.get.explanation(counts)
    assert ds["value_covariates"].dims == ("obs", "covariate")
    sx.tl.rank_groups(counts, "batch", statistic="change")
    assert set(counts.uns["sensx_batch"]["rankings"]["names"]) == set(counts.var_names)
    ax = sx.pl.heatmap(counts)
    assert {label.get_text() for label in ax.get_yticklabels()} <= set(counts.var_names)
    with pytest.raises(ValueError, match="this takes the values of single continuous ones"):
        sx.tl.landscape(counts, with_covariates)


def test_numbers_are_those_of_arrays(counts: AnnData) -> None:
    sx.tl.sensx(counts, with_covariates, covariates=WALKING, **SMALL)
    obs = counts.obs
    rows = np.hstack([
        counts.X, pd.get_dummies(obs["batch"]), obs[["stage"]].apply(lambda c: c.cat.codes),
        obs[["age"]], pd.get_dummies(obs["female"]),
    ]).astype(float)  # fmt: skip
    low, high = rows.min(axis=0), rows.max(axis=0)
    low[9], high[9] = 0, 2
    found = sx.core.explain(
        rows, with_covariates, lower=low, upper=high, kinds={9: "ordinal"},
        blocks={"batch": [6, 7, 8], "female": [11, 12]}, keys=list(counts.obs_names), **SMALL,
    )  # fmt: skip
    np.testing.assert_allclose(counts.layers["sensx"], found.value[:, :N], rtol=1e-5)
    np.testing.assert_allclose(counts.obsm["sensx_covariates"], found.value[:, N:], rtol=1e-5)


def test_order_blocks_and_stores_do_not_matter(counts: AnnData, tmp_path: Path) -> None:
    how: dict[str, Any] = {"covariates": WALKING, **SMALL}
    sx.tl.sensx(counts, with_covariates, **how)
    kept = counts.copy()
    store = tmp_path / "run.zarr"
    sx.tl.sensx(kept, with_covariates, store=store, chunk_size=7, **how)
    np.testing.assert_allclose(np.asarray(kept.layers["sensx"]), counts.layers["sensx"])
    np.testing.assert_allclose(
        np.asarray(kept.obsm["sensx_covariates"]), counts.obsm["sensx_covariates"]
    )
    again = counts.copy()
    sx.tl.sensx(again, with_covariates, store=store, **how)  # nothing is left to do
    np.testing.assert_allclose(np.asarray(again.layers["sensx"]), counts.layers["sensx"])
    with pytest.raises(ValueError, match="holds another run"):
        sx.tl.sensx(again, with_covariates, store=store, covariates=WALKING, kinds="count",
                    **SMALL)  # fmt: skip
    shuffled = counts[::-1].copy()
    sx.tl.sensx(shuffled, with_covariates, **how)
    pd.testing.assert_frame_equal(
        shuffled.obsm["sensx_covariates"].loc[counts.obs_names], counts.obsm["sensx_covariates"]
    )
    mask = np.arange(20) % 3 == 0
    some = counts.copy()
    sx.tl.sensx(some, with_covariates, mask_obs=mask, **how)
    np.testing.assert_allclose(
        some.obsm["sensx_covariates"][mask], counts.obsm["sensx_covariates"][mask], rtol=1e-6
    )
    assert np.isnan(some.obsm["sensx_covariates"][~mask].to_numpy()).all()


def test_covariates_among_sets(counts: AnnData) -> None:
    sets = {"A": ["g0", "g1"], "B": ["g1", "g2"]}
    sx.tl.sensx(counts, with_covariates, groups=sets, covariates=WALKING, ungrouped="together",
                group_norm="none", statistics=("value", "shapley"), **SMALL)  # fmt: skip
    found = counts.obsm["sensx_groups"]
    assert found.columns.tolist() == ["A", "B", "ungrouped", *WALKING]
    assert "sensx_covariates" not in counts.obsm


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_files(counts: AnnData, tmp_path: Path, suffix: str) -> None:
    import warnings

    import anndata

    sx.tl.sensx(counts, with_covariates, covariates={"batch": None, "stage": "ordinal",
                "age": None, "female": "categorical"}, **SMALL)  # fmt: skip
    path = tmp_path / f"explained.{suffix}"
    with anndata.settings.override(zarr_write_format=2), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Writing zarr v2 data", UserWarning)
        getattr(counts, f"write_{suffix}")(path)
    back = getattr(anndata, f"read_{suffix}")(path)
    pd.testing.assert_frame_equal(back.obsm["sensx_covariates"], counts.obsm["sensx_covariates"])
    assert sx.get.explanation(back)["covariate"].values.tolist() == WALKING


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "kind": ({"kinds": "real"}, KeyError, "`kinds` 'real' is neither 'infer', one of"),
    "kinds": ({"kinds": ["real"] * 6}, ValueError, "`kinds` must be among .*; got 'real'"),
    "short": ({"kinds": ["count"]}, ValueError, "a kind for each of the 6 features"),
    "gene": ({"kinds": {"x": "count"}}, KeyError, "`kinds` names 'x', which is no feature"),
    "value": ({"kinds": {"g0": "binary"}}, ValueError, "for feature 'g0', whose levels are 0, "),
    "column": ({"covariates": "site"}, KeyError, "`covariates` 'site' is not a column of adata"),
    "none": ({"covariates": []}, ValueError, "`covariates` must name at least one column"),
    "bad kind": ({"covariates": {"age": "real"}}, ValueError, "'age': the kind must be one of"),
    "binary": ({"covariates": {"age": "binary"}}, ValueError, "is to be binary, and has 20 diff"),
    "numbers": ({"covariates": {"batch": "count"}}, TypeError, "is to be count, and .* no numbers"),
    "single": ({"covariates": "one"}, ValueError, "has a single category, 'x': nothing to walk"),
    "gaps": ({"covariates": "gaps"}, ValueError, "20 cells have no value in adata.obs\\['gaps'\\]"),
    "name": ({"covariates": "g0"}, ValueError, "`covariates` 'g0' is also the name of a feature"),
    "keep": ({"covariates": "age", "keep": "top:3"}, ValueError, "keeps the first genes of each"),
    "within": (
        {"covariates": "age", "groups": {"a": ["g0"]}, "within": "genes"},
        ValueError,
        "`within` and `covariates` cannot be combined",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "error", "words"), WRONG.values(), ids=WRONG.keys())
def test_wrong_input(
    counts: AnnData, arguments: dict[str, Any], error: type[Exception], words: str
) -> None:
    counts.obs["one"], counts.obs["gaps"], counts.obs["g0"] = "x", np.nan, np.arange(20.0)
    with pytest.raises(error, match=words):
        sx.tl.sensx(counts, linear, **arguments, **SMALL)
    layers = set(counts.layers) - {None}  # anndata 0.13 has X among them, as None
    assert not set(counts.obsm) | layers | set(counts.uns)


def test_columns_that_are_no_declaration(counts: AnnData) -> None:
    counts.var["sensx_kind"] = "ordinal"
    counts.var["sensx_levels"] = ["0; 1"] * N
    with pytest.raises(ValueError, match="levels must be text such as '0, 1, 5', or how many"):
        sx.tl.sensx(counts, linear, **SMALL)
