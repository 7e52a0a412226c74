"""The eight editors: what they change, and what they leave."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sensx_sc.im import edits
from sensx_sc.im._measures import (
    mean_density,
    mean_eosin,
    mean_haematoxylin,
    mean_luma,
    mean_ratio,
    mean_saturation,
    sharpness,
)
from sensx_sc.im.edits import EDITORS, concentrations, optical_density


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    """Tissue as a stain model has it: nuclei, eosin of varying strength, some background."""
    y, x = np.mgrid[:48, :48]
    nuclei = sum(
        np.exp(-((y - a) ** 2 + (x - b) ** 2) / 12) for a, b in rng.integers(6, 42, (9, 2))
    )
    h = 0.15 + 0.9 * nuclei
    e = 0.25 + 0.15 * np.sin(x / 7) + 0.05 * rng.random((48, 48))
    amounts = np.stack([h, e, 0.02 * rng.normal(size=(48, 48))])
    amounts[:, :6] = 0.01
    return edits.stained(amounts)


@pytest.mark.parametrize("name", EDITORS)
def test_the_neutral_strength_changes_nothing(image: np.ndarray, name: str) -> None:
    editor = EDITORS[name]
    edited = editor.edit(image, editor.neutral)
    np.testing.assert_allclose(edited, image, atol=255 * 4e-14 if name != "hue" else 1e-9)
    assert editor.strengths.min() <= editor.neutral <= editor.strengths.max()
    assert len(editor.strengths) == 41
    assert np.isclose(editor.strengths, editor.neutral).any()


@pytest.mark.parametrize("name", EDITORS)
def test_the_property_goes_one_way(image: np.ndarray, name: str) -> None:
    """What an editor means to change rises (or falls) at every step."""
    editor = EDITORS[name]
    path = np.stack([editor.edit(image, s) for s in editor.strengths])
    m = editor.measure(path, edits.tissue(image))
    step = np.diff(m)[3 if name == "blur" else 0 :]  # a tenth of a pixel moves nothing
    assert (np.sign(step) == np.sign(m[-1] - m[0])).all()


@pytest.mark.parametrize("name", EDITORS)
@pytest.mark.parametrize("axis", [-1, 0])
def test_any_layout_and_batches(image: np.ndarray, name: str, axis: int) -> None:
    editor = EDITORS[name]
    strength = editor.strengths[30]
    expected = editor.edit(image, strength)
    moved = np.moveaxis(image, 0, axis)
    found = editor.edit(moved, strength, channel_axis=axis)
    np.testing.assert_allclose(found, np.moveaxis(expected, 0, axis))
    batch = editor.edit(np.stack([image, image[:, ::-1]]), strength)
    np.testing.assert_allclose(batch[0], expected)
    kept = image.copy()
    editor.edit(image, strength)
    np.testing.assert_array_equal(image, kept)
    assert expected.dtype == np.float64
    assert 0 <= expected.min() <= expected.max() <= 255


def test_stains_are_edited_one_by_one(image: np.ndarray) -> None:
    """Haematoxylin changes by its factor, eosin and residual not at all, and vice versa."""
    before = concentrations(image)
    inside = (edits.haematoxylin(image, 1.4).max(axis=0) < 254.9) & (image.max(axis=0) < 254.9)
    after = concentrations(edits.haematoxylin(image, 1.4))
    np.testing.assert_allclose(after[0][inside], 1.4 * before[0][inside], atol=1e-12)
    np.testing.assert_allclose(after[1:][:, inside], before[1:][:, inside], atol=1e-12)
    after = concentrations(edits.eosin(image, 0.6))
    np.testing.assert_allclose(after[1][inside], 0.6 * before[1][inside], atol=1e-12)
    np.testing.assert_allclose(after[0][inside], before[0][inside], atol=1e-12)


def test_the_ratio_changes_at_the_same_total(image: np.ndarray) -> None:
    before, edited = concentrations(image), edits.stain_ratio(image, 1.5)
    after = concentrations(edited)
    both = (before[:2] > 1e-3).all(axis=0) & (edited.max(axis=0) < 254.9)
    assert both.mean() > 0.5
    ratio = (after[0] / after[1])[both] / (before[0] / before[1])[both]
    np.testing.assert_allclose(ratio, 1.5, rtol=1e-9)
    total = optical_density(edited).sum(axis=0)[both]
    np.testing.assert_allclose(total, optical_density(image).sum(axis=0)[both], rtol=1e-9)
    # Pixels without one of the stains keep what they have.
    pure = edits.stained(np.array([0.5, 0.0, 0.0]).reshape(3, 1, 1))
    np.testing.assert_allclose(edits.stain_ratio(pure, 1.5), pure, atol=1e-9)


def test_gamma_scales_the_optical_density(image: np.ndarray) -> None:
    """Both stains by the same factor: their ratio stays."""
    edited = edits.gamma(image, 1.3)
    np.testing.assert_allclose(optical_density(edited), 1.3 * optical_density(image), atol=1e-12)
    assert mean_haematoxylin(edited) == pytest.approx(1.3 * mean_haematoxylin(image), rel=1e-9)
    assert mean_eosin(edited) == pytest.approx(1.3 * mean_eosin(image), rel=1e-9)
    assert mean_ratio(edited) == pytest.approx(mean_ratio(image), abs=1e-9)


def test_saturation_is_not_neutral_to_stains_but_to_luma(image: np.ndarray) -> None:
    grey, more = edits.saturation(image, 0.0), edits.saturation(image, 1.2)
    np.testing.assert_allclose(np.ptp(grey, axis=0), 0, atol=1e-9)
    assert mean_luma(grey) == pytest.approx(mean_luma(image))
    assert mean_saturation(more) > mean_saturation(image)
    assert abs(mean_eosin(more) / mean_eosin(image) - 1) > 0.05


def test_brightness_cuts_light_pixels(image: np.ndarray) -> None:
    bright = edits.brightness(image, 1.3)
    assert np.mean(bright == 255) > 0.1
    np.testing.assert_allclose(edits.brightness(image, 0.7), 0.7 * image)


def test_blur_keeps_the_light_and_takes_the_edges(image: np.ndarray) -> None:
    soft = edits.blur(image, 2.0)
    assert mean_luma(soft) == pytest.approx(mean_luma(image), rel=1e-3)
    assert sharpness(soft) < 0.8 * sharpness(image)
    from scipy.ndimage import gaussian_filter

    np.testing.assert_allclose(soft[1], gaussian_filter(image[1], 2.0, mode="reflect"))


def test_hue_keeps_the_luma(image: np.ndarray) -> None:
    turned = edits.hue(0.5 * image + 60, 15.0)
    assert mean_luma(turned) == pytest.approx(mean_luma(0.5 * image + 60), rel=1e-3)
    back = edits.hue(turned, -15.0)
    np.testing.assert_allclose(back, 0.5 * image + 60, atol=1e-9)


def test_measures(image: np.ndarray) -> None:
    mask = edits.tissue(image)
    assert mean_density(image, mask) == pytest.approx(optical_density(image).mean(0)[mask].mean())
    assert mean_density(image, np.zeros_like(mask)) == pytest.approx(mean_density(image))
    batch = np.stack([image, edits.gamma(image, 1.2)])
    np.testing.assert_allclose(mean_density(batch, mask)[1], 1.2 * mean_density(image, mask))


@pytest.mark.parametrize("name", EDITORS)
def test_wrong_shapes(name: str) -> None:
    if name in ("overall staining", "brightness"):  # every number alike
        return
    wrong: Any = np.ones((4, 5, 5))
    with pytest.raises(ValueError, match="three colours"):
        EDITORS[name].edit(wrong, EDITORS[name].neutral)
