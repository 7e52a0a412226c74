from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

import sensx_sc as sx

if TYPE_CHECKING:
    from collections.abc import Callable

    from anndata import AnnData

RESOLVED, INSENSITIVE, LEFT, UNSATURATED, FAILED, SKIPPED = (f"cell{i}" for i in range(6))


def first(table: pd.DataFrame, group: str = "NK") -> list[str]:
    return table.loc[table["group"] == group, "names"].tolist()


def test_groups_as_stored(explained: AnnData) -> None:
    table = sx.get.rankings(explained)
    pd.testing.assert_frame_equal(table, explained.uns["sensx"]["rankings"])
    assert table.columns.tolist() == [
        *("group", "names", "rank", "value", "value_se", "change", "mean", "presence", "n_cells")
    ]


@pytest.mark.parametrize(
    ("rank_by", "presence", "expected"),
    [
        (None, None, ["GENE3", "GENE5", "GENE4"]),
        ("value", None, ["GENE3", "GENE5", "GENE4"]),
        ("mean", None, ["GENE3", "GENE5", "GENE4"]),
        ("change", None, ["GENE4", "GENE3", "GENE5"]),
        (None, "present", ["GENE3", "GENE4"]),
        ("change", "present", ["GENE4", "GENE3"]),
        ("change", "absent", ["GENE5"]),
    ],
)
def test_planted_genes_come_first(
    explained: AnnData, rank_by: str | None, presence: str | None, expected: list[str]
) -> None:
    n = len(expected)
    table = sx.get.rankings(explained, rank_by=rank_by, presence=presence, n_genes=n)
    assert first(table) == expected
    assert table["rank"].tolist() == list(range(1, n + 1)) * 3
    if presence is not None:
        assert ((table["presence"] >= 0.5) == (presence == "present")).all()


def test_ranked_by_the_size_of_a_signed_mean(explained: AnnData) -> None:
    table = sx.get.rankings(explained, groups="B", rank_by="mean")
    assert (table["mean"] < 0).any()
    assert table["mean"].abs().is_monotonic_decreasing


def test_groups_come_in_the_order_asked(explained: AnnData) -> None:
    table = sx.get.rankings(explained, groups=["B", "CD4"], n_genes=1)
    assert table["group"].tolist() == ["B", "CD4"]


def test_cells(explained: AnnData) -> None:
    table = sx.get.rankings(explained, cells=[UNSATURATED, RESOLVED])
    assert table["cell"].drop_duplicates().tolist() == [UNSATURATED, RESOLVED]
    assert set(table.columns) == {
        *("cell", "names", "rank", "value", "mean", "std", "change", "shapley", "se", "n"),
        "presence",
    }
    one = table[table["cell"] == RESOLVED].set_index("names")
    assert len(one) == explained.n_vars - 1  # the last gene was not tested
    cell = explained[RESOLVED]
    for name in ("mean", "change", "se"):
        stored = pd.Series(cell.layers[f"sensx_{name}"][0], index=cell.var_names)
        np.testing.assert_array_equal(one[name], stored[one.index].astype(float))
    assert one["rank"].tolist() == list(range(1, len(one) + 1))
    assert one["value"].is_monotonic_decreasing
    assert one.loc[["GENE0", "GENE1", "GENE2"], "presence"].tolist() == [1, 1, 0]


def test_cells_ranked_anew(explained: AnnData) -> None:
    table = sx.get.rankings(explained, cells=RESOLVED, rank_by="change", presence="present")
    assert table["names"][0] == "GENE1"
    assert table["change"].is_monotonic_decreasing
    assert (table["presence"] == 1).all()


def test_cells_with_values_alone(make_explained: Callable[..., AnnData]) -> None:
    adata = make_explained(30, 10, statistics=(), sparse=False)
    del adata.layers["sensx_rank"]
    table = sx.get.rankings(adata, cells=RESOLVED)
    assert table.columns.tolist() == ["cell", "names", "rank", "value", "presence"]
    assert table["value"].is_monotonic_decreasing
    with pytest.raises(KeyError, match=r"statistics=\('value', 'change'\)"):
        sx.get.rankings(adata, cells=RESOLVED, rank_by="change")


