"""The gene programmes."""

from __future__ import annotations

import sensx_sc as sx


def test_table_is_tidy_and_some_programmes_share_genes() -> None:
    table = sx.datasets.pbmc_programmes()
    assert list(table.columns) == ["source", "target"]
    assert not table.duplicated().any()
    sizes = table.groupby("source").size()
    assert (len(sizes), sizes.min(), sizes.max()) == (17, 16, 86)
    assert table["target"].duplicated().any()


def test_every_programme_has_genes_in_the_data() -> None:
    table = sx.datasets.pbmc_programmes()
    there = table[table["target"].isin(sx.datasets.pbmc().var_names)].groupby("source").size()
    assert len(there) == 17
    assert there.min() >= 4
