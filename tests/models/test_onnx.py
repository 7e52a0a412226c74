"""ONNX graphs: their form, their names, where they run, how they travel."""

from __future__ import annotations

import logging
import pickle
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import sensx_sc as sx
from sensx_sc.evaluators.reduced_precision import reduced_precision
from sensx_sc.models import Onnx, as_model
from sensx_sc.models.fixed_batch import in_batches
from sensx_sc.models.onnx import is_onnx_session, providers

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


def test_two_inputs_follow_each_other_in_a_row(path: Path) -> None:
    MADE.write_onnx(path, inputs=2)  # the second of which nothing reads
    model = as_model(path)
    rows = torch.cat([ROWS, ROWS + 1], dim=1)
    torch.testing.assert_close(model.outputs(rows), MADE.net()(ROWS).detach())
    swapped = Onnx(path, features=["y", "x"])
    torch.testing.assert_close(swapped.outputs(rows.roll(20, dims=1)), model.outputs(rows))


def test_a_file_that_is_none_is_refused(path: Path) -> None:
    path.write_bytes(b"no graph")
    with pytest.raises(ValueError, match="onnxruntime cannot read m.onnx: "):
        as_model(path)


def test_other_numbers_of_features_are_refused(path: Path) -> None:
    MADE.write_onnx(path)
    with pytest.raises(ValueError, match="m.onnx takes rows of 20 features; got 7"):
        as_model(path).outputs(ROWS[:, :7])


