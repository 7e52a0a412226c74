"""A run with a store ends as one without, whatever happens on the way."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anndata as ad
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import zarr

import sensx_sc as sx
from sensx_sc.scale import store as store_module

if TYPE_CHECKING:
    from collections.abc import Callable

    from anndata import AnnData

HOW: dict[str, Any] = {
    "n_walks": 8, "n_samples": 40, "deltas": [0.05, 0.3, 1.0], "progress": False,
    "precision": "float64", "target": "1", "statistics": ("value", "rank", "change", "n"),
}  # fmt: skip
WEIGHTS = np.random.default_rng(1).normal(size=(20, 3)) / 9


def model(rows: np.ndarray) -> np.ndarray:
    return np.tanh(rows @ WEIGHTS)


@pytest.fixture
def adata() -> AnnData:
    adata = sx.datasets.toy()
    adata.obs["some"] = np.isin(np.arange(adata.n_obs) % 9, [0, 1, 4])
    return adata


@pytest.fixture
def expected(adata: AnnData) -> AnnData:
    return sx.tl.sensx(adata, model, mask_obs="some", copy=True, **HOW)


def same(found: AnnData, expected: AnnData) -> None:
    for layer in ("sensx", "sensx_rank", "sensx_change", "sensx_n"):
        np.testing.assert_array_equal(np.asarray(found.layers[layer]), expected.layers[layer])
    for column in ("delta_star", "status", "target", "qoi"):
        pd.testing.assert_series_equal(
            found.obs[f"sensx_{column}"], expected.obs[f"sensx_{column}"]
        )
    np.testing.assert_array_equal(found.obsm["sensx_envelope"], expected.obsm["sensx_envelope"])
    for table in ("cells", "rankings"):
        pd.testing.assert_frame_equal(
            found.uns["sensx"][table], expected.uns["sensx"][table], rtol=1e-12
        )


@pytest.mark.parametrize("chunk_size", [1, 7, 64, "auto"])
def test_results_in_a_store_are_those_in_memory(
    chunk_size: int | str, adata: AnnData, expected: AnnData, tmp_path: Path
) -> None:
    path = tmp_path / "run.zarr"
    found = sx.tl.sensx(
        adata, model, mask_obs="some", copy=True, store=path, chunk_size=chunk_size, **HOW
    )
    assert isinstance(found.layers["sensx"], da.Array)
    same(found, expected)
    value = zarr.open_array(path / "layers/sensx", mode="r")
    assert value.dtype == np.float32
    assert value.chunks == (60 if chunk_size in (64, "auto") else chunk_size, 20)
    assert zarr.open_array(path / "layers/sensx_rank", mode="r").dtype == np.int32


def test_what_is_stored_is_not_explained_again(
    adata: AnnData, expected: AnnData, tmp_path: Path
) -> None:
    calls: list[int] = []

    def counting(rows: np.ndarray) -> np.ndarray:
        calls.append(len(rows))
        return model(rows)

    how = HOW | {"mask_obs": "some", "store": tmp_path / "run.zarr", "chunk_size": 7, "copy": True}
    same(sx.tl.sensx(adata, counting, **how), expected)
    first = sum(calls)
    calls.clear()
    same(sx.tl.sensx(adata, counting, **how), expected)
    assert sum(calls) < first / 5


def test_a_lazy_layer_can_be_written(adata: AnnData, expected: AnnData, tmp_path: Path) -> None:
    sx.tl.sensx(adata, model, mask_obs="some", store=tmp_path / "run.zarr", chunk_size=7, **HOW)
    adata.write_h5ad(tmp_path / "a.h5ad")
    back = ad.read_h5ad(tmp_path / "a.h5ad")
    np.testing.assert_array_equal(back.layers["sensx"], expected.layers["sensx"])


KILLS = """
    import os, random, signal, sys, time
    import numpy as np
    sys.path.insert(0, {folder!r})
    import sensx_sc as sx
    from test_store import HOW, model

    def slow(rows):
        time.sleep(2e-4)
        return model(rows)

    adata = sx.datasets.toy()
    adata.obs["some"] = np.isin(np.arange(adata.n_obs) % 9, [0, 1, 4])
    random.seed(4)
    kills = 0
    while True:
        child = os.fork()
        if not child:
            sx.tl.sensx(adata, slow, mask_obs="some", store={path!r}, chunk_size=4, **HOW)
            os._exit(0)
        if kills < 20:
            time.sleep(random.random() * 0.25)
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            break
        kills += 1
    print(kills, os.WEXITSTATUS(status))
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="needs fork")
def test_a_run_that_is_killed_again_and_again_ends_the_same(
    adata: AnnData, expected: AnnData, tmp_path: Path
) -> None:
    path = tmp_path / "run.zarr"
    code = textwrap.dedent(KILLS).format(folder=str(Path(__file__).parent), path=str(path))
    said = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True, text=True
    )
    kills, status = map(int, said.stdout.split())
    assert kills >= 3
    assert status == 0
    found = sx.tl.sensx(adata, model, mask_obs="some", copy=True, store=path, chunk_size=4, **HOW)
    same(found, expected)
    assert not list(path.rglob(".sensx/**/*.partial"))


