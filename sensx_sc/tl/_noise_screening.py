"""``sx.tl.noise_screening``: which genes move the model beyond its own noise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sensx_sc.core.progress import progress_bar
from sensx_sc.logger import logger
from sensx_sc.metrics.multiple_tests import adjusted
from sensx_sc.metrics.noise import exceedance_p, exceedances, noise_level
from sensx_sc.slots import check_free, put
from sensx_sc.tl._explained import stored_cells

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from anndata import AnnData
    from numpy.typing import ArrayLike

    from sensx_sc.core.arrays import Floats
    from sensx_sc.metrics.multiple_tests import AdjustName
    from sensx_sc.models.qoi import Qoi


def noise_screening(
    adata: AnnData,
    model: Any,
    *,
    alpha: float = 0.05,
    method: AdjustName = "by",
    n_walks: int | None = None,
    mask_obs: ArrayLike | str | None = None,
    qoi: Qoi | Callable[[Floats], Any] | None = None,
    device: str | torch.device = "auto",
    seed: int | None = None,
    key: str = "sensx",
    key_added: str | None = None,
    progress: bool | None = None,
) -> None:
    """Tell genes that move the model from genes that only seem to, by its rounding and noise.

    For each cell, rows along its walks are evaluated twice, at other places of other batches, and
    in both precisions where the walks are made in single precision: this is how large a change of q
    can be that means nothing. A gene whose steps exceed that more often than noise does has an
    effect: binomial test for each gene, adjusted so that of all genes found in a cell at most the
    fraction `alpha` is expected to be false. Genes that are not found are below the noise, which is
    not the same as without effect.

    Parameters
    ----------
    adata
        Data with the results of :func:`sensx_sc.tl.sensx`.
    model
        The model that was explained.
    alpha
        False-discovery rate.
    method
        ``"by"`` (Benjamini and Yekutieli: genes share walks) or ``"bh"``.
    n_walks
        Walks a cell; None: as stored.
    mask_obs
        Cells to look at, of those with an attribution: bool array or name of a column.
    qoi, device, seed
        As in :func:`sensx_sc.tl.perturbation_curve`.
    key, key_added
        ``key_added`` of the results; key to write, None = ``f"{key}_noise"``.
    progress
        Show a progress bar; None: ``settings.progress``.

    Returns
    -------
    None; writes

    - ``adata.layers[key_added]`` (or ``.obsm``, as the values): adjusted p-values, float32; NaN =
      not tested;
    - ``adata.uns[key_added]["cells"]``: DataFrame ``cell, group, threshold, rate, n_walks,
      n_found``: size of a change that noise rarely exceeds, how often it does at most, and how many
      genes are found at level `alpha`; and ``params``.

    Raises
    ------
    KeyError
        No results under `key`.
    ValueError
        Wrong numbers, no attributed cell, or a model that does not give the stored responses.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> adata = sx.datasets.toy()
    >>> net = sx.models.fit_mlp(adata, "cell_type", hidden=(16,), epochs=20, progress=False)
    >>> sx.tl.sensx(adata, net, n_walks=20, n_samples=400, progress=False)
    >>> sx.tl.noise_screening(adata, net, progress=False)
    >>> bool((adata.uns["sensx_noise"]["cells"]["n_found"] > 10).all())
    True

    References
    ----------
    Benjamini and Yekutieli, Annals of Statistics 29 (2001) 1165-1188.
    """
    if not 0 < alpha < 1:
        msg = f"`alpha` must be between 0 and 1; got {alpha!r}."
        raise ValueError(msg)
    adjusted([], method)  # an unknown method is refused before the work
    added = f"{key}_noise" if key_added is None else key_added
    check_free(adata, added, "noise_screening")
    stored = stored_cells(
        adata,
        model,
        key=key,
        mask_obs=mask_obs,
        qoi=qoi,
        device=device,
        seed=seed,
        numbers={} if n_walks is None else {"n_walks": n_walks},
    )
    cells, free = stored.cells, stored.cells.free
    p = np.full((adata.n_obs, len(stored.names)), np.nan, dtype=np.float32)
    rows = []
    a_cell = cells.run.design.n_walks * len(free)
    with progress_bar(len(cells), a_cell, progress, unit="cell") as shown:
        for i, name in enumerate(cells.keys):
            level = noise_level(cells, i)
            counts, walks = exceedances(cells, i, level.threshold, advance=shown.advance)
            found = adjusted(exceedance_p(counts, walks, level.rate), method)
            p[stored.rows[i], free] = found
            rows.append(
                {
                    "cell": name,
                    "group": str(stored.groups[i]),
                    "threshold": level.threshold,
                    "rate": level.rate,
                    "n_walks": walks,
                    "n_found": int(np.count_nonzero(found <= alpha)),
                }
            )
    params = {
        "alpha": alpha,
        "method": method,
        "n_walks": cells.run.design.n_walks,
        "n_features": len(free),
        "seed": cells.run.options.seed,
        "source": stored.prefix,
    }
    table = pd.DataFrame(rows)
    put(adata, added, "noise_screening", params, {"cells": table})
    getattr(adata, stored.where)[added] = p
    logger.info(
        "noise_screening: %d to %d of %d tested genes move q beyond its noise (%.2g to %.2g).",
        table["n_found"].min(),
        table["n_found"].max(),
        len(free),
        table["threshold"].min(),
        table["threshold"].max(),
    )
    logger.info("noise_screening: added .uns[%r], .%s[%r].", added, stored.where, added)
