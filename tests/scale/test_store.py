"""A run with a store ends as one without, whatever happens on the way."""

from __future__ import annotations

import errno
import json
from typing import TYPE_CHECKING, Any

import anndata as ad
import dask.array as da
import numpy as np
import pytest
import zarr

import sensx_sc as sx
from sensx_sc.scale import journal as journal_module

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import SimpleNamespace

    from anndata import AnnData

JOURNAL = "layers/sensx/.sensx"


@pytest.fixture
def how(runs: SimpleNamespace, tmp_path: Path) -> dict[str, Any]:
    """Arguments of a run in a store of nine blocks."""
    return runs.HOW | {"mask_obs": "some", "store": tmp_path / "run.zarr", "chunk_size": 7,
                       "copy": True}  # fmt: skip


@pytest.mark.parametrize("chunk_size", [1, 7, 64, "auto"])
def test_results_in_a_store_are_those_in_memory(
    chunk_size: int | str, adata: AnnData, expected: AnnData, how: dict[str, Any],
    runs: SimpleNamespace,
) -> None:  # fmt: skip
    found = sx.tl.sensx(adata, runs.model, **(how | {"chunk_size": chunk_size}))
    assert isinstance(found.layers["sensx"], da.Array)
    runs.same(found, expected)
    value = zarr.open_array(how["store"] / "layers/sensx", mode="r")
    assert value.dtype == np.float32
    assert value.chunks == (60 if chunk_size in (64, "auto") else chunk_size, 20)
    assert zarr.open_array(how["store"] / "layers/sensx_rank", mode="r").dtype == np.int32


def test_what_is_stored_is_not_explained_again(
    adata: AnnData, expected: AnnData, how: dict[str, Any], runs: SimpleNamespace
) -> None:
    calls: list[int] = []

    def counting(rows: np.ndarray) -> np.ndarray:
        calls.append(len(rows))
        return runs.model(rows)

    runs.same(sx.tl.sensx(adata, counting, **how), expected)
    first = sum(calls)
    calls.clear()
    runs.same(sx.tl.sensx(adata, counting, **how), expected)
    assert sum(calls) < first / 5


def test_a_lazy_layer_can_be_written(
    adata: AnnData, expected: AnnData, how: dict[str, Any], runs: SimpleNamespace, tmp_path: Path
) -> None:
    sx.tl.sensx(adata, runs.model, **(how | {"copy": False}))
    adata.write_h5ad(tmp_path / "a.h5ad")
    back = ad.read_h5ad(tmp_path / "a.h5ad")
    np.testing.assert_array_equal(back.layers["sensx"], expected.layers["sensx"])


# ------------------------------------------------------------- stores that are an AnnData


@pytest.mark.parametrize("keep", ["all", "top:5"])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_results_go_into_the_store_that_is_explained(
    zarr_format: int, keep: str, adata: AnnData, in_memory: dict[str, AnnData],
    runs: SimpleNamespace, tmp_path: Path,
) -> None:  # fmt: skip
    path = tmp_path / "atlas.zarr"
    runs.write_zarr(adata, path, zarr_format)
    there = runs.read_lazy(path)
    how = runs.HOW | {"mask_obs": "some", "store": path, "chunk_size": 7, "keep": keep}
    sx.tl.sensx(there, runs.model, **how)
    for name in runs.LAYERS:
        assert isinstance(there.layers[name], da.Array)
    for found in (runs.read_zarr(path), runs.read_lazy(path).to_memory()):
        runs.same(found, in_memory[keep])
        assert (found.X != adata.X).nnz == 0
        assert (found.layers["counts"] != adata.layers["counts"]).nnz == 0
        assert list(found.obs["cell_type"]) == list(adata.obs["cell_type"])
        np.testing.assert_array_equal(found.var["sensx_upper"], in_memory[keep].var["sensx_upper"])
    root = zarr.open_group(path, mode="r")
    assert root.metadata.zarr_format == zarr_format
    assert root.metadata.consolidated_metadata is not None
    assert root["layers/sensx_rank"].metadata.zarr_format == zarr_format


