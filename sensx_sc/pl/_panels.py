"""The Axes that a picture is drawn on: the caller's, or a figure of our own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.get._stored import check_count

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def panels(
    n: int, ax: Axes | Iterable[Axes] | None, *, width: float, height: float, ncols: int = 1
) -> tuple[list[Axes], bool]:
    """Return `n` Axes and whether their figure is our own.

    Without `ax` a figure is made whose panels are `width` x `height` inches, `ncols` a row, and
    whose layout leaves room for labels and legends.
    """
    check_count(ncols, "ncols")
    if ax is not None:
        return _given(ax, n), False
    import matplotlib.pyplot as plt

    ncols = min(n, ncols)
    nrows = -(-n // ncols)
    _, grid = plt.subplots(
        nrows, ncols, figsize=(width * ncols, height * nrows), squeeze=False, layout="constrained"
    )
    for spare in grid.flat[n:]:
        spare.remove()
    return list(grid.flat[:n]), True


def one_or_all(axes: Sequence[Axes]) -> Axes | np.ndarray[Any, Any]:
    """Return the only Axes, or a 1-d array of all of them."""
    if len(axes) == 1:
        return axes[0]
    every = np.empty(len(axes), dtype=object)
    every[:] = axes
    return every


def place_legend(
    axes: Sequence[Axes], handles: Sequence[Artist], *, own: bool, entry: float
) -> None:
    """Put the legend above our own figure, or into a corner of the caller's first Axes.

    `entry` is the width of an entry in inches: as many columns are made as fit.
    """
    figure = figure_of(axes[0])
    ncols = int(np.clip(figure.get_figwidth() // entry, 1, len(handles)))
    if own:
        figure.legend(
            handles=handles, loc="outside upper center", ncols=ncols, frameon=False, fontsize=8
        )
    else:
        axes[0].legend(handles=handles, loc="best", fontsize=7, framealpha=0.85)


def figure_of(ax: Axes) -> Figure:
    """Return the figure at the root of an Axes."""
    figure = ax.get_figure(root=True)
    if figure is None:
        msg = "ax belongs to no figure any more; give an Axes of an open figure."
        raise ValueError(msg)
    return figure


def _flat(ax: Iterable[Any]) -> list[Any]:
    """Return the items of a list or of an array of any shape."""
    return list(ax.flat) if isinstance(ax, np.ndarray) else list(ax)


def _given(ax: Any, n: int) -> list[Axes]:
    """Check the caller's Axes."""
    from matplotlib.axes import Axes as _Axes

    given = [ax] if isinstance(ax, _Axes) or not isinstance(ax, Iterable) else _flat(ax)
    wrong = [item for item in given if not isinstance(item, _Axes)]
    if wrong:
        msg = (
            f"ax must be a matplotlib Axes (or one for each of the {n} panels), "
            f"got {type(wrong[0]).__name__}."
        )
        raise TypeError(msg)
    if len(given) != n:
        msg = (
            f"ax holds {len(given)} Axes for {n} panels; give {n} Axes, choose fewer groups or "
            "cells, or leave ax out."
        )
        raise ValueError(msg)
    return given
