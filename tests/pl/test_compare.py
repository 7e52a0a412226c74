from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest

import sensx_sc as sx
from sensx_sc.pl._compare import compare_table

made = runpy.run_path(str(Path(__file__).parent / "fabricated_tools.py"))["curves"]
ALL: dict[str, Any] = {"scales": None, "methods": None, "key": "sensx_compare"}


def labels(ax: Any) -> list[str]:
    return [label.get_text() for label in ax.get_yticklabels()]


def test_the_best_method_is_first_and_missing_ones_last() -> None:
    adata = made(unfit=("kernel_shap",))
    table, unfit = compare_table(adata, **ALL)
    first = table.query("direction == 'top' and scale == 'delta_star'")
    mean = first.groupby("method", observed=True)["auc"].mean()
    order = list(table["method"].cat.categories)
    assert mean[order].is_monotonic_increasing
    assert list(unfit) == ["kernel_shap"]
    axes = sx.pl.compare(adata)
    assert [ax.get_title().split("\n")[0] for ax in axes] == [
        "top genes, delta*", "bottom genes, delta*", "top genes, delta = 1",
        "bottom genes, delta = 1",
    ]  # fmt: skip
    assert labels(axes[0])[-1] == "KernelSHAP"
    assert labels(axes[1]) == [""] * 13
    texts = [text.get_text() for text in axes[0].texts]
    assert len(texts) == 1
    assert texts[0].startswith("does not apply: needs 230 GB")
    assert not axes[1].texts


def test_points_and_means() -> None:
    adata = made(n_methods=2, n_cells=7)
    ax = sx.pl.compare(adata, scales=1, methods=["change", "value"])[0]
    assert labels(ax) == ["SensX change", "SensX value"]
    area = adata.uns["sensx_compare"]["auc"].query(
        "method == 'change' and scale == '1' and direction == 'top'"
    )["auc"]
    points = ax.collections[0].get_offsets()
    np.testing.assert_allclose(np.sort(points[:, 0]), np.sort(area))
    assert ax.lines[0].get_xdata()[0] == pytest.approx(area.mean())


@pytest.mark.parametrize("n_cells", [1, 3000])
def test_one_cell_and_many(n_cells: int) -> None:
    axes = sx.pl.compare(made(n_cells=n_cells, n_groups=1, n_methods=3), scales="delta_star")
    assert all(len(c.get_offsets()) <= 400 for c in axes[0].collections)
    axes[0].figure.canvas.draw()


def test_accuracy() -> None:
    ax = sx.pl.compare(
        made(n_methods=4, accuracy=True), what="accuracy", methods=["value", "ig_mean"]
    )
    assert len(ax.lines) == 2
    assert ax.get_xticks().tolist() == [1, 2, 3, 4, 5]
    _, mine = plt.subplots()
    assert sx.pl.compare(made(accuracy=True), what="accuracy", ax=mine) is mine


def test_curves_of_one_ranking_serve_too() -> None:
    axes = sx.pl.compare(made("perturbation_curve", n_methods=1), key="sensx_perturbation")
    assert len(axes) == 4


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"what": "time"}, ValueError, "what='time' is not one of"),
    ({"what": "accuracy"}, KeyError, "the truth was not given"),
    ({"scales": 0.3}, KeyError, "scales: no scale is named '0.3'"),
    ({"methods": ["lime"]}, KeyError, "methods: no method is named 'lime'"),
    ({"key": "none"}, KeyError, "run sx.tl.compare first"),
]


@pytest.mark.parametrize(("how", "error", "match"), WRONG)
def test_wrong_input(how: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        sx.pl.compare(made(), **how)


def test_another_number_of_axes() -> None:
    _, mine = plt.subplots(1, 2)
    with pytest.raises(ValueError, match="2 Axes for 4 panels"):
        sx.pl.compare(made(), ax=mine)
