"""ONNX files and sessions of onnxruntime as models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sensx_sc.models.described import Described, read_description
from sensx_sc.models.fixed_batch import in_batches
from sensx_sc.models.model import as_matrix

if TYPE_CHECKING:
    from torch import Tensor

_TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64}
CPU = torch.device("cpu")


def is_onnx_session(model: object) -> bool:
    """Whether an object is a session of onnxruntime, which is not loaded to find out."""
    return type(model).__module__.startswith("onnxruntime") and hasattr(model, "get_inputs")


class OnnxModel:
    """An ONNX graph of rows (B, n), run by onnxruntime.

    It must have one input of two dimensions, float or double; the number of rows may be fixed.
    Its outputs are those that are called probabilities, or the only one that is numeric. Names and
    the kind of the outputs are read from the model's metadata, see
    :mod:`sensx_sc.models.described`.

    Parameters
    ----------
    model
        Path of a file, or a session.
    said
        What the caller says of the model.
    device
        Where it runs: on a CUDA device if onnxruntime can, else on the CPU.

    Raises
    ------
    ValueError
        The graph is not of that form, or the device cannot be used.
    """

    def __init__(self, model: Any, said: Described, device: torch.device) -> None:
        self.source = model
        self._providers = _providers(device)
        self._content = None if is_onnx_session(model) else Path(model).read_bytes()
        self._session: Any = model if self._content is None else None
        session = self.session
        self.name = "ONNX model" if self._content is None else Path(model).name
        entries = session.get_inputs()
        if len(entries) != 1 or len(entries[0].shape) != 2 or entries[0].type not in _TYPES:
            found = ", ".join(f"{e.name}: {e.type} {e.shape}" for e in entries)
            msg = (
                f"{self.name} must have one input of rows (B, n), float or double; it has {found}."
            )
            raise ValueError(msg)
        self._input, self._kind = entries[0].name, _TYPES[entries[0].type]
        rows, columns = entries[0].shape
        self._batch = rows if isinstance(rows, int) and rows > 0 else None
        self._n = columns if isinstance(columns, int) else None
        self._output, guessed = _output(session, self.name)
        told = said.completed(read_description(session.get_modelmeta().custom_metadata_map))
        self.kind = told.outputs or guessed
        self.feature_names, self.output_names = told.feature_names, told.output_names
        self.dtypes: tuple[torch.dtype, ...] = (
            torch.float32 if self._kind is np.float32 else torch.float64,
        )
        self.input_range: tuple[float, float] | None = None

    @property
    def session(self) -> Any:
        """The session; opened where the model is, for it does not travel to other processes."""
        if self._session is None:
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = torch.get_num_threads()
            self._session = onnxruntime.InferenceSession(
                self._content, options, providers=self._providers
            )
        return self._session

    def __getstate__(self) -> dict[str, Any]:
        if self._content is None:
            msg = (
                "a session of onnxruntime cannot be sent to other processes; give the path of its "
                "file instead."
            )
            raise TypeError(msg)
        return self.__dict__ | {"_session": None}

    def device(self, dtype: torch.dtype) -> torch.device:
        return CPU

    def outputs(self, rows: Tensor) -> Tensor:
        if self._n is not None and rows.shape[1] != self._n:
            msg = f"{self.name} takes rows of {self._n} features; got {rows.shape[1]}."
            raise ValueError(msg)
        values = np.ascontiguousarray(rows.numpy(), dtype=self._kind)
        returned = torch.as_tensor(in_batches(self._run, values, self._batch))
        return returned.reshape(as_matrix(tuple(returned.shape), len(rows), self.name))

    def _run(self, rows: np.ndarray) -> np.ndarray:
        (found,) = self.session.run([self._output], {self._input: rows})
        if isinstance(found, list):  # a map from classes to probabilities for each row
            if self.output_names is None:
                self.output_names = tuple(map(str, found[0]))
            found = [list(row.values()) for row in found]
        return np.asarray(found)


def _output(session: Any, name: str) -> tuple[str, Any]:
    """The name of the output that is explained, and what it is unless the caller says."""
    entries = session.get_outputs()
    likely = [e for e in entries if "prob" in e.name.lower()]
    numeric = [e for e in entries if e.type in _TYPES or e.type.startswith("seq(map")]
    chosen = likely if len(likely) == 1 else numeric
    if len(chosen) != 1:
        found = ", ".join(f"{e.name}: {e.type}" for e in entries)
        msg = f"{name} must have one numeric output, or one called probabilities; it has {found}."
        raise ValueError(msg)
    return chosen[0].name, "probability" if likely else "value"


def _providers(device: torch.device) -> list[Any]:
    """What onnxruntime is to run on, best first."""
    try:
        import onnxruntime
    except ImportError as error:
        msg = "ONNX models need onnxruntime: pip install 'sensx_sc[onnx]'."
        raise ImportError(msg) from error
    available = onnxruntime.get_available_providers()
    if device.type != "cuda" or "CUDAExecutionProvider" not in available:
        return ["CPUExecutionProvider"]
    return [("CUDAExecutionProvider", {"device_id": device.index or 0}), "CPUExecutionProvider"]
