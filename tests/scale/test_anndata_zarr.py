"""An AnnData in a zarr store takes results, and can be read at any moment."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import zarr

from sensx_sc.scale import anndata_zarr
from sensx_sc.scale.anndata_zarr import check_names, is_anndata, is_zarr, make, publish, taken

if TYPE_CHECKING:
    from types import SimpleNamespace

    from anndata import AnnData

CELLS = pd.Index([f"cell_{i}" for i in range(60)])
SLOTS: dict[str, dict[str, Any]] = {
    "obs": {"x_status": pd.Categorical(["a", "b", "a"] * 20), "x_qoi": np.arange(60.0)},
    "var": {"x_lower": np.zeros(20)},
    "obsm": {"x_envelope": np.random.default_rng(0).random((60, 3, 2))},
    "uns": {"x": {"params": {"none": None, "words": ["a", "b"], "n": 3},
                  "table": pd.DataFrame({"names": ["g1", "g2"], "rank": [1, 2]})}},
}  # fmt: skip


@pytest.fixture(params=[2, 3], ids=["zarr v2", "zarr v3"])
def store(
    request: pytest.FixtureRequest, adata: AnnData, runs: SimpleNamespace, tmp_path: Path
) -> Path:
    path = tmp_path / "a.zarr"
    runs.write_zarr(adata, path, request.param)
    return path


FEW: dict[str, dict[str, Any]] = {
    "obs": {"x_qoi": np.arange(60.0)}, "var": {"x_lower": np.zeros(20)}, "uns": {"x": {"n": 3}}
}  # fmt: skip


def aside(path: Path) -> Path:
    folder = path / "layers" / "counts" / ".aside"
    folder.mkdir(exist_ok=True)
    return folder


def test_a_new_store_has_names_and_nothing_else(runs: SimpleNamespace, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "run.zarr"
    for _ in range(2):  # the second finds it there
        make(path, CELLS, pd.Index(["g1", "g2"]))
        found = runs.read_zarr(path)
        assert list(found.obs_names) == list(CELLS)
        assert list(found.var_names) == ["g1", "g2"]
        assert found.X is None
        assert [p.name for p in path.parent.iterdir()] == ["run.zarr"]
    assert is_anndata(path)


def test_what_a_killed_process_left_beside_it_goes(tmp_path: Path) -> None:
    left = tmp_path / ".run.zarr.gone-machine.partial"
    left.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(anndata_zarr, "is_abandoned", lambda path: path == left)
        make(tmp_path / "run.zarr", CELLS, pd.Index(["g1"]))
    assert [p.name for p in tmp_path.iterdir()] == ["run.zarr"]


def test_what_is_an_anndata(store: Path, tmp_path: Path) -> None:
    assert is_anndata(store)
    assert is_zarr(store / "obs")
    assert not is_anndata(store / "obs")
    assert not is_anndata(store / "layers")
    assert not is_anndata(tmp_path / "nothing")
    zarr.create_array(tmp_path / "array.zarr", shape=(2,), dtype="f4")
    assert not is_anndata(tmp_path / "array.zarr")


@pytest.mark.parametrize("when", ["consolidated", "not consolidated"])
def test_results_are_added_and_the_rest_is_as_it_was(
    when: str, store: Path, adata: AnnData, runs: SimpleNamespace
) -> None:
    if when != "consolidated":
        anndata_zarr.unconsolidate(store)
    for _ in range(2):  # the second time in the place of the first
        publish(store, SLOTS, aside(store))
        found, lazy = runs.read_zarr(store), runs.read_lazy(store)
        assert list(found.obs.columns) == [*adata.obs.columns, "x_status", "x_qoi"]
        assert list(found.var.columns) == [*adata.var.columns, "x_lower"]
        assert found.obs["x_status"].cat.categories.tolist() == ["a", "b"]
        np.testing.assert_array_equal(lazy.obs["x_qoi"], np.arange(60.0))
        np.testing.assert_array_equal(found.obsm["x_envelope"], SLOTS["obsm"]["x_envelope"])
        assert found.uns["x"]["params"]["none"] is None
        assert list(found.uns["x"]["table"]["names"]) == ["g1", "g2"]
        assert (found.X != adata.X).nnz == 0
        np.testing.assert_array_equal(found.obsm["X_pca"], adata.obsm["X_pca"])
        assert zarr.open_group(store, mode="r").metadata.consolidated_metadata is not None
        assert not list(aside(store).iterdir())


@pytest.mark.parametrize(("zarr_format", "again"), [(2, False), (3, True)], ids=["v2", "v3 again"])
def test_it_can_be_read_whenever_it_is_left(
    zarr_format: int, again: bool, adata: AnnData, runs: SimpleNamespace, tmp_path: Path
) -> None:
    """Stopped before each change of a file or folder that readers see."""
    store = tmp_path / "a.zarr"
    runs.write_zarr(adata, store, zarr_format)
    if again:
        publish(store, FEW, aside(store))
    steps = 0
    while True:
        path = tmp_path / "copy.zarr"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(store, path)
        left = stopped_at(steps, path)
        found = runs.read_zarr(path)
        assert {"cell_type", "some"} <= set(found.obs.columns)
        if not left:
            break
        steps += 1
    assert steps >= 10
    assert list(found.obs.columns)[-1] == "x_qoi"


def stopped_at(n: int, path: Path) -> bool:
    """Publish, and stop before the n-th change of what readers see; whether it came to that."""
    done = 0

    def counted(function: Any) -> Any:
        def changed(*arguments: Any, **named: Any) -> Any:
            nonlocal done
            if threading.current_thread() is threading.main_thread():  # not those of zarr itself
                if done == n:
                    raise KeyboardInterrupt
                done += 1
            return function(*arguments, **named)

        return changed

    with pytest.MonkeyPatch.context() as patch:
        for name in ("rename", "unlink"):
            patch.setattr(Path, name, counted(getattr(Path, name)))
        for name in ("write_whole", "_list_columns", "consolidate"):
            patch.setattr(anndata_zarr, name, counted(getattr(anndata_zarr, name)))
        try:
            publish(path, FEW, aside(path))
        except KeyboardInterrupt:
            return True
    return False


def test_other_names_are_said(store: Path, adata: AnnData) -> None:
    check_names(store, "obs", adata.obs_names)
    check_names(store, "var", adata.var_names)
    with pytest.raises(ValueError, match="is an AnnData of 60 cells, and adata has 59.*mask_obs"):
        check_names(store, "obs", adata.obs_names[1:])
    names = adata.var_names.to_list()
    names[3], names[4] = names[4], names[3]
    with pytest.raises(
        ValueError, match="other genes: number 3 is 'gene_3', in adata it is 'gene_4'"
    ):
        check_names(store, "var", pd.Index(names))


def test_what_is_taken_is_said(store: Path) -> None:
    assert taken(store, {"obs": ["x"], "layers": ["x"], "uns": ["x"]}) is None
    assert taken(store, {"obs": ["x"], "layers": ["x", "counts"]}) == "layers['counts']"
    assert taken(store, {"obs": ["cell_type"]}) == "obs['cell_type']"
    assert taken(store, {"uns": ["log1p"]}) == "uns['log1p']"
