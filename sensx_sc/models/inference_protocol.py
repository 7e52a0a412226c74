"""Requests and answers of the Open Inference Protocol, version 2: KServe, Triton, MLServer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

BINARY_HEADER = "Inference-Header-Content-Length"
"""Header of the extension for tensors as bytes: how long the JSON before them is."""

_NUMPY: dict[str, np.dtype[Any]] = {
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
_RETURNED = _NUMPY | {
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "BOOL": np.dtype("?"),
}


class AnswerError(ValueError):
    """An answer that is not one to the request: the end of a sentence."""


@dataclass(frozen=True)
class Signature:
    """What a served model takes and returns.

    Attributes
    ----------
    input_name, output_name
        Names of its tensors; an empty output name: the first one.
    datatype
        ``"FP32"`` or ``"FP64"``.
    n_features
        Columns of a row; None where the server does not say.
    """

    input_name: str
    output_name: str
    datatype: str
    n_features: int | None = None

    @property
    def dtype(self) -> np.dtype[Any]:
        return _NUMPY[self.datatype]


def signature(
    metadata: Mapping[str, Any],
    *,
    input_name: str | None = None,
    output_name: str | None = None,
    datatype: str | None = None,
) -> Signature:
    """The signature in a model's metadata, or as the caller says.

    Raises
    ------
    ValueError
        Several tensors of which none is chosen, one that is not there, or one of other numbers.
    """
    chosen = _tensor(metadata.get("inputs", []), input_name, "input_name")
    returned = _tensor(metadata.get("outputs", []), output_name, "output_name", first=True)
    datatype = datatype or str(chosen.get("datatype", "FP32"))
    if datatype not in ("FP32", "FP64"):
        msg = (
            f"the input {chosen.get('name')!r} of the served model has datatype {datatype!r}; "
            "rows of FP32 or FP64 can be sent."
        )
        raise ValueError(msg)
    shape = list(chosen.get("shape", []))
    n = int(shape[-1]) if len(shape) > 1 and int(shape[-1]) > 0 else None
    return Signature(str(chosen["name"]), str(returned.get("name", "")), datatype, n)


def _tensor(
    tensors: list[dict[str, Any]], name: str | None, argument: str, *, first: bool = False
) -> dict[str, Any]:
    names = [str(tensor.get("name")) for tensor in tensors]
    if name is not None:
        if tensors and name not in names:
            msg = f"`{argument}` {name!r} is not there; the served model has {_listed(names)}."
            raise ValueError(msg)
        return next((t for t in tensors if t.get("name") == name), {"name": name})
    if len(tensors) == 1 or (first and not tensors):
        return tensors[0] if tensors else {}
    msg = f"pass `{argument}`: the served model has {_listed(names)}."
    raise ValueError(msg)


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names)) or "none that it names"


def encode(rows: NDArray[Any], about: Signature, *, binary: bool) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a request for rows (B, n).

    Parameters
    ----------
    binary
        Numbers as bytes behind the JSON: the extension of KServe and Triton.
    """
    values = np.ascontiguousarray(rows, dtype=about.dtype)
    tensor: dict[str, Any] = {
        "name": about.input_name,
        "shape": list(values.shape),
        "datatype": about.datatype,
    }
    request: dict[str, Any] = {"inputs": [tensor]}
    if about.output_name:
        request["outputs"] = [{"name": about.output_name}]
    if not binary:
        tensor["data"] = values.ravel().tolist()
        body = json.dumps(request, allow_nan=False).encode()
        return body, {"Content-Type": "application/json"}
    tensor["parameters"] = {"binary_data_size": values.nbytes}
    for output in request.setdefault("outputs", []):
        output["parameters"] = {"binary_data": True}
    head = json.dumps(request).encode()
    headers = {"Content-Type": "application/octet-stream", BINARY_HEADER: str(len(head))}
    return head + values.tobytes(), headers


def decode(body: bytes, headers: Mapping[str, str], n_rows: int, about: Signature) -> Floats:
    """Outputs (B, K) of an answer.

    Raises
    ------
    AnswerError
        It is no such answer, or not for so many rows.
    """
    length = headers.get(BINARY_HEADER)
    try:
        head = body if length is None else body[: int(length)]
        tail = b"" if length is None else body[int(length) :]
        answer = json.loads(head)
        tensors = list(answer["outputs"])
        values, shape = _values(tensors, tail, about.output_name)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        msg = f"it is no answer of the protocol ({type(error).__name__}: {str(error)[:120]})"
        raise AnswerError(msg) from None
    if len(values) != int(np.prod(shape)) or not shape or shape[0] != n_rows:
        msg = f"its output has shape {shape} with {len(values)} numbers for {n_rows} rows"
        raise AnswerError(msg)
    return values.reshape(n_rows, -1)


def _values(
    tensors: list[dict[str, Any]], tail: bytes, name: str
) -> tuple[Floats, tuple[int, ...]]:
    """Numbers and shape of one output; bytes follow in the order of the outputs."""
    first = 0
    for tensor in tensors:
        size = int(tensor.get("parameters", {}).get("binary_data_size", 0))
        if not name or tensor["name"] == name:
            shape = tuple(int(n) for n in tensor["shape"])
            if "data" in tensor:
                values = np.asarray(tensor["data"], dtype=np.float64).ravel()
            else:
                kind = _RETURNED[tensor["datatype"]]
                values = np.frombuffer(tail[first : first + size], dtype=kind).astype(np.float64)
            return values, shape
        first += size
    raise KeyError(name)
