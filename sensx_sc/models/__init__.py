"""Models: anything that maps rows to outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sensx_sc.models.as_model import as_model
from sensx_sc.models.chain import Chain
from sensx_sc.models.deepspot import DeepSpot
from sensx_sc.models.each import Each
from sensx_sc.models.image_classifier import ImageClassifier
from sensx_sc.models.model import Model
from sensx_sc.models.onnx import Onnx
from sensx_sc.models.quantities import Distance, Margin
from sensx_sc.models.remote import Remote
from sensx_sc.models.scvi_model import Scvi

if TYPE_CHECKING:
    from sensx_sc.models.mlp import ExpressionMLP, fit_mlp

__all__ = [
    "Chain",
    "DeepSpot",
    "Distance",
    "Each",
    "ExpressionMLP",
    "ImageClassifier",
    "Margin",
    "Model",
    "Onnx",
    "Remote",
    "Scvi",
    "as_model",
    "fit_mlp",
]


def __getattr__(name: str) -> Any:
    # The training code is only loaded by those who train.
    if name in ("ExpressionMLP", "fit_mlp"):
        from sensx_sc.models import mlp

        return getattr(mlp, name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
