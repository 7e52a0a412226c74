from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest

import sensx_sc as sx
from sensx_sc.pl._convergence import convergence_table

made = runpy.run_path(str(Path(__file__).parent / "fabricated_tools.py"))["convergence"]
KEY = "sensx_convergence"


def test_means_over_cells() -> None:
    results = made().uns[KEY]
    table = convergence_table(results, "type 1", together=False)
    assert table["n_cells"].unique().tolist() == [4]
    cells = results["cells"].query("group == 'type 1'")["cell"]
    curves = results["curves"]
    rows = curves[(curves["n_walks"] == 200) & curves["cell"].isin(cells)]
    row = table.query("n_walks == 200")
    assert row["overlap"].item() == pytest.approx(rows["overlap"].mean())
    assert row["overlap_std"].item() == pytest.approx(rows["overlap"].std())


def test_four_curves_and_their_legend() -> None:
    ax = sx.pl.convergence(made(), groups="type 0")
    assert len(ax.lines) == 4
    assert len(ax.collections) == 4
    texts = [text.get_text() for text in ax.figure.legends[0].get_texts()]
    assert "top 50 that halves share" in texts
    assert ax.get_title() == "type 0 (4 cells)"


@pytest.mark.parametrize("n_groups", [1, 3, 50])
def test_one_panel_a_group(n_groups: int) -> None:
    assert len(np.ravel(sx.pl.convergence(made(n_groups, 50, 5)))) == n_groups


def test_together_and_your_axes() -> None:
    _, mine = plt.subplots()
    ax = sx.pl.convergence(made(), together=True, ax=mine)
    assert ax is mine
    assert ax.get_title() == "all cells (12 cells)"
    some = sx.pl.convergence(made(), together=True, groups=["type 0", "type 2"])
    assert some.get_title() == "type 0, type 2 (8 cells)"


def test_a_single_point() -> None:
    ax = sx.pl.convergence(made(1, 1, 2))
    ax.figure.canvas.draw()


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"groups": "NK"}, KeyError, "groups: no group is named 'NK'"),
    ({"key": "none"}, KeyError, "run sx.tl.convergence first"),
    ({"ncols": 0}, ValueError, "ncols=0"),
]


@pytest.mark.parametrize(("how", "error", "match"), WRONG)
def test_wrong_input(how: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        sx.pl.convergence(made(), **how)
