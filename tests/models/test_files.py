"""Models in files give what the model itself gives; nothing is unpickled."""

from __future__ import annotations

import json
import pickle
import runpy
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cloudpickle
import numpy as np
import pytest
import torch

import sensx_sc as sx
from sensx_sc.evaluators.choose import choose_evaluator
from sensx_sc.models import as_model
from sensx_sc.models.described import read_description
from sensx_sc.models.qoi import make_response

MADE = SimpleNamespace(**runpy.run_path(str(Path(__file__).parent / "model_files.py")))
ROWS = torch.linspace(-1, 3, 7 * 20).reshape(7, 20)
NAMES = {"outputs": "logit", "output_names": list(MADE.CLASSES)}
AS_TEXT = {"outputs": "logit", "output_names": json.dumps(MADE.CLASSES)}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "test_nets_in_files.py").write_text(MADE.NETS, encoding="utf-8")
    return tmp_path


def path_of(form: str, folder: Path) -> str:
    if form == "safetensors":
        MADE.write_safetensors(folder / "w.safetensors", AS_TEXT)
        return f"{folder}/w.safetensors+test_nets_in_files:make"
    if form.startswith("pt2"):
        if tuple(map(int, torch.__version__.split(".")[:2])) < (2, 8):
            pytest.skip("archives that hold no pickle are written by torch 2.8 and newer")
        MADE.write_exported(folder / "m.pt2", batch=4 if "fixed" in form else None, told=NAMES)
        return str(folder / "m.pt2")
    MADE.write_onnx(folder / "m.onnx", rows=4 if "fixed" in form else "batch", metadata=AS_TEXT)
    return str(folder / "m.onnx")


