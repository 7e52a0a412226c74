from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex

import sensx_sc as sx
from sensx_sc.pl._marks import LOWERS, RAISES, UNSIGNED

if TYPE_CHECKING:
    from collections.abc import Callable

    from anndata import AnnData

KEY = "sensx_cell_type"


@pytest.fixture
def compared(make_explained: Callable[..., AnnData]) -> AnnData:
    adata = make_explained()
    sx.tl.rank_groups(adata, "cell_type", reference="rest")
    return adata


def test_points_colours_and_names(compared: AnnData) -> None:
    ax = sx.pl.differences(compared, groups="NK", n_genes=3, key=KEY)
    table = compared.uns[KEY]["rankings"].query("group == 'NK'")
    points = ax.collections[0]
    np.testing.assert_allclose(points.get_offsets()[:, 0], table["effect"])
    np.testing.assert_allclose(points.get_offsets()[:, 1], -np.log10(table["pval_adj"]))
    found, effect = (table["pval_adj"] <= 0.05).to_numpy(), table["effect"].to_numpy()
    colours = np.array([to_hex(c) for c in points.get_facecolors()])
    assert (colours[found & (effect > 0)] == RAISES).all()
    assert (colours[found & (effect < 0)] == LOWERS).all()
    assert (colours[~found] == UNSIGNED).all()
    named = {text.get_text() for text in ax.texts}
    assert {"GENE3", "GENE4", "GENE5"} <= named
    assert len(named) == 6
    assert ax.get_title() == "NK against rest"
    heights = sorted(text.xyann[1] for text in ax.texts if text.get_ha() == "left")
    assert np.diff(heights).min() > 0  # names do not cover each other


@pytest.mark.parametrize("n_groups", [2, 3, 50])
def test_one_panel_a_group(make_explained: Callable[..., AnnData], n_groups: int) -> None:
    adata = make_explained(6 * n_groups + 60, 20, n_groups)
    sx.tl.rank_groups(adata, "cell_type", reference="rest")
    axes = np.ravel(sx.pl.differences(adata, key=KEY))
    assert len(axes) == n_groups
    if n_groups < 4:
        axes[0].figure.canvas.draw()


def test_nothing_found_and_your_axes(make_explained: Callable[..., AnnData]) -> None:
    adata = make_explained()
    adata.obs["chance"] = np.resize(["a", "a", "b"], 300)
    adata.obs["chance"] = np.random.default_rng(0).permutation(adata.obs["chance"].to_numpy())
    sx.tl.rank_groups(adata, "chance", reference="b")
    _, mine = plt.subplots()
    ax = sx.pl.differences(adata, key="sensx_chance", ax=mine)
    assert ax is mine
    assert not ax.texts


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"groups": "T"}, KeyError, "groups: no group is named 'T'"),
    ({"n_genes": 0}, ValueError, "n_genes=0"),
    ({"alpha": 1}, ValueError, "alpha=1 must lie between 0 and 1"),
    ({"key": "sensx"}, ValueError, "holds no comparison; run sx.tl.rank_groups"),
    ({"key": "none"}, KeyError, "names no SensX results"),
]


@pytest.mark.parametrize(("how", "error", "match"), WRONG)
def test_wrong_input(
    compared: AnnData, how: dict[str, Any], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        sx.pl.differences(compared, **{"key": KEY, **how})
