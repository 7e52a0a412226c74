"""``sx.tl.landscape``: the response over scales and numbers of perturbed genes."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sensx_sc.core.calibration import delta_grid
from sensx_sc.core.progress import progress_bar
from sensx_sc.get._stored import check_count
from sensx_sc.logger import logger
from sensx_sc.metrics.landscape import default_grid, landscape_of
from sensx_sc.metrics.perturbation import check_ks
from sensx_sc.slots import check_free, put
from sensx_sc.tl._explained import score_reader, stored_cells

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from anndata import AnnData
    from numpy.typing import ArrayLike

    from sensx_sc.core.arrays import Floats, Ints
    from sensx_sc.metrics.landscape import Landscape
    from sensx_sc.models.qoi import Qoi
    from sensx_sc.tl._explained import Stored


def landscape(
    adata: AnnData,
    model: Any,
    *,
    rank_by: str = "value",
    deltas: ArrayLike | None = None,
    ks: ArrayLike | None = None,
    n_draws: int = 200,
    threshold: float | None = None,
    percentile: float = 50.0,
    mask_obs: ArrayLike | str | None = None,
    qoi: Qoi | Callable[[Floats], Any] | None = None,
    device: str | torch.device = "auto",
    seed: int | None = None,
    key: str = "sensx",
    key_added: str | None = None,
    progress: bool | None = None,
) -> None:
    """Move the first and the last k genes by each scale delta: what is left of the call.

    For each cell, a grid of percentiles of q over scales and numbers of genes, for the top and the
    bottom of its ranking, with common random numbers. The *Pareto set* are the smallest scales and
    numbers of top genes that take q below a threshold: no point below it in both directions does.
    The *significant genes* are the fewest of the ranking that take q below it at the cell's own
    delta* (found exactly, not to the grid), or, if all together do not, at the first larger scale.

    Parameters
    ----------
    adata
        Data with the results of :func:`sensx_sc.tl.sensx`.
    model
        The model that was explained.
    rank_by
        A stored statistic, or a layer.
    deltas, ks
        The grid: scales in (0, 1] (None: 13 from .01 to 1) and numbers of genes (None: up to 25
        from 1 to all tested ones), both in even ratios by default.
    n_draws
        Random points a grid point.
    threshold
        In units of q; None: half of each cell's q(x).
    percentile
        Of q over the draws, held against the threshold: 50, the median of A.7, or 99 to be sure.
    mask_obs
        Cells to look at, of those with an attribution: bool array or name of a column.
    qoi, device, seed
        As in :func:`sensx_sc.tl.perturbation_curve`.
    key, key_added
        ``key_added`` of the results; key to write, None = ``f"{key}_landscape"``.
    progress
        Show a progress bar; None: ``settings.progress``.

    Returns
    -------
    None; writes ``adata.uns[key_added]`` with

    - ``grid``: DataFrame ``cell, direction, delta, k, low, median, high``: 1st, 50th and 99th
      percentile of q with the ``top`` or ``bottom`` k genes moved;
    - ``pareto``: DataFrame ``cell, delta, k``;
    - ``genes``: DataFrame ``cell, names, rank``: the significant genes;
    - ``cells``: DataFrame ``cell, group, qoi, threshold, delta_star, n_significant,
      significant_at``; 0 and NaN where no number of genes takes q below the threshold;
    - ``params``.

    Raises
    ------
    KeyError
        No results under `key`, or an unknown statistic or layer.
    ValueError
        Wrong numbers, no attributed cell, or a model that does not give the stored responses.

    Examples
    --------
    >>> import anndata as ad, numpy as np, sensx_sc as sx
    >>> adata = ad.AnnData(1 + np.random.default_rng(0).random((2, 3), dtype="float32"))
    >>> model = lambda x: x @ np.array([8.0, 1.0, 0.0])
    >>> sx.tl.sensx(adata, model, lower=0, upper=2, n_walks=20, n_samples=400)
    >>> sx.tl.landscape(adata, model, threshold=10.0)
    >>> adata.uns["sensx_landscape"]["genes"]["names"].unique().tolist()
    ['0']

    References
    ----------
    Aggarwal, Cogan, Periwal (2026), SensX, TMLR, appendix A.7.
    """
    check_count(n_draws, "n_draws")
    _check_threshold(threshold, percentile)
    added = f"{key}_landscape" if key_added is None else key_added
    check_free(adata, added, "landscape")
    if not isinstance(rank_by, str):
        msg = f"`rank_by` must be the name of one ranking; got {rank_by!r}."
        raise TypeError(msg)
    stored = stored_cells(
        adata, model, key=key, mask_obs=mask_obs, qoi=qoi, device=device, seed=seed
    )
    cells, n = stored.cells, len(stored.cells.free)
    scales, numbers = default_grid(n)
    if deltas is not None:
        scales, _ = delta_grid(deltas)
    if ks is not None:
        numbers = check_ks(ks, n)
    scores = score_reader(adata, stored, rank_by)
    found = []
    # The grid, and about one more column at delta*.
    a_cell = (2 * len(scales) + 1) * len(numbers) * n_draws
    with progress_bar(len(cells), a_cell, progress, unit="cell") as bar:
        for i in range(len(cells)):
            found.append(
                landscape_of(
                    cells,
                    i,
                    scores,
                    deltas=scales,
                    ks=numbers,
                    n_draws=n_draws,
                    threshold=threshold,
                    percentile=float(percentile),
                    advance=bar.advance,
                )
            )
    params = {
        "rank_by": rank_by,
        "threshold": threshold,
        "percentile": float(percentile),
        "n_draws": n_draws,
        "n_features": n,
        "seed": cells.run.options.seed,
        "source": stored.prefix,
    }
    tables = _tables(found, stored, scales, numbers, threshold)
    put(adata, added, "landscape", params, tables)
    counts = tables["cells"]["n_significant"]
    logger.info(
        "landscape: %d of %d cells fall below the threshold; by %d genes at the median.",
        int((counts > 0).sum()),
        len(counts),
        int(counts[counts > 0].median()) if (counts > 0).any() else 0,
    )
    logger.info("landscape: added .uns[%r]: grid, pareto, genes, cells.", added)


def _check_threshold(threshold: object, percentile: object) -> None:
    if threshold is not None and not (
        isinstance(threshold, Real) and np.isfinite(float(threshold))
    ):
        msg = f"`threshold` must be None or a finite number in units of q; got {threshold!r}."
        raise ValueError(msg)
    if not isinstance(percentile, Real) or not 0 <= float(percentile) <= 100:
        msg = f"`percentile` must lie between 0 and 100; got {percentile!r}."
        raise ValueError(msg)


def _tables(
    found: list[Landscape], stored: Stored, deltas: Floats, ks: Ints, threshold: float | None
) -> dict[str, pd.DataFrame]:
    keys, names = list(stored.cells.keys), np.asarray(stored.names, dtype=object)
    axes = [keys, ["top", "bottom"], deltas.tolist(), ks.tolist()]
    index = pd.MultiIndex.from_product(axes, names=["cell", "direction", "delta", "k"])
    q = np.stack([each.q for each in found]).reshape(-1, 3)
    grid = pd.DataFrame(q, columns=["low", "median", "high"], index=index).reset_index()
    edge = [
        (key, deltas[d], ks[k]) for key, each in zip(keys, found, strict=True) for d, k in each.edge
    ]
    genes = [
        (key, name, rank)
        for key, each in zip(keys, found, strict=True)
        for rank, name in enumerate(names[each.order[: each.n_significant]], start=1)
    ]
    cells = {
        "cell": keys,
        "group": stored.groups.astype(str),
        "qoi": [each.q_x for each in found],
        "threshold": [each.q_x / 2 if threshold is None else threshold for each in found],
        "delta_star": [each.delta_star for each in found],
        "n_significant": [each.n_significant for each in found],
        "significant_at": [each.significant_at for each in found],
    }
    return {
        "grid": grid,
        "pareto": pd.DataFrame(edge, columns=["cell", "delta", "k"]),
        "genes": pd.DataFrame(genes, columns=["cell", "names", "rank"]),
        "cells": pd.DataFrame(cells),
    }
