"""``pp.domain``: bounds of genes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import sparse

import sensx_sc as sx

if TYPE_CHECKING:
    from anndata import AnnData


@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_matrix, sparse.csc_array])
def test_default_bounds_are_the_smallest_and_largest_values(adata: AnnData, convert: Any) -> None:
    X = adata.X.toarray()
    adata.X = convert(X)
    sx.pp.domain(adata)
    np.testing.assert_array_equal(adata.var["sensx_lower"], X.min(axis=0))
    np.testing.assert_array_equal(adata.var["sensx_upper"], X.max(axis=0))


def test_many_rows_are_read_in_blocks(rng: np.random.Generator) -> None:
    X = rng.normal(size=(9000, 3))
    adata = sx.datasets.toy()[:, :3].copy()
    from anndata import AnnData as Table

    tall = Table(sparse.csr_matrix(X), var=adata.var)
    sx.pp.domain(tall)
    np.testing.assert_array_equal(tall.var["sensx_lower"], X.min(axis=0))
    np.testing.assert_array_equal(tall.var["sensx_upper"], X.max(axis=0))


def test_cells_layer_and_key(adata: AnnData) -> None:
    some = (adata.obs["cell_type"] == "A").to_numpy()
    sx.pp.domain(adata, layer="counts", mask_obs=some, key_added="counts")
    counts = adata.layers["counts"].toarray()[some]
    np.testing.assert_array_equal(adata.var["counts_upper"], counts.max(axis=0))


@pytest.mark.parametrize(
    "arguments",
    [{"upper": "log1p_cp10k"}, {"lower": "log1p_cp10k"}, {"lower": 0, "upper": "log1p_cp10k"}],
)
def test_what_normalised_counts_can_reach(adata: AnnData, arguments: dict[str, Any]) -> None:
    sx.pp.domain(adata, **arguments)
    assert (adata.var["sensx_lower"] == 0).all()
    np.testing.assert_allclose(adata.var["sensx_upper"], np.log1p(1e4))


def test_numbers_arrays_and_columns(adata: AnnData) -> None:
    adata.var["top"] = np.arange(20.0) + 1
    sx.pp.domain(adata, lower=-1, upper="top")
    assert (adata.var["sensx_lower"] == -1).all()
    np.testing.assert_array_equal(adata.var["sensx_upper"], adata.var["top"])
    sx.pp.domain(adata, lower=np.full(20, -2.0))
    assert (adata.var["sensx_lower"] == -2).all()


def test_constant_genes_are_named(adata: AnnData, caplog: pytest.LogCaptureFixture) -> None:
    X = adata.X.toarray()
    X[:, 7] = 1
    adata.X = X
    sx.pp.domain(adata)
    assert "1 genes have equal bounds" in caplog.text
    assert "gene_7" in caplog.text


def test_a_view_becomes_an_anndata_of_its_own(adata: AnnData) -> None:
    view = adata[:10]
    sx.pp.domain(view)
    assert not view.is_view
    assert "sensx_lower" in view.var
    assert "sensx_lower" not in adata.var


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        (
            {"lower": 3, "upper": 1},
            ValueError,
            "`lower` must not exceed `upper`.*20 features: gene_0",
        ),
        ({"lower": np.inf}, ValueError, "must be finite"),
        ({"upper": [1, 2, 3]}, ValueError, r"shape \(20,\)"),
        ({"upper": "best"}, KeyError, "'best' is neither"),
        ({"lower": {"a": 1}}, TypeError, "`lower` must be a number"),
        ({"lower": 1, "upper": 1}, ValueError, "no feature is left"),
        ({"layer": "nothing"}, KeyError, "there are: 'counts'"),
        ({"mask_obs": "nothing"}, KeyError, "the columns are"),
        ({"key_added": ""}, ValueError, "`key_added`"),
    ],
)
def test_wrong_input(
    adata: AnnData, arguments: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        sx.pp.domain(adata, **arguments)
    assert "sensx_lower" not in adata.var


def test_nan_in_the_data(adata: AnnData) -> None:
    X = adata.X.toarray()
    X[0, 0] = np.nan
    adata.X = X
    with pytest.raises(ValueError, match="NaN or infinite"):
        sx.pp.domain(adata)
