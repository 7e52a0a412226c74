from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from scipy.stats import norm
from scipy.stats import t as student

import sensx_sc as sx
from sensx_sc.pl._local_sensitivity import slopes_table
from sensx_sc.pl._marks import LOWERS, RAISES

KEY = "local_sensitivity"


def made(n_groups: int = 3, n_genes: int = 40) -> AnnData:
    """Made-up results: group g is led by the genes g (upwards) and g + 1 (downwards)."""
    rng = np.random.default_rng(0)
    n = 4 * n_groups
    group = np.arange(n) % n_groups
    slope = rng.normal(0, 0.1, (n, n_genes))
    slope[np.arange(n), group % n_genes] = 2.0
    slope[np.arange(n), (group + 1) % n_genes] = -1.5
    x = np.ones((n, n_genes), np.float32)
    x[:, ::2] = 0
    adata = AnnData(x, var=pd.DataFrame(index=[f"G{j}" for j in range(n_genes)]))
    adata.obs_names = [f"cell_{i}" for i in range(n)]
    adata.layers[KEY], adata.layers[f"{KEY}_se"] = slope, np.full_like(slope, 0.2)
    adata.layers[KEY][-1] = np.nan
    adata.var[f"{KEY}_lower"] = 0.0
    parts = []
    for k in range(n_groups):
        mean = slope[(group == k) & ~np.isnan(slope[:, 0])].mean(axis=0)
        order = np.argsort(-np.abs(mean))
        part = pd.DataFrame({"group": f"type {k}", "names": adata.var_names[order]})
        part["rank"], part["slope"], part["slope_se"] = np.arange(n_genes) + 1, mean[order], 0.1
        part["presence"], part["n_cells"] = x[0, order].astype(float), 4
        parts.append(part)
    params = {"tool": KEY, "qoi": "probability", "layer": None}
    adata.uns[KEY] = {"params": params, "slopes": pd.concat(parts, ignore_index=True)}
    return adata


def gene_labels(ax: Axes) -> list[str]:
    return [label.get_text() for label in ax.get_yticklabels()]


def test_table() -> None:
    table = slopes_table(made(), groups="type 1", cells=None, n_genes=2, key=KEY)
    assert table["names"].tolist() == ["G1", "G2"]
    np.testing.assert_allclose(table["size"], [2, -1.5])
    assert table["sign"].tolist() == [1, -1]
    assert table["present"].tolist() == [True, False]


def test_signed_bars_with_intervals() -> None:
    ax = sx.pl.local_sensitivity(made(), groups="type 1", n_genes=2)
    assert isinstance(ax, Axes)
    assert gene_labels(ax) == ["G1", "G2"]
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], [2, -1.5])
    assert [to_hex(bar.get_edgecolor()) for bar in ax.patches] == [RAISES, LOWERS]
    assert [bar.get_facecolor()[3] for bar in ax.patches] == [1, 0]
    (bars,) = ax.collections
    ends = np.array(bars.get_segments())[:, :, 0]
    np.testing.assert_allclose(ends.mean(axis=1), [2, -1.5])
    np.testing.assert_allclose(np.diff(ends)[:, 0], 2 * student.ppf(0.975, 4 - 1) * 0.1)
    assert ax.get_xlabel() == "change in probability\nper unit of expression"
    assert ax.get_title() == "type 1"


def test_cells() -> None:
    axes = sx.pl.local_sensitivity(made(), cells=["cell_1", "cell_0"], n_genes=2)
    assert [ax.get_title() for ax in axes] == ["cell_1", "cell_0"]
    assert gene_labels(axes[0]) == ["G1", "G2"]
    ends = np.array(axes[0].collections[0].get_segments())[:, :, 0]
    np.testing.assert_allclose(np.diff(ends)[:, 0], 2 * norm.ppf(0.975) * 0.2)


def test_without_errors() -> None:
    adata = made()
    del adata.layers[f"{KEY}_se"]
    ax = sx.pl.local_sensitivity(adata, cells="cell_0")
    assert not ax.collections
    texts = [text.get_text() for text in ax.figure.legends[0].get_texts()]
    assert not any("interval" in text for text in texts)


@pytest.mark.parametrize("n_groups", [1, 50])
def test_one_group_and_fifty(n_groups: int) -> None:
    axes = np.atleast_1d(sx.pl.local_sensitivity(made(n_groups), n_genes=5))
    assert len(axes) == n_groups
    axes[0].figure.canvas.draw()


def test_on_axes_of_the_caller() -> None:
    _, axes = plt.subplots(1, 3)
    returned = sx.pl.local_sensitivity(made(), n_genes=4, ax=axes)
    assert list(returned) == list(axes)
    with pytest.raises(ValueError, match="ax holds 1 Axes for 3 panels"):
        sx.pl.local_sensitivity(made(), ax=axes[0])


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ({"key": "sensx"}, KeyError, r"no results of sx.tl.local_sensitivity: run"),
        ({"groups": "T"}, KeyError, "no group is named 'T'"),
        ({"cells": "x"}, KeyError, "no cell is named 'x'"),
        ({"cells": "cell_11"}, ValueError, "'cell_11' has no slopes"),
        ({"cells": "cell_1", "groups": "type 1"}, ValueError, "cannot be given together"),
        ({"n_genes": 0}, ValueError, "n_genes=0 must be a whole number"),
        ({"ax": 3}, TypeError, "ax must be a matplotlib Axes"),
    ],
)
def test_wrong_input(how: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        sx.pl.local_sensitivity(made(), **how)
