"""ONNX graphs of usual layers: the numbers of onnxruntime, by a stem."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import sensx_sc as sx
from sensx_sc.evaluators.choose import choose_evaluator
from sensx_sc.evaluators.graph.columns import NoStemError
from sensx_sc.evaluators.graph.onnx_graph import onnx_module
from sensx_sc.models.qoi import make_response

if TYPE_CHECKING:
    from pathlib import Path

N, HIDDEN, K = 30, 6, 3
RNG = np.random.default_rng(0)
ROWS = torch.as_tensor(RNG.normal(size=(40, N)))
WEIGHTS = {
    "W": RNG.normal(size=(N, HIDDEN)), "Wt": RNG.normal(size=(HIDDEN, N)),
    "V": RNG.normal(size=(HIDDEN, K)), "b": RNG.normal(size=HIDDEN), "c": RNG.normal(size=(1, K)),
    "mean": RNG.normal(size=N), "scale": RNG.random(N) + 0.5, "two": np.array(2.0),
    "low": np.array(-1.0), "high": np.array(1.5), "var": RNG.random(HIDDEN) + 0.1,
    "table": RNG.normal(size=(7, K)),
}  # fmt: skip
node = helper.make_node
AFFINE = [node("MatMul", ["x", "W"], ["h"])]
LAST = [node("MatMul", ["a", "V"], ["y"])]
GRAPHS: dict[str, list[Any]] = {
    "gemm": [
        node("Gemm", ["x", "Wt", "b"], ["h"], transB=1, alpha=0.5, beta=2.0),
        node("Relu", ["h"], ["a"]), *LAST,
    ],
    "scaled before": [
        node("Sub", ["x", "mean"], ["s"]), node("Div", ["s", "scale"], ["z"]),
        node("Clip", ["z", "low", "high"], ["z2"]), node("MatMul", ["z2", "W"], ["h"]),
        node("Add", ["b", "h"], ["h2"]), node("Tanh", ["h2"], ["a"]), *LAST,
        node("Softmax", ["y"], ["p"], axis=-1),
    ],
    "batch norm": [
        *AFFINE, node("BatchNormalization", ["h", "b", "b", "b", "var"], ["n"], epsilon=1e-3),
        node("LeakyRelu", ["n"], ["a"], alpha=0.2), *LAST,
    ],
    "constants first": [
        *AFFINE, node("Sub", ["two", "h"], ["s"]), node("Mul", ["s", "two"], ["m"]),
        node("Div", ["two", "m"], ["d"]), node("Elu", ["d"], ["a"], alpha=0.7), *LAST,
        node("LogSoftmax", ["y"], ["p"], axis=1),
    ],
    "branches": [
        *AFFINE, node("Sigmoid", ["h"], ["g"]), node("Mul", ["h", "g"], ["a"]), *LAST,
        node("Add", ["y", "c"], ["y2"]), node("Concat", ["y", "y2"], ["both"], axis=1),
        node("Identity", ["both"], ["q"]), node("Dropout", ["q"], ["p"]),
    ],
    "gelu": [*AFFINE, node("Gelu", ["h"], ["a"]), *LAST, node("Flatten", ["y"], ["p"])],
    "a constant in a node": [
        node("Constant", [], ["k"], value=numpy_helper.from_array(np.float32(0.3).reshape(()))),
        *AFFINE, node("Add", ["h", "k"], ["a0"]), node("Softplus", ["a0"], ["a"]), *LAST,
        node("MatMul", ["a", "V"], ["never asked for"]),
    ],
    "the parts of gelu": [
        *AFFINE, node("Div", ["h", "two"], ["e0"]), node("Erf", ["e0"], ["e"]),
        node("Mul", ["h", "e"], ["g"]), node("Cast", ["g"], ["a"], to=TensorProto.FLOAT), *LAST,
    ],
}  # fmt: skip


def write(path: Path, nodes: list[Any], *, kind: int = TensorProto.DOUBLE) -> None:
    dtype = np.float64 if kind == TensorProto.DOUBLE else np.float32
    used = {name for one in nodes for name in one.input}
    last = nodes[-1].output[0] if nodes[-1].output[0] != "never asked for" else "y"
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", kind, ["n", N])],
        [helper.make_tensor_value_info(last, kind, None)],
        [numpy_helper.from_array(np.asarray(v, dtype=dtype), name)
         for name, v in WEIGHTS.items() if name in used],
    )  # fmt: skip
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)


DOUBLE = ("gemm", "scaled before", "branches")  # onnxruntime has the others in float only


@pytest.mark.parametrize("name", GRAPHS)
def test_the_numbers_of_onnxruntime_by_a_stem(name: str, tmp_path: Path) -> None:
    path, double = tmp_path / "m.onnx", name in DOUBLE
    write(path, GRAPHS[name], kind=TensorProto.DOUBLE if double else TensorProto.FLOAT)
    model = sx.models.as_model(path)
    (dtype,) = model.dtypes
    assert dtype == (torch.float64 if double else torch.float32)
    rows = ROWS.to(dtype)
    expected = model.outputs(rows)
    with torch.inference_mode():
        found = onnx_module(model, dtype)(rows)
    tolerance = 1e-9 if double else 1e-4
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    evaluator, why = choose_evaluator(
        make_response(model), np.dtype(str(dtype).removeprefix("torch.")), 64, ROWS[:3].numpy()
    )
    assert evaluator.name == "stem", why


@pytest.mark.parametrize("name", DOUBLE)
def test_explained_as_a_plain_function_around_it(name: str, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    write(path, GRAPHS[name])
    model = sx.models.as_model(path)
    how = {"lower": -4, "upper": 4, "n_walks": 20, "n_samples": 50, "tau": 1e-3, "target": 0}
    fast = sx.core.explain(ROWS[:2].numpy(), model, **how)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    slow = sx.core.explain(ROWS[:2].numpy(), lambda z: session.run(None, {"x": z})[0], **how)
    assert fast.params["evaluator"] == "stem"
    np.testing.assert_allclose(fast.value, slow.value, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(fast.delta_star, slow.delta_star)


def test_single_precision_stays_single(tmp_path: Path) -> None:
    write(tmp_path / "m.onnx", GRAPHS["gemm"], kind=TensorProto.FLOAT)
    model = sx.models.as_model(tmp_path / "m.onnx")
    module = onnx_module(model, torch.float32)
    assert {p.dtype for p in module.parameters()} == {torch.float32}
    with torch.inference_mode():
        found = module(ROWS.float())
    torch.testing.assert_close(found, model.outputs(ROWS.float()), rtol=1e-4, atol=1e-4)


REFUSED: dict[str, tuple[list[Any], str]] = {
    "unknown": ([*AFFINE, node("Sin", ["h"], ["a"]), *LAST], "its node Sin is none of those"),
    "other axis": ([*AFFINE, node("Softmax", ["h"], ["a"], axis=0), *LAST], "its node Softmax"),
    "a row each": (
        [*AFFINE, node("MatMul", ["h", "V"], ["y0"]), node("Add", ["y0", "table"], ["y"])],
        "its node Add is none of those",
    ),
    "to whole numbers": (
        [*AFFINE, node("Cast", ["h"], ["i"], to=TensorProto.INT64),
         node("Cast", ["i"], ["a"], to=TensorProto.DOUBLE), *LAST],
        "its node Cast",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_known_is_evaluated_row_by_row(name: str, tmp_path: Path) -> None:
    nodes, why = REFUSED[name]
    write(tmp_path / "m.onnx", nodes)
    if name in ("a row each", "other axis"):  # which are refused as models of rows, too
        model: Any = type("Shown", (), {"content": (tmp_path / "m.onnx").read_bytes()})()
        model.explained = "y"
        with pytest.raises(NoStemError, match=why):
            onnx_module(model, torch.float64)
        return
    model = sx.models.as_model(tmp_path / "m.onnx")
    how = {"lower": -4, "upper": 4, "n_walks": 20, "n_samples": 50}
    plan = sx.core.plan(ROWS[:1].numpy(), model, target=0, **how)
    assert plan.evaluator == "dense"
    assert why in plan.why


def test_a_session_does_not_show_its_graph(tmp_path: Path) -> None:
    write(tmp_path / "m.onnx", GRAPHS["gemm"])
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    with pytest.raises(NoStemError, match="a session of onnxruntime does not show its graph"):
        onnx_module(sx.models.as_model(session), torch.float64)  # type: ignore[arg-type]


def test_a_stage_of_a_chain(tmp_path: Path) -> None:
    write(tmp_path / "m.onnx", GRAPHS["gemm"])
    chain = sx.models.Chain(
        {"scale": lambda z: z / 3, "net": tmp_path / "m.onnx"}, shape=(N,), output_names="abc"
    )
    how = {"lower": -4, "upper": 4, "n_walks": 20, "n_samples": 50, "target": "b"}
    found = sx.core.explain(ROWS[:2].numpy(), chain, **how)
    assert found.params["evaluator"] == "stem"
    np.testing.assert_allclose(found.qoi, chain.outputs(ROWS[:2])[:, 1], rtol=1e-9)
