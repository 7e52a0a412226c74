"""``sx.tl.convergence``: how stable each cell's ranking is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd

from sensx_sc.core.intervals import bounded_interval, confidence_sequence
from sensx_sc.core.progress import progress_bar
from sensx_sc.core.racing import certify
from sensx_sc.core.sampling import cell_key
from sensx_sc.core.statistics import interval as student_interval
from sensx_sc.core.statistics import ranks
from sensx_sc.get._stored import check_count
from sensx_sc.logger import logger
from sensx_sc.metrics.recording import record
from sensx_sc.metrics.stability import bootstrap_ranks, convergence_curve
from sensx_sc.slots import check_free, put
from sensx_sc.tl._explained import stored_cells
from sensx_sc.words import RANK_BY

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from anndata import AnnData
    from numpy.typing import ArrayLike

    from sensx_sc.core.arrays import Floats
    from sensx_sc.core.racing import Verdict
    from sensx_sc.metrics.stability import BlockSums, Resampled
    from sensx_sc.models.qoi import Qoi
    from sensx_sc.tl._explained import Stored
    from sensx_sc.words import DesignName, RankBy

IntervalName = Literal["t", "bootstrap", "hoeffding", "bernstein", "sequence"]
_LIKELY = 0.01  # P(rank <= k) from which a gene is listed
_BOUNDED = ("hoeffding", "bernstein", "sequence")


def convergence(
    adata: AnnData,
    model: Any,
    *,
    rank_by: RankBy | None = None,
    n_walks: int | None = None,
    design: DesignName | None = None,
    top_k: int = 50,
    step: int = 20,
    n_boot: int = 200,
    interval: IntervalName = "t",
    span: float | None = None,
    alpha: float = 0.05,
    mask_obs: ArrayLike | str | None = None,
    qoi: Qoi | Callable[[Floats], Any] | None = None,
    device: str | torch.device = "auto",
    seed: int | None = None,
    key: str = "sensx",
    key_added: str | None = None,
    progress: bool | None = None,
) -> None:
    """Walk explained cells once more, keep every block of walks, and ask how stable ranks are.

    - The paper's curve, the rank correlation of n walks with the first n - `step` of them. Both
      share nearly all walks: noise alone comes close to 1.
    - Beside it what two halves that share nothing agree on: their rank correlation, corrected for
      their length (Spearman-Brown), and the share of their top k in common, which is what an
      analyst reads.
    - For each gene P(rank <= k) and an interval of its rank, from resampling whole blocks, the same
      for all genes, and an interval of its score.
    - For each cell a certificate: at level `alpha`, a threshold separates the intervals of the top
      k from those of all others.

    Parameters
    ----------
    adata
        Data with the results of :func:`sensx_sc.tl.sensx`.
    model
        The model that was explained.
    rank_by
        ``"value"``, ``"change"``, ``"mean"`` or ``"shapley"``; None: as stored.
    n_walks, design
        Walks a cell and how they are drawn; None: as stored. ``design="uniform"`` with
        ``n_walks=600`` is the paper's.
    top_k
        Size of the top.
    step
        Walks between the points of the curves.
    n_boot
        Samples of the bootstrap.
    interval
        Of the scores: ``"t"`` (Student's, over blocks) or ``"bootstrap"`` (studentised); for
        ``rank_by="change"`` also the bounds that hold for any number of blocks, ``"hoeffding"`` and
        ``"bernstein"``, and ``"sequence"``, which holds at every block at once. Certificates use
        the same (``"t"`` for ``"bootstrap"``), at level `alpha` / genes each.
    span
        Range of q for the last three; None: 1, for a probability.
    alpha
        Intervals cover with probability 1 - alpha.
    mask_obs
        Cells to look at, of those with an attribution: bool array or name of a column.
    qoi, device, seed
        As in :func:`sensx_sc.tl.perturbation_curve`.
    key, key_added
        ``key_added`` of the results; key to write, None = ``f"{key}_convergence"``.
    progress
        Show a progress bar; None: ``settings.progress``.

    Returns
    -------
    None; writes ``adata.uns[key_added]`` with

    - ``curves``: DataFrame ``cell, n_walks, successive, split_half, reliability, overlap,
      relative_error`` (see :func:`sensx_sc.metrics.convergence_curve`);
    - ``genes``: DataFrame ``cell, names, rank, score, se, low, high, p_top_k, rank_low,
      rank_high`` of the genes that are or may be among the top k;
    - ``cells``: DataFrame ``cell, group, n_walks, reliability, overlap, top_k_certified, top_k_gap,
      n_undecided``;
    - ``params``.

    Raises
    ------
    KeyError
        No results under `key`.
    ValueError
        Wrong numbers, an interval that the statistic has not, no attributed cell, or a model that
        does not give the stored responses.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> adata = sx.datasets.toy()
    >>> net = sx.models.fit_mlp(adata, "cell_type", hidden=(16,), epochs=20, progress=False)
    >>> cells = adata[:3].copy()
    >>> sx.tl.sensx(cells, net, lower=0, upper=9.3, n_walks=80, n_samples=400, progress=False)
    >>> sx.tl.convergence(cells, net, top_k=3, progress=False)
    >>> cells.uns["sensx_convergence"]["curves"]["n_walks"].unique().tolist()
    [20, 40, 60, 80]

    References
    ----------
    Aggarwal, Cogan, Periwal (2026), SensX, TMLR, fig. E1 and E2; Spearman (1910) and Brown (1910).
    """
    for argument, count in (("top_k", top_k), ("step", step), ("n_boot", n_boot)):
        check_count(count, argument)
    added = f"{key}_convergence" if key_added is None else key_added
    check_free(adata, added, "convergence")
    if rank_by is not None and rank_by not in RANK_BY:
        msg = f"`rank_by` must be one of {RANK_BY} or None; got {rank_by!r}."
        raise ValueError(msg)
    if not 0 < alpha < 1:
        msg = f"`alpha` must be between 0 and 1; got {alpha!r}."
        raise ValueError(msg)
    wanted = {"n_walks": n_walks, "design": design}
    numbers = {name: value for name, value in wanted.items() if value is not None}
    stored = stored_cells(
        adata, model, key=key, mask_obs=mask_obs, qoi=qoi, device=device, seed=seed, numbers=numbers
    )
    run = stored.cells.run
    by = run.options.rank_by if rank_by is None else rank_by
    how = _How(
        by, interval, _span(interval, span, by, run.response.qoi), alpha, top_k, step, n_boot
    )
    if run.design.n_blocks < 2:
        msg = (
            f"`n_walks` {run.design.n_walks} makes a single block of walks, which says nothing of "
            "its stability; take at least two."
        )
        raise ValueError(msg)
    a_cell = run.design.n_walks * len(stored.cells.free)
    with progress_bar(len(stored.cells), a_cell, progress, unit="cell") as shown:
        tables = _tables(stored, how, shown.advance)
    params = {
        "rank_by": by,
        "n_walks": run.design.n_walks,
        "design": run.design.name,
        "block": run.design.block,
        "top_k": top_k,
        "step": step,
        "n_boot": n_boot,
        "interval": interval,
        "alpha": alpha,
        "n_features": len(stored.cells.free),
        "seed": run.options.seed,
        "source": stored.prefix,
    }
    put(adata, added, "convergence", params, tables)
    table = tables["cells"]
    logger.info(
        "convergence: %d cells, %d walks: halves share %.0f %% of their top %d genes, reliability "
        "%.4f (means); %d certified.",
        len(table),
        run.design.n_walks,
        100 * table["overlap"].mean(),
        top_k,
        table["reliability"].mean(),
        int(table["top_k_certified"].sum()),
    )
    logger.info("convergence: added .uns[%r]: curves, genes, cells.", added)


@dataclass(frozen=True)
class _How:
    """Which statistic and interval, at which level, of how many genes."""

    rank_by: RankBy
    interval: IntervalName
    span: float
    alpha: float
    top_k: int
    step: int
    n_boot: int


def _span(interval: object, span: float | None, rank_by: str, qoi: object) -> float:
    if interval not in get_args(IntervalName):
        msg = f"`interval` must be one of {get_args(IntervalName)}; got {interval!r}."
        raise ValueError(msg)
    if interval in _BOUNDED and rank_by != "change":
        msg = (
            f"`interval` {interval!r} needs a statistic with a known range: rank_by='change'; got "
            f"{rank_by!r}. Use 't' or 'bootstrap'."
        )
        raise ValueError(msg)
    if interval in _BOUNDED and span is None and qoi != "probability":
        msg = f"`interval` {interval!r} needs `span`, the range of q, which is no probability here."
        raise ValueError(msg)
    return 1.0 if span is None else float(span)


def _tables(stored: Stored, how: _How, advance: Callable[[int], object]) -> dict[str, pd.DataFrame]:
    """Walk every cell and sum up."""
    curves, genes, cells = [], [], []
    for i, name in enumerate(stored.cells.keys):
        sums = record(stored.cells, i, how.rank_by, advance=advance)
        curve = convergence_curve(sums, k=how.top_k, step=how.step)
        table, verdict = _one_cell(sums, stored, i, how)
        last = curve.iloc[-1]
        curves.append(curve.assign(cell=name))
        genes.append(table.assign(cell=name))
        cells.append(
            {
                "cell": name,
                "group": str(stored.groups[i]),
                "n_walks": sums.n_blocks * sums.walks,
                "reliability": last["reliability"],
                "overlap": last["overlap"],
                "top_k_certified": verdict.certified,
                "top_k_gap": verdict.gap,
                "n_undecided": verdict.n_undecided,
            }
        )
    return {
        "curves": _cell_first(pd.concat(curves, ignore_index=True)),
        "genes": _cell_first(pd.concat(genes, ignore_index=True)),
        "cells": pd.DataFrame(cells),
    }


def _one_cell(sums: BlockSums, stored: Stored, i: int, how: _How) -> tuple[pd.DataFrame, Verdict]:
    """The genes that are or may be among the top k, and whether these are certain."""
    seed = np.array([stored.cells.run.options.seed, cell_key(stored.cells.keys[i])], dtype=object)
    resampled = bootstrap_ranks(
        sums, k=how.top_k, n_boot=how.n_boot, coverage=1 - how.alpha, seed=seed.tolist()
    )
    whole = np.ones((1, sums.n_blocks))
    score, se = sums.scores(whole)[0], sums.errors(whole)[0]
    low, high = _ends(sums, score, se, resampled, how, 1 - how.alpha)
    simultaneous = 1 - how.alpha / max(1, int((~np.isnan(score)).sum()))
    verdict, _ = certify(score, *_ends(sums, score, se, None, how, simultaneous), how.top_k)
    place = ranks(score)
    listed = (place > 0) & ((place <= how.top_k) | (resampled.p_top_k >= _LIKELY))
    order = np.flatnonzero(listed)[np.argsort(place[listed], kind="stable")]
    names = np.asarray(stored.names, dtype=object)[stored.cells.free]
    columns = {
        "names": names,
        "rank": place,
        "score": score,
        "se": se,
        "low": low,
        "high": high,
        "p_top_k": resampled.p_top_k,
        "rank_low": resampled.rank_low,
        "rank_high": resampled.rank_high,
    }
    return pd.DataFrame({name: column[order] for name, column in columns.items()}), verdict


def _ends(
    sums: BlockSums,
    score: Floats,
    se: Floats,
    resampled: Resampled | None,
    how: _How,
    coverage: float,
) -> tuple[Floats, Floats]:
    """Ends of the intervals of all scores."""
    if how.interval == "bootstrap" and resampled is not None:
        return resampled.low, resampled.high
    if how.interval == "sequence":
        units = sums.total / sums.weight
        low, high = confidence_sequence(units, span=how.span, coverage=coverage)
        return low[-1], high[-1]
    if how.interval in ("hoeffding", "bernstein"):
        return bounded_interval(
            score, se, sums.n_blocks, method=how.interval, span=how.span, coverage=coverage
        )
    return student_interval(score, se, sums.n_blocks, coverage)


def _cell_first(table: pd.DataFrame) -> pd.DataFrame:
    return table[["cell", *table.columns.drop("cell")]]
