"""``sx.pl.randomization``: what is left of rankings when the model forgets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.pl._delta_star import WORDS
from sensx_sc.pl._marks import STATUS_COLOURS
from sensx_sc.pl._panels import one_or_all, panels
from sensx_sc.pl._tool_tables import place_points, tool_results

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd
    from anndata import AnnData
    from matplotlib.axes import Axes

_LONGEST = 28  # characters of a level's name
MOST_POINTS = 300


def randomization(
    adata: AnnData,
    *,
    key: str = "sensx_randomization",
    ax: Axes | Iterable[Axes] | None = None,
) -> np.ndarray[Any, Any]:
    """Draw the agreement with the trained model's rankings, and the statuses, level by level.

    Left: rank correlation of each cell (points) and its mean (bar), from the trained model with
    another seed at the top to all layers drawn anew at the bottom. Right: the share of cells with
    each status; an insensitive cell has no ranking, which is the right answer for a model that no
    longer reacts.

    Parameters
    ----------
    adata
        Data with the results of :func:`sensx_sc.tl.randomization_check`.
    key
        Key of the results.
    ax
        Two Axes to draw on.

    Returns
    -------
    The two Axes, a 1-d array.

    Raises
    ------
    KeyError
        No results under `key`.
    ValueError
        Another number of Axes than two.
    TypeError
        `ax` is no Axes.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> adata = sx.datasets.toy()
    >>> net = sx.models.fit_mlp(adata, "cell_type", hidden=(16,), epochs=20, progress=False)
    >>> some = adata.obs_names.isin(["cell_0", "cell_25"])
    >>> sx.tl.sensx(adata, net, mask_obs=some, n_walks=40, n_samples=400, progress=False)
    >>> sx.tl.randomization_check(adata, net, progress=False)
    >>> left, right = sx.pl.randomization(adata)
    >>> left.get_xlabel()
    'rank correlation with the trained model'

    References
    ----------
    Adebayo et al., NeurIPS 2018; Aggarwal, Cogan, Periwal (2026), SensX, TMLR, fig. D6.
    """
    results = tool_results(adata, key, ("randomization_check",))
    table, mode = results["levels"], str(results["params"]["mode"])
    labels = level_labels(table, mode)
    longest = max(map(len, labels.values()))
    axes, own = panels(2, ax, width=2.6 + 0.045 * longest, height=1.1 + 0.34 * len(labels), ncols=2)
    draw_agreement(axes[0], table, labels)
    draw_statuses(axes[1], table, labels)
    if own:
        axes[1].set_yticklabels([])
    found: np.ndarray[Any, Any] = one_or_all(axes)  # type: ignore[assignment]
    return found


def level_labels(table: pd.DataFrame, mode: str) -> dict[int, str]:
    """Return what each level is called."""
    named = table.drop_duplicates("level").set_index("level")["layers"]
    labels = {}
    for level, layers in named.items():
        short = layers if len(layers) <= _LONGEST else f"{layers[: _LONGEST - 3]}..."
        more = "+ " if mode == "cascade" and level > 1 else ""
        labels[int(level)] = short if level == 0 else f"{more}{short}"
    return labels


def draw_agreement(ax: Axes, table: pd.DataFrame, labels: dict[int, str]) -> None:
    """Draw the rank correlations."""
    for y, level in enumerate(labels):
        r = np.sort(table.loc[table["level"] == level, "spearman"].dropna().to_numpy())
        if len(r) == 0:
            ax.text(0.5, y, "no ranking", fontsize=7, color="0.4", va="center", ha="center")
            continue
        keep = np.unique(np.linspace(0, len(r) - 1, min(len(r), MOST_POINTS)).astype(int))
        ax.scatter(
            r[keep], y + 0.24 * place_points(r[keep]), s=12, color="#0072B2", alpha=0.5,
            linewidths=0,
        )  # fmt: skip
        ax.plot([r.mean(), r.mean()], [y - 0.34, y + 0.34], color="black", linewidth=1.8)
    ax.axvline(0, color="0.6", linewidth=0.8)
    ax.set_xlim(min(-0.1, float(table["spearman"].min()) - 0.05), 1.05)
    ax.set_xlabel("rank correlation with the trained model", fontsize=8)
    _rows(ax, labels)


def draw_statuses(ax: Axes, table: pd.DataFrame, labels: dict[int, str]) -> None:
    """Draw the share of cells with each status, and the median delta* of those that have one."""
    shown: set[str] = set()
    for y, level in enumerate(labels):
        part = table[table["level"] == level]
        left = 0.0
        for status, word in WORDS.items():
            share = float((part["status"] == status).mean())
            if share:
                ax.barh(
                    y, share, left=left, height=0.62, color=STATUS_COLOURS[status],
                    label=None if status in shown else word,
                )  # fmt: skip
                shown.add(status)
                left += share
        star = part.loc[part["delta_star"] > 0, "delta_star"].median()
        words = f"delta* {star:.2g}" if np.isfinite(star) else "delta* 0"
        ax.text(1.02, y, words, fontsize=7.5, va="center")
    ax.set_xlim(0, 1)
    ax.set_xlabel("share of cells", fontsize=8)
    _rows(ax, labels)
    ax.legend(
        loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize=7, frameon=False,
        borderaxespad=0.2,
    )  # fmt: skip


def _rows(ax: Axes, labels: dict[int, str]) -> None:
    ax.set_yticks(range(len(labels)), list(labels.values()), fontsize=8)
    ax.set_ylim(len(labels) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.tick_params(axis="x", labelsize=8)
    ax.spines[["top", "right", "left"]].set_visible(False)
