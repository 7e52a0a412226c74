"""``sx.pl.delta_star``: how far the input must move before the prediction gives way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sensx_sc.get._stored import quoted, source_key
from sensx_sc.pl._marks import GROUP_COLOURS, STATUS_COLOURS, STATUS_MARKERS
from sensx_sc.pl._panels import panels, place_legend
from sensx_sc.words import STATUSES

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

FEWEST_FOR_VIOLIN = 4
MOST_POINTS = 500
WORDS = {
    "resolved": "resolved",
    "left_censored": "left-censored",
    "unsaturated": "unsaturated",
    "insensitive": "insensitive",
    "failed": "failed",
}


def delta_star(
    adata: AnnData, groupby: str | None = None, *, key: str = "sensx", ax: Axes | None = None
) -> Axes:
    """Draw the characteristic perturbation scale delta* (equation 2) of each group's cells.

    Violins and points on a log axis, groups ordered by their median from the top. The label of a
    group counts its cells by status: an insensitive cell (delta* = 0) and a failed one (NaN) have
    no place on a log axis, and a left-censored or unsaturated one sits at the end of its grid
    (triangles). A group with fewer than four values has points only, and at most 500
    points a group are drawn (evenly spaced in order of size).

    Parameters
    ----------
    adata
        Data with the results of :func:`sensx_sc.tl.sensx`.
    groupby
        Column of ``adata.obs`` to group by; None = all cells together.
    key
        ``key_added`` of the results.
    ax
        Axes to draw on.

    Returns
    -------
    The Axes.

    Raises
    ------
    KeyError
        No results under `key`, or no such column.
    ValueError
        No cell was analysed.
    TypeError
        `ax` is no Axes.

    Examples
    --------
    >>> import anndata as ad, numpy as np, sensx_sc as sx
    >>> adata = ad.AnnData(np.random.default_rng(0).random((6, 3), dtype="float32"))
    >>> sx.tl.sensx(adata, lambda x: x @ np.array([3.0, -1.0, 0.0]), n_walks=20, n_samples=400)
    >>> sx.pl.delta_star(adata).get_xscale()
    'log'

    References
    ----------
    Aggarwal, Cogan, Periwal (2026), SensX, TMLR, eq. 2 and fig. D10.
    """
    table = delta_star_table(adata, groupby, key=key)
    labels = group_labels(table)
    longest = max(len(line) for label in labels.values() for line in label.split("\n"))
    (axes,), own = panels(
        1, ax, width=4.8 + 0.065 * longest, height=1.1 + max(0.8, 0.42 * len(labels))
    )
    draw_delta_star(axes, table, labels)
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [],
            [],
            linestyle="",
            marker=STATUS_MARKERS[status],
            color=STATUS_COLOURS[status],
            markersize=5,
            label=WORDS[status],
        )
        for status in STATUS_MARKERS
        if ((table["status"] == status) & (table["delta_star"] > 0)).any()
    ]
    handles.append(Line2D([], [], color="black", linewidth=1.6, label="median"))
    place_legend([axes], handles, own=own, entry=1.2)
    return axes


def delta_star_table(adata: AnnData, groupby: str | None, *, key: str) -> pd.DataFrame:
    """Return ``cell, group, delta_star, status`` of the analysed cells, groups by their median."""
    prefix = source_key(adata, key)
    if groupby is not None and groupby not in adata.obs:
        msg = (
            f"groupby={groupby!r} is no column of adata.obs; it has the columns "
            f"{quoted(adata.obs.columns)}."
        )
        raise KeyError(msg)
    group = pd.Series("all cells", index=adata.obs_names)
    if groupby is not None:
        group = adata.obs[groupby].astype(object)
    table = pd.DataFrame(
        {
            "cell": adata.obs_names.to_numpy(),
            "group": group.where(group.notna(), "(no group)").astype(str).to_numpy(),
            "delta_star": adata.obs[f"{prefix}_delta_star"].to_numpy(dtype=np.float64),
            "status": adata.obs[f"{prefix}_status"].astype(str).to_numpy(),
        }
    )
    table = table[table["status"].isin(STATUSES) & (table["status"] != "skipped")]
    if table.empty:
        msg = f"key={prefix!r}: no cell was analysed, all are skipped; there is nothing to draw."
        raise ValueError(msg)
    drawn = np.log(table["delta_star"].where(table["delta_star"] > 0))
    median = drawn.groupby(table["group"], sort=False).median().sort_values(kind="stable")
    table["group"] = pd.Categorical(table["group"], categories=list(median.index), ordered=True)
    return table.sort_values(["group", "cell"], kind="stable").reset_index(drop=True)


def group_labels(table: pd.DataFrame) -> dict[str, str]:
    """Return each group's tick label: its name and size, and below its cells by status."""
    labels = {}
    for name in table["group"].cat.categories:
        status = table.loc[table["group"] == name, "status"].value_counts()
        counts = ", ".join(f"{status[s]} {word}" for s, word in WORDS.items() if s in status)
        labels[str(name)] = f"{name} (n={int(status.sum())})\n{counts}"
    return labels