def test_ties_go_by_gene(make_explained: Callable[..., AnnData]) -> None:
    adata = make_explained(30, 10)
    del adata.layers["sensx_rank"]
    adata.layers["sensx"][0, :9] = 1.0
    table = sx.get.rankings(adata, cells=RESOLVED)
    assert table["names"].tolist() == adata.var_names[:9].tolist()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"key": "nothing"}, KeyError, "run sx.tl.sensx.*'sensx'"),
        ({"groups": "Nk"}, KeyError, "no group is named 'Nk'.*'CD4', 'NK', 'B'"),
        ({"groups": []}, ValueError, "groups is empty"),
        ({"cells": "cell"}, KeyError, "no cell is named 'cell'; there are 300"),
        ({"groups": "NK", "cells": RESOLVED}, ValueError, "cannot be given together"),
        ({"cells": [RESOLVED, INSENSITIVE]}, ValueError, "1 of 2.*'cell1'.*'insensitive'"),
        ({"cells": FAILED}, ValueError, "'failed'"),
        ({"cells": SKIPPED}, ValueError, "'skipped'"),
        ({"rank_by": "std"}, ValueError, "rank_by='std'.*'value', 'change', 'mean'"),
        ({"presence": 0.5}, ValueError, "presence=0.5.*'present', 'absent'"),
        ({"n_genes": 0}, ValueError, "n_genes=0 must be a whole number of at least 1"),
        ({"n_genes": 2.5}, ValueError, "n_genes=2.5"),
        ({"n_genes": True}, ValueError, "n_genes=True"),
    ],
)
def test_bad_input(
    explained: AnnData, arguments: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        sx.get.rankings(explained, **arguments)


def test_results_that_are_gone(make_explained: Callable[..., AnnData]) -> None:
    with pytest.raises(TypeError, match="must be an AnnData, got dict"):
        sx.get.rankings({})
    adata = make_explained(30, 10)
    del adata.layers["sensx"]
    with pytest.raises(KeyError, match=r"adata\.layers\['sensx'\] is gone"):
        sx.get.rankings(adata, cells=RESOLVED)
    adata.uns["sensx"]["params"]["obsm"] = "X_pca"
    with pytest.raises(KeyError, match=r"explains adata\.obsm\['X_pca'\]"):
        sx.get.rankings(adata, cells=RESOLVED)
    del adata.obs["sensx_status"]
    with pytest.raises(KeyError, match=r"adata\.obs\['sensx_status'\] is gone"):
        sx.get.rankings(adata, cells=RESOLVED)
    del adata.uns["sensx"]["rankings"]
    with pytest.raises(ValueError, match="no cell has an attribution"):
        sx.get.rankings(adata)


def test_a_statistic_that_the_groups_do_not_have(make_explained: Callable[..., AnnData]) -> None:
    adata = make_explained(30, 10, statistics=())
    sx.tl.rank_groups(adata, "cell_type")
    with pytest.raises(KeyError, match="rank_by='change' was not stored"):
        sx.get.rankings(adata, key="sensx_cell_type", rank_by="change")


def test_rankings_of_cells_without_any_attribution(explained: AnnData) -> None:
    bare = explained.copy()
    bare.uns["sensx"] = {**bare.uns["sensx"], "rankings": bare.uns["sensx"]["rankings"].head(0)}
    with pytest.raises(ValueError, match="no rankings, since no cell has an attribution"):
        sx.get.rankings(bare, groups="NK")


def test_the_first_genes_of_those_that_are_left(explained: AnnData) -> None:
    whole = sx.get.rankings(explained, cells=RESOLVED)
    left = explained[:, explained.var_names.isin(whole["names"].iloc[5:])].copy()
    table = sx.get.rankings(left, cells=RESOLVED, n_genes=3)
    assert table["names"].tolist() == whole["names"].iloc[5:8].tolist()
    assert table["rank"].tolist() == [6, 7, 8]  # as stored: among all genes
