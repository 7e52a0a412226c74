"""Stains: exact there and back."""

from __future__ import annotations

import numpy as np
import pytest

from sensx_sc.im._stains import (
    EOSIN,
    HAEMATOXYLIN,
    concentrations,
    optical_density,
    stain_matrix,
    stained,
    tissue,
)


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    """All colours from 1 to 255, light background, dark nuclei."""
    colours = 1 + 254 * rng.random((3, 60, 70))
    colours[:, :10] = 255
    colours[:, 10:20] = 1
    return colours


def test_the_round_trip_is_exact(image: np.ndarray) -> None:
    """To 4e-14 of the full range, as it should be: nothing is lost but by rounding."""
    error = np.abs(stained(concentrations(image)) - image) / 255
    assert error.max() < 4e-14


def test_the_round_trip_with_a_slides_own_axes(image: np.ndarray) -> None:
    own = stain_matrix([0.55, 0.75, 0.36], [0.12, 0.95, 0.29])
    error = np.abs(stained(concentrations(image, stains=own), stains=own) - image) / 255
    assert error.max() < 4e-14


def test_pure_stains_are_found(rng: np.random.Generator) -> None:
    """A pixel of h haematoxylin and e eosin absorbs h H + e E."""
    h, e = rng.random((2, 5, 6))
    density = h * np.array(HAEMATOXYLIN)[:, None, None] + e * np.array(EOSIN)[:, None, None]
    image = 255 * np.exp(-density)
    np.testing.assert_allclose(optical_density(image), density, atol=1e-12)
    found = concentrations(image)
    np.testing.assert_allclose(found, [h, e, np.zeros((5, 6))], atol=1e-12)


def test_the_residual_is_orthogonal_to_both() -> None:
    matrix = stain_matrix()
    np.testing.assert_allclose(matrix[2] @ matrix[:2].T, 0, atol=1e-15)
    assert np.linalg.norm(matrix[2]) == pytest.approx(1)


@pytest.mark.parametrize("axis", [-1, 0, 2])
def test_any_layout(image: np.ndarray, axis: int) -> None:
    moved = np.moveaxis(image, 0, axis)
    for function in (optical_density, concentrations, stained):
        expected = np.moveaxis(function(image), 0, axis)
        np.testing.assert_allclose(function(moved, channel_axis=axis), expected)
    batch = np.stack([image, image[:, ::-1]])
    np.testing.assert_allclose(concentrations(batch)[1], concentrations(image)[:, ::-1])


def test_whole_numbers_and_black_pixels() -> None:
    """0 counts as 1, since nothing absorbs without end."""
    image = np.array([0, 1, 255], dtype=np.uint8).reshape(1, 1, 3).repeat(3, axis=0)
    density = optical_density(image)
    np.testing.assert_allclose(density[0, 0], [np.log(255), np.log(255), 0])
    assert np.isfinite(concentrations(image)).all()


def test_tissue(image: np.ndarray) -> None:
    mask = tissue(image)
    assert mask.shape == (60, 70)
    assert not mask[:10].any()
    assert mask[10:20].all()


def test_wrong_input() -> None:
    with pytest.raises(ValueError, match="three colours on axis -3 .* Pass channel_axis=-1"):
        concentrations(np.ones((5, 6, 3)))
    with pytest.raises(ValueError, match="three colours"):
        optical_density(np.ones((3, 6)))
    with pytest.raises(ValueError, match="two different axes"):
        stain_matrix(HAEMATOXYLIN, HAEMATOXYLIN)
    with pytest.raises(ValueError, match="`eosin` must be the absorption of red, green and blue"):
        stain_matrix(eosin=[1.0, 2.0])
    with pytest.raises(ValueError, match="`stains` must be a matrix of three axes"):
        stained(np.ones((3, 2, 2)), stains=np.eye(2))
