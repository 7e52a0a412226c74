"""``sx.pl.compare``: the areas of all methods beside each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from sensx_sc.pl._panels import one_or_all, panels, place_legend
from sensx_sc.pl._perturbation_curve import TOOLS, scale_name
from sensx_sc.pl._tool_tables import (
    chosen,
    method_name,
    method_styles,
    place_points,
    tool_results,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from anndata import AnnData
    from matplotlib.axes import Axes

MOST_POINTS = 400
_REASON = 54  # characters of a reason that fit


def compare(
    adata: AnnData,
    *,
    what: Literal["area", "accuracy"] = "area",
    scales: float | str | Sequence[float | str] | None = None,
    methods: str | Sequence[str] | None = None,
    key: str = "sensx_compare",
    ax: Axes | Iterable[Axes] | None = None,
) -> Axes | np.ndarray[Any, Any]:
    r"""Draw how methods compare: a row a method, a point a cell, a bar the mean.

    One panel for each direction and scale: areas under the perturbation curves of the ``top``
    genes (low is good) and of the ``bottom`` genes (high is good), methods in the order of the
    first panel. A method that does not apply is named with the reason.

    Parameters
    ----------
    adata
        Data with the results of :func:`sensx_sc.tl.compare` (or
        :func:`sensx_sc.tl.perturbation_curve`).
    what
        ``"area"``, or ``"accuracy"``: the share of cells whose k first features are all relevant,
        against k (fig. 2), where the truth was given.
    scales
        Which scales; None = all.
    methods
        Which methods, in the order wanted; None = all, the best first.
    key
        Key of the results.
    ax
        Axes to draw on: one for each panel.

    Returns
    -------
    The Axes; for several panels a 1-d array of them.

    Raises
    ------
    KeyError
        No results under `key`; an unknown method or scale; no truth for ``"accuracy"``.
    ValueError
        Another number of Axes than panels, or an unknown `what`.
    TypeError
        `ax` is no Axes.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> adata = sx.datasets.toy()
    >>> net = sx.models.fit_mlp(adata, "cell_type", hidden=(16,), epochs=20, progress=False)
    >>> some = adata.obs_names.isin(["cell_0", "cell_25"])
    >>> sx.tl.sensx(adata, net, mask_obs=some, n_walks=40, n_samples=400, progress=False)
    >>> sx.tl.compare(adata, net, methods=["value", "random"], n_draws=50, progress=False)
    >>> [ax.get_title() for ax in sx.pl.compare(adata, scales=1.0)]
    ['top genes, delta = 1\n(low is good)', 'bottom genes, delta = 1\n(high is good)']

    References
    ----------
    Aggarwal, Cogan, Periwal (2026), SensX, TMLR, fig. 2 and 5B.
    """
    if what == "accuracy":
        return _accuracy(adata, methods, key, ax)
    if what != "area":
        msg = f"what={what!r} is not one of 'area', 'accuracy'."
        raise ValueError(msg)
    table, unfit = compare_table(adata, scales=scales, methods=methods, key=key)
    shown = table[["direction", "scale"]].drop_duplicates().itertuples(index=False)
    parts = [
        table[(table["direction"] == direction) & (table["scale"] == scale)]
        for direction, scale in shown
    ]
    order = [*table["method"].cat.categories, *unfit]
    longest = max(len(method_name(name)) for name in order)
    axes, own = panels(
        len(parts), ax, width=2.6 + 0.05 * longest, height=1.1 + 0.26 * len(order), ncols=len(parts)
    )
    for i, (panel, part) in enumerate(zip(axes, parts, strict=True)):
        draw_areas(panel, part, order, unfit if i == 0 else {}, room=_REASON * len(parts))
        if own and i:
            panel.set_yticklabels([])
    return one_or_all(axes)


def compare_table(
    adata: AnnData,
    *,
    scales: float | str | Sequence[float | str] | None,
    methods: str | Sequence[str] | None,
    key: str,
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return ``cell, method, direction, scale, auc``, and why methods are missing."""
    results = tool_results(adata, key, ("compare", *TOOLS))
    table = results["auc"]
    asked = None
    if scales is not None:
        listed = [scales] if isinstance(scales, str | int | float) else list(scales)
        asked = [scale_name(scale) for scale in listed]
    where = chosen(asked, table["scale"], "scales", "scale")
    reasons: dict[str, str] = {}
    if "table" in results:
        out = results["table"][~results["table"]["applies"].astype(bool)]
        reasons = dict(zip(out["method"], out["reason"], strict=True))
    there = pd.Series([*pd.unique(table["method"]), *reasons])
    names = chosen(methods, there, "methods", "method")
    table = table[table["scale"].isin(where) & table["method"].isin(names)]
    table = table.iloc[
        np.lexsort(
            (
                table["method"].map({name: i for i, name in enumerate(names)}),
                table["direction"].eq("bottom"),
                table["scale"].map({name: i for i, name in enumerate(where)}),
            )
        )
    ].reset_index(drop=True)
    order = [name for name in names if name not in reasons]
    if methods is None and len(table):
        first = table[(table["direction"] == "top") & (table["scale"] == where[0])]
        mean = first.groupby("method", sort=False)["auc"].mean()
        order = mean.sort_values(kind="stable").index.tolist()
    table["method"] = pd.Categorical(table["method"], categories=order)
    return table, {name: reasons[name] for name in names if name in reasons}


