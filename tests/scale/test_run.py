"""A model that fails on some cells does not stop the others."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import sensx_sc as sx

if TYPE_CHECKING:
    from types import SimpleNamespace

    from anndata import AnnData

HOW: dict[str, Any] = {
    "n_walks": 8, "n_samples": 40, "deltas": [0.05, 0.3], "progress": False, "precision": "float64"
}  # fmt: skip
WEIGHTS = np.random.default_rng(1).normal(size=20) / 9


@pytest.fixture
def adata() -> AnnData:
    return sx.datasets.toy()[:12].copy()


def marked(adata: AnnData, bad: list[int]) -> np.ndarray:
    """What tells a bad cell: its first gene's value, which stays within delta of it."""
    x = adata.X.toarray()
    x[:, 0] = 1.0
    x[bad, 0] = 9.0
    adata.X = x
    return x


@pytest.mark.parametrize(
    ("bad", "chunk_size"),
    [([5, 6, 10], 1), ([5, 6, 10], 5), ([0, 1, 2, 3], 5), ([0, 1, 2, 3, 4, 6, 11], "auto")],
    ids=["some, alone", "some", "the first", "most"],
)
@pytest.mark.parametrize("how", ["raises", "nan"])
def test_bad_cells_are_marked_and_the_rest_goes_on(
    how: str, bad: list[int], chunk_size: int | str, adata: AnnData
) -> None:
    marked(adata, bad)

    def fine(rows: np.ndarray) -> np.ndarray:
        return np.tanh(rows @ WEIGHTS)

    def model(rows: np.ndarray) -> np.ndarray:
        ill = rows[:, 0] > 8
        if how == "raises" and ill.any():
            msg = "segmentation of the pancreas"
            raise ArithmeticError(msg)
        return np.where(ill, np.nan, fine(rows))

    mask = np.arange(20) > 0
    bounds = {"lower": 0, "upper": 10, "mask_var": mask, "chunk_size": chunk_size}
    expected = sx.tl.sensx(adata, fine, copy=True, **bounds, **HOW)
    sx.tl.sensx(adata, model, **bounds, **HOW)
    good = np.setdiff1d(np.arange(12), bad)
    assert (adata.obs["sensx_status"].iloc[bad] == "failed").all()
    assert (adata.obs["sensx_status"].iloc[good] != "failed").all()
    np.testing.assert_array_equal(adata.layers["sensx"][good], expected.layers["sensx"][good])
    assert np.isnan(adata.layers["sensx"][bad]).all()
    messages = adata.uns["sensx"]["cells"]["message"].to_numpy()
    said = "ArithmeticError: segmentation" if how == "raises" else "q(x) is nan"
    assert all(said in message for message in messages[bad])
    assert not any(messages[good])


@pytest.mark.parametrize("how", ["raises", "nan"])
def test_a_model_that_fails_on_all_cells_is_an_error(how: str, adata: AnnData) -> None:
    marked(adata, list(range(12)))

    def model(rows: np.ndarray) -> np.ndarray:
        ill = rows[:, 0] > 8
        if how == "raises" and ill.any():
            msg = "segmentation of the pancreas"
            raise ArithmeticError(msg)
        return np.where(ill, np.nan, rows @ WEIGHTS)

    said = "segmentation of the pancreas" if how == "raises" else "only NaN or infinite values"
    with pytest.raises(ValueError, match=said):
        sx.tl.sensx(adata, model, lower=0, upper=10, mask_var=np.arange(20) > 0, **HOW)
    assert "sensx" not in adata.uns


def test_a_model_that_raises_somewhere_in_the_domain_marks_the_cells_that_come_there(
    adata: AnnData,
) -> None:
    """The random points that a model is checked on may be of that kind, and those of the plan."""
    x = adata.X.toarray()
    x[:, 0] = np.arange(12) / 12
    adata.X = x

    def model(rows: np.ndarray) -> np.ndarray:
        if (rows[:, 0] > 0.9).any():
            msg = "too much of a good thing"
            raise ArithmeticError(msg)
        return np.tanh(rows @ WEIGHTS)

    how = HOW | {"deltas": [0.05, 0.5], "lower": [0] * 20, "upper": [1, *[10] * 19]}
    sx.tl.sensx(adata, model, **how)
    failed = adata.obs["sensx_status"] == "failed"
    assert failed.iloc[9:].all()
    assert not failed.all()