def test_models_live_side_by_side_in_a_store(
    adata: AnnData, expected: AnnData, runs: SimpleNamespace, tmp_path: Path
) -> None:
    path = tmp_path / "atlas.zarr"
    runs.write_zarr(adata, path, 2)
    how = runs.HOW | {"mask_obs": "some", "store": path, "chunk_size": 30}
    sx.tl.sensx(adata, runs.model, **how)
    sx.tl.sensx(adata, lambda rows: -runs.model(rows), key_added="other", **how)
    sx.tl.sensx(adata, runs.model, **how)
    found = runs.read_zarr(path)
    runs.same(found, expected)
    assert {"sensx", "other"} <= set(found.layers) & set(found.uns)
    np.testing.assert_array_equal(found.layers["other"], found.layers["sensx"])


def test_a_new_store_is_an_anndata_of_its_own(
    adata: AnnData, expected: AnnData, how: dict[str, Any], runs: SimpleNamespace
) -> None:
    sx.tl.sensx(adata, runs.model, **how)
    found = runs.read_zarr(how["store"])
    runs.same(found, expected)
    assert found.X is None
    assert list(found.obs_names) == list(adata.obs_names)
    assert list(found.var_names) == list(adata.var_names)
    assert list(sx.get.rankings(found, n_genes=3)["names"]) == list(
        sx.get.rankings(expected, n_genes=3)["names"]
    )
    sx.pl.rankings(found)
    sx.pl.delta_star(found)
    with pytest.raises(KeyError, match="take the AnnData that was explained"):
        sx.get.rankings(found, cells="cell_0")


def test_obsm_goes_to_obsm(adata: AnnData, runs: SimpleNamespace, tmp_path: Path) -> None:
    adata.obsm["X_few"] = adata.X.toarray()[:, :6]
    weights = runs.WEIGHTS[:6]
    how = runs.HOW | {"obsm": "X_few", "copy": True}
    expected = sx.tl.sensx(adata, lambda rows: np.tanh(rows @ weights), **how)
    path = tmp_path / "run.zarr"
    for _ in range(2):
        found = sx.tl.sensx(
            adata, lambda rows: np.tanh(rows @ weights), store=path, chunk_size=7, **how
        )
        stored = runs.read_zarr(path)
        for name in runs.LAYERS:
            np.testing.assert_array_equal(np.asarray(found.obsm[name]), expected.obsm[name])
            np.testing.assert_array_equal(stored.obsm[name], expected.obsm[name])
        np.testing.assert_array_equal(stored.uns["sensx"]["lower"], expected.uns["sensx"]["lower"])
        assert not stored.layers


def other_names(adata: AnnData) -> AnnData:
    adata.obs_names = ["x", *adata.obs_names[1:]]
    return adata


