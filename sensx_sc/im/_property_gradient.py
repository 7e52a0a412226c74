"""``sx.im.property_gradient``: whether a model's output follows staining, light or blur."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.companions.property_gradient import Asked, follow
from sensx_sc.companions.property_tables import (
    curve_table,
    paper_table,
    property_table,
    selectivity_table,
)
from sensx_sc.core.options import is_whole
from sensx_sc.core.progress import progress_bar
from sensx_sc.im._image_paths import image_paths
from sensx_sc.im._stains import stains_or_default
from sensx_sc.im.edits import EDITORS, ImageEditor
from sensx_sc.models.as_model import as_model
from sensx_sc.models.qoi import make_response, resolve_target
from sensx_sc.settings import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd
    import torch
    from numpy.typing import ArrayLike, NDArray

    from sensx_sc.models.model import OutputKind
    from sensx_sc.models.qoi import Qoi

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

_ROWS_AT_ONCE = 64


@dataclass(frozen=True)
class ImageGradients:
    """Property gradients of images.

    Attributes
    ----------
    table
        One row for each explained output and property, as in :func:`sensx_sc.tl.property_gradient`.
    curves
        Mean response by step, quartiles over images, and the band of placebos.
    selectivity
        Change of every property along every path, in standard deviations over the images.
    paper
        Scores as published, or None.
    """

    table: pd.DataFrame
    curves: pd.DataFrame
    selectivity: pd.DataFrame
    paper: pd.DataFrame | None


def property_gradient(
    images: ArrayLike,
    model: Any,
    editors: Sequence[str] | Mapping[str, ImageEditor] | None = None,
    *,
    target: str | int | Sequence[str | int] | None = None,
    qoi: Qoi | Callable[[Floats], Any] = "auto",
    outputs: OutputKind | None = None,
    output_names: Sequence[str] | None = None,
    stains: Floats | None = None,
    n_placebos: int = 50,
    paper_compat: bool = False,
    n_permutations: int = 10_000,
    device: str | torch.device = "auto",
    seed: int | None = None,
    progress: bool | None = None,
) -> ImageGradients:
    """Test whether a model's output on images follows a property, by gradual edits of it.

    Each image is edited step by step (more haematoxylin, less light, more blur), the property is
    measured on the tissue, and the response is followed: EPGM = ``sum |dq| / sum |dm|``. Placebos
    of stains: the same edit along random axes of colour; of other editors: a random field of
    pixels. Both count by how far they move the image (L2): is this property more to the model than
    any other change of that size?

    Parameters
    ----------
    images
        Red, green, blue, 0 to 255, (N, c, y, x).
    model
        A :class:`torch.nn.Module` in eval mode or a callable on images (B, c, y, x) of the same
        range (put a normalisation in front), that returns (B,) or (B, K).
    editors
        Names of :data:`sensx_sc.im.edits.EDITORS`, or editors by name; None: all eight.
    target
        Explained output, or several, each a group of its own; None: each image's predicted class,
        or the only output.
    qoi, outputs, output_names, device
        As in :func:`sensx_sc.tl.sensx` and :func:`sensx_sc.models.as_model`.
    stains
        Stain matrix of the slide; None: the usual one.
    n_placebos, paper_compat, n_permutations, seed, progress
        As in :func:`sensx_sc.tl.property_gradient`.

    Returns
    -------
    An :class:`ImageGradients`.

    Raises
    ------
    ValueError, TypeError, KeyError
        Wrong arguments, before any work.

    Examples
    --------
    >>> import numpy as np
    >>> import sensx_sc as sx
    >>> images = 60 + 120 * np.random.default_rng(0).random((4, 3, 8, 8))
    >>> darkness = lambda batch: 255 - batch.mean(axis=(1, 2, 3))
    >>> found = sx.im.property_gradient(
    ...     images, darkness, ["overall staining"], n_placebos=0, progress=False
    ... )
    >>> bool((found.table["net"] > 0).all())
    True

    References
    ----------
    Penzel, Denzler, WACV 2026, arXiv 2503.05424.
    """
    array = _check_images(images)
    named = _named(editors)
    for name, value, least in (
        ("n_placebos", n_placebos, 0),
        ("n_permutations", n_permutations, 1),
    ):
        if not is_whole(value) or value < least:
            msg = f"`{name}` must be a whole number of at least {least}; got {value!r}."
            raise ValueError(msg)
    matrix = stains_or_default(stains)
    seed = settings.seed if seed is None else int(seed)
    ask, response = _model(model, array, outputs, output_names, qoi, device)
    at = ask(array)
    item, targets, names = _questions(target, response, at)
    explained, group = np.unique(targets, return_inverse=True)
    kind = response.model.kind

    def classify(found: Floats) -> Ints:
        if found.shape[1] == 1:
            return np.asarray(found[:, 0] > (0.5 if kind == "probability" else 0.0), dtype=np.int64)
        return np.asarray(found.argmax(axis=1), dtype=np.int64)

    asked = Asked(
        ask,
        response.of_outputs,
        None if kind == "value" else classify,
        item,
        targets,
        response.of_outputs(at[item], targets),
        group,
        len(explained),
    )
    paths = image_paths(array, named, stains=matrix, seed=seed)
    with progress_bar(len(array) * len(paths), 1, progress, unit="path") as shown:
        followed = [
            follow(each, asked, n_placebos=n_placebos, advance=shown.advance) for each in paths
        ]
    groups = [names[k] for k in explained]
    paper = None
    if paper_compat:
        paper = paper_table(followed, asked, groups, n_permutations=n_permutations, seed=seed)
    return ImageGradients(
        property_table(followed, asked, groups, seed=seed),
        curve_table(followed, asked, groups),
        selectivity_table(followed),
        paper,
    )


def _check_images(images: ArrayLike) -> Floats:
    array = np.asarray(images, dtype=np.float64)
    if array.ndim != 4 or array.shape[1] != 3 or 0 in array.shape:
        msg = f"`images` must have shape (N, 3, y, x): red, green, blue; got {array.shape}."
        raise ValueError(msg)
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= 255):
        msg = f"`images` must hold values from 0 to 255; got {low:g} to {high:g}."
        raise ValueError(msg)
    if high <= 1:
        msg = "`images` must hold values from 0 to 255; these end at 1: multiply them by 255."
        raise ValueError(msg)
    return array


def _named(editors: Sequence[str] | Mapping[str, ImageEditor] | None) -> dict[str, ImageEditor]:
    if editors is None:
        return dict(EDITORS)
    if isinstance(editors, Mapping):
        found = {str(name): editor for name, editor in editors.items()}
    else:
        names = [editors] if isinstance(editors, str) else list(editors)
        unknown = [name for name in names if name not in EDITORS]
        if unknown:
            there = ", ".join(map(repr, EDITORS))
            msg = f"`editors`: {unknown[0]!r} is no editor of images; there are: {there}."
            raise KeyError(msg)
        found = {name: EDITORS[name] for name in names}
    wrong = [name for name, editor in found.items() if not isinstance(editor, ImageEditor)]
    if wrong or not found:
        msg = f"`editors` must be names or ImageEditors, at least one; got {editors!r}."
        raise TypeError(msg)
    return found


def _model(
    model: Any,
    images: Floats,
    outputs: OutputKind | None,
    output_names: Sequence[str] | None,
    qoi: Any,
    device: str | torch.device,
) -> tuple[Callable[[Floats], Floats], Any]:
    """A function from images to outputs (B, K), and the response."""
    import torch

    shape = images.shape[1:]
    size = int(np.prod(shape))
    names = output_names if output_names is not None else getattr(model, "output_names", None)
    more: dict[str, Any] = {"outputs": outputs, "output_names": names, "device": device}
    if isinstance(model, torch.nn.Module):
        unflat = torch.nn.Sequential(torch.nn.Unflatten(1, shape), model)
        unflat.training = False
        if outputs is None and getattr(model, "task", None) == "regression":
            more["outputs"] = "value"
        ready = as_model(unflat, **more)
    elif callable(model):
        ready = as_model(
            lambda rows: model(rows.reshape(-1, *shape)),
            example=images[:2].reshape(-1, size),
            n_features=size,
            **more,
        )
    else:
        msg = f"`model` must be a torch.nn.Module or a callable on images; got {model!r}."
        raise TypeError(msg)
    response = make_response(ready, qoi)
    dtype = torch.float64 if torch.float64 in ready.dtypes else torch.float32

    def ask(batch: Floats) -> Floats:
        rows = torch.as_tensor(batch.reshape(-1, size), dtype=dtype, device=ready.device(dtype))
        parts = [rows[i : i + _ROWS_AT_ONCE] for i in range(0, len(rows), _ROWS_AT_ONCE)]
        with torch.no_grad():
            return np.concatenate([response.outputs(part) for part in parts])

    return ask, response


def _questions(target: Any, response: Any, at: Floats) -> tuple[Ints, Ints, tuple[str, ...]]:
    """Input and output of each question, and the names of all outputs."""
    several = isinstance(target, list | tuple | np.ndarray)
    wanted = list(target) if several else [target]
    if not wanted:
        msg = "`target` is empty; name at least one output."
        raise ValueError(msg)
    found = [resolve_target(each, response, at) for each in wanted]
    item = np.repeat(np.arange(len(at)), len(wanted))
    return item, np.stack([index for index, _ in found], axis=1).ravel(), found[0][1]
