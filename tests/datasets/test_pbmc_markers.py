"""The marker table."""

from __future__ import annotations

import sensx_sc as sx


def test_table_is_tidy_and_fits_the_labels():
    markers = sx.datasets.pbmc_markers()
    assert list(markers.columns) == ["cell_type", "gene", "source"]
    assert not markers.duplicated(["cell_type", "gene"]).any()
    assert (markers != "").all(axis=None)
    labels = sx.datasets.pbmc().obs["cell_type"].cat.categories
    assert set(markers["cell_type"]) == set(labels)


def test_every_type_has_markers_in_the_data():
    markers, genes = sx.datasets.pbmc_markers(), sx.datasets.pbmc().var_names
    present = markers[markers["gene"].isin(genes)].groupby("cell_type").size()
    assert present.min() >= 6
    assert present.sum() == 134


def test_sources_are_the_documented_ones():
    sources = set(sx.datasets.pbmc_markers()["source"].str.split(":").str[0])
    assert sources == {
        "Azimuth human PBMC, celltype.l2",
        "Azimuth human PBMC, celltype.l1",
        "Azimuth human bone marrow, celltype.l2",
        "Single-cell best practices",
        "Textbook",
    }


def test_markers_are_higher_in_their_type_than_elsewhere():
    """A table attached to the wrong labels would fail."""
    adata, markers = sx.datasets.pbmc(), sx.datasets.pbmc_markers()
    for cell_type, table in markers.groupby("cell_type"):
        of_type = (adata.obs["cell_type"] == cell_type).to_numpy()
        X = adata[:, adata.var_names.isin(table["gene"])].X.toarray()
        assert X[of_type].mean() > X[~of_type].mean(), cell_type
