"""Small models in files of every form, all of the same net."""

from __future__ import annotations

import json
import warnings
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file
from torch import nn

CLASSES = ("A", "B", "C")
NETS = """
from torch import nn

def make():
    return nn.Sequential(nn.Linear(20, 6), nn.Tanh(), nn.Linear(6, 3))

def wrong():
    return nn.Linear(20, 3)

def nothing():
    return 5
"""


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 6), nn.Tanh(), nn.Linear(6, 3)).eval()


def write_safetensors(path: Any, metadata: dict[str, str] | None = None) -> None:
    save_file(net().state_dict(), path, metadata=metadata)


def write_exported(
    path: Any, *, batch: int | None = None, told: dict[str, Any] | None = None
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shapes = None if batch else ({0: torch.export.Dim("batch")},)
        program = torch.export.export(net(), (torch.zeros(batch or 4, 20),), dynamic_shapes=shapes)
        extra = {"sensx.json": json.dumps(told)} if told else None
        torch.export.save(program, path, extra_files=extra)


def write_onnx(
    path: Any, *, rows: int | str = "batch", kind: int = TensorProto.FLOAT,
    output: str = "logits", metadata: dict[str, str] | None = None, softmax: bool = False,
    inputs: int = 1,
) -> None:  # fmt: skip
    dtype = np.float32 if kind == TensorProto.FLOAT else np.float64
    weights = {name: tensor.numpy().astype(dtype) for name, tensor in net().state_dict().items()}
    last = "raw" if softmax else output
    nodes = [
        helper.make_node("Gemm", ["x", "0.weight", "0.bias"], ["h"], transB=1),
        helper.make_node("Tanh", ["h"], ["t"]),
        helper.make_node("Gemm", ["t", "2.weight", "2.bias"], [last], transB=1),
    ]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["raw"], [output], axis=1))
    graph = helper.make_graph(
        nodes, "net",
        [helper.make_tensor_value_info(name, kind, [rows, 20]) for name in ("x", "y")[:inputs]],
        [helper.make_tensor_value_info(output, kind, [rows, 3])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, metadata or {})
    onnx.save(model, path)
