"""The page about models runs as it is written."""

from __future__ import annotations

import re
import runpy
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
SERVED = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "models" / "served.py")))
for name in ("celltypist", "httpx", "lightgbm", "scvi", "uvicorn", "xgboost"):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip(name)


def blocks() -> list[tuple[int, str]]:
    """Line and text of each snippet."""
    text = PAGE.read_text(encoding="utf-8")
    return [
        (text[: found.start(1)].count("\n"), found.group(1))
        for found in re.finditer(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    ]


def write_onnx(net: torch.nn.Sequential, path: str) -> None:
    """The net of the page, as a graph."""
    weights = {name: value.numpy() for name, value in net.state_dict().items()}
    nodes = [
        helper.make_node("Gemm", ["x", "0.weight", "0.bias"], ["h"], transB=1),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "2.weight", "2.bias"], ["y"], transB=1),
    ]
    n_in, n_out = weights["0.weight"].shape[1], len(weights["2.weight"])
    graph = helper.make_graph(
        nodes, "net",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", n_in])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["batch", n_out])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )  # fmt: skip
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)


def write_with_batch(path: str, n_genes: int) -> None:
    """A graph of genes and the code of a batch."""
    weight = np.random.default_rng(0).normal(size=(n_genes, 2)).astype(np.float32)
    bias = np.array([[0.0, 0.5], [1.0, -1.0]], dtype=np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "weight"], ["m"]),
        helper.make_node("Gather", ["bias", "batch"], ["b"]),
        helper.make_node("Add", ["m", "b"], ["raw"]),
        helper.make_node("Tanh", ["raw"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "net",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", n_genes]),
         helper.make_tensor_value_info("batch", onnx.TensorProto.INT64, ["n"])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(bias, "bias")],
    )  # fmt: skip
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)


@pytest.mark.slow
def test_every_snippet_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CELLTYPIST_FOLDER", str(tmp_path / "celltypist"))
    names: dict[str, Any] = {}
    found = blocks()
    assert len(found) > 12

    def served(rows: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            logits = names["net"](torch.as_tensor(rows, dtype=torch.float32))
        return torch.softmax(logits.double(), dim=1).numpy()

    with SERVED.serving(SERVED.Served(served, n_features=300, name="cell-types")) as server:
        for line, code in found:
            if "model.onnx" in code:
                write_onnx(names["net"], "model.onnx")
            if "with_batch.onnx" in code:
                write_with_batch("with_batch.onnx", 300)
            # In place of what is elsewhere: the server of this test. Lines as in the page.
            here = code.replace("https://models.example.org", server.url)
            compiled = compile("\n" * line + here, str(PAGE), "exec")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # those of other libraries
                exec(compiled, names)
    cells = names["cells"]
    keys = ("sensx", "linear", "forest", "xgboost", "lightgbm", "onnx", "held", "remote", "chain")
    for key in (*keys, "each_part"):
        status = cells.obs[f"{key}_status"]
        assert set(status) <= {"resolved", "insensitive", "left_censored", "unsaturated"}, key
    # The served net, the file and the module are one model.
    for key in ("remote", "onnx"):
        np.testing.assert_allclose(cells.obs[f"{key}_qoi"], cells.obs["sensx_qoi"], atol=1e-5)
    assert names["model"].name
    evaluators = {
        key: cells.uns[key]["params"]["evaluator"] for key in ("linear", "forest", "sensx")
    }
    assert evaluators == {"linear": "stem", "forest": "trees", "sensx": "stem"}
    assert set(names["few"].obs["sensx_target"]) <= set(names["trained"].cell_types)
    assert names["some"].uns["behind"]["params"]["evaluator"] == "stem"
    assert names["found"].value.shape == (3, 8)
    asked, encoded = names["chain"].counts()["encoders"]
    assert encoded < asked
    assert {"of_B cells", "of_NK cells"} <= set(cells.layers)


def test_the_page_says_how_each_model_is_evaluated() -> None:
    """Every public adapter is named on the page, and the page is in the list of pages."""
    import sensx_sc as sx

    text = PAGE.read_text(encoding="utf-8")
    for name in set(sx.models.__all__) - {"ExpressionMLP", "Model", "DeepSpot", "fit_mlp"}:
        assert name in text, name
    index = (PAGE.parent / "index.md").read_text(encoding="utf-8")
    assert "\nmodels\n" in index