def draw_areas(
    ax: Axes, table: pd.DataFrame, order: list[str], unfit: dict[str, str], *, room: int = _REASON
) -> None:
    """Draw one panel: points, means with two standard errors, and reasons of so many letters."""
    styles = method_styles(order)
    for y, name in enumerate(order):
        area = np.sort(table.loc[table["method"] == name, "auc"].dropna().to_numpy())
        if name in unfit:
            reason = unfit[name]
            short = reason if len(reason) <= room else f"{reason[: room - 1]}..."
            words = ax.text(
                0.01, y, f"does not apply: {short}", transform=ax.get_yaxis_transform(),
                fontsize=6.5, color="0.35", va="center", clip_on=False,
            )  # fmt: skip
            words.set_in_layout(False)  # the rows of the other panels are empty there
        if len(area) == 0:
            continue
        keep = np.unique(np.linspace(0, len(area) - 1, min(len(area), MOST_POINTS)).astype(int))
        ax.scatter(
            area[keep], y + 0.26 * place_points(area[keep]), s=9, color=styles[name]["color"],
            alpha=0.45, linewidths=0,
        )  # fmt: skip
        mean = float(area.mean())
        error = 2 * float(area.std(ddof=1)) / np.sqrt(len(area)) if len(area) > 1 else 0.0
        ax.plot([mean, mean], [y - 0.36, y + 0.36], color="black", linewidth=1.8)
        ax.plot([mean - error, mean + error], [y, y], color="black", linewidth=1)
    direction, scale = str(table["direction"].iloc[0]), str(table["scale"].iloc[0])
    where = "delta*" if scale == "delta_star" else f"delta = {scale}"
    good = "low" if direction == "top" else "high"
    ax.set_title(f"{direction} genes, {where}\n({good} is good)", fontsize=9)
    ax.set_yticks(range(len(order)), [method_name(name) for name in order], fontsize=8)
    ax.set_ylim(len(order) - 0.4, -0.6)
    ax.set_xlabel("area under q / q(x)", fontsize=8)
    ax.tick_params(axis="x", labelsize=8)
    ax.tick_params(axis="y", length=0)
    ax.locator_params(axis="x", nbins=5)
    ax.grid(axis="x", color="0.92", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right", "left"]].set_visible(False)


def _accuracy(
    adata: AnnData, methods: str | Sequence[str] | None, key: str, ax: Any
) -> Axes | np.ndarray[Any, Any]:
    from matplotlib.lines import Line2D

    results = tool_results(adata, key, ("compare",))
    if "accuracy" not in results:
        msg = (
            f"key={key!r} has no accuracies: the truth was not given; run sx.tl.compare(..., "
            "relevant=...)."
        )
        raise KeyError(msg)
    table = results["accuracy"]
    names = chosen(methods, table["method"], "methods", "method")
    styles = method_styles(names)
    (axes,), own = panels(1, ax, width=4.6, height=3.2)
    for name in names:
        part = table[table["method"] == name]
        axes.plot(part["k"], part["accuracy"], marker="o", markersize=4, **styles[name])
    axes.set_ylim(-0.03, 1.05)
    axes.set_xticks(sorted(table["k"].unique()))
    axes.set_xlabel("k", fontsize=9)
    axes.set_ylabel("cells whose top k\nare all relevant", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    handles = [Line2D([], [], label=method_name(name), **styles[name]) for name in names]
    place_legend([axes], handles, own=own, entry=1.5)
    return axes
