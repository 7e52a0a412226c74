"""Whether a model computes in reduced precision inside: half types, autocast, TF32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sensx_sc.evaluators.full_precision import full_precision
from sensx_sc.models.model import InTorch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from sensx_sc.models.model import Model

    Floats = NDArray[np.float64]

_PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "linear", "convolution", "matmul")
_FEW = 8  # numbers that may happen to be short
_GRAIN = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "TF32": 2.0**-11}


@dataclass(frozen=True)
class Reduced:
    """What a model computes in.

    Attributes
    ----------
    name
        ``"float16"``, ``"bfloat16"``, ``"TF32"`` or the like.
    grain
        Relative size of its rounding.
    """

    name: str
    grain: float


def reduced_precision(model: Model, row: Floats, outputs: Floats) -> Reduced | None:
    """The coarsest type that a model computes in, if it is coarser than that of its rows.

    What torch does while the model is called is watched; models that do not use torch may say what
    they compute in (``computes_in``), else only outputs are looked at, which show a half type if
    they are in one.

    Parameters
    ----------
    row
        An input, (1, n).
    outputs
        The model's outputs for other inputs, (B, K).

    Returns
    -------
    None where nothing coarse was seen.
    """
    dtype = model.dtypes[0]
    given = torch.as_tensor(row, dtype=dtype, device=model.device(dtype))
    watch = _Watch()
    # What a model may raise is dealt with where it is asked in earnest.
    inner = getattr(model, "inner", model)
    try:
        if isinstance(inner, InTorch):
            inner.module(dtype)  # a copy that is converted before anyone looks
        with full_precision(), watch:
            model.outputs(given)
    except Exception:  # noqa: BLE001
        return None
    seen = watch.seen | _short(outputs) | set(getattr(inner, "computes_in", ()))
    if not seen:
        return None
    name = max(seen, key=lambda found: _GRAIN.get(found, 1.0))
    return Reduced(name, _GRAIN.get(name, 2.0**-3))


class _Watch(TorchDispatchMode):
    """Notes the types in which torch computes."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor) and leaf.dtype.is_floating_point:
                self._note(leaf, func)
        return result

    def _note(self, made: torch.Tensor, func: Any) -> None:
        if made.dtype.itemsize < 4:
            self.seen.add(str(made.dtype).removeprefix("torch."))
            return
        product = func.overloadpacket.__name__ in _PRODUCTS
        if product and made.dtype == torch.float32 and not _products_are_whole():
            self.seen.add("TF32")


def _products_are_whole() -> bool:
    """Whether torch multiplies single-precision numbers without cutting them."""
    try:
        return torch.get_float32_matmul_precision() == "highest"
    except RuntimeError:  # the newer switches are in use
        backends: Any = torch.backends
        return all(
            part.matmul.fp32_precision in ("none", "ieee")
            for part in (backends.cuda, backends.mkldnn)
        )


def _short(outputs: Floats) -> set[str]:
    """Half types in which all outputs are exact, if they are more than a few."""
    values = np.unique(outputs[np.isfinite(outputs) & (outputs != np.rint(outputs))])
    if len(values) < _FEW:
        return set()
    exact = torch.as_tensor(values)
    for name in ("bfloat16", "float16"):
        if torch.equal(exact.to(getattr(torch, name)).double(), exact):
            return {name}
    return set()
