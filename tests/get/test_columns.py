"""Where results are, and what their columns are called."""

from __future__ import annotations

import numpy as np
import pytest
from anndata import AnnData

import sensx_sc as sx
from sensx_sc.get._columns import check_statistic, columns_of
from sensx_sc.slots import GENES, GROUPS, WITHIN

W = np.arange(1.0, 7.0)


def explained(**how: object) -> AnnData:
    X = np.random.default_rng(0).random((4, 6)).astype(np.float32)
    X[0, :2] = 0
    adata = AnnData(X)
    adata.var_names = list("abcdef")
    sx.tl.sensx(adata, lambda z: z @ W, n_walks=20, n_samples=20, deltas=[1.0], lower=0, upper=1,
                group_norm="none", **how)  # type: ignore[arg-type] # fmt: skip
    return adata


def test_genes_sets_and_what_they_hold() -> None:
    flat = columns_of(explained(), "sensx")
    assert (flat.spot, list(flat.names)) == (GENES, list("abcdef"))
    sets = {"A": ["a", "b"], "B": ["b", "c", "d"]}
    adata = explained(groups=sets, within="genes")
    found = columns_of(adata, "sensx")
    assert (found.spot, list(found.names)) == (GROUPS, ["A", "B"])
    assert set(found.statistics(adata)) == {"value"}
    assert found.statistics(adata)["value"].shape == (4, 2)
    assert columns_of(adata, "sensx", within=True).spot == GENES
    assert found.presence(adata)(np.array([0, 1])).tolist() == [[False, True], [True, True]]
    fine = explained(groups=sets, within={"x": ["a", "b"], "y": ["c"], "z": ["d"]})
    inside = columns_of(fine, "sensx", within=True)
    assert (inside.spot, list(inside.names)) == (WITHIN, ["x", "y", "z"])
    assert inside.presence(fine)(np.array([0])).tolist() == [[False, True, True]]


def test_genes_that_are_gone_do_not_count_for_presence() -> None:
    adata = explained(groups={"A": ["a", "b"], "B": ["c"]})
    part = adata[:, list("abdef")].copy()
    found = columns_of(part, "sensx")
    assert found.presence(part)(np.array([1])).tolist() == [[True, False]]


def test_what_was_not_stored() -> None:
    adata = explained(groups={"A": ["a"], "B": ["b", "c"]})
    columns = columns_of(adata, "sensx")
    with pytest.raises(KeyError, match=r"needs the table of \.obsm 'sensx_groups_change'"):
        check_statistic(adata, columns, "change", argument="rank_by", allowed=("change",))
    with pytest.raises(KeyError, match="has nothing within groups"):
        columns_of(adata, "sensx", within=True)
    del adata.obsm["sensx_groups"]
    with pytest.raises(KeyError, match=r"adata\.obsm\['sensx_groups'\] is gone"):
        columns_of(adata, "sensx")
