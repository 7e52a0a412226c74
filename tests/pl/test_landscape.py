from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest

import sensx_sc as sx
from sensx_sc.pl._landscape import landscape_table

made = runpy.run_path(str(Path(__file__).parent / "fabricated_tools.py"))["landscape"]
KEY = "sensx_landscape"


def test_table_is_the_mean_ratio_over_cells() -> None:
    results = made().uns[KEY]
    table = landscape_table(results, ["cell0", "cell3"], "top", "median")
    grid = results["grid"].query("direction == 'top'")
    d, k = table.columns[4], table.index[7]
    rows = grid[grid["cell"].isin(["cell0", "cell3"]) & (grid["delta"] == d) & (grid["k"] == k)]
    assert table.loc[k, d] == pytest.approx((rows["median"] / 0.995).mean())
    assert table.shape == (grid["k"].nunique(), 13)


def test_a_cell_shows_its_pareto_set() -> None:
    adata = made()
    ax = sx.pl.landscape(adata, cells="cell1")
    edge = adata.uns[KEY]["pareto"].query("cell == 'cell1'")
    points = [c for c in ax.collections if len(c.get_offsets()) == len(edge)]
    np.testing.assert_allclose(points[-1].get_offsets(), edge[["delta", "k"]])
    assert ax.get_xscale() == ax.get_yscale() == "log"
    star = adata.uns[KEY]["cells"].set_index("cell").loc["cell1", "delta_star"]
    assert ax.get_title() == f"cell1\ndelta* = {star:.3g}"


@pytest.mark.parametrize("n_groups", [1, 3, 50])
def test_one_panel_a_group(n_groups: int) -> None:
    axes = np.ravel(sx.pl.landscape(made(n_groups, 2 * n_groups, 4, 5), direction="bottom"))
    assert len(axes) == n_groups
    assert axes[0].get_title().startswith("type 0 (2 cells)")


def test_a_grid_of_one_scale() -> None:
    ax = sx.pl.landscape(made(1, 1, 1, 4))
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0.1"]
    ax.figure.canvas.draw()


def test_your_axes() -> None:
    _, mine = plt.subplots()
    assert sx.pl.landscape(made(1, 3), percentile="high", ax=mine) is mine


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"groups": "type 0", "cells": "cell0"}, ValueError, "groups and cells cannot be given"),
    ({"direction": "up"}, ValueError, "direction='up' is not one of"),
    ({"percentile": "mean"}, ValueError, "percentile='mean' is not one of"),
    ({"cells": "cell99"}, KeyError, "cells: no cell is named 'cell99'"),
    ({"groups": "NK"}, KeyError, "groups: no group is named 'NK'"),
    ({"key": "none"}, KeyError, "run sx.tl.landscape first"),
]


@pytest.mark.parametrize(("how", "error", "match"), WRONG)
def test_wrong_input(how: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        sx.pl.landscape(made(), **how)
