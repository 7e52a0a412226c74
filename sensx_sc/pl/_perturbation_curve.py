"""``sx.pl.perturbation_curve``: how fast the call is lost as ever more genes are perturbed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sensx_sc.metrics.explained import STAR
from sensx_sc.pl._panels import one_or_all, panels, place_legend
from sensx_sc.pl._tool_tables import chosen, method_name, method_styles, tool_results

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd
    from anndata import AnnData
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

TOOLS = ("perturbation_curve", "compare")
DIRECTIONS = ("top", "bottom")


def perturbation_curve(
    adata: AnnData,
    *,
    direction: Literal["top", "bottom"] = "top",
    scale: float | str = STAR,
    groups: str | Sequence[str] | None = None,
    methods: str | Sequence[str] | None = None,
    band: bool = True,
    key: str = "sensx_perturbation",
    ncols: int = 4,
    ax: Axes | Iterable[Axes] | None = None,
) -> Axes | np.ndarray[Any, Any]:
    """Draw perturbation curves: q / q(x) against the share of genes perturbed, a panel a group.

    Lines are means over the cells of the group, the band one standard deviation over them (A.7,
    fig. 5A). For the ``top`` genes a good ranking falls early; for the ``bottom`` late.

    Parameters
    ----------
    adata
        Data with the results of :func:`sensx_sc.tl.perturbation_curve` or
        :func:`sensx_sc.tl.compare`.
    direction
        ``"top"`` or ``"bottom"``.
    scale
        ``"delta_star"`` or one of the scales that were looked at.
    groups, methods
        Which, in the order wanted; None = all.
    band
        Draw the bands.
    key
        Key of the results, such as ``"sensx_compare"``.
    ncols
        Panels a row.
    ax
        Axes to draw on: one, or one for each group.

    Returns
    -------
    The Axes; for several groups a 1-d array of them.

    Raises
    ------
    KeyError
        No results under `key`; an unknown group, method or scale.
    ValueError
        An unknown direction, or another number of Axes than groups.
    TypeError
        `ax` is no Axes.

    Examples
    --------
    >>> import anndata as ad, numpy as np, sensx_sc as sx
    >>> adata = ad.AnnData(1 + np.random.default_rng(0).random((4, 3), dtype="float32"))
    >>> model = lambda x: x @ np.array([8.0, 1.0, 0.0])
    >>> sx.tl.sensx(adata, model, lower=0, upper=2, n_walks=20, n_samples=400)
    >>> sx.tl.perturbation_curve(adata, model, n_draws=50)
    >>> sx.pl.perturbation_curve(adata).get_ylabel()
    'q / q(x)'

    References
    ----------
    Aggarwal, Cogan, Periwal (2026), SensX, TMLR, fig. 5A.
    """
    if direction not in DIRECTIONS:
        msg = f"direction={direction!r} is not one of 'top', 'bottom'."
        raise ValueError(msg)
    table = curves_table(
        adata, direction=direction, scale=scale, groups=groups, methods=methods, key=key
    )
    names = list(dict.fromkeys(table["group"]))
    axes, own = panels(len(names), ax, width=3.3, height=2.7, ncols=ncols)
    styles = method_styles(list(dict.fromkeys(table["method"])))
    for i, (panel, name) in enumerate(zip(axes, names, strict=True)):
        draw_curves(panel, table[table["group"] == name], styles, name, band=band)
        if not own or i % ncols == 0:
            panel.set_ylabel("q / q(x)", fontsize=8)
        if not own or i + ncols >= len(names):
            panel.set_xlabel(f"share of {direction}-ranked genes perturbed", fontsize=8)
    place_legend(axes, _legend(styles), own=own, entry=1.6)
    return one_or_all(axes)


def curves_table(
    adata: AnnData,
    *,
    direction: str,
    scale: float | str,
    groups: str | Sequence[str] | None,
    methods: str | Sequence[str] | None,
    key: str,
) -> pd.DataFrame:
    """Return ``group, method, k, fraction, mean, std, n_cells`` of what is drawn."""
    table = tool_results(adata, key, TOOLS)["curves"]
    (where,) = chosen(scale_name(scale), table["scale"], "scale", "scale")
    which = chosen(groups, table["group"], "groups", "group")
    by = chosen(methods, table["method"], "methods", "method")
    table = table[(table["direction"] == direction) & (table["scale"] == where)]
    table = table[table["group"].isin(which) & table["method"].isin(by)]
    order = table["group"].map({name: i for i, name in enumerate(which)})
    place = table["method"].map({name: i for i, name in enumerate(by)})
    table = table.iloc[np.lexsort((table["k"], place, order))].reset_index(drop=True)
    return table[["group", "method", "k", "fraction", "mean", "std", "n_cells"]]


def scale_name(scale: float | str) -> str:
    """A scale as tables call it."""
    return scale if isinstance(scale, str) else f"{scale:g}"


def draw_curves(
    ax: Axes, table: pd.DataFrame, styles: dict[str, dict[str, Any]], title: str, *, band: bool
) -> None:
    """Draw the lines of one group, and their bands."""
    for method, part in table.groupby("method", sort=False):
        x, mean = part["fraction"].to_numpy(), part["mean"].to_numpy()
        style = styles[str(method)]
        ax.plot(x, mean, label=method_name(str(method)), **style)
        spread = part["std"].to_numpy()
        if band and np.isfinite(spread).all():
            low, high = mean - spread, mean + spread
            ax.fill_between(x, low, high, color=style["color"], alpha=0.12, linewidth=0)
    ax.axhline(1, color="0.6", linewidth=0.8, zorder=0)
    ax.set_xlim(0, float(table["fraction"].max()))
    ax.set_ylim(bottom=min(0.0, float(table["mean"].min())))
    n = int(table["n_cells"].iloc[0])
    ax.set_title(f"{title} ({n} {'cell' if n == 1 else 'cells'})", fontsize=9)
    ax.tick_params(labelsize=8)
    ax.spines[["top", "right"]].set_visible(False)


def _legend(styles: dict[str, dict[str, Any]]) -> list[Artist]:
    from matplotlib.lines import Line2D

    return [Line2D([], [], label=method_name(name), **style) for name, style in styles.items()]
