from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest

from sensx_sc.pl._panels import one_or_all, panels


def test_own_figure_has_no_empty_panels() -> None:
    axes, own = panels(5, None, width=2, height=1, ncols=3)
    assert own
    assert len(axes) == len(axes[0].figure.axes) == 5
    np.testing.assert_allclose(axes[0].figure.get_size_inches(), [6, 2])


def test_given_axes_may_be_a_grid() -> None:
    _, grid = plt.subplots(2, 2)
    axes, own = panels(4, grid, width=1, height=1)
    assert not own
    assert axes == list(grid.ravel())
    assert one_or_all(axes).shape == (4,)
    assert one_or_all(axes[:1]) is grid[0, 0]


def test_wrong_number() -> None:
    _, ax = plt.subplots()
    with pytest.raises(ValueError, match="ax holds 1 Axes for 3 panels; give 3 Axes"):
        panels(3, ax, width=1, height=1)
