"""The command line as a user types it."""

from __future__ import annotations

import base64
import json
import re
import runpy
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest

import sensx_sc as sx
from sensx_sc.cli import main

if TYPE_CHECKING:
    from anndata import AnnData

HERE = Path(__file__).parents[1]
MODELS = SimpleNamespace(**runpy.run_path(str(HERE / "models/model_files.py")))
RUNS = SimpleNamespace(**runpy.run_path(str(HERE / "scale/runs.py")))
HOW = ("--target cell_type --n-walks 8 --n-samples 40 --deltas 0.05,0.3,1 --lower 0 --upper 10 "
       "--statistics value,rank,change --precision float64 --quiet")  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data and a model in files."""
    folder = tmp_path_factory.mktemp("files")
    adata = sx.datasets.toy()
    adata.write_h5ad(folder / "data.h5ad")
    RUNS.write_zarr(adata, folder / "data.zarr", 2)
    (folder / "nets_of_the_cli.py").write_text(MODELS.NETS, encoding="utf-8")
    MODELS.write_safetensors(
        folder / "w.safetensors",
        {"outputs": "logit", "output_names": json.dumps(MODELS.CLASSES)},
    )
    return folder


@pytest.fixture(scope="module")
def expected() -> AnnData:
    """The same in Python."""
    with sx.settings.override(progress=False):
        return sx.tl.sensx(
            sx.datasets.toy(), sx.models.as_model(MODELS.net(), output_names=MODELS.CLASSES),
            target="cell_type", n_walks=8, n_samples=40, deltas=[0.05, 0.3, 1], lower=0, upper=10,
            statistics=("value", "rank", "change"), precision="float64", copy=True,
        )  # fmt: skip


@pytest.fixture
def folder(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the files."""
    shutil.copytree(files, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def explain(data: str, store: str, more: str = "") -> int:
    model = "w.safetensors+nets_of_the_cli:make"
    return main(f"explain {data} --model {model} --store {store} {HOW} {more}".split())


def same(store: Path, expected: AnnData) -> None:
    found = RUNS.read_zarr(store)
    for name in ("sensx", "sensx_rank", "sensx_change"):
        np.testing.assert_array_equal(found.layers[name], expected.layers[name])
    assert found.obs["sensx_target"].astype(str).tolist() == (
        expected.obs["sensx_target"].astype(str).tolist()
    )


def test_shards_of_an_h5ad_make_a_store_and_a_page(
    folder: Path, expected: AnnData, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain("data.h5ad", "out.zarr", "--shard 2/2 --chunk-size 16") == 0
    assert main(["report", "out.zarr"]) == 1
    said = capsys.readouterr().err
    assert (
        "the run 'sensx' in 'out.zarr' is not complete: 2 of 4 blocks of cells are missin" in said
    )
    assert explain("data.h5ad", "out.zarr", "--shard 1/2") == 0
    same(folder / "out.zarr", expected)
    assert main(["report", "out.zarr", "--genes", "4"]) == 0
    page = (folder / "out.html").read_text(encoding="utf-8")
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert len(pictures) >= 4
    assert all(base64.b64decode(found).startswith(b"\x89PNG") for found in pictures)
    assert not re.findall(r'(src|href)="(?!data:)', page)  # nothing is fetched from elsewhere
    for text in ("<h3>A (20 cells)</h3>", "Statuses", "delta*, median", "<td>n_walks</td>",
                 "<td>version of sensx_sc</td>", "gene_"):  # fmt: skip
        assert text in page
    assert page.count("<h3>") == 3


def test_results_go_into_the_data_themselves(folder: Path, expected: AnnData) -> None:
    assert explain("data.zarr", "data.zarr", "--memory 500MB") == 0
    same(folder / "data.zarr", expected)
    assert RUNS.read_zarr(folder / "data.zarr").X is not None
    assert main(["report", "data.zarr", "--out", "page.html"]) == 0
    assert (folder / "page.html").exists()


def test_names_of_classes_and_genes_may_be_given(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    MODELS.write_onnx(folder / "m.onnx")
    (folder / "classes.txt").write_text("A\nB\nC\n", encoding="utf-8")
    genes = [f"gene_{i}" for i in range(20)]
    words = f"--model m.onnx --outputs logit {HOW.replace('float64', 'float32')} --features g.txt"
    (folder / "g.txt").write_text("\n".join(genes), encoding="utf-8")
    assert main(f"explain data.h5ad --store a.zarr --classes A,B,C {words}".split()) == 0
    assert main(f"explain data.h5ad --store a.zarr --classes classes.txt {words}".split()) == 0
    (folder / "g.txt").write_text("\n".join(genes[::-1]), encoding="utf-8")
    assert main(f"explain data.h5ad --store b.zarr --classes A,B,C {words}".split()) == 1
    assert "in another order than the model's" in capsys.readouterr().err


WRONG = {
    "no data": ("explain gone.h5ad --model m.onnx --store o", "there is no 'gone.h5ad'"),
    "other data": ("explain w.safetensors --model m.onnx --store o", "must be an h5ad file or an"),
    "no model": ("explain data.h5ad --model m.onnx --store o", "there is no file 'm.onnx'"),
    "a pickle": ("explain data.h5ad --model m.pkl --store o", "pickled models are never read"),
    "no store": ("report gone.zarr", "there is no store 'gone.zarr'"),
    "no results": ("report data.zarr", "has no results under the key 'sensx'"),
    "other results": ("report data.zarr --key x", "has no results under the key 'x'"),
}


@pytest.mark.parametrize("what", WRONG)
def test_mistakes_get_a_sentence(
    what: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, sentence = WRONG[what]
    assert main(words.split()) == 1
    said = capsys.readouterr().err
    assert said.startswith("sensx-sc: ")
    assert sentence in said
    assert "Traceback" not in said
    with pytest.raises((ValueError, KeyError, FileNotFoundError)):
        main([*words.split(), "--traceback"])


@pytest.mark.parametrize(
    "words", ["explain", "explain data.h5ad", "explain d --model m", "report", "explain d --tau x"]
)
def test_words_that_are_missing(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words.split())
    assert stopped.value.code == 2
    assert "usage: sensx-sc" in capsys.readouterr().err


def test_ctrl_c_says_that_it_goes_on(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sx.tl, "sensx", stopped)
    assert explain("data.h5ad", "out.zarr") == 130
    assert "the same command goes on from here" in capsys.readouterr().err
