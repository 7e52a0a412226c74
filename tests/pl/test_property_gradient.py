from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from matplotlib.axes import Axes

import sensx_sc as sx

KEY = "property_gradient"
X = np.linspace(-2, 2, 9)


def made(n_groups: int = 2, properties: tuple[str, ...] = ("programme", "depth")) -> AnnData:
    """What ``tl.property_gradient`` writes, made up."""
    curves, rows = [], []
    for k in range(n_groups):
        for name in properties:
            band = 0.05 if name == "programme" else np.nan
            strength = X if name == "programme" else np.linspace(1, 0.1, 9)
            curves.append(
                pd.DataFrame({
                    "group": f"type {k}", "property": name, "step": np.arange(9),
                    "strength": strength, "measured": X, "q": 0.5 + 0.1 * X + 0.01 * k,
                    "q_low": 0.4 + 0.1 * X, "q_high": 0.6 + 0.1 * X,
                    "placebo_low": 0.5 - band, "placebo_high": 0.5 + band,
                })
            )  # fmt: skip
            p = 0.0099 if name == "programme" else np.nan
            row = {"epgm": 0.1, "epgm_per_sd": 0.12 if name == "programme" else np.nan}
            rows.append({"group": f"type {k}", "property": name, "p_placebo": p, **row})
    about = {
        "programme": {"unit": "z-score", "axis": "log2 fold change", "origin": 4},
        "depth": {"unit": "log10 counts", "axis": "share of the molecules", "origin": None},
    }
    adata = AnnData(np.ones((3, 2), np.float32))
    adata.uns[KEY] = {
        "params": {"tool": KEY, "qoi": "probability", "properties": about},
        "curves": pd.concat(curves, ignore_index=True),
        "table": pd.DataFrame(rows),
    }
    return adata


def texts(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts]


def test_a_curve_with_bands_and_its_score() -> None:
    ax = sx.pl.property_gradient(made(), properties="programme", groups="type 1")
    assert isinstance(ax, Axes)
    line, origin = ax.get_lines()
    np.testing.assert_allclose(line.get_xdata(), X)
    np.testing.assert_allclose(line.get_ydata(), 0.51 + 0.1 * X)
    assert origin.get_xdata()[0] == 0
    assert len(ax.collections) == 2  # placebos, quartiles
    assert ax.get_title() == "programme"
    assert ax.get_xlabel() == "log2 fold change"
    assert ax.get_ylabel() == "probability"
    assert texts(ax) == ["EPGM 0.12 / SD\np = 0.0099"]
    labels = [text.get_text() for text in ax.figure.legends[0].get_texts()]
    assert labels == ["mean over cells", "quartiles", "placebos (90 %)", "as it is"]


def test_a_property_without_placebo_or_deviation() -> None:
    ax = sx.pl.property_gradient(made(), properties="depth", groups="type 0")
    assert len(ax.collections) == 1
    assert texts(ax) == ["EPGM 0.1 / unit"]
    assert ax.xaxis_inverted()  # from the whole library down
    assert len(ax.get_lines()) == 1
    assert len(ax.figure.legends[0].get_texts()) == 3


def test_panels_by_property_then_group() -> None:
    axes = sx.pl.property_gradient(made())
    titles = ["programme\ntype 0", "programme\ntype 1", "depth\ntype 0", "depth\ntype 1"]
    assert [ax.get_title() for ax in axes] == titles
    assert len({ax.get_ylim() for ax in axes}) == 1
    one = sx.pl.property_gradient(made(1))
    assert [ax.get_title() for ax in one] == ["programme", "depth"]


def test_fifty_groups() -> None:
    axes = sx.pl.property_gradient(made(50, ("programme",)), ncols=10)
    assert len(axes) == 50
    axes[0].figure.canvas.draw()


def test_on_axes_of_the_caller() -> None:
    _, axes = plt.subplots(2, 2)
    assert list(sx.pl.property_gradient(made(), ax=axes)) == list(axes.flat)


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ({"key": "sensx"}, KeyError, r"no results of sx.tl.property_gradient: run"),
        ({"groups": "T"}, KeyError, "no group is named 'T'"),
        ({"properties": "batch"}, KeyError, "no property is named 'batch'"),
        ({"ax": 3}, TypeError, "ax must be a matplotlib Axes"),
        ({"ncols": 0}, ValueError, "ncols=0 must be a whole number"),
    ],
)
def test_wrong_input(how: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        sx.pl.property_gradient(made(), **how)
