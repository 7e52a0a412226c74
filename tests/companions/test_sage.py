"""SAGE: the published numbers, and what the published regression does."""

from __future__ import annotations

import numpy as np
import pytest

from sensx_sc.companions.sage import sage_offsets, sage_slopes


def response(z: np.ndarray) -> np.ndarray:
    a, b, c, d = np.moveaxis(z, -1, 0)
    return np.sin(a) * b + c**3 + 0.5 * np.floor(d)


def data() -> np.ndarray:
    i = np.arange(40)
    return np.stack([np.sin(i), 0.1 * i - 1.0, np.cos(2 * i) + 0.3, (i % 7).astype(float)], axis=1)


def ours(radius: float, kappa: float) -> np.ndarray:
    X = data()
    x, sigma, offsets = X[5], X.std(axis=0), sage_offsets(radius)
    rows = np.repeat(x[None, None], 4, axis=0).repeat(10, axis=1)
    for j in range(4):
        rows[j, :, j] += sigma[j] * offsets
    return sage_slopes(np.full(4, response(x)), response(rows), offsets, sigma, kappa)


# What sage-explainer 0.1.1 returned for the same data and response (kappa 0.8), and with the
# repository's kappa of 1 put in its place.
PUBLISHED = {
    (0.3, 0.8): [-0.286350100720708, -0.8185741444617196, 0.89014214587513, 1.3872019885459093],
    (0.3, 1.0): [-0.28634322984589666, -0.8185741444617198, 0.8902904954963573, 1.3790942335590266],
    (0.7, 0.8): [-0.28304384955779616, -0.8185741444617199, 0.9620888620303278, 0.780573430480985],
}


@pytest.mark.parametrize(("radius", "kappa"), PUBLISHED)
def test_the_published_numbers(radius: float, kappa: float) -> None:
    np.testing.assert_allclose(ours(radius, kappa), PUBLISHED[radius, kappa], rtol=1e-12)


@pytest.mark.parametrize("kappa", [0.8, 1.0])
def test_against_a_weighted_regression_by_another_hand(
    rng: np.random.Generator, kappa: float
) -> None:
    """numpy's polyfit of the secants, on values far from zero."""
    offsets, x, sigma = sage_offsets(0.3), 7.0, 2.0
    q_x, q = np.array([0.4]), rng.normal(size=10)
    d = offsets * sigma
    weights = np.exp(-0.5 * (d / (kappa * sigma)) ** 2)
    line = np.polyfit(x + d, (q - q_x) / d, 1, w=np.sqrt(weights))
    found = sage_slopes(q_x, q[None], offsets, np.array([sigma]), kappa)[0]
    np.testing.assert_allclose(found, np.polyval(line, x), rtol=1e-10)


def test_the_regression_does_nothing(rng: np.random.Generator) -> None:
    """SAGE is the weighted mean of its secants, that is of five centred differences."""
    offsets, sigma = sage_offsets(0.3), np.array([1.7])
    q_x, q = np.array([0.2]), rng.normal(size=(1, 10))
    weights = np.exp(-0.5 * offsets**2)
    found = sage_slopes(q_x, q, offsets, sigma, 1.0)
    secants = (q - q_x) / (offsets * sigma)
    np.testing.assert_allclose(found, secants @ weights / weights.sum(), rtol=1e-13)
    h = 0.3 * 1.7 * np.array([1, 3, 5, 7, 9]) / 9
    centred = (q[0, 5:] - q[0, 4::-1]) / (2 * h)
    np.testing.assert_allclose(found, centred @ weights[5:] / weights[5:].sum(), rtol=1e-13)


def test_a_large_mean_cancels_nothing() -> None:
    """The published code fails where the mean is large beside the spread; distances do not."""
    offsets = sage_offsets(0.3)
    q = 3 * offsets[None] * 1e-3
    np.testing.assert_allclose(
        sage_slopes(np.zeros(1), q, offsets, np.array([1e-3]), 1.0), 3, rtol=1e-12
    )
