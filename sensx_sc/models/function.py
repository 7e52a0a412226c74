"""Any callable on rows as a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from sensx_sc.models.model import as_matrix

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from sensx_sc.models.model import OutputKind

CPU = torch.device("cpu")
RowKind = Literal["numpy", "torch"]


@dataclass(frozen=True)
class FunctionModel:
    """A function of rows (B, n), arrays or tensors, that returns (B,) or (B, K).

    Rows come in float64 where the function takes them, so that its own rounding is all there is.
    """

    source: Callable[[Any], Any]
    rows: RowKind
    dtypes: tuple[torch.dtype, ...]
    name: str
    kind: OutputKind = "value"
    feature_names: tuple[str, ...] | None = None
    output_names: tuple[str, ...] | None = None
    input_range: tuple[float, float] | None = None
    where: torch.device = CPU

    def device(self, dtype: torch.dtype) -> torch.device:
        return self.where

    def outputs(self, rows: Tensor) -> Tensor:
        returned = self.source(rows if self.rows == "torch" else rows.numpy())
        if not isinstance(returned, torch.Tensor):
            returned = torch.as_tensor(_numeric(returned, self.name))
        return returned.reshape(as_matrix(tuple(returned.shape), len(rows), self.name))


def _numeric(returned: object, name: str) -> np.ndarray:
    try:
        return np.asarray(returned, dtype=np.float64)
    except (TypeError, ValueError) as error:
        kind = getattr(getattr(returned, "dtype", None), "kind", None)
        text = "text: explain scores or probabilities, not labels"
        what = text if kind in ("O", "S", "T", "U") else type(returned).__name__
        msg = f"the model ({name}) must return numbers, one row for each input row; got {what}."
        raise TypeError(msg) from error


def function_model(
    function: Callable[[Any], Any],
    example: np.ndarray,
    *,
    rows: RowKind | None = None,
    device: torch.device | None = None,
    **described: Any,
) -> FunctionModel:
    """Find out on two example rows whether a function takes arrays or tensors, and which type.

    Raises
    ------
    ValueError
        It takes neither, with what it said to each.
    """
    name = getattr(function, "__name__", type(function).__name__)
    where = device or CPU
    kinds: tuple[RowKind, ...] = ("numpy", "torch") if rows is None else (rows,)
    refusals: dict[str, list[str]] = {}
    for kind in kinds:
        accepted = []
        for dtype in (torch.float64, torch.float32):
            if kind == "torch" and where.type == "mps" and dtype == torch.float64:
                continue
            model = FunctionModel(
                function,
                kind,
                (dtype,),
                name,
                where=where if kind == "torch" else CPU,
                **described,
            )
            tensor = torch.as_tensor(example, dtype=dtype, device=model.device(dtype))
            # A black box may raise anything; what it said is passed on.
            try:
                with torch.inference_mode():
                    model.outputs(tensor)
            except Exception as error:  # noqa: BLE001
                said = f"{type(error).__name__}: {error}"
                refusals.setdefault(said, []).append(f"{kind} {dtype}".replace("torch.", ""))
            else:
                accepted.append(dtype)
        if accepted:
            return FunctionModel(
                function,
                kind,
                tuple(accepted),
                name,
                where=model.where,
                **described,
            )
    told = "; ".join(f"{said} (rows: {', '.join(kinds)})" for said, kinds in refusals.items())
    msg = f"the model ({name}) failed on example rows of {example.shape[1]} features: {told}"
    raise ValueError(msg)
