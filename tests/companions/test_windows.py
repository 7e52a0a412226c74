"""Nested windows: shared points, all inside the domain."""

from __future__ import annotations

import hypothesis
import numpy as np
from hypothesis import strategies as st

from sensx_sc.companions.windows import LADDER, make_windows, place


def test_windows_are_equally_spaced_and_share_points() -> None:
    windows = make_windows()
    assert len(windows.offsets) == 8 + 4 * (len(LADDER) - 1)  # each wider window brings 4 new ones
    for width, members in zip(windows.widths, windows.members, strict=True):
        expected = width * np.array([-1, -0.75, -0.5, -0.25, 0.25, 0.5, 0.75, 1])
        np.testing.assert_allclose(windows.offsets[list(members)], expected)


def test_a_single_width() -> None:
    windows = make_windows((0.4,), 6)
    np.testing.assert_allclose(windows.offsets * 3 / 0.4, [-3, -2, -1, 1, 2, 3])


@hypothesis.given(
    x=st.floats(0, 1), scale=st.floats(1e-6, 0.5), low=st.floats(-5, 5), n=st.sampled_from([6, 8])
)
def test_points_lie_inside_the_bounds_and_differ(
    x: float, scale: float, low: float, n: int
) -> None:
    """Wherever the input is: at a bound, near one, in the middle."""
    windows = make_windows(LADDER, n)
    value, lower, upper = np.array([low + x]), np.array([low]), np.array([low + 1])
    placed = place(value, np.array([scale]), windows, lower, upper)
    assert (placed.values >= lower).all()
    assert (placed.values <= upper).all()
    # What the weights will assume of the points is where they are.
    assumed = value + placed.side * scale * windows.reflected(int(placed.n_beyond[0]))
    np.testing.assert_allclose(placed.values[0], assumed, atol=1e-12)
    for members in windows.members:
        points = windows.reflected(int(placed.n_beyond[0]))[list(members)]
        gaps = np.diff(np.sort(np.append(points, 0)))
        assert (gaps > 0.01 * windows.widths[0]).all()


def test_at_a_bound_all_points_are_on_one_side() -> None:
    windows = make_windows()
    zeros, ones = np.zeros(2), np.ones(2)
    placed = place(np.array([0.0, 1.0]), np.full(2, 0.3), windows, zeros, ones)
    assert placed.n_beyond.tolist() == [12, 12]
    assert placed.side.tolist() == [1, -1]
    assert (placed.values[0] > 0).all()
    assert (placed.values[1] < 1).all()
    np.testing.assert_allclose(placed.values[1], 1 - placed.values[0])
