"""torch modules as models."""

from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from sensx_sc.models.devices import that_holds
from sensx_sc.models.model import as_matrix, as_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from sensx_sc.models.model import OutputKind

_DROPOUT = (
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.FeatureAlphaDropout,
)
_BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class TorchModel:
    """A module of rows (B, n), copied to the device and the types of rows it is asked for.

    The module itself is never changed. Attributes ``feature_names``, ``output_names``,
    ``input_range``, ``task`` (``"regression"``) and ``independent`` (a sigmoid for each logit, as
    several classes may be true) of the module are used where it has them.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        outputs: OutputKind | None = None,
        feature_names: Sequence[object] | None = None,
        output_names: Sequence[object] | None = None,
        device: torch.device | None = None,
    ) -> None:
        check_eval(module)
        self.source = module
        self.name = type(module).__name__
        self.kind: OutputKind = outputs or _kind(module)
        self.feature_names = _names(module, "feature_names", feature_names)
        self.output_names = _names(module, "output_names", output_names)
        self.input_range: tuple[float, float] | None = getattr(module, "input_range", None)
        self.independent: bool = getattr(module, "independent", False)
        self._device = device or _home(module)
        self.dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.float64)
        self._copies: dict[torch.dtype, nn.Module] = {}

    def __getstate__(self) -> dict[str, Any]:
        # Copies are made again where they are needed.
        return self.__dict__ | {"_copies": {}}

    def device(self, dtype: torch.dtype) -> torch.device:
        return that_holds(dtype, self._device)

    def outputs(self, rows: Tensor) -> Tensor:
        returned: Any = self.module(rows.dtype)(rows)
        if not isinstance(returned, torch.Tensor):
            msg = (
                f"the module {self.name} must return a tensor of shape (B,) or (B, K); got "
                f"{type(returned).__name__}. Wrap it in a function that picks the output, or an "
                "image classifier in sx.models.ImageClassifier."
            )
            raise TypeError(msg)
        return returned.reshape(as_matrix(tuple(returned.shape), len(rows), self.name))

    def module(self, dtype: torch.dtype) -> nn.Module:
        """The copy of the module for rows of a type, on their device."""
        if dtype not in self._copies:
            with (
                warnings.catch_warnings()
            ):  # exported programs: torch's own parts warn of each other
                warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
                clone = copy.deepcopy(self.source).to(device=self.device(dtype), dtype=dtype)
            self._copies[dtype] = clone.requires_grad_(requires_grad=False)
        return self._copies[dtype]


def check_eval(module: nn.Module) -> None:
    """Refuse a module whose output is random or depends on the rest of the batch.

    Raises
    ------
    ValueError
        Active dropout or batch-norm in training mode.
    """
    active = [
        f"{name or 'the module'} ({type(part).__name__})"
        for name, part in module.named_modules()
        if part.training and _is_active(part)
    ]
    if active:
        msg = (
            f"the model is in training mode: {', '.join(active[:3])} is active, so its output is "
            "random or depends on the batch. Call model.eval() first."
        )
        raise ValueError(msg)


def _is_active(part: nn.Module) -> bool:
    """Whether a part in training mode is random, or mixes the rows of a batch."""
    if isinstance(part, _DROPOUT):
        return part.p > 0
    if isinstance(part, nn.RNNBase):
        return part.dropout > 0 and part.num_layers > 1
    if isinstance(part, nn.MultiheadAttention):
        return bool(part.dropout > 0)
    return isinstance(part, (*_BATCH_NORM, nn.RReLU))


def _names(
    module: nn.Module, attribute: str, given: Sequence[object] | None
) -> tuple[str, ...] | None:
    return as_names(getattr(module, attribute, None) if given is None else given)


def _home(module: nn.Module) -> torch.device:
    return next((p.device for p in module.parameters()), torch.device("cpu"))


def _kind(module: nn.Module) -> OutputKind:
    """What the outputs are, by the module's own word or its last layer."""
    if getattr(module, "task", None) == "regression":
        return "value"
    last = [part for part in module.modules() if not list(part.children())][-1:]
    if last and isinstance(last[0], nn.Sigmoid | nn.Softmax):
        return "probability"
    return "logit"
