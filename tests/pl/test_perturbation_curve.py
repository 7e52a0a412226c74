from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes

import sensx_sc as sx
from sensx_sc.pl._perturbation_curve import curves_table

made = runpy.run_path(str(Path(__file__).parent / "fabricated_tools.py"))["curves"]
KEY = "sensx_compare"


def test_table_is_in_the_order_asked_for() -> None:
    table = curves_table(
        made(), direction="bottom", scale=1.0, groups=["type 2", "type 0"],
        methods=["random", "value"], key=KEY,
    )  # fmt: skip
    assert table["group"].drop_duplicates().tolist() == ["type 2", "type 0"]
    assert table["method"].drop_duplicates().tolist() == ["random", "value"]
    assert table.groupby(["group", "method"])["k"].is_monotonic_increasing.all()


def test_lines_bands_and_labels() -> None:
    adata = made(n_methods=3)
    ax = sx.pl.perturbation_curve(adata, groups="type 1", key=KEY)
    assert isinstance(ax, Axes)
    table = curves_table(
        adata, direction="top", scale="delta_star", groups="type 1", methods=None, key=KEY
    )
    lines = {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}
    assert list(lines) == ["SensX value", "SensX change", "IG, zero"]
    part = table[table["method"] == "change"]
    np.testing.assert_array_equal(lines["SensX change"].get_ydata(), part["mean"])
    assert len(ax.collections) == 3
    assert ax.get_title() == "type 1 (10 cells)"
    assert ax.get_ylim()[0] == 0
    bare = sx.pl.perturbation_curve(adata, groups="type 1", band=False, key=KEY)
    assert not bare.collections


@pytest.mark.parametrize("n_groups", [1, 3, 50])
def test_one_panel_a_group(n_groups: int) -> None:
    axes = np.ravel(sx.pl.perturbation_curve(made("compare", n_groups, 60, 2), key=KEY))
    assert len(axes) == n_groups
    assert [ax.get_title().split(" (")[0] for ax in axes] == [f"type {g}" for g in range(n_groups)]
    if n_groups < 4:
        axes[0].figure.canvas.draw()


def test_one_cell_has_no_band_and_your_axes_are_used() -> None:
    adata = made("perturbation_curve", 1, 1, 1)
    _, mine = plt.subplots()
    ax = sx.pl.perturbation_curve(adata, direction="bottom", ax=mine)
    assert ax is mine
    assert not ax.collections
    assert ax.get_title() == "type 0 (1 cell)"
    assert ax.get_legend() is not None


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"direction": "left"}, ValueError, "direction='left' is not one of 'top', 'bottom'"),
    ({"scale": 0.5}, KeyError, "scale: no scale is named '0.5'; there are 2"),
    ({"groups": "NK"}, KeyError, "groups: no group is named 'NK'"),
    ({"methods": "lime"}, KeyError, "methods: no method is named 'lime'"),
    ({"key": "none"}, KeyError, "run sx.tl.perturbation_curve first"),
    ({"ax": 3}, TypeError, "ax must be a matplotlib Axes"),
]


@pytest.mark.parametrize(("how", "error", "match"), WRONG)
def test_wrong_input(how: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        sx.pl.perturbation_curve(made(), **{"key": KEY, **how})
