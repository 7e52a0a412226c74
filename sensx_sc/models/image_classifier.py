"""Image classifiers of transformers and timm, with what their processors do to pixels inside."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

_WHITE = 255.0


class ImageClassifier(nn.Module):
    """An image classifier of pixels in [0, 1]: normalisation happens inside.

    So a feature is a pixel as one sees it, its domain is 0 to 1, and a step is in units of
    brightness, whatever the model was trained on. Give it to :func:`sensx_sc.tl.sensx`,
    :func:`sensx_sc.core.explain` (rows (B, c h w)) or the functions for images.

    Parameters
    ----------
    model
        A classifier of transformers, of timm, or any module of images (B, c, h, w), in eval mode.
    processor
        The image processor of transformers that belongs to it. None: what a model of timm says of
        itself (``pretrained_cfg``).
    mean, std
        Instead: what pixels in [0, 1] are normalised with, a number a channel.
    shape
        Shape of an image, (c, h, w), where neither says it.
    output_names
        Names of the classes, where the model has none; those that occur twice get a number.

    Raises
    ------
    TypeError
        Not a module.
    ValueError
        Nothing says how pixels are normalised or how large images are.

    Examples
    --------
    >>> import torch, sensx_sc as sx
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 4 * 4, 2)).eval()
    >>> model = sx.models.ImageClassifier(net, mean=(0.5,) * 3, std=(0.5,) * 3, shape=(3, 4, 4))
    >>> model(torch.rand(5, 3, 4, 4)).shape
    torch.Size([5, 2])
    """

    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        model: nn.Module,
        processor: Any = None,
        *,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        shape: tuple[int, int, int] | None = None,
        output_names: Sequence[object] | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(model, nn.Module):
            msg = f"`model` must be a torch.nn.Module of images; got {model!r}."
            raise TypeError(msg)
        self.model, self.processor = model, processor
        self.shape = _shape(model, processor, shape)
        scale, shift = _normalisation(model, processor, mean, std, self.shape[0])
        self.register_buffer("scale", torch.as_tensor(scale, dtype=torch.float32)[:, None, None])
        self.register_buffer("shift", torch.as_tensor(shift, dtype=torch.float32)[:, None, None])
        self.flipped = bool(getattr(processor, "do_flip_channel_order", False))
        names = _labels(model) if output_names is None else output_names
        self.output_names = None if names is None else _distinct(names)
        self.input_range = (0.0, 1.0)
        kind = getattr(getattr(model, "config", None), "problem_type", None)
        self.independent = kind == "multi_label_classification"
        if kind == "regression":
            self.task = "regression"
        self.train(model.training)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K) of images (B, c, h, w), or of rows (B, c h w)."""
        images = images.reshape(images.shape[0], *self.shape)
        if self.flipped:
            images = images.flip(1)
        returned: Any = self.model(images * self.scale + self.shift)
        logits: Tensor = getattr(returned, "logits", returned)
        return logits

    def pixels(self, images: Any) -> np.ndarray:
        """Images as the processor crops and resizes them, in pixels of [0, 1].

        Parameters
        ----------
        images
            What the processor takes: pictures of PIL, arrays of whole numbers up to 255.

        Returns
        -------
        (B, c, h, w), float32.

        Raises
        ------
        ValueError
            There is no processor.
        """
        if self.processor is None:
            msg = "there is no `processor` that could crop and resize images."
            raise ValueError(msg)
        made = self.processor(
            images=images, do_rescale=False, do_normalize=False, return_tensors="np"
        )["pixel_values"]
        found: np.ndarray = np.asarray(made, dtype=np.float32) / np.float32(_WHITE)
        if self.flipped:
            found = np.ascontiguousarray(found[:, ::-1])
        # A resizing that overshoots leaves the range.
        inside: np.ndarray = np.clip(found, 0.0, 1.0)
        return inside


