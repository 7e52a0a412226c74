"""Paths of images: editors as something that can be followed, and their placebos."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.companions.property_gradient import Path, Paths
from sensx_sc.im._stains import HAEMATOXYLIN, stains_or_default, tissue

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from sensx_sc.im.edits import ImageEditor

    Floats = NDArray[np.float64]

_LEAST_ANGLE = 0.35  # sine of the angle between a random axis and the stain that stays


def image_paths(
    images: Floats,
    editors: Mapping[str, ImageEditor],
    *,
    stains: Floats | None = None,
    seed: int = 0,
) -> list[Paths]:
    """The paths of images for several editors; each tracks the properties of all others."""
    matrix = stains_or_default(stains)
    masks = [tissue(image) for image in images]

    def measured(editor: ImageEditor, edited: Floats, mask: Any, axes: Floats) -> Floats:
        more = {"stains": axes} if editor.of_stains else {}
        return editor.measure(edited, mask, **more)

    deviation = {
        name: float(
            np.std([
                measured(editor, image, mask, matrix)
                for image, mask in zip(images, masks, strict=True)
            ])
        )
        for name, editor in editors.items()
    }  # fmt: skip

    def paths(name: str, editor: ImageEditor) -> Paths:
        @cache
        def axes(placebo: int) -> Floats:
            rng = np.random.default_rng([seed, placebo])
            return matrix if placebo == 0 else _random_axes(matrix, editor.of_stains, rng)

        @cache
        def real(i: int) -> tuple[Floats, Floats]:
            more = {"stains": matrix} if editor.of_stains else {}
            edited = np.stack([editor.edit(images[i], s, **more) for s in editor.strengths])
            return edited, measured(editor, edited, masks[i], matrix)

        def make(i: int, placebo: int) -> Path:
            edited, m = real(i)
            if placebo == 0:
                side = {
                    other: measured(one, edited, masks[i], matrix)[:, None]
                    for other, one in editors.items()
                }
                return Path(edited[:, None], m[:, None], side)
            if editor.of_stains:
                found = np.stack([
                    editor.edit(images[i], s, stains=axes(placebo)) for s in editor.strengths
                ])  # fmt: skip
            else:
                rng = np.random.default_rng([seed, placebo, i])
                found = _random_field(images[i], edited, editor.strengths - editor.neutral, rng)
            return Path(found[:, None], _as_far(m, edited, found)[:, None], {})

        near = np.flatnonzero(np.abs(editor.strengths - editor.neutral) < 1e-12)
        origin = int(near[0]) if len(near) else None
        return Paths(
            name,
            editor.unit,
            editor.axis,
            editor.strengths,
            origin,
            make,
            deviation[name],
            deviation,
            has_placebo=True,
        )

    return [paths(name, editor) for name, editor in editors.items()]


def _random_axes(matrix: Floats, rows: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """A stain matrix with random axes, all of which absorb, in place of some."""
    while True:
        found = matrix[:2].copy()
        for row in rows:
            axis = np.abs(rng.normal(size=3))
            found[row] = axis / np.linalg.norm(axis) * np.linalg.norm(HAEMATOXYLIN)
        residual = np.cross(found[0], found[1])
        size = float(np.linalg.norm(residual))
        if size > _LEAST_ANGLE * np.linalg.norm(found[0]) * np.linalg.norm(found[1]):
            return np.vstack([found, residual / size])


def _as_far(m: Floats, edited: Floats, placebo: Floats) -> Floats:
    """How far the property would have moved, had it been edited as far (L2) as the placebo goes."""
    real, other = (
        np.sqrt((np.diff(path, axis=0) ** 2).sum(axis=(1, 2, 3))) for path in (edited, placebo)
    )
    a_unit = np.abs(np.diff(m)).sum() / max(float(real.sum()), np.finfo(float).tiny)
    return np.concatenate([m[:1], m[0] + a_unit * np.cumsum(other)])


def _random_field(
    image: Floats, edited: Floats, strength: Floats, rng: np.random.Generator
) -> Floats:
    """The image plus a random field, as far from it at each step as the edited one."""
    field = rng.normal(size=image.shape)
    field /= np.linalg.norm(field)
    far = np.sqrt(((edited - image) ** 2).sum(axis=(1, 2, 3)))
    return np.clip(image + (np.sign(strength) * far)[:, None, None, None] * field, 0, 255)