def _scale_axis(ax: Axes, star: np.ndarray) -> None:
    """Make the x axis logarithmic, at least a factor of four wide, with plain numbers as ticks."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    found = star[star > 0]
    low, high = (found.min(), found.max()) if len(found) else (0.01, 1.0)
    margin = max(1.25, np.sqrt(4 * low / high))
    ax.set_xscale("log")
    ax.set_xlim(low / margin, min(high * margin, 1.1))
    ax.xaxis.set_major_locator(LogLocator(10, subs=(1.0, 2.0, 5.0)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())


def draw_delta_star(ax: Axes, table: pd.DataFrame, labels: dict[str, str]) -> None:
    """Draw the violins, the points and the medians."""
    _scale_axis(ax, table["delta_star"].to_numpy(dtype=np.float64))
    for y, name in enumerate(labels):
        cells = table[(table["group"] == name) & (table["delta_star"] > 0)]
        cells = cells.sort_values("delta_star", kind="stable")
        star = cells["delta_star"].to_numpy()
        if len(star) == 0:
            continue
        if len(star) >= FEWEST_FOR_VIOLIN and star[0] < star[-1]:
            grid, half = _density(star)
            ax.fill_between(
                grid, y - half, y + half, color=GROUP_COLOURS[4], alpha=0.35, linewidth=0
            )
        keep = np.unique(np.linspace(0, len(star) - 1, min(len(star), MOST_POINTS)).astype(int))
        jitter = y + 0.5 * (np.modf(np.arange(len(star)) * 0.6180339887)[0] - 0.5)
        status = cells["status"].to_numpy()[keep]
        for kind, marker in STATUS_MARKERS.items():
            at = keep[status == kind]
            if len(at):
                ax.scatter(
                    star[at],
                    jitter[at],
                    s=float(np.clip(600 / len(star), 9, 28)),
                    marker=marker,
                    color=STATUS_COLOURS[kind],
                    linewidths=0,
                    alpha=0.8,
                    zorder=4,
                    label=kind,
                )
        middle = float(np.exp(np.median(np.log(star))))
        ax.plot([middle, middle], [y - 0.36, y + 0.36], color="black", linewidth=1.6, zorder=3)
    ax.set_yticks(range(len(labels)), list(labels.values()), fontsize=8)
    ax.set_ylim(len(labels) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("delta* (fraction of each gene's range)", fontsize=9)
    ax.grid(axis="x", color="0.9", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right", "left"]].set_visible(False)


def _density(star: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a grid and the half-height of the violin there: a kernel density in log10.

    Silverman's bandwidth with the smaller of standard deviation and scaled interquartile range,
    so that cells at the ends of the delta grid do not blur the rest; nothing beyond the data.
    """
    logs = np.log10(star)
    quartiles = np.quantile(logs, [0.25, 0.75])
    spreads = [logs.std(), (quartiles[1] - quartiles[0]) / 1.34]
    width = 0.9 * min(s for s in spreads if s > 0) * len(logs) ** -0.2
    width = max(width, 0.03, (logs[-1] - logs[0]) / 100)
    points, counts = np.unique(logs, return_counts=True)
    grid = np.linspace(logs[0], logs[-1], 300)
    density = np.exp(-0.5 * ((grid[:, None] - points) / width) ** 2) @ counts
    return 10**grid, 0.4 * density / density.max()
