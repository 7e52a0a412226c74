"""``sx.pl.envelope``: the calibration of a cell, that is how q spreads with delta."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sensx_sc.get._stored import check_names, check_stored, quoted, source_key
from sensx_sc.pl._marks import STATUS_COLOURS, quantity
from sensx_sc.pl._panels import one_or_all, panels, place_legend

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from anndata import AnnData
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

BAND = "#56B4E9"
TAIL = "#D55E00"


def envelope(
    adata: AnnData,
    cells: str | Sequence[str],
    *,
    key: str = "sensx",
    ncols: int = 4,
    ax: Axes | Iterable[Axes] | None = None,
) -> Axes | np.ndarray[Any, Any]:
    """Draw the 1st to 99th percentile of q against delta for one or more cells (equation 2).

    delta* is the smallest delta beyond which the whole band fits into a height of tau: the dotted
    lines are tau apart, around the band beyond delta*. With the status ``unsaturated`` there is
    nothing beyond it, with ``insensitive`` (delta* = 0) all of the band fits. A line at q(x) is
    dashed.

    Parameters
    ----------
    adata
        Data with the results of :func:`sensx_sc.tl.sensx`.
    cells
        Names of cells, one panel each.
    key
        ``key_added`` of the results.
    ncols
        Panels a row.
    ax
        Axes to draw on: one, or one for each cell.

    Returns
    -------
    The Axes; for several cells a 1-d array of them.

    Raises
    ------
    KeyError
        No results or no envelopes under `key`, or an unknown cell.
    ValueError
        A cell without an envelope, or another number of Axes than cells.
    TypeError
        `ax` is no Axes.

    Examples
    --------
    >>> import anndata as ad, numpy as np, sensx_sc as sx
    >>> adata = ad.AnnData(np.random.default_rng(0).random((6, 3), dtype="float32"))
    >>> sx.tl.sensx(adata, lambda x: x @ np.array([3.0, -1.0, 0.0]), n_walks=20, n_samples=400)
    >>> sx.pl.envelope(adata, "0").get_xscale()
    'log'

    References
    ----------
    Aggarwal, Cogan, Periwal (2026), SensX, TMLR, eq. 2 and appendix B.
    """
    table = envelope_table(adata, cells, key=key)
    params = check_stored(adata, source_key(adata, key))["params"]
    tau, q = float(params["tau"]), quantity(params)
    parts = [part for _, part in table.groupby("cell", sort=False)]
    axes, own = panels(len(parts), ax, width=3.6, height=3.0, ncols=ncols)
    for i, (panel, part) in enumerate(zip(axes, parts, strict=True)):
        draw_envelope(panel, part, tau)
        panel.set_xlabel("delta (fraction of each gene's range)", fontsize=8)
        if not own or i % ncols == 0:
            panel.set_ylabel(f"{q} (q)" if q != "q" else "q", fontsize=8)
    place_legend(axes, _legend(tau), own=own, entry=1.75)
    return one_or_all(axes)


def envelope_table(adata: AnnData, cells: str | Sequence[str], *, key: str) -> pd.DataFrame:
    """Return ``cell, delta, low, high`` with ``q, delta_star, status`` of the cell repeated."""
    prefix = source_key(adata, key)
    stored = check_stored(adata, prefix)
    if f"{prefix}_envelope" not in adata.obsm or "deltas" not in stored:
        msg = (
            f"key={key!r}: adata.obsm[{prefix + '_envelope'!r}] or "
            f"adata.uns[{prefix!r}]['deltas'] is missing; adata.obsm has {quoted(adata.obsm)}."
        )
        raise KeyError(msg)
    names = check_names(cells, adata.obs_names, "cells", "cell")
    deltas = np.asarray(stored["deltas"], dtype=np.float64)
    parts = []
    for name in names:
        row = int(adata.obs_names.get_indexer([name])[0])
        band = np.asarray(adata.obsm[f"{prefix}_envelope"][row], dtype=np.float64)
        there = np.isfinite(band).all(axis=1)
        status = str(adata.obs[f"{prefix}_status"].iloc[row])
        if not there.any():
            msg = f"cells: {name!r} has no envelope, its status is {status!r}; choose another cell."
            raise ValueError(msg)
        part = pd.DataFrame({"cell": name, "delta": deltas, "low": band[:, 0], "high": band[:, 1]})
        part["q"] = float(adata.obs[f"{prefix}_qoi"].iloc[row])
        part["delta_star"] = float(adata.obs[f"{prefix}_delta_star"].iloc[row])
        part["status"] = status
        parts.append(part[there])
    return pd.concat(parts, ignore_index=True)


def draw_envelope(ax: Axes, table: pd.DataFrame, tau: float) -> None:
    """Draw the band of one cell, its delta*, q(x), and a span of tau around the tail."""
    delta = table["delta"].to_numpy()
    low, high = table["low"].to_numpy(), table["high"].to_numpy()
    q, star = float(table["q"].iloc[0]), float(table["delta_star"].iloc[0])
    status = str(table["status"].iloc[0])
    if _log_spaced(delta):
        ax.set_xscale("log")
    ax.fill_between(delta, low, high, color=BAND, alpha=0.45, linewidth=0)
    ax.plot(delta, low, color=STATUS_COLOURS["resolved"], linewidth=1)
    ax.plot(delta, high, color=STATUS_COLOURS["resolved"], linewidth=1)
    ax.axhline(q, color="black", linestyle="--", linewidth=1)
    if star > 0:
        ax.axvline(star, color=TAIL, linewidth=1.6)
    tail = delta > star if status != "unsaturated" else delta >= delta[-1]
    if np.isfinite(star) and tail.any():
        middle = (low[tail].min() + high[tail].max()) / 2
        start = max(star, delta[0]) if status != "unsaturated" else delta[max(len(delta) - 6, 0)]
        for edge in (middle - tau / 2, middle + tau / 2):
            ax.plot([start, delta[-1]], [edge, edge], color=TAIL, linestyle=":", linewidth=1.2)
    words = f"delta* = {star:.3g}, " if np.isfinite(star) else ""
    ax.set_title(f"{table['cell'].iloc[0]}\n{words}{status.replace('_', '-')}", fontsize=9)
    ax.tick_params(labelsize=8)
    ax.spines[["top", "right"]].set_visible(False)


def _log_spaced(delta: np.ndarray[Any, Any]) -> bool:
    """Tell whether ratios of neighbours vary less than their differences."""
    if len(delta) < 3:
        return False
    step, ratio = np.diff(delta), np.diff(np.log(delta))
    return bool(ratio.std() / ratio.mean() < step.std() / step.mean())


def _legend(tau: float) -> list[Artist]:
    """Return the legend's entries."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    return [
        Patch(facecolor=BAND, alpha=0.45, label="1st to 99th percentile of q"),
        Line2D([], [], color="black", linestyle="--", linewidth=1, label="q(x)"),
        Line2D([], [], color=TAIL, linewidth=1.6, label="delta*"),
        Line2D([], [], color=TAIL, linestyle=":", linewidth=1.2, label=f"span of tau = {tau:g}"),
    ]
