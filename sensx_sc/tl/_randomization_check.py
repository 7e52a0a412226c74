"""``sx.tl.randomization_check``: whether an explanation depends on what the model has learnt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from sensx_sc.core.agreement import spearman, tied, top_k_overlap
from sensx_sc.core.explain import explain
from sensx_sc.core.statistics import ranking_score
from sensx_sc.get._stored import check_count
from sensx_sc.logger import logger
from sensx_sc.metrics.randomization import layers_of, levels
from sensx_sc.settings import settings
from sensx_sc.slots import check_free, put
from sensx_sc.tl._explained import stored_cells, stored_grid
from sensx_sc.words import RANK_BY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch
    from anndata import AnnData
    from numpy.typing import ArrayLike
    from torch import nn

    from sensx_sc.core.arrays import Floats
    from sensx_sc.core.explanation import Explanation
    from sensx_sc.metrics.randomization import Mode
    from sensx_sc.models.qoi import Qoi
    from sensx_sc.tl._explained import Stored
    from sensx_sc.words import RankBy

AGAIN = "another seed"
"""Name of level 0: the trained model, walked with other random numbers."""


def randomization_check(
    adata: AnnData,
    model: nn.Module,
    *,
    mode: Mode = "cascade",
    n_levels: int | None = None,
    rank_by: RankBy | None = None,
    top_k: int = 50,
    n_walks: int | None = None,
    mask_obs: ArrayLike | str | None = None,
    qoi: Qoi | Callable[[Floats], Any] | None = None,
    device: str | torch.device = "auto",
    seed: int | None = None,
    key: str = "sensx",
    key_added: str | None = None,
    progress: bool | None = None,
) -> None:
    """Draw the model's weights anew, layer by layer from the output, and explain the cells again.

    An explanation that stays the same when the model forgets what it has learnt shows the input,
    not the model (Adebayo et al. 2018). Each level has the same cells, domain, random numbers and
    explained output as the trained model; level 0 is the trained model with another seed, which
    tells what chance alone does. A ranking by ``change`` keeps some agreement at all levels, since
    it also follows the genes' ranges, which no weight decides.

    Parameters
    ----------
    adata
        Data with the results of :func:`sensx_sc.tl.sensx`.
    model
        The :class:`torch.nn.Module` that was explained.
    mode
        ``"cascade"``: the last layer, the last two, ... all; ``"independent"``: each layer alone.
    n_levels
        Merge layers into so many levels; None: a level a layer with weights.
    rank_by
        ``"value"``, ``"change"``, ``"mean"`` or ``"shapley"``; None: as stored.
    top_k
        Size of the top whose overlap is reported.
    n_walks
        Walks a cell and level; None: as stored.
    mask_obs
        Cells to look at, of those with an attribution: bool array or name of a column. The cost is
        that of explaining them, times levels + 2.
    qoi, device, seed
        As in :func:`sensx_sc.tl.perturbation_curve`; the seed also draws the weights.
    key, key_added
        ``key_added`` of the results; key to write, None = ``f"{key}_randomization"``.
    progress
        Show a progress bar; None: ``settings.progress``.

    Returns
    -------
    None; writes ``adata.uns[key_added]`` with

    - ``levels``: DataFrame ``cell, group, level, layers, spearman, overlap, delta_star, status,
      qoi``: rank correlation with the trained model's scores over all tested genes, share of the
      top k in common (NaN where a level has no attribution), delta*, status and q(x);
    - ``params``.

    Raises
    ------
    KeyError
        No results under `key`.
    TypeError
        A model that is no torch module.
    ValueError
        Wrong numbers, no attributed cell, a model without weights or that does not give the stored
        responses.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> adata = sx.datasets.toy()
    >>> net = sx.models.fit_mlp(adata, "cell_type", hidden=(16,), epochs=20, progress=False)
    >>> some = adata.obs_names.isin(["cell_0", "cell_25"])
    >>> sx.tl.sensx(adata, net, mask_obs=some, n_walks=40, n_samples=400, progress=False)
    >>> sx.tl.randomization_check(adata, net, progress=False)
    >>> adata.uns["sensx_randomization"]["levels"]["layers"].unique().tolist()
    ['another seed', 'layers.2', 'layers.0']

    References
    ----------
    Adebayo et al., Sanity checks for saliency maps, NeurIPS 2018; Aggarwal, Cogan, Periwal (2026),
    SensX, TMLR, fig. D6.
    """
    import torch

    if not isinstance(model, torch.nn.Module):
        msg = (
            f"`model` must be a torch.nn.Module, whose weights can be drawn anew; got "
            f"{type(model).__name__}."
        )
        raise TypeError(msg)
    check_count(top_k, "top_k")
    check_count(n_levels, "n_levels")
    check_count(n_walks, "n_walks")
    if rank_by is not None and rank_by not in RANK_BY:
        msg = f"`rank_by` must be one of {RANK_BY} or None; got {rank_by!r}."
        raise ValueError(msg)
    added = f"{key}_randomization" if key_added is None else key_added
    check_free(adata, added, "randomization_check")
    stored = stored_cells(
        adata, model, key=key, mask_obs=mask_obs, qoi=qoi, device=device, seed=seed
    )
    by = stored.cells.run.options.rank_by if rank_by is None else rank_by
    parts = []
    trained: Explanation | None = None
    n_steps = len(layers_of(model, n_levels)) + 2
    show = settings.progress if progress is None else progress
    steps = _models(model, mode, n_levels, stored.cells.run.options.seed)
    for level, (layers, own, own_seed) in enumerate(
        tqdm(steps, total=n_steps, unit="level", disable=not show), start=-1
    ):
        found = _explained(own, adata, stored, n_walks, own_seed, device)
        if trained is None:
            trained = found
            continue
        parts.append(
            _compared(trained, found, stored, by, top_k).assign(level=level, layers=layers)
        )
    table = pd.concat(parts, ignore_index=True)
    columns = ["cell", "group", "level", "layers", "spearman", "overlap"]
    table = table[[*columns, "delta_star", "status", "qoi"]]
    params = {
        "mode": mode,
        "rank_by": by,
        "top_k": top_k,
        "n_walks": stored.cells.run.design.n_walks if n_walks is None else n_walks,
        "n_features": len(stored.cells.free),
        "seed": stored.cells.run.options.seed,
        "source": stored.prefix,
    }
    put(adata, added, "randomization_check", params, {"levels": table})
    for layers, part in table.groupby("layers", sort=False):
        counts = part["status"].value_counts()
        logger.info(
            "randomization_check: %s: mean rank correlation %.3f; %s.",
            layers,
            part["spearman"].mean(),
            ", ".join(f"{count} {status}" for status, count in counts.items()),
        )
    logger.info("randomization_check: added .uns[%r]: levels.", added)


def _models(
    model: nn.Module, mode: Mode, n_levels: int | None, seed: int
) -> Iterator[tuple[str, nn.Module, int]]:
    """The trained model, the same with another seed, and every level."""
    yield "", model, seed
    yield AGAIN, model, seed + 1
    for names, own in levels(model, mode=mode, n_levels=n_levels, seed=seed):
        yield ", ".join(name or "(all)" for name in names), own, seed


def _explained(
    model: nn.Module,
    adata: AnnData,
    stored: Stored,
    n_walks: int | None,
    seed: int,
    device: str | torch.device,
) -> Explanation:
    """The cells, explained as they were, by another model."""
    run, domain = stored.cells.run, stored.cells.run.domain
    qoi = run.response.qoi
    return explain(
        stored.cells.rows,
        model,
        lower=domain.lower,
        upper=domain.upper,
        mask=domain.tested,
        target=None if callable(qoi) else stored.groups,
        qoi=qoi,
        deltas=stored_grid(adata.uns[stored.prefix]["deltas"]),
        tau=run.options.tau,
        n_samples=run.options.n_samples,
        n_walks=run.design.n_walks if n_walks is None else n_walks,
        design=run.design.name,
        min_step=run.options.min_step,
        out_of_domain=run.out_of_domain,
        names=stored.names,
        keys=stored.cells.keys,
        device=device,
        seed=seed,
        progress=False,
    )


def _compared(
    trained: Explanation, found: Explanation, stored: Stored, by: RankBy, k: int
) -> pd.DataFrame:
    free = stored.cells.free
    one, other = (
        [tied(row) for row in ranking_score(getattr(part, by)[:, free], by)]
        for part in (trained, found)
    )
    known = [not np.isnan(b).all() for b in other]
    pairs = list(zip(one, other, known, strict=True))
    return pd.DataFrame(
        {
            "cell": list(stored.cells.keys),
            "group": stored.groups.astype(str),
            "spearman": [spearman(a, b) if there else np.nan for a, b, there in pairs],
            "overlap": [top_k_overlap(a, b, k) if there else np.nan for a, b, there in pairs],
            "delta_star": found.delta_star,
            "status": list(found.status),
            "qoi": found.qoi,
        }
    )