def test_errors_are_raised_on_request(adata: AnnData) -> None:
    marked(adata, [7])

    def model(rows: np.ndarray) -> np.ndarray:
        if (rows[:, 0] > 8).any():
            msg = "no such cell"
            raise ArithmeticError(msg)
        return rows @ WEIGHTS

    with pytest.raises(ArithmeticError, match="no such cell"):
        sx.tl.sensx(
            adata, model, lower=0, upper=10, mask_var=np.arange(20) > 0, on_error="raise", **HOW
        )
    assert "sensx" not in adata.uns


def test_a_wrong_choice_is_refused(adata: AnnData) -> None:
    with pytest.raises(ValueError, match="`on_error` must be one of"):
        sx.tl.sensx(adata, lambda rows: rows @ WEIGHTS, on_error="ignore", **HOW)


# ------------------------------------------------------------- progress


def bar_of(capsys: pytest.CaptureFixture[str]) -> str:
    lines = capsys.readouterr().err.replace("\r", "\n").splitlines()
    return next(line for line in reversed(lines) if "cells [" in line)


@pytest.mark.parametrize("where", ["memory", "store", "store of a second run"])
def test_progress_is_shown_in_cells_with_the_time_left(
    where: str, adata: AnnData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    how = HOW | {"progress": True, "copy": True}
    if where != "memory":
        how |= {"store": tmp_path / "run.zarr", "chunk_size": 5}
    for _ in range(1 + (where == "store of a second run")):
        sx.tl.sensx(adata, lambda rows: rows @ WEIGHTS, **how)
        shown = bar_of(capsys)
    assert "12.0/12 cells [00:0" in shown
    assert "100%" in shown
    with sx.settings.override(progress=False):
        sx.tl.sensx(adata, lambda rows: rows @ WEIGHTS, **(how | {"progress": None}))
    assert "cells [" not in capsys.readouterr().err


# ------------------------------------------------------------- shards of a job array


@pytest.mark.parametrize("keep", ["all", "top:5"])
def test_shards_of_a_job_array_make_one_store(
    keep: str, in_memory: dict[str, AnnData], runs: SimpleNamespace, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    path = tmp_path / "run.zarr"
    how = runs.HOW | {"mask_obs": "some", "store": path, "chunk_size": 7, "keep": keep}
    done = []
    for shard in ("3/3", "1/3", "2/3"):
        adata = runs.toy()
        done.append(sx.tl.sensx(adata, runs.model, shard=shard, copy=True, **how))
    assert "shard 3/3 is done; 6 of 9 blocks of cells are still to be explained" in caplog.text
    for left in done[:2]:
        assert "sensx" not in left.uns
        assert "sensx" not in left.layers
    # Whichever is last completes the store, and the AnnData.
    runs.same(done[2], in_memory[keep])
    runs.same(runs.read_zarr(path), in_memory[keep])


def test_the_bar_of_a_shard_counts_its_own_cells(
    adata: AnnData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    how = HOW | {"progress": True, "store": tmp_path / "run.zarr", "chunk_size": 5}
    for shard, cells in (("1/2", "7.0/7"), ("2/2", "5.0/5"), ("2/2", "5.0/5")):
        sx.tl.sensx(adata, lambda rows: rows @ WEIGHTS, shard=shard, **how)
        assert f"100%|{'█' * 10}| {cells} cells [00:0" in bar_of(capsys)


def test_what_a_shard_left_is_done_without(
    expected: AnnData, runs: SimpleNamespace, tmp_path: Path
) -> None:
    how = runs.HOW | {"mask_obs": "some", "store": tmp_path / "run.zarr", "chunk_size": 7}
    adata = runs.toy()
    sx.tl.sensx(adata, runs.model, shard="2/2", **how)
    assert "sensx" not in adata.uns
    sx.tl.sensx(adata, runs.model, **how)
    runs.same(adata, expected)


def test_a_shard_needs_a_store(adata: AnnData) -> None:
    with pytest.raises(ValueError, match="`shard` '1/2' needs a `store` that all shards share"):
        sx.tl.sensx(adata, lambda rows: rows @ WEIGHTS, shard="1/2", **HOW)
    with pytest.raises(ValueError, match="`shard` must be 'i/n'"):
        sx.tl.sensx(adata, lambda rows: rows @ WEIGHTS, shard="2/1", store="x", **HOW)


# ------------------------------------------------------------- kills

KILLS = """
    import os, random, runpy, signal, sys
    import sensx_sc as sx
    runs = runpy.run_path({runs!r})
    path, n_blocks = {path!r}, 9
    random.seed(4)

    def finished():
        folder = os.path.join(path, "layers", "sensx", ".sensx", "blocks")
        return sum(name.isdigit() for name in os.listdir(folder)) if os.path.isdir(folder) else 0

    def run(dies_after):
        # Dies at a random moment, counted in calls of the model and of the system, once the run
        # has come as far as this kill is to see it.
        left, looking = [dies_after], []

        def happened(event, arguments):
            if looking or event.split(".")[0] not in ("open", "os", "shutil", "model"):
                return
            looking.append(True)
            left[0] -= finished() >= stage
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            looking.clear()

        def model(rows):
            sys.audit("model")
            return runs["model"](rows)

        if dies_after:
            sys.addaudithook(happened)
        where = dict(store=path, chunk_size=7, mask_obs="some", keep={keep!r})
        sx.tl.sensx(runs["toy"](), model, **where, **runs["HOW"])

    kills = 0
    while kills < 20:
        stage = min(kills // 2, n_blocks)
        child = os.fork()
        if not child:
            run(random.randrange(1, 150 if stage < n_blocks else 1500))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        kills += os.WIFSIGNALED(status)
        if not os.WIFSIGNALED(status):
            assert os.WEXITSTATUS(status) == 0 and stage == n_blocks, (kills, status)
        if {is_anndata}:
            left = runs["read_zarr"](path)
            assert list(left.obs["cell_type"]) == list(runs["toy"]().obs["cell_type"])
    run(0)
    print(kills, finished())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(("keep", "into"), [("all", "a new store"), ("top:5", "an AnnData")])
def test_a_run_that_is_killed_twenty_times_ends_the_same(
    keep: str, into: str, in_memory: dict[str, AnnData], runs: SimpleNamespace, tmp_path: Path
) -> None:
    """Also while it begins, writes, and completes the store, which can be read all the time."""
    path = tmp_path / "run.zarr"
    if into == "an AnnData":
        runs.write_zarr(runs.toy(), path, 2)
    code = textwrap.dedent(KILLS).format(
        runs=str(Path(__file__).parent / "runs.py"), path=str(path), keep=keep,
        is_anndata=into == "an AnnData",
    )  # fmt: skip
    said = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr[-2000:]
    assert said.stdout.split() == ["20", "9"]
    how = runs.HOW | {"mask_obs": "some", "chunk_size": 7, "keep": keep, "copy": True}
    never_killed = sx.tl.sensx(runs.toy(), runs.model, store=tmp_path / "whole.zarr", **how)
    runs.same(never_killed, in_memory[keep])
    runs.same(runs.read_zarr(path), never_killed, rtol=0)
    runs.same(sx.tl.sensx(runs.toy(), runs.model, store=path, **how), never_killed, rtol=0)
    # What zarr itself was writing carries no sign of who wrote it, and goes when it is old.
    left = [found for found in path.rglob("*.partial") if ".sensx" in found.parts]
    assert not left
    assert {found.name for found in tmp_path.iterdir()} == {"run.zarr", "whole.zarr"}