def _normalisation(
    model: nn.Module,
    processor: Any,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    channels: int,
) -> tuple[np.ndarray, np.ndarray]:
    """What a pixel of [0, 1] is multiplied with, and what is added, for each channel."""
    white, offset = 1.0, 0.0
    if mean is None and std is None and processor is not None:
        # Processors are given whole numbers up to 255.
        rescales = getattr(processor, "do_rescale", True)
        white = _WHITE * (getattr(processor, "rescale_factor", 1 / _WHITE) if rescales else 1.0)
        offset = -1.0 if rescales and getattr(processor, "rescale_offset", False) else 0.0
        if getattr(processor, "do_normalize", True):
            mean, std = processor.image_mean, processor.image_std
        else:
            mean, std = (0.0,) * channels, (1.0,) * channels
    elif mean is None and std is None:
        config = _timm_config(model)
        mean, std = config.get("mean"), config.get("std")
    if mean is None or std is None:
        msg = (
            "pass the `processor` of the model, or `mean` and `std`: nothing says how the "
            f"pixels of {type(model).__name__} are normalised."
        )
        raise ValueError(msg)
    means, stds = (
        np.broadcast_to(np.asarray(v, dtype=float), np.shape(v) or channels) for v in (mean, std)
    )
    if means.shape != (channels,) or stds.shape != (channels,) or (stds <= 0).any():
        msg = (
            f"`mean` and `std` must have a number for each of the {channels} channels, `std` "
            f"above 0; got {mean!r} and {std!r}."
        )
        raise ValueError(msg)
    return white / stds, (offset - means) / stds


def _shape(
    model: nn.Module, processor: Any, shape: tuple[int, int, int] | None
) -> tuple[int, int, int]:
    """Shape of an image, as given, of the processor, or of the model."""
    if shape is None:
        config: Any = getattr(model, "config", None)
        channels = int(getattr(config, "num_channels", 3))
        size = _size(processor) or _pair(getattr(config, "image_size", None))
        shape = _timm_config(model).get("input_size") if size is None else (channels, *size)
    if shape is None:
        name = type(model).__name__
        msg = f"pass `shape`, (c, h, w): nothing says how large the images of {name} are."
        raise ValueError(msg)
    found = tuple(shape) if isinstance(shape, tuple | list) else ()
    if len(found) != 3 or not all(isinstance(n, int | np.integer) and n > 0 for n in found):
        msg = f"`shape` must be three whole numbers, (c, h, w); got {shape!r}."
        raise ValueError(msg)
    return int(found[0]), int(found[1]), int(found[2])


def _size(processor: Any) -> tuple[int, int] | None:
    """Height and width of what a processor makes."""
    crops = getattr(processor, "do_center_crop", False)
    named: Any = getattr(processor, "crop_size" if crops else "size", None)
    if named is None:
        return None
    values: Mapping[str, Any] = named if hasattr(named, "get") else vars(named)
    height, width = values.get("height"), values.get("width")
    return (int(height), int(width)) if height and width else None


def _pair(size: Any) -> tuple[int, int] | None:
    if size is None:
        return None
    height, width = size if isinstance(size, tuple | list) else (size, size)
    return int(height), int(width)


def _timm_config(model: nn.Module) -> dict[str, Any]:
    """What a model of timm says of its inputs."""
    config = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None) or {}
    return dict(config) if hasattr(config, "keys") else {}


def _labels(model: nn.Module) -> list[str] | None:
    """Names of the classes that a model carries."""
    labels: Any = getattr(getattr(model, "config", None), "id2label", None)
    if labels:
        return [str(labels[k]) for k in sorted(labels, key=int)]
    named = getattr(model, "output_names", None) or _timm_config(model).get("label_names")
    return None if named is None else [str(name) for name in named]


def _distinct(names: Sequence[object]) -> tuple[str, ...]:
    """Names of which those that occur twice say which class they are."""
    texts = [str(name) for name in names]
    count = Counter(texts)
    return tuple(f"{t} ({k})" if count[t] > 1 else t for k, t in enumerate(texts))
