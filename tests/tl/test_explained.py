"""Asking an explained model again: what is read back, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pytest

import sensx_sc as sx
from sensx_sc.tl._explained import score_reader, stored_cells, stored_grid

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData


def test_all_is_read_back(explained_toy: AnnData, toy_net: Any) -> None:
    adata = explained_toy
    stored = stored_cells(adata, toy_net, key="sensx")
    found = stored.cells
    rows = stored.rows
    assert adata.obs["sensx_status"].iloc[rows].ne("skipped").all()
    np.testing.assert_array_equal(found.delta_star, adata.obs["sensx_delta_star"].iloc[rows])
    assert found.keys == tuple(adata.obs_names[rows])
    assert stored.groups.tolist() == adata.obs["sensx_target"].iloc[rows].tolist()
    q = [found.q(i) for i in range(len(found))]
    np.testing.assert_allclose(q, adata.obs["sensx_qoi"].iloc[rows], rtol=1e-5)
    domain = found.run.domain
    np.testing.assert_array_equal(domain.lower, adata.var["sensx_lower"])
    tested = ~np.isnan(adata.layers["sensx"][rows[0]])
    np.testing.assert_array_equal(domain.tested, tested)
    assert found.run.options.seed == 0


def test_masked_genes_stay_out(adata: AnnData, toy_net: Any) -> None:
    mask = np.arange(adata.n_vars) % 2 == 0
    sx.tl.sensx(adata, toy_net, mask_var=mask, n_walks=8, n_samples=100)
    stored = stored_cells(adata, toy_net, key="sensx")
    assert not stored.cells.run.domain.tested[~mask].any()


def test_values_in_obsm(adata: AnnData) -> None:
    def model(rows: np.ndarray) -> np.ndarray:
        return np.tanh(rows @ np.array([3.0, 1.0]))

    sx.tl.sensx(adata, model, obsm="X_pca", n_walks=8, n_samples=100)
    stored = stored_cells(adata, model, key="sensx")
    assert stored.where == "obsm"
    first = score_reader(adata, stored, "value")(0)
    np.testing.assert_array_equal(first, adata.obsm["sensx"][stored.rows[0]].astype(float))


def test_after_a_round_trip(explained_toy: AnnData, toy_net: Any, tmp_path: Path) -> None:
    explained_toy.write_h5ad(tmp_path / "a.h5ad")
    again = ad.read_h5ad(tmp_path / "a.h5ad")
    one, other = (stored_cells(a, toy_net, key="sensx") for a in (explained_toy, again))
    np.testing.assert_array_equal(one.cells.endpoints(3, 0.5, 4), other.cells.endpoints(3, 0.5, 4))
    assert one.cells.run.params == other.cells.run.params


def test_scores(explained_toy: AnnData, toy_net: Any) -> None:
    adata = explained_toy
    adata.layers["other"] = np.random.default_rng(0).random(adata.shape)
    stored = stored_cells(adata, toy_net, key="sensx")
    row = stored.rows[2]
    for name, layer in (("value", "sensx"), ("change", "sensx_change"), ("other", "other")):
        found = score_reader(adata, stored, name)(2)
        np.testing.assert_allclose(found, adata.layers[layer][row])


def test_the_automatic_grid_is_known_again() -> None:
    auto, _ = sx.core.delta_grid("auto")
    assert stored_grid(auto) == "auto"
    assert stored_grid(np.concatenate([[1e-6, 1e-5], auto])) == "auto"
    np.testing.assert_array_equal(np.asarray(stored_grid([0.1, 0.2])), [0.1, 0.2])


def other_net(outputs: str = "ABC") -> Any:
    genes = [f"gene_{j}" for j in range(20)]
    return sx.models.ExpressionMLP(genes, list(outputs), hidden=(4,), seed=9).eval()


CASES: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "no results": ({"key": "none"}, KeyError, "names no SensX results"),
    "nothing asked for": ({"mask_obs": np.zeros(60, bool)}, ValueError, "selects nothing"),
    "not attributed": ({"mask_obs": np.arange(60) >= 40}, ValueError, "none of the 20 cells"),
    "another model": ({"model": other_net()}, ValueError, "pass the model .* that was explained"),
    "another model's": (
        {"model": other_net("XYZ")},
        KeyError,
        "not of this model.* Pass",
    ),
    "unknown column": ({"mask_obs": "sure"}, KeyError, "not a column"),
}


@pytest.mark.parametrize("case", CASES)
def test_wrong_input(case: str, explained_toy: AnnData, toy_net: Any) -> None:
    how, error, match = CASES[case]
    arguments: dict[str, Any] = {"model": toy_net, "key": "sensx", **how}
    with pytest.raises(error, match=match):
        stored_cells(explained_toy, arguments.pop("model"), **arguments)


def test_bounds_that_are_gone(explained_toy: AnnData, toy_net: Any) -> None:
    del explained_toy.var["sensx_upper"]
    with pytest.raises(KeyError, match="sensx_upper.*is gone"):
        stored_cells(explained_toy, toy_net, key="sensx")


def test_a_function_of_your_own_must_be_passed_again(adata: AnnData, toy_net: Any) -> None:
    def margin(outputs: np.ndarray) -> np.ndarray:
        return outputs[:, 0] - outputs[:, 1]

    sx.tl.sensx(adata, toy_net, qoi=margin, n_walks=8, n_samples=100, tau=0.5)
    with pytest.raises(ValueError, match="of your own, 'margin'; pass the function"):
        stored_cells(adata, toy_net, key="sensx")
    stored = stored_cells(adata, toy_net, key="sensx", qoi=margin)
    np.testing.assert_allclose(
        stored.cells.q(0), adata.obs["sensx_qoi"].iloc[stored.rows[0]], rtol=1e-5
    )


def test_unknown_scores(explained_toy: AnnData, toy_net: Any) -> None:
    stored = stored_cells(explained_toy, toy_net, key="sensx")
    with pytest.raises(KeyError, match="'shapley' is neither a statistic.*statistics="):
        score_reader(explained_toy, stored, "shapley")
    with pytest.raises(KeyError, match="groupby='batch' is no column"):
        stored.groups_of(explained_toy, "batch")