def test_a_gpu_is_used_where_onnxruntime_can(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert providers(torch.device("cpu")) == ["CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with caplog.at_level(logging.INFO, logger="sensx_sc"):
        assert providers(torch.device("cuda:1")) == ["CPUExecutionProvider"]
    assert "has no CUDA provider, so the model runs on the CPU" in caplog.text
    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: both)
    on_gpu = {"device_id": 1, "use_tf32": 0}
    assert providers(torch.device("cuda:1"))[0] == ("CUDAExecutionProvider", on_gpu)


def test_a_session_that_cuts_products_is_known(path: Path) -> None:
    """TF32 is what onnxruntime does on a GPU unless it is told not to."""
    MADE.write_onnx(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    class OnGpu:
        __module__ = "onnxruntime.test"

        def __init__(self, told: dict[str, str]) -> None:
            self.told = told

        def __getattr__(self, name: str) -> Any:
            return getattr(session, name)

        def get_provider_options(self) -> dict[str, dict[str, str]]:
            return {"CUDAExecutionProvider": self.told}

    for told, expected in (({}, "TF32"), ({"use_tf32": "1"}, "TF32"), ({"use_tf32": "0"}, None)):
        model = as_model(OnGpu(told))
        found = reduced_precision(model, ROWS[:1].numpy(), model.outputs(ROWS).double().numpy())
        assert (None if found is None else found.name) == expected


@pytest.mark.parametrize("batch", [None, 1, 3, 5, 8])
def test_rows_come_back_whatever_the_batch(batch: int | None) -> None:
    sizes: list[int] = []

    def call(rows: np.ndarray) -> np.ndarray:
        sizes.append(len(rows))
        return rows[:, :2]

    rows = np.arange(15.0).reshape(5, 3)
    np.testing.assert_array_equal(in_batches(call, rows, batch), rows[:, :2])
    assert set(sizes) == {batch or 5}


GENES = [f"g{j}" for j in range(20)]
HOW: dict[str, Any] = {"lower": -1, "upper": 3, "n_walks": 20, "n_samples": 50, "tau": 0.01,
                       "names": GENES}  # fmt: skip


@pytest.mark.parametrize("kind", ["double", "float"])
@pytest.mark.parametrize("rows", ["batch", 7])
def test_explained_as_a_plain_function_around_it(path: Path, kind: str, rows: Any) -> None:
    onnx_kind = onnx.TensorProto.DOUBLE if kind == "double" else onnx.TensorProto.FLOAT
    MADE.write_onnx(path, kind=onnx_kind, rows=rows, output="probabilities", softmax=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    dtype = np.float64 if kind == "double" else np.float32

    def plain(z: np.ndarray) -> np.ndarray:
        size = 1 if rows == "batch" else rows
        filled = np.concatenate([z, np.repeat(z[-1:], -len(z) % size, axis=0)]).astype(dtype)
        parts = [filled[i : i + size] for i in range(0, len(filled), size)]
        each = filled[None] if rows == "batch" else parts
        return np.concatenate([session.run(None, {"x": z})[0] for z in each])[: len(z)]

    x = ROWS[:2].double().numpy()
    model = as_model(path, feature_names=GENES, output_names=MADE.CLASSES)
    found = sx.core.explain(x, model, target="B", **HOW)
    expected = sx.core.explain(x, plain, target=1, **{**HOW, "names": None})
    assert found.params["evaluator"] == "stem"
    assert expected.params["evaluator"] == "dense"
    by_session = sx.core.explain(x, as_model(session), target=1, **{**HOW, "names": None})
    assert by_session.params["evaluator"] == "dense"  # a session does not show its graph
    assert found.status == expected.status
    tolerance = 1e-6 if kind == "double" else 1e-3  # rounding of a step, divided by its length
    np.testing.assert_allclose(by_session.value, expected.value, rtol=tolerance, atol=1e-7)
    np.testing.assert_allclose(found.qoi, expected.qoi, rtol=1e-6)
    np.testing.assert_allclose(found.delta_star, expected.delta_star)
    np.testing.assert_allclose(found.value, expected.value, rtol=tolerance, atol=1e-7)
    assert (found.value > 0).all()


def test_genes_are_matched_by_name(path: Path) -> None:
    MADE.write_onnx(path, kind=onnx.TensorProto.DOUBLE)
    x = ROWS[:1].double().numpy()
    model = as_model(path, feature_names=GENES)
    with pytest.raises(ValueError, match="another order than the model's"):
        sx.core.explain(x, model, target=0, **{**HOW, "names": GENES[::-1]})
    with pytest.raises(ValueError, match="1 missing: g19; 1 unknown to the model: other"):
        sx.core.explain(x, model, target=0, **{**HOW, "names": [*GENES[:19], "other"]})
    with pytest.raises(ValueError, match="`feature_names` has 19 names; m.onnx takes 20 features"):
        as_model(path, feature_names=GENES[1:])
    wide = [*GENES[::-1], "other"]
    by_name = as_model(model, columns=wide)
    rows = np.concatenate([x[:, ::-1], [[0.5]]], axis=1)
    r = sx.core.explain(rows, by_name, target=0, **{**HOW, "names": wide})
    straight = sx.core.explain(x, model, target=0, keys=[0], **HOW)
    np.testing.assert_allclose(r.qoi, straight.qoi)
    assert r.value[0, -1] == 0


def write_scores(path: Path, entries: dict[str, tuple[Any, int]], nodes: list[Any]) -> None:
    """A graph with some inputs whose output is ``score``."""
    graph = onnx.helper.make_graph(
        nodes, "g",
        [onnx.helper.make_tensor_value_info(n, *told) for n, told in entries.items()],
        [onnx.helper.make_tensor_value_info("score", onnx.TensorProto.DOUBLE, None)],
    )  # fmt: skip
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), path)


def test_an_input_for_each_gene_names_the_genes(path: Path) -> None:
    """As a table is exported: a named input for each column."""
    double = onnx.TensorProto.DOUBLE
    node = onnx.helper.make_node
    write_scores(
        path,
        {name: (double, ["n", 1]) for name in ("CD3D", "CD79A", "NKG7")},
        [node("Mul", ["CD3D", "CD79A"], ["p"]), node("Sub", ["p", "NKG7"], ["score"])],
    )
    model = as_model(path)
    assert model.feature_names == ("CD3D", "CD79A", "NKG7")
    rows = torch.as_tensor([[2.0, 3.0, 1.0], [1.0, 1.0, 4.0]], dtype=torch.float64)
    np.testing.assert_allclose(model.outputs(rows)[:, 0], [5, -3])
    how = {"lower": 0, "upper": 5, "n_walks": 20, "n_samples": 50, "tau": 0.01}
    r = sx.core.explain(rows.numpy(), model, names=["CD3D", "CD79A", "NKG7"], **how)
    np.testing.assert_allclose(r.mean[:, 2], -1)
    with pytest.raises(ValueError, match="position 0 holds 'NKG7', the model expects 'CD3D'"):
        sx.core.explain(rows.numpy(), model, names=["NKG7", "CD79A", "CD3D"], **how)


def test_what_is_no_feature_is_held_or_fixed(path: Path, adata: Any) -> None:
    """Score = (sum of genes) * temperature + age + bias[batch]."""
    double, node = onnx.TensorProto.DOUBLE, onnx.helper.make_node
    bias = onnx.numpy_helper.from_array(np.array([0.0, 10.0, 20.0]), "table")
    write_scores(
        path,
        {
            "genes": (double, ["n", 3]), "age": (double, ["n", 1]),
            "batch": (onnx.TensorProto.INT64, ["n"]), "temperature": (double, [1]),
        },
        [
            node("Constant", [], ["table"], value=bias),
            node("ReduceSum", ["genes"], ["s"], keepdims=0, noop_with_empty_axes=0),
            node("Constant", [], ["axis"], value=onnx.numpy_helper.from_array(np.array([1]), "a")),
            node("ReduceSum", ["genes", "axis"], ["total"], keepdims=1),
            node("Mul", ["total", "temperature"], ["hot"]),
            node("Add", ["hot", "age"], ["aged"]),
            node("Gather", ["table", "batch"], ["b"]),
            node("Unsqueeze", ["b", "axis"], ["column"]),
            node("Add", ["aged", "column"], ["score"]),
        ],
    )  # fmt: skip
    few = adata[:4, :3].copy()
    few.obs["years"], few.obs["code"] = [1.0, 2.0, 3.0, 4.0], [0, 1, 2, 0]
    model = Onnx(
        path, held={"age": "years", "batch": "code"}, fixed={"temperature": 2.0},
        feature_names=few.var_names,
    )  # fmt: skip
    assert model.held_names == ("years", "code")
    sx.tl.sensx(
        few, model, lower=0, upper=10, n_walks=20, n_samples=50, statistics=("value", "mean")
    )
    genes = few.X.toarray() if hasattr(few.X, "toarray") else few.X
    expected = 2 * genes.sum(axis=1) + [1, 2, 3, 4] + np.array([0.0, 10, 20, 0])
    np.testing.assert_allclose(few.obs["sensx_qoi"], expected, rtol=1e-6)
    np.testing.assert_allclose(few.layers["sensx_mean"], 2, rtol=1e-6)
    with pytest.raises(ValueError, match=r"must take features as rows .*has genes: tensor\(double"):
        as_model(path)
    with pytest.raises(ValueError, match="reads 'years', 'code' beside .* pass `feature_names`"):
        Onnx(path, held={"age": "years", "batch": "code"}, fixed={"temperature": 2.0})
    few.obs["code"] = ["x", "y", "z", "x"]
    with pytest.raises(
        ValueError, match=r"adata.obs\['code'\] holds .* m.onnx wants numbers: hold"
    ):
        sx.tl.sensx(few, model, lower=0, upper=10)
    del few.obs["years"]
    with pytest.raises(KeyError, match="m.onnx reads the covariate 'years', which is not a column"):
        sx.tl.sensx(few, model, lower=0, upper=10)


def test_the_output_that_is_asked_for(path: Path) -> None:
    node, double = onnx.helper.make_node, onnx.TensorProto.DOUBLE
    graph = onnx.helper.make_graph(
        [node("Neg", ["x"], ["embedding"]), node("Softmax", ["x"], ["probabilities"], axis=1)], "g",
        [onnx.helper.make_tensor_value_info("x", double, ["n", 3])],
        [onnx.helper.make_tensor_value_info(name, double, ["n", 3])
         for name in ("embedding", "probabilities")],
    )  # fmt: skip
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    rows = torch.as_tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)
    assert as_model(path).kind == "probability"
    np.testing.assert_allclose(as_model(path).outputs(rows).sum(), 1)
    other = Onnx(path, output="embedding")
    assert other.kind == "value"
    np.testing.assert_allclose(other.outputs(rows), -rows)
    with pytest.raises(ValueError, match=r"it has embedding: .*Name one: sx.models.Onnx\(path"):
        Onnx(path, output="logits")
