"""ONNX files and sessions of onnxruntime as models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sensx_sc.logger import logger
from sensx_sc.models.described import Described, read_description
from sensx_sc.models.devices import find_device
from sensx_sc.models.fixed_batch import in_batches
from sensx_sc.models.model import OutputKind, as_matrix, as_names
from sensx_sc.models.onnx_inputs import FLOATS, read_inputs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from os import PathLike

    import pandas as pd
    from numpy.typing import ArrayLike, NDArray
    from torch import Tensor

CPU = torch.device("cpu")
_TF32 = {"use_tf32": 0}  # products in it scramble small steps


class Onnx:
    """An ONNX graph of rows (B, n), run by onnxruntime.

    Features are its inputs of two dimensions, float or double: one for all, or several that follow
    each other in a row, an input for each feature included (then their names are those of the
    features). The number of rows may be fixed. Names and the kind of the outputs are read from the
    model's metadata, see :mod:`sensx_sc.models.described`.

    Parameters
    ----------
    model
        Path of a file, or a session.
    features
        Names of the inputs that hold features, in the order of the columns; None: all that are
        neither held nor fixed.
    held
        For inputs that are no features, the column or columns of ``adata.obs`` that they get, held
        at each cell's values: numbers, or the codes of categories.
    fixed
        For inputs that are the same for all cells, their value.
    output
        Name of the output that is explained. None: the one that is called probabilities, or the
        only one that is numeric.
    outputs
        What it is: ``"logit"``, ``"probability"`` or ``"value"``.
    feature_names, output_names
        Names, where neither metadata nor inputs say them.
    device
        Where it runs: on a CUDA device if onnxruntime can, without TF32, else on the CPU.

    Attributes
    ----------
    content
        The file; None for a session.
    explained
        Name of the output that is explained.

    Raises
    ------
    ValueError
        The graph is not of that form, an input or output is not there, or the device cannot be
        used.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> model = sx.models.Onnx(  # doctest: +SKIP
    ...     "model.onnx", held={"batch": "batch_code"}, fixed={"temperature": 1.0}
    ... )
    >>> sx.tl.sensx(adata, model)  # doctest: +SKIP
    """

    def __init__(
        self,
        model: str | PathLike[str] | Any,
        *,
        features: str | Sequence[str] | None = None,
        held: Mapping[str, str | Sequence[str]] | None = None,
        fixed: Mapping[str, ArrayLike] | None = None,
        output: str | None = None,
        outputs: OutputKind | None = None,
        feature_names: Sequence[object] | None = None,
        output_names: Sequence[object] | None = None,
        device: str | torch.device = "auto",
    ) -> None:
        self.source = model
        self._providers = providers(find_device(device))
        self.content = None if is_onnx_session(model) else Path(model).read_bytes()
        self._session: Any = model if self.content is None else None
        self.name = "ONNX model" if self.content is None else Path(model).name
        try:
            session = self.session
        except Exception as error:
            msg = f"onnxruntime cannot read {self.name}: {error}"
            raise ValueError(msg) from error
        self._inputs = read_inputs(
            session.get_inputs(), self.name, features=features, held=held, fixed=fixed
        )
        self.explained, guessed = _output(session, self.name, output)
        said = Described(outputs, as_names(feature_names), as_names(output_names))
        told = said.completed(read_description(session.get_modelmeta().custom_metadata_map))
        self.kind: OutputKind = told.outputs or guessed
        self.held_names = self._inputs.columns
        own = told.feature_names or self._inputs.names
        self.feature_names = None if own is None else (*own, *self.held_names)
        self._check_names(own)
        self.output_names = told.output_names
        self.dtypes: tuple[torch.dtype, ...] = (
            torch.float32 if self._inputs.dtype is np.float32 else torch.float64,
        )
        self.input_range: tuple[float, float] | None = None
        self.computes_in = _reduced(session)

    def _check_names(self, names: tuple[str, ...] | None) -> None:
        n = self._inputs.n_features
        if names is not None and n is not None and len(names) != n:
            msg = f"`feature_names` has {len(names)} names; {self.name} takes {n} features."
            raise ValueError(msg)
        if names is None and self.held_names:
            msg = (
                f"{self.name} reads {', '.join(map(repr, self.held_names))} beside its features: "
                "pass `feature_names`, so that one is told from the other."
            )
            raise ValueError(msg)

    @property
    def session(self) -> Any:
        """The session; opened where the model is, for it does not travel to other processes."""
        if self._session is None:
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = torch.get_num_threads()
            self._session = onnxruntime.InferenceSession(
                self.content, options, providers=self._providers
            )
        return self._session

    def __getstate__(self) -> dict[str, Any]:
        if self.content is None:
            msg = (
                "a session of onnxruntime cannot be sent to other processes; give the path of its "
                "file instead."
            )
            raise TypeError(msg)
        return self.__dict__ | {"_session": None}

    def device(self, dtype: torch.dtype) -> torch.device:
        return CPU

    def held_values(self, obs: pd.DataFrame) -> NDArray[np.float64]:
        """The columns behind the features, (n_obs, len(held_names)), from ``adata.obs``.

        Raises
        ------
        KeyError, ValueError
            A column that is not there, or that holds no numbers.
        """
        return self._inputs.held_values(obs, self.name)

    def outputs(self, rows: Tensor) -> Tensor:
        n, n_held = self._inputs.n_features, len(self.held_names)
        if n is not None and rows.shape[1] != n + n_held:
            msg = f"{self.name} takes rows of {n} features; got {rows.shape[1] - n_held}."
            raise ValueError(msg)
        values = rows.detach().cpu().numpy()
        returned = torch.as_tensor(in_batches(self._run, values, self._inputs.batch))
        return returned.reshape(as_matrix(tuple(returned.shape), len(rows), self.name))

    def _run(self, rows: np.ndarray) -> np.ndarray:
        (found,) = self.session.run([self.explained], self._inputs.feed(rows))
        if isinstance(found, list):  # a map from classes to probabilities for each row
            if self.output_names is None:
                self.output_names = tuple(map(str, found[0]))
            found = [list(row.values()) for row in found]
        return np.asarray(found)


def is_onnx_session(model: object) -> bool:
    """Whether an object is a session of onnxruntime, which is not loaded to find out."""
    return type(model).__module__.startswith("onnxruntime") and hasattr(model, "get_inputs")


def _output(session: Any, name: str, chosen: str | None) -> tuple[str, OutputKind]:
    """The name of the output that is explained, and what it is unless the caller says."""
    entries = session.get_outputs()
    found = ", ".join(f"{e.name}: {e.type}" for e in entries)
    likely = [e for e in entries if "prob" in e.name.lower()]
    numeric = [e for e in entries if e.type in FLOATS or e.type.startswith("seq(map")]
    if chosen is not None:
        likely = [e for e in likely if e.name == chosen]
        numeric = [e for e in numeric if e.name == chosen]
    picked = likely if len(likely) == 1 else numeric
    if len(picked) != 1:
        msg = (
            f"{name} must have one numeric output, or one called probabilities; it has {found}. "
            "Name one: sx.models.Onnx(path, output=...)."
        )
        raise ValueError(msg)
    return picked[0].name, "probability" if likely else "value"


def providers(device: torch.device) -> list[Any]:
    """What onnxruntime is to run on, best first."""
    try:
        import onnxruntime
    except ImportError as error:
        msg = "ONNX models need onnxruntime: pip install 'sensx_sc[onnx]'."
        raise ImportError(msg) from error
    if device.type != "cuda":
        return ["CPUExecutionProvider"]
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        logger.info(
            "onnx: this onnxruntime has no CUDA provider, so the model runs on the CPU; "
            "onnxruntime-gpu has one."
        )
        return ["CPUExecutionProvider"]
    on_gpu = {"device_id": device.index or 0} | _TF32
    return [("CUDAExecutionProvider", on_gpu), "CPUExecutionProvider"]


def _reduced(session: Any) -> tuple[str, ...]:
    """What a session computes in that is coarser than its rows, as far as it says."""
    told = session.get_provider_options().get("CUDAExecutionProvider")
    return () if told is None or told.get("use_tf32", "1") == "0" else ("TF32",)