@pytest.mark.parametrize("form", ["safetensors", "pt2", "pt2 fixed", "onnx", "onnx fixed"])
def test_a_file_is_the_model(form: str, folder: Path) -> None:
    model = as_model(path_of(form, folder), device="cpu")
    assert model.kind == "logit"
    assert model.output_names == MADE.CLASSES
    for dtype in model.dtypes:
        rows = ROWS.to(dtype)
        for part in (rows, rows[:1], rows[:4]):
            expected = MADE.net().to(dtype)(part).detach()
            torch.testing.assert_close(model.outputs(part), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("form", ["safetensors", "pt2", "onnx"])
def test_cells_are_explained_from_a_file(form: str, folder: Path) -> None:
    adata = sx.datasets.toy()[:4].copy()
    how: dict[str, Any] = {"target": "B", "n_walks": 8, "n_samples": 40, "deltas": [0.1, 1.0],
                           "lower": 0, "upper": 10, "copy": True, "progress": False}  # fmt: skip
    found = sx.tl.sensx(adata, path_of(form, folder), **how)
    named = as_model(MADE.net(), output_names=MADE.CLASSES)
    expected = sx.tl.sensx(adata, named, **how)
    np.testing.assert_allclose(
        found.layers["sensx"], expected.layers["sensx"], rtol=1e-3, atol=1e-6
    )


@pytest.mark.parametrize("form", ["safetensors", "pt2", "pt2 fixed"])
def test_it_goes_to_workers(form: str, folder: Path) -> None:
    """As Dask sends it, also from a worker on, and after rows of several types were asked for."""
    model = as_model(path_of(form, folder), device="cpu")
    expected = [model.outputs(ROWS.to(dtype)) for dtype in model.dtypes]
    evaluator, _ = choose_evaluator(
        make_response(model, "probability"), np.dtype("float64"), 100, ROWS.double().numpy()
    )
    at = evaluator.at(ROWS.double().numpy(), np.zeros(len(ROWS), dtype=np.int64))
    for _ in range(2):
        sent = [cloudpickle.dumps(x) for x in (model, evaluator)]
        model, evaluator = (pickle.loads(x) for x in sent)  # noqa: S301
        for rows in expected:
            torch.testing.assert_close(model.outputs(ROWS.to(rows.dtype)), rows, rtol=0, atol=0)
        again = evaluator.at(ROWS.double().numpy(), np.zeros(len(ROWS), dtype=np.int64))
        np.testing.assert_array_equal(again, at)
    assert model.output_names == MADE.CLASSES


def test_what_the_caller_says_comes_first(folder: Path) -> None:
    model = as_model(path_of("pt2", folder), outputs="value", output_names=["x", "y", "z"])
    assert (model.kind, model.output_names) == ("value", ("x", "y", "z"))


@pytest.mark.parametrize("form", ["safetensors", "pt2"])
def test_explained_as_a_plain_function_around_it(form: str, folder: Path) -> None:
    """By the stem of what is in the file; genes by the names that are said."""
    genes = [f"g{j}" for j in range(20)]
    model = as_model(path_of(form, folder), feature_names=genes, device="cpu")
    double = MADE.net().double()

    def plain(rows: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return torch.softmax(double(torch.as_tensor(rows)), dim=1).numpy()

    x = ROWS[:2].double().numpy()
    how: dict[str, Any] = {"lower": -1, "upper": 3, "n_walks": 20, "n_samples": 50, "tau": 0.01}
    found = sx.core.explain(x, model, target="B", names=genes, precision="float64", **how)
    expected = sx.core.explain(x, plain, target=1, **how)
    assert found.params["evaluator"] == "stem"
    np.testing.assert_allclose(found.value, expected.value, rtol=1e-6)
    with pytest.raises(ValueError, match="position 0 holds 'g19', the model expects 'g0'"):
        sx.core.explain(x, model, target="B", names=genes[::-1], **how)


WRONG: dict[str, tuple[str, type[Exception], str]] = {
    "no file": ("gone.onnx", FileNotFoundError, "there is no file 'gone.onnx'"),
    "a pickle": ("model.pt", ValueError, "pickled models are never read"),
    "a pickle of sklearn": ("model.pkl", ValueError, "must be 'model.onnx', 'model.pt2' or"),
    "weights alone": ("w.safetensors", ValueError, "holds weights only: name a callable"),
    "no factory": ("w.safetensors+nets", ValueError, "must be 'package.module:callable'"),
    "no module": ("w.safetensors+nowhere:make", ValueError, "'nowhere:make' cannot be imported"),
    "no callable": ("w.safetensors+test_nets_in_files:no", ValueError, "cannot be imported"),
    "no net": ("w.safetensors+test_nets_in_files:nothing", TypeError, "must make a torch.nn.Mod"),
    "another net": ("w.safetensors+test_nets_in_files:wrong", ValueError, "does not hold the wei"),
    "no archive": ("text.pt2", ValueError, "text.pt2 is no archive of torch.export"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_files_are_refused(what: str, folder: Path) -> None:
    path, error, sentence = WRONG[what]
    MADE.write_safetensors(folder / "w.safetensors")
    (folder / "text.pt2").write_text("no archive", encoding="utf-8")
    with pytest.raises(error, match=sentence):
        as_model(path)


def test_pickled_parts_of_an_archive_are_never_read(folder: Path) -> None:
    """Also where torch itself would unpickle them."""
    path_of("pt2", folder)
    with zipfile.ZipFile(folder / "m.pt2") as whole, zipfile.ZipFile("ill.pt2", "w") as ill:
        for name in whole.namelist():
            content = whole.read(name)
            if name.endswith("weights_config.json"):
                config = json.loads(content)
                config["config"]["0.weight"]["use_pickle"] = True
                content = json.dumps(config).encode()
            ill.writestr(name, content)
    with pytest.raises(ValueError, match=r"has pickled parts, which are never read: 0\.weight"):
        as_model("ill.pt2")
    with zipfile.ZipFile("old.pt2", "w") as old:
        old.writestr("archive/serialized_state_dict.pt", pickle.dumps({}))
    with pytest.raises(ValueError, match="no archive that torch.export.save of torch 2.8"):
        as_model("old.pt2")


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ({"outputs": "odds"}, "its `outputs` are 'odds'; they may be"),
        ({"output_names": "A,B"}, "`output_names` must be a JSON list of names; got 'A,B'"),
    ],
)
def test_metadata_that_cannot_be_read(told: dict[str, str], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        read_description(told)
