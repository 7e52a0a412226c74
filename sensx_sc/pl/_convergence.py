"""``sx.pl.convergence``: how rankings settle with the number of walks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.pl._panels import one_or_all, panels, place_legend
from sensx_sc.pl._tool_tables import chosen, tool_results

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd
    from anndata import AnnData
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

CURVES: dict[str, dict[str, Any]] = {
    "successive": {"color": "#7f7f7f", "linestyle": "--", "label": "n walks and n - step (paper)"},
    "reliability": {"color": "#0072B2", "label": "halves, corrected (Spearman-Brown)"},
    "split_half": {"color": "#56B4E9", "label": "halves"},
    "overlap": {"color": "#D55E00", "label": "top k that halves share"},
}


def convergence(
    adata: AnnData,
    *,
    groups: str | Sequence[str] | None = None,
    together: bool = False,
    key: str = "sensx_convergence",
    ncols: int = 4,
    ax: Axes | Iterable[Axes] | None = None,
) -> Axes | np.ndarray[Any, Any]:
    """Draw how the ranking agrees with itself as walks are added, a panel a group.

    The paper's curve (dashed: it shares nearly all walks with itself), the rank correlation of two
    halves that share none, the same corrected for their length, and the share of their top k.
    Lines are means over the group's cells, bands one standard deviation.

    Parameters
    ----------
    adata
        Data with the results of :func:`sensx_sc.tl.convergence`.
    groups
        Explained outputs to draw, in that order; None = all.
    together
        All cells in one panel.
    key
        Key of the results.
    ncols
        Panels a row.
    ax
        Axes to draw on: one, or one for each panel.

    Returns
    -------
    The Axes; for several groups a 1-d array of them.

    Raises
    ------
    KeyError
        No results under `key`, or an unknown group.
    ValueError
        Another number of Axes than panels.
    TypeError
        `ax` is no Axes.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> adata = sx.datasets.toy()
    >>> net = sx.models.fit_mlp(adata, "cell_type", hidden=(16,), epochs=20, progress=False)
    >>> some = adata.obs_names.isin(["cell_0", "cell_25"])
    >>> sx.tl.sensx(adata, net, mask_obs=some, n_walks=80, n_samples=400, progress=False)
    >>> sx.tl.convergence(adata, net, top_k=5, progress=False)
    >>> sx.pl.convergence(adata, together=True).get_xlabel()
    'walks'

    References
    ----------
    Aggarwal, Cogan, Periwal (2026), SensX, TMLR, fig. E1 and E2.
    """
    results = tool_results(adata, key, ("convergence",))
    table = convergence_table(results, groups, together=together)
    names = list(dict.fromkeys(table["group"]))
    axes, own = panels(len(names), ax, width=3.3, height=2.7, ncols=ncols)
    for i, (panel, name) in enumerate(zip(axes, names, strict=True)):
        draw_convergence(panel, table[table["group"] == name], name)
        if not own or i % ncols == 0:
            panel.set_ylabel("agreement", fontsize=8)
        if not own or i + ncols >= len(names):
            panel.set_xlabel("walks", fontsize=8)
    place_legend(axes, _legend(int(results["params"]["top_k"])), own=own, entry=2.4)
    return one_or_all(axes)


def convergence_table(
    results: Any, groups: str | Sequence[str] | None, *, together: bool
) -> pd.DataFrame:
    """Return ``group, n_walks, n_cells`` and mean and ``_std`` of each curve over cells."""
    cells = results["cells"].set_index("cell")["group"]
    which = chosen(groups, results["cells"]["group"], "groups", "group")
    table = results["curves"]
    table = table.assign(group=table["cell"].map(cells))
    table = table[table["group"].isin(which)]
    if together:
        table = table.assign(group="all cells" if groups is None else ", ".join(which))
    by = table.groupby(["group", "n_walks"], sort=True)[list(CURVES)]
    found = by.mean().join(by.std().add_suffix("_std")).reset_index()
    found["n_cells"] = found["group"].map(table.groupby("group")["cell"].nunique())
    order = found["group"].map({name: i for i, name in enumerate(which)}).fillna(0)
    return found.iloc[np.lexsort((found["n_walks"], order))].reset_index(drop=True)


def draw_convergence(ax: Axes, table: pd.DataFrame, title: str) -> None:
    """Draw the curves of one group."""
    x = table["n_walks"].to_numpy(dtype=float)
    for name, style in CURVES.items():
        mean, spread = table[name].to_numpy(), table[f"{name}_std"].to_numpy()
        line = {key: value for key, value in style.items() if key != "label"}
        ax.plot(x, mean, linewidth=1.6, marker="o" * (len(x) < 8), markersize=4, **line)
        if np.isfinite(spread).any():
            ax.fill_between(
                x, mean - spread, mean + spread, color=style["color"], alpha=0.13, linewidth=0
            )
    ax.set_ylim(min(0.0, float(np.nanmin(table[list(CURVES)].to_numpy()))) - 0.02, 1.04)
    n = int(table["n_cells"].iloc[0])
    ax.set_title(f"{title} ({n} {'cell' if n == 1 else 'cells'})", fontsize=9)
    ax.tick_params(labelsize=8)
    ax.grid(axis="y", color="0.92", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def _legend(k: int) -> list[Artist]:
    from matplotlib.lines import Line2D

    handles: list[Artist] = []
    for style in CURVES.values():
        label = str(style["label"]).replace("top k", f"top {k}")
        handles.append(Line2D([], [], linewidth=1.6, **{**style, "label": label}))
    return handles
