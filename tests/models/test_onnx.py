"""ONNX graphs: their form, their names, where they run, how they travel."""

from __future__ import annotations

import pickle
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from sensx_sc.models import as_model
from sensx_sc.models.fixed_batch import in_batches
from sensx_sc.models.onnx import _providers, is_onnx_session

MADE = SimpleNamespace(**runpy.run_path(str(Path(__file__).parent / "model_files.py")))
ROWS = torch.linspace(-1, 3, 5 * 20).reshape(5, 20)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "m.onnx"


def test_double_graphs_are_given_doubles(path: Path) -> None:
    MADE.write_onnx(path, kind=onnx.TensorProto.DOUBLE)
    model = as_model(path)
    assert model.dtypes == (torch.float64,)
    expected = MADE.net().double()(ROWS.double()).detach()
    torch.testing.assert_close(model.outputs(ROWS.double()), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("output", "kind"), [("logits", "value"), ("probabilities", "probability")]
)
def test_outputs_are_values_unless_they_are_called_probabilities(
    output: str, kind: str, path: Path
) -> None:
    MADE.write_onnx(path, output=output, softmax=output != "logits")
    assert as_model(path).kind == kind
    assert as_model(path, outputs="logit").kind == "logit"


def test_a_session_is_a_model_that_stays_where_it_is(path: Path) -> None:
    MADE.write_onnx(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert is_onnx_session(session)
    assert not is_onnx_session(lambda rows: rows)
    model = as_model(session)
    torch.testing.assert_close(model.outputs(ROWS), as_model(path).outputs(ROWS))
    with pytest.raises(TypeError, match="cannot be sent to other processes; give the path"):
        pickle.dumps(model)


def test_a_file_travels_with_its_content(path: Path) -> None:
    MADE.write_onnx(path)
    model = as_model(path)
    expected = model.outputs(ROWS)
    sent = pickle.dumps(model)
    path.unlink()
    torch.testing.assert_close(pickle.loads(sent).outputs(ROWS), expected, rtol=0, atol=0)  # noqa: S301


def test_two_inputs_are_refused(path: Path) -> None:
    MADE.write_onnx(path, inputs=2)
    with pytest.raises(ValueError, match=r"must have one input of rows \(B, n\).*it has x: tensor"):
        as_model(path)


def test_other_numbers_of_features_are_refused(path: Path) -> None:
    MADE.write_onnx(path)
    with pytest.raises(ValueError, match="m.onnx takes rows of 20 features; got 7"):
        as_model(path).outputs(ROWS[:, :7])


def test_a_gpu_is_used_where_onnxruntime_can(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _providers(torch.device("cpu")) == ["CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert _providers(torch.device("cuda:1")) == ["CPUExecutionProvider"]
    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: both)
    assert _providers(torch.device("cuda:1"))[0] == ("CUDAExecutionProvider", {"device_id": 1})


@pytest.mark.parametrize("batch", [None, 1, 3, 5, 8])
def test_rows_come_back_whatever_the_batch(batch: int | None) -> None:
    sizes: list[int] = []

    def call(rows: np.ndarray) -> np.ndarray:
        sizes.append(len(rows))
        return rows[:, :2]

    rows = np.arange(15.0).reshape(5, 3)
    np.testing.assert_array_equal(in_batches(call, rows, batch), rows[:, :2])
    assert set(sizes) == {batch or 5}
