from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

import sensx_sc as sx


def made(n: int = 30) -> AnnData:
    """Gene k has rank n - k; two are unstable; one was left out."""
    adata = AnnData(
        np.ones((2, n), np.float32), var=pd.DataFrame(index=[f"G{j}" for j in range(n)])
    )
    effective = np.arange(n, dtype=float)
    effective[0] = np.nan
    adata.var["scores_effective"], adata.var["scores_rank"] = effective, n - np.arange(n)
    adata.var.loc["G0", "scores_rank"] = 0
    stability = np.ones(n)
    stability[-2] = 1 / 3
    adata.var["scores_stability"] = stability
    adata.varm["scores_seeds"] = effective[:, None] + np.array([-0.5, 0.0, 0.5])
    adata.uns["scores"] = {"params": {"tool": "fit_scores", "n_seeds": 3, "top_k": 20}}
    return adata


def test_bars_dots_and_stability() -> None:
    ax = sx.pl.scores_activation(made(), n_genes=3)
    assert isinstance(ax, Axes)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["G29", "G28", "G27"]
    assert ax.yaxis_inverted()
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], [29, 28, 27])
    colours = [to_hex(bar.get_facecolor()) for bar in ax.patches]
    assert colours[0] == colours[2] != colours[1]
    assert [text.get_text() for text in ax.texts] == ["3/3", "1/3", "3/3"]
    (dots,) = ax.get_lines()
    np.testing.assert_allclose(dots.get_xdata()[:3], [28.5, 29, 29.5])
    assert ax.get_xlabel() == "effective score"
    labels = [text.get_text() for text in ax.figure.legends[0].get_texts()]
    assert labels[0] == "among the first 20 in half of the nets"


def test_genes_left_out_are_not_drawn() -> None:
    ax = sx.pl.scores_activation(made(5), n_genes=50)
    assert len(ax.patches) == 4


def test_on_axes_of_the_caller() -> None:
    _, own = plt.subplots()
    assert sx.pl.scores_activation(made(), ax=own) is own


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ({"key": "gate"}, KeyError, r"no results of sx.nn.fit_scores: run"),
        ({"n_genes": 0}, ValueError, "n_genes=0 must be a whole number"),
        ({"ax": 3}, TypeError, "ax must be a matplotlib Axes"),
    ],
)
def test_wrong_input(how: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        sx.pl.scores_activation(made(), **how)
