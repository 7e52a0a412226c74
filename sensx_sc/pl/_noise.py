"""``sx.pl.noise``: how many genes move the model beyond its own noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sensx_sc.pl._marks import group_colours
from sensx_sc.pl._panels import panels
from sensx_sc.pl._tool_tables import place_points, tool_results

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

MOST_POINTS = 400


def noise(adata: AnnData, *, key: str = "sensx_noise", ax: Axes | None = None) -> Axes:
    """Draw how many genes of each cell move the model beyond its noise, a row a group.

    Points are cells, bars medians, the dashed line all tested genes. The label of a group tells the
    median size of a change of q that its noise rarely exceeds.

    Parameters
    ----------
    adata
        Data with the results of :func:`sensx_sc.tl.noise_screening`.
    key
        Key of the results.
    ax
        Axes to draw on.

    Returns
    -------
    The Axes.

    Raises
    ------
    KeyError
        No results under `key`.
    TypeError
        `ax` is no Axes.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> adata = sx.datasets.toy()
    >>> net = sx.models.fit_mlp(adata, "cell_type", hidden=(16,), epochs=20, progress=False)
    >>> sx.tl.sensx(adata, net, n_walks=20, n_samples=400, progress=False)
    >>> sx.tl.noise_screening(adata, net, progress=False)
    >>> sx.pl.noise(adata).get_xlabel()
    'genes beyond noise'
    """
    results = tool_results(adata, key, ("noise_screening",))
    table = results["cells"]
    groups = list(pd.unique(table["group"]))
    (axes,), _ = panels(1, ax, width=5.0, height=1.0 + 0.38 * len(groups))
    colours = group_colours(groups)
    labels = []
    for y, group in enumerate(groups):
        part = table[table["group"] == group]
        found = np.sort(part["n_found"].to_numpy(dtype=np.float64))
        keep = np.unique(np.linspace(0, len(found) - 1, min(len(found), MOST_POINTS)).astype(int))
        axes.scatter(
            found[keep], y + 0.26 * place_points(found[keep]), s=12, color=colours[group],
            alpha=0.6, linewidths=0,
        )  # fmt: skip
        middle = float(np.median(found))
        axes.plot([middle, middle], [y - 0.36, y + 0.36], color="black", linewidth=1.8)
        labels.append(f"{group} (n={len(found)})\nnoise {part['threshold'].median():.1e}")
    n = int(results["params"]["n_features"])
    axes.axvline(n, color="0.5", linestyle="--", linewidth=1)
    axes.set_xlim(0, 1.04 * n)
    axes.set_yticks(range(len(groups)), labels, fontsize=8)
    axes.set_ylim(len(groups) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)
    axes.set_xlabel("genes beyond noise", fontsize=9)
    axes.spines[["top", "right", "left"]].set_visible(False)
    return axes
