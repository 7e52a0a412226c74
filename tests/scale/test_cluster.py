"""The workers of a Dask client do the work, and their death loses nothing."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import sensx_sc as sx
from sensx_sc.scale.cluster import active_client, local_client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from anndata import AnnData
    from distributed import Client

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")

HOW: dict[str, Any] = {
    "n_walks": 8, "n_samples": 40, "deltas": [0.05, 0.3, 1.0], "progress": False,
    "precision": "float64", "lower": 0, "upper": 10, "statistics": ("value", "rank", "change"),
}  # fmt: skip


def slow(seconds: float) -> nn.Module:
    """A net that takes its time, so that a worker can die on the way.

    Its class travels with it, as those of a notebook do: workers cannot import the tests.
    """

    class Slow(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.first, self.last = nn.Linear(20, 15), nn.Linear(15, 2)

        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            time.sleep(seconds)
            return self.last(torch.tanh(self.first(rows)))

    return Slow().eval()


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with local_client(2, silence_logs=50) as client:
        yield client


@pytest.fixture
def adata() -> AnnData:
    return sx.datasets.toy()[:24].copy()


def net(outputs: int = 2, width: int = 6) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, width), nn.Tanh(), nn.Linear(width, outputs)).eval()


def same(found: AnnData, expected: AnnData) -> None:
    for layer in ("sensx", "sensx_rank", "sensx_change"):
        np.testing.assert_array_equal(np.asarray(found.layers[layer]), expected.layers[layer])
    pd.testing.assert_frame_equal(
        found.uns["sensx"]["rankings"], expected.uns["sensx"]["rankings"], rtol=1e-12
    )
    cells = [adata.uns["sensx"]["cells"].loc[expected.obs_names] for adata in (found, expected)]
    pd.testing.assert_frame_equal(*cells)


def alone(adata: AnnData, model: nn.Module) -> AnnData:
    """The result without a client."""
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("sensx_sc.scale.run.active_client", lambda: None)
        return sx.tl.sensx(adata, model, copy=True, **HOW)


@pytest.mark.parametrize("width", [6, 15], ids=["stem", "dense"])
@pytest.mark.parametrize("chunk_size", [1, 7, "auto"])
def test_results_are_those_of_this_process(
    chunk_size: int | str, width: int, adata: AnnData, client: Client
) -> None:
    assert active_client() is client
    found = sx.tl.sensx(adata, net(width=width), chunk_size=chunk_size, copy=True, **HOW)
    same(found, alone(adata, net(width=width)))


@pytest.mark.parametrize("n_workers", [1, 2, 4])
def test_results_depend_neither_on_workers_nor_on_chunks_nor_on_the_order_of_cells(
    n_workers: int, adata: AnnData, client: Client, tmp_path: Path
) -> None:
    """Bit for bit in float64: in memory and in a store, with and without workers."""
    expected = alone(adata, net())
    shuffled = adata[np.random.default_rng(n_workers).permutation(adata.n_obs)].copy()
    store = {"store": tmp_path / "run.zarr"} if n_workers == 2 else {}
    try:
        client.cluster.scale(n_workers)
        client.wait_for_workers(n_workers)
        for chunk_size in (1, 7, 64, "auto"):
            found = sx.tl.sensx(shuffled, net(), chunk_size=chunk_size, copy=True, **HOW)
            same(found[adata.obs_names], expected)
        same(sx.tl.sensx(adata, net(), chunk_size=7, copy=True, **store, **HOW), expected)
        assert len(client.scheduler_info()["workers"]) == n_workers
    finally:
        client.cluster.scale(2)
        client.wait_for_workers(2)


def test_progress_is_shown_in_cells(
    adata: AnnData, client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    sx.tl.sensx(adata, net(), chunk_size=5, copy=True, **(HOW | {"progress": True}))
    shown = capsys.readouterr().err.replace("\r", "\n").strip().splitlines()
    (last,) = [line for line in shown if "cells [" in line][-1:]
    assert "24.0/24 cells [00:0" in last


@pytest.mark.parametrize("on_error", ["mark", "raise"])
def test_cells_that_the_model_fails_on_are_marked(
    on_error: str, adata: AnnData, client: Client
) -> None:
    class Ill(nn.Module):
        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            if (rows[:, 0] > 8).any():
                msg = "cannot take this cell"
                raise ArithmeticError(msg)
            return rows[:, :2]

    x = adata.X.toarray()
    x[:, 0] = 1.0
    x[[0, 1, 9], 0] = 9.0
    adata.X = x
    how = HOW | {"mask_var": np.arange(20) > 0, "chunk_size": 5, "on_error": on_error}
    if on_error == "raise":
        with pytest.raises(ValueError, match="cannot take this cell"):
            sx.tl.sensx(adata, Ill().eval(), **how)
        return
    sx.tl.sensx(adata, Ill().eval(), **how)
    failed = np.flatnonzero(adata.obs["sensx_status"] == "failed")
    assert failed.tolist() == [0, 1, 9]
    assert "cannot take this cell" in adata.uns["sensx"]["cells"]["message"].iloc[9]


def test_a_store_is_written_and_resumed(adata: AnnData, client: Client, tmp_path: Path) -> None:
    store, expected = tmp_path / "run.zarr", alone(adata, net())
    how = HOW | {"store": store, "chunk_size": 5, "copy": True}
    same(sx.tl.sensx(adata, net(), **how), expected)
    for number in (1, 3):
        (store / "layers/sensx/.sensx/blocks" / f"{number:08d}").unlink()
    same(sx.tl.sensx(adata, net(), **how), expected)
    assert len(list((store / "layers/sensx/.sensx/blocks").iterdir())) == 5


@pytest.mark.parametrize("after", [0.7, 2.5])
def test_a_worker_that_dies_loses_nothing(after: float, adata: AnnData, client: Client) -> None:
    expected = alone(adata, slow(0))
    victims = [worker["pid"] for worker in client.run(lambda: {"pid": os.getpid()}).values()]
    killed: list[float] = []

    def kill() -> None:
        time.sleep(after)
        os.kill(victims[0], signal.SIGKILL)
        killed.append(time.monotonic())

    killer = threading.Thread(target=kill)
    killer.start()
    found = sx.tl.sensx(adata, slow(0.05), chunk_size=2, copy=True, **HOW)
    assert killed[0] < time.monotonic() - 0.5  # long before the end
    killer.join()
    same(found, expected)


def test_a_job_that_all_workers_have_lost_is_sent_again(adata: AnnData, client: Client) -> None:
    """With one worker nobody else has the model when it dies."""
    expected = alone(adata, slow(0))
    client.cluster.scale(1)
    while len(client.scheduler_info()["workers"]) > 1:
        time.sleep(0.05)
    (victim,) = client.run(os.getpid).values()
    calls: list[int] = []

    from sensx_sc.scale import run as run_module

    looked_up = run_module._looked_up

    def killing(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 4:
            os.kill(victim, signal.SIGKILL)
        return looked_up(*arguments)

    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(run_module, "_looked_up", killing)
            same(sx.tl.sensx(adata, slow(0.01), chunk_size=2, copy=True, **HOW), expected)
    finally:
        client.cluster.scale(2)
        client.wait_for_workers(2)
    assert len(calls) == 12


def test_an_error_comes_back(adata: AnnData, client: Client) -> None:
    class Ill(nn.Module):
        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            if len(rows) > 30:
                msg = "cannot take so many"
                raise ArithmeticError(msg)
            return rows[:, :2]

    with pytest.raises(ArithmeticError, match="cannot take so many"):
        sx.tl.sensx(adata, Ill().eval(), on_error="raise", **HOW)


def test_a_worker_that_is_gone_twice_does_not_keep_a_cluster_from_closing() -> None:
    """As distributed has it now and then where workers die."""
    with local_client(1, silence_logs=50) as mine:
        cluster = mine.cluster
        cluster._update_worker_status("remove", "tcp://127.0.0.1:1")
        assert mine.submit(abs, -3).result() == 3
    assert cluster.status.name == "closed"


def test_without_a_client_there_is_none() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(sys.modules, "distributed")
        assert active_client() is None