REFUSED: dict[str, tuple[Callable[[AnnData], AnnData], str]] = {
    "other cells": (other_names, "AnnData of other cells: number 0 is 'cell_0', in adata it is"),
    "fewer cells": (lambda a: a[:30].copy(), "AnnData of 60 cells, and adata has 30"),
    "fewer genes": (lambda a: a[:, :9].copy(), "AnnData of 20 genes, and adata has 9"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_store_of_another_anndata_is_refused(
    what: str, adata: AnnData, runs: SimpleNamespace, tmp_path: Path
) -> None:
    change, sentence = REFUSED[what]
    runs.write_zarr(adata, tmp_path / "atlas.zarr", 3)
    changed = change(adata)
    n = changed.n_vars
    with pytest.raises(ValueError, match=sentence):
        sx.tl.sensx(changed, lambda rows: rows @ runs.WEIGHTS[:n], store=tmp_path / "atlas.zarr",
                    **runs.HOW)  # fmt: skip
    assert "sensx" not in runs.read_zarr(tmp_path / "atlas.zarr").layers


def test_results_that_no_store_has_written_are_not_overwritten(
    expected: AnnData, how: dict[str, Any], runs: SimpleNamespace
) -> None:
    runs.write_zarr(expected, how["store"], 3)
    with pytest.raises(ValueError, match=r"has obs\['sensx_delta_star'\], which no run with a st"):
        sx.tl.sensx(expected, runs.model, **how)
    sx.tl.sensx(expected, runs.model, key_added="second", **how)


# ------------------------------------------------------------- other runs, other folders

CHANGES: dict[str, tuple[Callable[[AnnData, Any], Any], dict[str, Any], str]] = {
    "tau": (lambda a, m: m, {"tau": 0.2}, "tau was 0.1, is 0.2"),
    "seed": (lambda a, m: m, {"seed": 5}, "seed was 0, is 5"),
    "walks": (lambda a, m: m, {"n_walks": 16}, "n_walks was 8, is 16"),
    "deltas": (lambda a, m: m, {"deltas": [0.05, 0.4, 1.0]}, "0.3, 1], are [0.05, 0.4, 1]"),
    "target": (lambda a, m: m, {"target": "2"},
               "the target of 21 cells was another, the first 'cell_0': '1', now '2'"),
    "cells": (lambda a, m: m, {"mask_obs": None},
              "39 cells were not to be explained before, the first 'cell_2'"),
    "domain": (lambda a, m: m, {"upper": [11, *[10] * 19]},
               "the domain of 1 features was another, the first 'gene_0': 0 to 10, now 0 to 11"),
    "mask": (lambda a, m: m, {"mask_var": [False, *[True] * 19]},
             "1 features are not tested now, the first 'gene_0'"),
    "statistics": (lambda a, m: m, {"statistics": ("value",)}, "statistics was ('value', 'rank'"),
    "keep": (lambda a, m: m, {"keep": "top:3"}, "keep was 'all', is 'top:3'"),
    "model": (lambda a, m: lambda rows: 1.1 * m(rows), {},
              "the model gives other outputs at "),
    "data": (lambda a, m: a.X.data.__imul__(0.99) is None or m, {},
             "the values of 2 of the cells 'cell_0' to 'cell_1' were others, the first 'cell_0'"),
}  # fmt: skip


def test_another_run_is_refused_and_said_to_be_other(
    adata: AnnData, how: dict[str, Any], runs: SimpleNamespace
) -> None:
    how |= {"chunk_size": 4, "lower": 0, "upper": 10}
    sx.tl.sensx(adata, runs.model, **how)
    for make, other, sentence in CHANGES.values():
        changed = runs.toy()
        model = make(changed, runs.model)
        with pytest.raises(ValueError, match="holds another run") as caught:
            sx.tl.sensx(changed, model, **(how | other))
        assert sentence in str(caught.value)
        assert "sensx" not in changed.uns


def test_another_quantity_of_the_same_model_is_another_run(
    adata: AnnData, how: dict[str, Any], runs: SimpleNamespace
) -> None:
    how.pop("target")
    sx.tl.sensx(adata, runs.model, qoi=lambda outputs: outputs[:, 0], **how)
    with pytest.raises(ValueError, match="the model gives other outputs"):
        sx.tl.sensx(adata, runs.model, qoi=lambda outputs: 100 * outputs[:, 1] ** 2, **how)


def test_a_folder_with_other_things_is_left_alone(
    adata: AnnData, how: dict[str, Any], runs: SimpleNamespace, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    for store in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(ValueError, match="exists and holds something else"):
            sx.tl.sensx(adata, runs.model, **(how | {"store": store}))
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("inside", ["other.zarr", "layers", "layers/deep/other.zarr"])
def test_a_store_inside_a_store_is_refused(
    inside: str, adata: AnnData, runs: SimpleNamespace, tmp_path: Path
) -> None:
    runs.write_zarr(adata, tmp_path / "a.zarr", 2)
    with pytest.raises(ValueError, match=r"lies inside the zarr store '.*a\.zarr"):
        sx.tl.sensx(adata, runs.model, store=tmp_path / "a.zarr" / inside, **runs.HOW)
    assert not (tmp_path / "a.zarr/layers/deep").exists()


@pytest.mark.parametrize("path", [5, "", False, b"x"])
def test_a_store_is_a_path(path: Any, adata: AnnData, runs: SimpleNamespace) -> None:
    with pytest.raises(TypeError, match="`store` must be the path of a folder"):
        sx.tl.sensx(adata, runs.model, store=path, **runs.HOW)


def test_a_store_is_no_address(adata: AnnData, runs: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match="must be a folder that this machine can write; got 's3:"):
        sx.tl.sensx(adata, runs.model, store="s3://bucket/run.zarr", **runs.HOW)


def test_a_store_of_another_version_is_refused(
    adata: AnnData, how: dict[str, Any], runs: SimpleNamespace
) -> None:
    sx.tl.sensx(adata, runs.model, **how)
    manifest = how["store"] / JOURNAL / "manifest.json"
    told = json.loads(manifest.read_text(encoding="utf-8")) | {"format": 99}
    manifest.write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(ValueError, match="written by another version"):
        sx.tl.sensx(adata, runs.model, **how)


def test_a_relative_path_means_the_same_folder_from_everywhere(
    adata: AnnData, expected: AnnData, how: dict[str, Any], runs: SimpleNamespace,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    found = sx.tl.sensx(adata, runs.model, **(how | {"store": "run.zarr"}))
    monkeypatch.chdir("/")
    runs.same(found, expected)


@pytest.mark.parametrize("keep", ["all", "top:5"])
def test_a_store_that_is_gone_is_no_result(
    keep: str, adata: AnnData, how: dict[str, Any], runs: SimpleNamespace, tmp_path: Path
) -> None:
    found = sx.tl.sensx(adata, runs.model, keep=keep, **how)
    how["store"].rename(tmp_path / "moved.zarr")
    with pytest.raises(FileNotFoundError, match="is not there any more"):
        runs.dense(found.layers["sensx"])
    moved = how | {"store": tmp_path / "moved.zarr", "keep": keep}
    runs.dense(sx.tl.sensx(adata, runs.model, **moved).layers["sensx"])


# ------------------------------------------------------------- damage and failures


@pytest.mark.parametrize("keep", ["all", "top:5"])
def test_what_is_damaged_is_explained_again(
    keep: str, adata: AnnData, in_memory: dict[str, AnnData], how: dict[str, Any],
    runs: SimpleNamespace, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    how |= {"keep": keep, "chunk_size": 20}
    folder = how["store"] / "layers/sensx" / ("c" if keep == "all" else "data/c")
    sx.tl.sensx(adata, runs.model, **how)
    for what in ("record", "truncated record", "chunk", "truncated chunk", "no chunk"):
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        record = sorted((how["store"] / JOURNAL / "blocks").iterdir())[1]
        damage(record if "record" in what else files[-1], what)
        caplog.clear()
        runs.same(sx.tl.sensx(adata, runs.model, **how), in_memory[keep])
        # Sparse layers are made anew from the records: damage to them needs no work.
        again = keep == "all" or "record" in what
        assert ("is damaged; they are explained again" in caplog.text) == again
    runs.same(runs.read_zarr(how["store"]), in_memory[keep])


def damage(file: Path, what: str) -> None:
    content = bytearray(file.read_bytes())
    if what.startswith("no"):
        file.unlink()
    elif what.startswith("truncated"):
        file.write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 2] ^= 255
        file.write_bytes(bytes(content))


def test_two_runs_at_once_do_not_harm_each_other(
    adata: AnnData, expected: AnnData, how: dict[str, Any], runs: SimpleNamespace
) -> None:
    """One goes on while another has begun and finished some of the blocks."""
    met: list[bool] = []

    def interrupted(rows: np.ndarray) -> np.ndarray:
        if len(rows) > 20 and not met and (how["store"] / JOURNAL / "blocks/00000002").exists():
            met.append(True)
            runs.same(sx.tl.sensx(adata, runs.model, **how), expected)
        return runs.model(rows)

    runs.same(sx.tl.sensx(adata, interrupted, **how), expected)
    assert met
    runs.same(runs.read_zarr(how["store"]), expected)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_full_or_read_only_disk_leaves_what_was_done(
    code: int, adata: AnnData, expected: AnnData, how: dict[str, Any], runs: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    whole, written = journal_module.write_whole, []

    def failing(path: Path, content: bytes) -> None:
        written.append(path)
        if path.parent.name == "blocks" and len(written) > 5:
            raise OSError(code, "no")
        whole(path, content)

    monkeypatch.setattr(journal_module, "write_whole", failing)
    with pytest.raises(OSError, match="no"):
        sx.tl.sensx(adata, runs.model, **(how | {"copy": False}))
    assert "sensx" not in adata.uns
    monkeypatch.undo()
    assert len(list((how["store"] / JOURNAL / "blocks").iterdir())) == 3
    runs.same(sx.tl.sensx(adata, runs.model, **how), expected)


def test_ctrl_c_leaves_a_store_that_goes_on(
    adata: AnnData, expected: AnnData, how: dict[str, Any], runs: SimpleNamespace
) -> None:
    def stopped(rows: np.ndarray) -> np.ndarray:
        if (how["store"] / JOURNAL / "blocks/00000003").exists():
            raise KeyboardInterrupt
        return runs.model(rows)

    with pytest.raises(KeyboardInterrupt):
        sx.tl.sensx(adata, stopped, **(how | {"copy": False}))
    assert "sensx" not in adata.uns
    assert "sensx" not in adata.layers
    runs.same(sx.tl.sensx(adata, runs.model, **how), expected)


def test_what_a_killed_process_left_of_its_beginning_is_completed(
    adata: AnnData, expected: AnnData, how: dict[str, Any], runs: SimpleNamespace
) -> None:
    (how["store"] / "layers/sensx").mkdir(parents=True)
    with pytest.raises(ValueError, match="holds something else"):
        sx.tl.sensx(adata, runs.model, **how)
    (how["store"] / "layers/sensx").rmdir()
    (how["store"] / "layers").rmdir()  # an empty folder is as good as none
    sx.tl.sensx(adata, runs.model, **how)
    (how["store"] / "layers/sensx_change/zarr.json").unlink()
    runs.same(sx.tl.sensx(adata, runs.model, **how), expected)


def test_cells_on_which_the_model_raised_are_tried_again(
    adata: AnnData, runs: SimpleNamespace, tmp_path: Path
) -> None:
    how = runs.HOW | {"store": tmp_path / "run.zarr", "copy": True, "chunk_size": 7, "lower": 0,
                      "upper": 10, "target": None}  # fmt: skip
    row = adata.X.toarray()[30]

    class Probabilities:
        """A classifier, so that each cell is explained for its own class."""

        def __init__(self, *, ill: bool) -> None:
            self.ill = ill

        def __call__(self, rows: np.ndarray) -> np.ndarray:
            if self.ill and (rows == row).all(axis=1).any():
                msg = "out of tokens"
                raise ArithmeticError(msg)
            odds = np.exp(runs.model(rows) * 3)
            return odds / odds.sum(axis=1, keepdims=True)

    def classifier(*, ill: bool) -> Any:
        return sx.models.as_model(Probabilities(ill=ill), n_features=20, outputs="probability")

    first = sx.tl.sensx(adata, classifier(ill=True), **how)
    assert first.obs["sensx_status"].iloc[30] == "failed"
    assert first.obs["sensx_target"].isna().tolist() == [i == 30 for i in range(60)]
    assert (
        "the model raised ArithmeticError: out of tokens"
        in first.uns["sensx"]["cells"]["message"].iloc[30]
    )
    expected = sx.tl.sensx(adata, classifier(ill=False), **{**how, "store": None})
    runs.same(sx.tl.sensx(adata, classifier(ill=False), **how), expected)


@pytest.mark.parametrize("kind", ["view", "copy"])
def test_views_and_copies_of_backed_data_are_refused_before_the_work(
    kind: str, adata: AnnData, runs: SimpleNamespace, tmp_path: Path
) -> None:
    adata.write_h5ad(tmp_path / "a.h5ad")
    backed = ad.read_h5ad(tmp_path / "a.h5ad", backed="r")
    with pytest.raises(ValueError, match="of a backed AnnData cannot take results"):
        sx.tl.sensx(backed[2:6] if kind == "view" else backed, runs.model, copy=kind == "copy",
                    **runs.HOW)  # fmt: skip