CHANGES: dict[str, tuple[Callable[[AnnData], Any], dict[str, Any], str]] = {
    "tau": (lambda a: model, {"tau": 0.2}, "tau was 0.1, is 0.2"),
    "seed": (lambda a: model, {"seed": 5}, "seed was 0, is 5"),
    "walks": (lambda a: model, {"n_walks": 16}, "n_walks was 8, is 16"),
    "deltas": (lambda a: model, {"deltas": [0.05, 0.4, 1.0]}, "deltas was"),
    "target": (lambda a: model, {"target": "2"}, "target was"),
    "cells": (lambda a: model, {"mask_obs": None}, "cells was"),
    "domain": (lambda a: model, {"upper": 11}, "domain was"),
    "statistics": (lambda a: model, {"statistics": ("value",)}, "statistics was"),
    "model": (lambda a: lambda rows: 1.1 * model(rows), {}, "the model gives other outputs"),
    "genes": (lambda a: a.__setattr__("var_names", a.var_names[::-1]) or model, {}, "cells was"),
    "data": (lambda a: a.X.data.__imul__(0.99) is None or model, {}, "some of the cells 0 to 3"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_run_is_refused_and_said_to_be_other(
    change: str, adata: AnnData, tmp_path: Path
) -> None:
    how = HOW | {"mask_obs": "some", "store": tmp_path / "run.zarr", "chunk_size": 4, "lower": 0,
                 "upper": 10}  # fmt: skip
    sx.tl.sensx(adata, model, copy=True, **how)
    make, other, sentence = CHANGES[change]
    changed = make(adata)
    with pytest.raises(ValueError, match="holds another run") as caught:
        sx.tl.sensx(adata, changed, **(how | other))
    assert sentence in str(caught.value)
    assert "sensx" not in adata.uns


@pytest.mark.parametrize("what", ["record", "truncated record", "chunk", "truncated chunk", "gone"])
def test_what_is_damaged_is_explained_again(
    what: str, adata: AnnData, expected: AnnData, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "run.zarr"
    how = HOW | {"mask_obs": "some", "store": path, "chunk_size": 7, "copy": True}
    sx.tl.sensx(adata, model, **how)
    files = [file for file in (path / "layers/sensx/c").rglob("*") if file.is_file()]
    file = (
        sorted((path / "layers/sensx/.sensx" / "blocks").iterdir())[2]
        if "record" in what
        else files[1]
    )
    content = bytearray(file.read_bytes())
    if what == "gone":
        file.unlink()
    elif "truncated" in what:
        file.write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 2] ^= 255
        file.write_bytes(bytes(content))
    same(sx.tl.sensx(adata, model, **how), expected)
    assert "is damaged; they are explained again" in caplog.text


def test_two_runs_at_once_do_not_harm_each_other(
    adata: AnnData, expected: AnnData, tmp_path: Path
) -> None:
    """One goes on while another has begun and finished some of the blocks."""
    how = HOW | {"mask_obs": "some", "store": tmp_path / "run.zarr", "chunk_size": 7, "copy": True}
    met: list[bool] = []

    def interrupted(rows: np.ndarray) -> np.ndarray:
        if (
            len(rows) > 20
            and not met
            and (tmp_path / "run.zarr/layers/sensx/.sensx/blocks/00000002").exists()
        ):
            met.append(True)
            same(sx.tl.sensx(adata, model, **how), expected)
        return model(rows)

    same(sx.tl.sensx(adata, interrupted, **how), expected)
    assert met
    same(sx.tl.sensx(adata, model, **how), expected)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_full_or_read_only_disk_leaves_what_was_done(
    code: int, adata: AnnData, expected: AnnData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    how = HOW | {"mask_obs": "some", "store": tmp_path / "run.zarr", "chunk_size": 7, "copy": True}
    whole, written = store_module._commit, []

    def failing(path: Path, content: bytes) -> None:
        written.append(path)
        if len(written) > 4:
            raise OSError(code, "no")
        whole(path, content)

    monkeypatch.setattr(store_module, "_commit", failing)
    with pytest.raises(OSError, match="no"):
        sx.tl.sensx(adata, model, **(how | {"copy": False}))
    assert "sensx" not in adata.uns
    monkeypatch.undo()
    assert len(list((tmp_path / "run.zarr/layers/sensx/.sensx/blocks").iterdir())) == 3
    same(sx.tl.sensx(adata, model, **how), expected)


def test_ctrl_c_leaves_a_store_that_goes_on(
    adata: AnnData, expected: AnnData, tmp_path: Path
) -> None:
    how = HOW | {"mask_obs": "some", "store": tmp_path / "run.zarr", "chunk_size": 7}

    def stopped(rows: np.ndarray) -> np.ndarray:
        if (tmp_path / "run.zarr/layers/sensx/.sensx/blocks/00000003").exists():
            raise KeyboardInterrupt
        return model(rows)

    with pytest.raises(KeyboardInterrupt):
        sx.tl.sensx(adata, stopped, **how)
    assert "sensx" not in adata.uns
    assert "sensx" not in adata.layers
    same(sx.tl.sensx(adata, model, copy=True, **how), expected)


def test_a_folder_with_other_things_is_left_alone(adata: AnnData, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ValueError, match="exists and holds something else"):
        sx.tl.sensx(adata, model, store=tmp_path, **HOW)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_store_of_another_version_is_refused(adata: AnnData, tmp_path: Path) -> None:
    path = tmp_path / "run.zarr"
    sx.tl.sensx(adata, model, store=path, copy=True, **HOW)
    manifest = path / "layers/sensx/.sensx" / "manifest.json"
    told = json.loads(manifest.read_text(encoding="utf-8")) | {"format": 99}
    manifest.write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(ValueError, match="written by another version"):
        sx.tl.sensx(adata, model, store=path, **HOW)


def test_another_quantity_of_the_same_model_is_another_run(adata: AnnData, tmp_path: Path) -> None:
    how = {name: value for name, value in HOW.items() if name != "target"}
    how |= {"store": tmp_path / "run.zarr", "copy": True}
    sx.tl.sensx(adata, model, qoi=lambda outputs: outputs[:, 0], **how)
    with pytest.raises(ValueError, match="the model gives other outputs"):
        sx.tl.sensx(adata, model, qoi=lambda outputs: 100 * outputs[:, 1] ** 2, **how)


def test_a_relative_path_means_the_same_folder_from_everywhere(
    adata: AnnData, expected: AnnData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = sx.tl.sensx(adata, model, mask_obs="some", copy=True, store="run.zarr", **HOW)
    monkeypatch.chdir("/")
    same(found, expected)


def test_a_store_that_is_gone_is_no_result(adata: AnnData, tmp_path: Path) -> None:
    sx.tl.sensx(adata, model, store=tmp_path / "run.zarr", **HOW)
    (tmp_path / "run.zarr").rename(tmp_path / "moved.zarr")
    with pytest.raises(FileNotFoundError, match="is not there any more"):
        np.asarray(adata.layers["sensx"])


@pytest.mark.parametrize("what", ["no manifest", "no array"])
def test_what_a_killed_process_left_of_its_beginning_is_completed(
    what: str, adata: AnnData, expected: AnnData, tmp_path: Path
) -> None:
    how = HOW | {"mask_obs": "some", "store": tmp_path / "run.zarr", "copy": True, "chunk_size": 7}
    sx.tl.sensx(adata, model, **how)
    gone = ".sensx/manifest.json" if what == "no manifest" else "value/zarr.json"
    (tmp_path / "run.zarr" / gone).unlink()
    same(sx.tl.sensx(adata, model, **how), expected)


def test_a_manifest_that_cannot_be_read_is_said_to_be_damaged(
    adata: AnnData, tmp_path: Path
) -> None:
    sx.tl.sensx(adata, model, store=tmp_path / "run.zarr", copy=True, **HOW)
    manifest = tmp_path / "run.zarr" / "layers/sensx/.sensx" / "manifest.json"
    manifest.write_text(manifest.read_text(encoding="utf-8")[:50], encoding="utf-8")
    with pytest.raises(ValueError, match="is damaged: manifest.json"):
        sx.tl.sensx(adata, model, store=tmp_path / "run.zarr", **HOW)


@pytest.mark.parametrize("path", [5, "", False, b"x"])
def test_a_store_is_a_path(path: Any, adata: AnnData) -> None:
    with pytest.raises(TypeError, match="`store` must be the path of a folder"):
        sx.tl.sensx(adata, model, store=path, **HOW)


def test_cells_on_which_the_model_raised_are_tried_again(adata: AnnData, tmp_path: Path) -> None:
    how = HOW | {"store": tmp_path / "run.zarr", "copy": True, "chunk_size": 7, "lower": 0,
                 "upper": 10}  # fmt: skip
    row = adata.X.toarray()[30]

    def ill(rows: np.ndarray) -> np.ndarray:
        if (rows == row).all(axis=1).any():
            msg = "out of tokens"
            raise ArithmeticError(msg)
        return model(rows)

    first = sx.tl.sensx(adata, ill, **how)
    assert first.obs["sensx_status"].iloc[30] == "failed"
    second = sx.tl.sensx(adata, model, **how)
    assert second.obs["sensx_status"].iloc[30] != "failed"


@pytest.mark.parametrize("kind", ["view", "copy"])
def test_views_and_copies_of_backed_data_are_refused_before_the_work(
    kind: str, adata: AnnData, tmp_path: Path
) -> None:
    adata.write_h5ad(tmp_path / "a.h5ad")
    backed = ad.read_h5ad(tmp_path / "a.h5ad", backed="r")
    with pytest.raises(ValueError, match="of a backed AnnData cannot take results"):
        sx.tl.sensx(backed[2:6] if kind == "view" else backed, model, copy=kind == "copy", **HOW)
