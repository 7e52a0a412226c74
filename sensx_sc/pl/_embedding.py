"""``sx.pl.embedding``: results on a map of the cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from sensx_sc.get._columns import check_statistic, columns_of
from sensx_sc.get._stored import (
    check_stored,
    quoted,
    read_values,
    source_key,
)
from sensx_sc.pl._marks import GROUP_COLOURS, MISSING, STATUS_COLOURS, group_colours, quantity, unit
from sensx_sc.pl._panels import panels
from sensx_sc.words import ATTRIBUTED, STATISTICS, STATUSES

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

COLUMNS = ("delta_star", "status", "target", "qoi")


def embedding(
    adata: AnnData,
    basis: str,
    *,
    color: str,
    statistic: Literal[
        "value", "mean", "std", "change", "shapley", "se", "change_se", "n"
    ] = "value",
    key: str = "sensx",
    ax: Axes | None = None,
) -> Axes:
    """Draw the cells at ``adata.obsm[basis]``, coloured by a result of SensX.

    Cells without the result (not analysed, insensitive, failed, or with ``keep="top:500"`` without
    the gene among those kept) are drawn below the others in light grey and counted in the legend.

    Parameters
    ----------
    adata
        Data with the results of :func:`sensx_sc.tl.sensx`.
    basis
        Key of ``adata.obsm``, with or without ``"X_"``; its first two columns are drawn.
    color
        ``"delta_star"`` (log colours), ``"status"``, ``"target"``, ``"qoi"``, or a gene.
    statistic
        For a gene: which layer of the results to show.
    key
        ``key_added`` of the results.
    ax
        Axes to draw on; the colour bar takes its room from it.

    Returns
    -------
    The Axes.

    Raises
    ------
    KeyError
        No results under `key`; an unknown basis, gene or statistic.
    ValueError
        A basis with fewer than two columns.
    TypeError
        `ax` is no Axes.

    Examples
    --------
    >>> import anndata as ad, numpy as np, sensx_sc as sx
    >>> adata = ad.AnnData(np.random.default_rng(0).random((6, 3), dtype="float32"))
    >>> adata.obsm["X_pca"] = np.asarray(adata.X)[:, :2]
    >>> sx.tl.sensx(adata, lambda x: x @ np.array([3.0, -1.0, 0.0]), n_walks=20, n_samples=400)
    >>> sx.pl.embedding(adata, "pca", color="0").get_xlabel()
    'PCA1'

    References
    ----------
    Aggarwal, Cogan, Periwal (2026), SensX, TMLR, eq. 2 and 3.
    """
    params = check_stored(adata, source_key(adata, key))["params"]
    table = embedding_table(adata, basis, color=color, statistic=statistic, key=key)
    labels = {
        "delta_star": "delta* (fraction of each gene's range)",
        "qoi": quantity(params),
    }
    label = labels.get(color, unit(statistic, params))
    (axes,), _ = panels(1, ax, width=5.6, height=4.4)
    name = basis.removeprefix("X_").upper()
    if color in ("status", "target"):
        draw_categories(axes, table, STATUS_COLOURS if color == "status" else None)
    else:
        signed = color not in COLUMNS and statistic in ("mean", "shapley")
        draw_numbers(axes, table, label, log=color == "delta_star", signed=signed)
    axes.set_title(color.replace("_star", "*") if color in COLUMNS else color, fontsize=10)
    axes.set_xlabel(f"{name}1", fontsize=9)
    axes.set_ylabel(f"{name}2", fontsize=9)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def embedding_table(
    adata: AnnData, basis: str, *, color: str, statistic: str, key: str
) -> pd.DataFrame:
    """Return ``cell, x, y, color``; no colour (NaN or None) where there is no such result."""
    prefix = source_key(adata, key)
    place = next((name for name in (basis, f"X_{basis}") if name in adata.obsm), None)
    if place is None:
        msg = (
            f"basis={basis!r}: neither {basis!r} nor {'X_' + basis!r} is in adata.obsm; it has "
            f"{quoted(adata.obsm)}."
        )
        raise KeyError(msg)
    xy = np.asarray(adata.obsm[place], dtype=np.float64)
    if xy.ndim != 2 or xy.shape[1] < 2:
        msg = (
            f"basis={basis!r}: adata.obsm[{place!r}] has the shape {xy.shape}, two columns needed."
        )
        raise ValueError(msg)
    if color in COLUMNS:
        values = adata.obs[f"{prefix}_{color}"]
        values = values.astype(object if color in ("status", "target") else np.float64)
        if color == "delta_star":
            values = values.where(values > 0)
        if color == "status":
            values = values.where(values != "skipped")
    elif color in (named := _names(adata, key)):
        columns = columns_of(adata, key)
        check_statistic(adata, columns, statistic, argument="statistic", allowed=STATISTICS)
        array = columns.statistics(adata)[statistic]
        at = int(named.get_indexer_for([color])[0])
        values = pd.Series(_column(array, at), index=adata.obs_names)
        values = values.where(adata.obs[f"{prefix}_status"].isin(ATTRIBUTED))
        if statistic == "n":
            values = values.where(values > 0)
    else:
        what = "gene" if named is adata.var_names else "set of genes"
        msg = (
            f"color={color!r} is neither a {what} nor one of {quoted(COLUMNS)}; there are "
            f"{len(named)} {what}s: {quoted(named)}."
        )
        raise KeyError(msg)
    return pd.DataFrame({"cell": adata.obs_names.to_numpy(), "x": xy[:, 0], "y": xy[:, 1]}).assign(
        color=values.to_numpy()
    )


def draw_numbers(ax: Axes, table: pd.DataFrame, label: str, *, log: bool, signed: bool) -> None:
    """Draw cells with a number over those without, the largest numbers on top."""
    from matplotlib.colors import LogNorm, Normalize

    there = table[table["color"].notna()].sort_values("color", key=np.abs, kind="stable")
    _without(ax, table, "no value")
    if there.empty:
        return
    size = np.abs(there["color"].to_numpy(dtype=np.float64))
    low, high = float(size.min()), float(size.max())
    norm: Normalize
    if log:
        norm = LogNorm(low, high) if low < high else LogNorm(low / 2, high * 2)
    elif signed:
        norm = Normalize(-high, high)
    else:
        norm = Normalize(low if label in ("probability", "logit", "output", "q") else 0.0, high)
    points = ax.scatter(
        there["x"],
        there["y"],
        c=there["color"].to_numpy(dtype=np.float64),
        s=_size(len(there)),
        cmap="RdBu_r" if signed else "viridis",
        norm=norm,
        linewidths=0,
        rasterized=len(table) > 20_000,
    )
    bar = ax.figure.colorbar(points, ax=ax, pad=0.02)
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=8)
    if not log:
        bar.ax.ticklabel_format(axis="y", scilimits=(-3, 4))


def draw_categories(ax: Axes, table: pd.DataFrame, colours: dict[str, str] | None) -> None:
    """Draw cells with a category over those without; the legend counts them.

    More categories than colours are named on the map instead.
    """
    from matplotlib.patheffects import withStroke

    found = table["color"].dropna().astype(str)
    counts = found.value_counts()
    names = [n for n in colours if n in counts] if colours else sorted(counts.index)
    colours = colours or group_colours(names)
    size = _size(len(found))
    _without(ax, table, "not analysed")
    for name in names:
        part = table[table["color"].astype(str) == name]
        ax.scatter(
            part["x"],
            part["y"],
            s=size,
            color=colours[name],
            linewidths=0,
            label=f"{name.replace('_', '-') if name in STATUSES else name} ({len(part)})",
            rasterized=len(table) > 20_000,
        )
    if len(names) > len(GROUP_COLOURS):
        for name in names:
            part = table[table["color"].astype(str) == name]
            text = ax.text(
                part["x"].median(), part["y"].median(), name, fontsize=7, ha="center", va="center"
            )
            text.set_path_effects([withStroke(linewidth=2, foreground="white")])
        return
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8)


def _without(ax: Axes, table: pd.DataFrame, what: str) -> None:
    """Draw the cells without a result in light grey, and say how many."""
    bare = table[table["color"].isna()]
    if bare.empty:
        return
    ax.scatter(
        bare["x"],
        bare["y"],
        s=_size(len(table)),
        color=MISSING,
        linewidths=0,
        label=f"{what} ({len(bare)})",
        rasterized=len(table) > 20_000,
    )
    ax.legend(loc="best", frameon=False, fontsize=8)


def _size(n: int) -> float:
    """Return the area of a point for `n` cells."""
    return float(np.clip(12_000 / max(n, 1), 2.0, 30.0))


def _names(adata: AnnData, key: str) -> pd.Index:
    """Return what may be a colour beside the columns of the cells: genes, or sets of them."""
    grouped = check_stored(adata, key)["params"].get("n_groups") is not None
    return columns_of(adata, key).names if grouped else adata.var_names


def _column(array: Any, column: int) -> np.ndarray:
    """Return one column of an array of results, float64, shape (n_obs,)."""
    values = read_values(array[:, [column]], slice(None))
    return values.astype(np.float64).ravel()
