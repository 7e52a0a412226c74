"""Models of images: rows are reshaped to images before the model sees them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from sensx_sc.models.as_model import as_model
from sensx_sc.models.chain import Chain
from sensx_sc.models.model import Model
from sensx_sc.models.sklearn_estimator import is_estimator

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch
    from torch import Tensor


class OnImages(nn.Module):
    """A module of images (B, ...) as a module of rows (B, n).

    Where the module returns an object with ``logits`` (as those of transformers do), these are
    the outputs, named by ``module.config.id2label``.
    """

    def __init__(self, module: nn.Module, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.module, self.shape = module, tuple(shape)
        for name in ("task", "output_names"):
            if hasattr(module, name):
                setattr(self, name, getattr(module, name))
        labels: Mapping[int, str] | None = getattr(
            getattr(module, "config", None), "id2label", None
        )
        if labels and not hasattr(self, "output_names"):
            self.output_names = [str(labels[k]) for k in sorted(labels)]
        self.train(module.training)

    def forward(self, rows: Tensor) -> Any:
        returned = self.module(rows.reshape(rows.shape[0], *self.shape))
        return getattr(returned, "logits", returned)


def image_model(
    model: Any, shape: tuple[int, ...], *, device: str | torch.device = "auto"
) -> Model | Callable[..., Any]:
    """Make a model of images one of rows.

    Parameters
    ----------
    model
        A module or a callable on images (B, *shape); an estimator, or what
        :func:`sensx_sc.models.as_model` made, takes rows.
    shape
        Shape of an image.
    device
        Where a module runs.
    """
    if isinstance(model, Chain) and model.shape is None:
        return model.with_shape(shape)
    if isinstance(model, Model) or is_estimator(model):
        return model if isinstance(model, Model) else as_model(model)
    if isinstance(model, nn.Module):
        made = as_model(OnImages(model, shape), device=device)
        made.name = type(model).__name__  # type: ignore[misc]
        return made
    if not callable(model) or isinstance(model, type):
        msg = (
            "`model` must be a torch.nn.Module or a callable on images, an estimator, or what "
            f"sx.models.as_model made; got {model!r}."
        )
        raise TypeError(msg)

    @functools.wraps(model, updated=())
    def on_rows(rows: Any) -> Any:
        images = rows.reshape(rows.shape[0], *shape)
        if isinstance(images, np.ndarray):
            images = np.ascontiguousarray(images)
        return model(images)

    if not hasattr(model, "__name__"):
        on_rows.__name__ = type(model).__name__
    return on_rows
