"""``sx.tl.perturbation_curve``: whether a ranking concentrates what moves the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sensx_sc.core.progress import progress_bar
from sensx_sc.get._stored import check_count
from sensx_sc.logger import logger
from sensx_sc.metrics.curves import RANDOM, perturbation_curves, random_scores
from sensx_sc.metrics.explained import STAR, check_scales
from sensx_sc.metrics.perturbation import check_ks, default_ks
from sensx_sc.slots import check_free, put
from sensx_sc.tl._explained import score_reader, stored_cells

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch
    from anndata import AnnData
    from numpy.typing import ArrayLike

    from sensx_sc.core.arrays import Floats
    from sensx_sc.metrics.curves import Curves
    from sensx_sc.models.qoi import Qoi


def perturbation_curve(
    adata: AnnData,
    model: Any,
    *,
    rank_by: str | Sequence[str] = "value",
    scales: str | float | Sequence[str | float] = (STAR, 1.0),
    ks: ArrayLike | None = None,
    n_draws: int = 1000,
    mask_obs: ArrayLike | str | None = None,
    groupby: str | None = None,
    qoi: Qoi | Callable[[Floats], Any] | None = None,
    device: str | torch.device = "auto",
    seed: int | None = None,
    key: str = "sensx",
    key_added: str | None = None,
    progress: bool | None = None,
) -> None:
    """Perturb the first and the last k genes of each cell's ranking and watch the model (A.7).

    For each k, `n_draws` times, the k genes that rank first (top) or last (bottom) move to random
    points of the cell's neighbourhood and all others stay. If the ranking is good, the median of
    q / q(x) falls at once in the first case and stays in the second. All k, rankings and directions
    share their random numbers, so differences between rankings are theirs.

    Parameters
    ----------
    adata
        Data with the results of :func:`sensx_sc.tl.sensx`.
    model
        The model that was explained.
    rank_by
        Rankings to compare: stored statistics (``"value"``, ``"change"``...), names of layers of
        any other method's attributions (ranked by size), or ``"random"``, the control.
    scales
        Where genes move: ``"delta_star"`` (each cell's own), numbers in (0, 1], or several.
    ks
        Numbers of genes; None: 55, evenly spaced from 1 to all tested ones.
    n_draws
        Random points a cell and scale; the paper's 1000.
    mask_obs
        Cells to look at, of those with an attribution: bool array or name of a column.
    groupby
        Column of ``adata.obs`` whose groups are averaged; None: the explained output.
    qoi
        Needed only where the results are of a function of your own.
    device
        Where a torch module runs.
    seed
        Of the random points; None: that of the results.
    key, key_added
        ``key_added`` of the results; key to write, None = ``f"{key}_perturbation"``.
    progress
        Show a progress bar; None: ``settings.progress``.

    Returns
    -------
    None; writes ``adata.uns[key_added]`` with

    - ``auc``: DataFrame ``cell, method, direction, scale, auc``: normalised area under the curve of
      each cell, from 1 at k = 0 (trapezoids over k / n); for ``top`` low is good, for ``bottom``
      high;
    - ``curves``: DataFrame ``group, method, direction, scale, k, fraction, mean, std, n_cells``:
      mean and standard deviation over the cells of each group;
    - ``params``.

    Raises
    ------
    KeyError
        No results under `key`, an unknown statistic, layer or column.
    ValueError
        Wrong numbers, no attributed cell, or a model that does not give the stored responses.

    Examples
    --------
    >>> import anndata as ad, numpy as np, sensx_sc as sx
    >>> adata = ad.AnnData(1 + np.random.default_rng(0).random((4, 3), dtype="float32"))
    >>> model = lambda x: x @ np.array([8.0, 1.0, 0.0])
    >>> sx.tl.sensx(adata, model, lower=0, upper=2, n_walks=20, n_samples=400)
    >>> sx.tl.perturbation_curve(adata, model, rank_by=["value", "random"], n_draws=100)
    >>> auc = adata.uns["sensx_perturbation"]["auc"].query("scale == '1' and direction == 'top'")
    >>> bool(auc.groupby("method")["auc"].mean().idxmin() == "value")
    True

    References
    ----------
    Aggarwal, Cogan, Periwal (2026), SensX, TMLR, appendix A.7 and fig. 5.
    """
    methods = check_rankings(rank_by, "rank_by")
    where = check_scales(scales)
    check_count(n_draws, "n_draws")
    added = f"{key}_perturbation" if key_added is None else key_added
    check_free(adata, added, "perturbation_curve")
    stored = stored_cells(
        adata, model, key=key, mask_obs=mask_obs, qoi=qoi, device=device, seed=seed
    )
    cells, n = stored.cells, len(stored.cells.free)
    groups = stored.groups_of(adata, groupby)
    moved = default_ks(n) if ks is None else check_ks(ks, n)
    scores = {
        name: random_scores(cells) if name == RANDOM else score_reader(adata, stored, name)
        for name in methods
    }
    a_cell = len(scores) * 2 * len(where) * len(moved) * n_draws
    with progress_bar(len(cells), a_cell, progress, unit="cell") as shown:
        curves = perturbation_curves(
            cells, scores, scales=where, ks=moved, n_draws=n_draws, advance=shown.advance
        )
    params = {
        "rank_by": methods,
        "scales": where,
        "n_draws": n_draws,
        "n_features": n,
        "seed": cells.run.options.seed,
        "groupby": groupby,
        "source": stored.prefix,
    }
    tables = {"auc": curves.auc(), "curves": curves.summary(groups)}
    put(adata, added, "perturbation_curve", params, tables)
    log_areas("perturbation_curve", curves)
    logger.info("perturbation_curve: added .uns[%r]: auc, curves.", added)


def check_rankings(rankings: object, argument: str) -> list[str]:
    """Names of rankings, each once.

    Raises
    ------
    TypeError, ValueError
        Not names, or none.
    """
    names = [rankings] if isinstance(rankings, str) else rankings
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        msg = f"`{argument}` must be a name or a list of names; got {rankings!r}."
        raise TypeError(msg)
    if not names:
        msg = f"`{argument}` is empty; give at least one ranking."
        raise ValueError(msg)
    return list(dict.fromkeys(names))


def log_areas(tool: str, curves: Curves) -> None:
    """A line for each scale and direction: the mean area by each ranking."""
    mean = curves.auc().groupby(["scale", "direction", "method"], sort=False)["auc"].mean()
    for (scale, direction), areas in mean.groupby(level=[0, 1], sort=False):
        logger.info(
            "%s: %s, %s genes, mean area over %d cells: %s.",
            tool,
            "at delta*" if scale == STAR else f"at delta = {scale}",
            direction,
            len(curves.keys),
            ", ".join(f"{method} {area:.3f}" for (_, _, method), area in areas.items()),
        )
