"""Paths of images and their placebos."""

from __future__ import annotations

import numpy as np
import pytest

from sensx_sc.im._image_paths import image_paths
from sensx_sc.im._stains import concentrations, stain_matrix
from sensx_sc.im.edits import EDITORS, stained


@pytest.fixture
def images(rng: np.random.Generator) -> np.ndarray:
    amounts = np.abs(rng.normal([[[[0.4]], [[0.5]], [[0.0]]]], 0.2, (3, 3, 12, 12)))
    amounts[:, 2] = 0
    return stained(amounts)


def test_each_path_measures_its_own_and_all_others(images: np.ndarray) -> None:
    paths = image_paths(images, EDITORS)
    assert [each.name for each in paths] == list(EDITORS)
    for each in paths:
        path = each.make(1, 0)
        assert path.inputs.shape == (41, 1, 3, 12, 12)
        assert set(path.side) == set(EDITORS)
        np.testing.assert_allclose(path.side[each.name], path.measured)
        assert each.origin is not None
        np.testing.assert_allclose(path.inputs[each.origin, 0], images[1], atol=1e-9)
        assert each.deviation > 0


def test_placebos_of_stains_are_random_axes(images: np.ndarray) -> None:
    """The same edit along another colour; the stain that is not edited stays."""
    (paths,) = image_paths(images, {"haematoxylin": EDITORS["haematoxylin"]})
    first, again, other = paths.make(0, 1), paths.make(0, 1), paths.make(0, 2)
    np.testing.assert_array_equal(first.inputs, again.inputs)
    assert np.abs(first.inputs - other.inputs).max() > 1
    np.testing.assert_allclose(first.inputs[20, 0], images[0], atol=1e-9)
    # What moves along the path is one direction of colour in every pixel.
    density = -np.log(first.inputs[[0, -1], 0] / 255)
    move = (density[1] - density[0]).reshape(3, -1)
    uncut = (first.inputs[:, 0].max(axis=(0, 1)) < 254).ravel()
    axis = move[:, uncut] / np.linalg.norm(move[:, uncut], axis=0)
    assert np.abs(axis.T @ axis[:, 0]).min() > 1 - 1e-9
    real = stain_matrix()[0] / np.linalg.norm(stain_matrix()[0])
    assert abs(axis[:, 0] @ real) < 0.999


def lengths(inputs: np.ndarray) -> np.ndarray:
    return np.sqrt((np.diff(inputs[:, 0], axis=0) ** 2).sum(axis=(1, 2, 3)))


def test_placebos_of_other_editors_are_fields_as_far_away(images: np.ndarray) -> None:
    for name in ("blur", "overall staining"):
        (paths,) = image_paths(images, {name: EDITORS[name]})
        real, placebo = paths.make(2, 0), paths.make(2, 3)
        far = [
            np.sqrt(((path.inputs[:, 0] - images[2]) ** 2).sum(axis=(1, 2, 3)))
            for path in (real, placebo)
        ]
        np.testing.assert_allclose(far[1], far[0], rtol=0.1, atol=1e-6)  # but for cut values
        assert np.abs(placebo.inputs[-1] - real.inputs[-1]).max() > 1


def test_placebos_count_by_how_far_they_move_the_image(images: np.ndarray) -> None:
    """As many units of the property as the real edit has, for the same distance in pixels."""
    for name in ("haematoxylin", "hue"):
        (paths,) = image_paths(images, {name: EDITORS[name]})
        real, placebo = paths.make(1, 0), paths.make(1, 2)
        a_unit = [
            np.abs(np.diff(path.measured[:, 0])).sum() / lengths(path.inputs).sum()
            for path in (real, placebo)
        ]
        assert a_unit[1] == pytest.approx(a_unit[0])
        np.testing.assert_allclose(
            np.diff(placebo.measured[:, 0]), a_unit[0] * lengths(placebo.inputs)
        )


def test_a_slides_own_stains(images: np.ndarray) -> None:
    own = stain_matrix([0.55, 0.75, 0.36], [0.12, 0.95, 0.29])
    (paths,) = image_paths(images, {"eosin": EDITORS["eosin"]}, stains=own)
    path = paths.make(0, 0)
    amounts = concentrations(path.inputs[:, 0], stains=own)
    uncut = path.inputs[:, 0].max(axis=(0, 1)) < 254
    ratio = amounts[-1, 1][uncut] / amounts[20, 1][uncut]
    np.testing.assert_allclose(ratio, 1.5, rtol=1e-6)
