"""Differential sensitivity: planted differences are found, shuffled labels give nothing."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import mannwhitneyu

import sensx_sc as sx
from sensx_sc.get import _stored

if TYPE_CHECKING:
    from collections.abc import Callable

    from anndata import AnnData

make_explained = runpy.run_path(str(Path(__file__).parents[1] / "pl" / "fabricated.py"))[
    "explained"
]
KEY = "sensx_cell_type"


@pytest.fixture
def explained() -> AnnData:
    return make_explained()


def test_planted_genes_come_first(explained: AnnData) -> None:
    sx.tl.rank_groups(explained, "cell_type", reference="rest")
    found = explained.uns[KEY]
    table = found["rankings"]
    for g, name in enumerate(table["group"].unique()):
        first = table[table["group"] == name].head(3)
        assert set(first["names"]) == {f"GENE{3 * g + j}" for j in range(3)}
        assert (first["pval_adj"] < 1e-10).all()
        assert (first["effect"] > 0.95).all()
        assert (first["log2_fold"] > 1).all()
        # what is planted in the other groups matters less here; nothing else differs
        others = table[(table["group"] == name) & (table["pval_adj"] < 1e-6)]
        planted = {f"GENE{j}" for j in range(9)} - set(first["names"])
        assert set(others["names"][others["effect"] < 0]) == planted
        assert (others["effect"] > 0).sum() == 3
    assert found["params"]["reference"] == "rest"
    assert found["params"]["compared"]


def test_columns_by_hand(explained: AnnData) -> None:
    sx.tl.rank_groups(explained, "cell_type", statistic="change", reference="B")
    table = explained.uns[KEY]["rankings"]
    assert set(table["group"]) == {"CD4", "NK"}
    there = explained.obs["sensx_status"].isin(["resolved", "left_censored", "unsaturated"])
    layer = pd.DataFrame(explained.layers["sensx_change"], index=explained.obs_names,
                         columns=explained.var_names)[there.to_numpy()]  # fmt: skip
    kind = explained.obs["cell_type"][there.to_numpy()]
    row = table.query("group == 'NK'").iloc[17]
    a, b = (layer.loc[(kind == name).to_numpy(), row["names"]] for name in ("NK", "B"))
    whole = mannwhitneyu(a, b)
    assert row["pval"] == pytest.approx(whole.pvalue, rel=1e-6)
    assert row["effect"] == pytest.approx(2 * whole.statistic / len(a) / len(b) - 1)
    assert row["mean_reference"] == pytest.approx(b.mean(), rel=1e-5)
    assert row["log2_fold"] == pytest.approx(np.log2(a.mean() / b.mean()), rel=1e-4)
    group = table.query("group == 'NK'")
    np.testing.assert_allclose(group["pval_adj"], sx.metrics.adjusted(group["pval"]))
    assert group["score"].is_monotonic_decreasing
    assert group["rank"].tolist() == list(range(1, 60))


def test_shuffled_labels_give_no_findings() -> None:
    """100 shuffles of 60 genes each: some finding in no more than alpha of them."""
    adata, some = make_explained(120, 60), 0
    rng = np.random.default_rng(0)
    for _ in range(100):
        adata.obs["shuffled"] = rng.permutation(np.resize(["a", "b"], 120))
        sx.tl.rank_groups(adata, "shuffled", reference="b")
        some += bool((adata.uns["sensx_shuffled"]["rankings"]["pval_adj"] <= 0.05).any())
    assert some <= 10  # 5 expected at most


def test_donors_are_the_units(explained: AnnData) -> None:
    """A donor effect fools the test of cells, and not that of donors."""
    rng = np.random.default_rng(1)
    donor = rng.integers(0, 10, 300)
    explained.obs["donor"] = donor.astype(str)
    explained.obs["condition"] = np.where(donor < 5, "a", "b")
    shift = rng.lognormal(0, 0.5, (10, 60))
    explained.layers["sensx"] = (explained.layers["sensx"] * shift[donor]).astype(np.float32)
    found = {}
    for replicates in (None, "donor"):
        sx.tl.rank_groups(explained, "condition", reference="b", replicates=replicates)
        table = explained.uns["sensx_condition"]["rankings"]
        found[replicates] = int((table["pval_adj"] <= 0.05).sum())
    assert found[None] > 10
    assert found["donor"] == 0
    assert explained.uns["sensx_condition"]["params"]["replicates"] == "donor"


def test_signed_statistics_have_no_fold(explained: AnnData) -> None:
    sx.tl.rank_groups(explained, "cell_type", statistic="mean", reference="rest")
    table = explained.uns[KEY]["rankings"]
    assert table["log2_fold"].isna().all()
    raised = table.query("names == 'GENE3' and group == 'NK'")
    assert raised["effect"].item() > 0.9


def test_blocks_and_dask_make_no_difference(
    explained: AnnData, monkeypatch: pytest.MonkeyPatch
) -> None:
    sx.tl.rank_groups(explained, "cell_type", reference="rest", key_added="whole")
    monkeypatch.setattr(_stored, "BLOCK_BYTES", 7 * 8 * explained.n_obs)
    da = pytest.importorskip("dask.array")
    explained.layers["sensx"] = da.from_array(explained.layers["sensx"], chunks=(100, -1))
    sx.tl.rank_groups(explained, "cell_type", reference="rest", key_added="blocks")
    pd.testing.assert_frame_equal(
        *(explained.uns[key]["rankings"] for key in ("whole", "blocks")), rtol=1e-12
    )


def test_scanpy_reads_the_tests(explained: AnnData, round_trip: Callable[..., None]) -> None:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sc = pytest.importorskip("scanpy")
    sx.tl.rank_groups(explained, "cell_type", reference="rest", n_genes=20)
    frame = sc.get.rank_genes_groups_df(explained, "NK", key=KEY, pval_cutoff=1e-10)
    assert set(frame["names"]) >= {"GENE3", "GENE4", "GENE5"}
    assert frame["logfoldchanges"].notna().all()
    round_trip(explained, KEY)


def test_rankings_of_it(explained: AnnData) -> None:
    sx.tl.rank_groups(explained, "cell_type", reference="rest")
    table = sx.get.rankings(explained, key=KEY, groups="B", n_genes=3)
    assert {"pval_adj", "effect"} <= set(table.columns)
    assert set(table["names"]) == {"GENE6", "GENE7", "GENE8"}


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "reference": ({"reference": "T cell"}, ValueError, "'T cell' is neither 'rest' nor a group"),
    "replicates alone": ({"replicates": "donor"}, ValueError, "needs a `reference`"),
    "replicates": (
        {"reference": "rest", "replicates": "patient"}, KeyError, "replicates='patient' is no",
    ),
    "float replicates": (
        {"reference": "rest", "replicates": "sensx_qoi"}, ValueError, "replicates=.*float64",
    ),
    "few replicates": (
        {"reference": "rest", "replicates": "donor"}, ValueError, "at least 2 attributed cells",
    ),
    "one group": ({"groupby": "donor", "reference": "rest"}, ValueError, "at least two groups"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input(case: str, explained: AnnData) -> None:
    how, error, match = WRONG[case]
    explained.obs["donor"] = "one"
    with pytest.raises(error, match=match):
        sx.tl.rank_groups(explained, **{"groupby": "cell_type", **how})
    assert list(explained.uns) == ["sensx"]
