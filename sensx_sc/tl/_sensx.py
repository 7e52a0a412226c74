"""``sx.tl.sensx``: which genes drive a model's call on each cell."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal

from sensx_sc.core.options import MAX_WALKS
from sensx_sc.pp._selection import check_adata, refuse_backed
from sensx_sc.scale.run import open_store
from sensx_sc.scale.shard import parse_shard
from sensx_sc.slots import write
from sensx_sc.tl._asked import ask
from sensx_sc.tl._gather import gather
from sensx_sc.tl._notes import log_written

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from os import PathLike

    import pandas as pd
    import torch
    from anndata import AnnData
    from numpy.typing import ArrayLike

    from sensx_sc.core.arrays import Floats
    from sensx_sc.core.groups import Grouping
    from sensx_sc.models.model import Model
    from sensx_sc.models.qoi import Qoi
    from sensx_sc.words import (
        DesignName,
        Estimator,
        GroupNorm,
        OnError,
        OutOfDomain,
        Overlap,
        Precision,
        RankBy,
        Ungrouped,
    )


def sensx(
    adata: AnnData,
    model: Model | torch.nn.Module | Callable[..., Any] | Any,
    *,
    target: str | int | ArrayLike | None = None,
    qoi: Qoi | Callable[[Floats], Any] = "auto",
    layer: str | None = None,
    obsm: str | None = None,
    mask_obs: ArrayLike | str | None = None,
    mask_var: ArrayLike | str | None = None,
    lower: ArrayLike | str | None = None,
    upper: ArrayLike | str | None = None,
    deltas: ArrayLike | str = "auto",
    tau: float = 0.1,
    n_samples: int = 1000,
    n_walks: int | Literal["auto"] = 200,
    design: DesignName = "balanced",
    refine_tol: float | None = None,
    min_step: float = 0.0,
    out_of_domain: OutOfDomain = "raise",
    rank_by: RankBy = "value",
    estimator: Estimator = "walks",
    groups: Grouping | str | PathLike[str] | pd.DataFrame | None = None,
    group_norm: GroupNorm = "l2",
    overlap: Overlap = "share",
    ungrouped: Ungrouped = "hold",
    within: Grouping | str | PathLike[str] | pd.DataFrame | None = None,
    within_top: int = 1,
    kinds: Mapping[str, str] | ArrayLike | pd.DataFrame | str | None = None,
    covariates: str | Sequence[str] | Mapping[str, str | None] | None = None,
    top_k: int | None = None,
    max_walks: int = MAX_WALKS,
    alpha: float = 0.05,
    statistics: Sequence[str] = ("value", "rank"),
    keep: str = "all",
    batch_size: int | str = "auto",
    chunk_size: int | str = "auto",
    device: str | torch.device = "auto",
    precision: Precision | None = None,
    seed: int | None = None,
    key_added: str = "sensx",
    store: str | PathLike[str] | None = None,
    shard: str | None = None,
    on_error: OnError = "mark",
    progress: bool | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Explain a model's call on each cell: SensX values of every gene (equations 1 to 4).

    For each cell, find delta*, the smallest perturbation scale at which the model's response
    saturates; inside that neighbourhood walk from the cell to random endpoints, one gene at a
    time in random order, and average the absolute elementary effects. Only forward calls and
    the range of each gene are needed.

    Parameters
    ----------
    adata
        Annotated data; ``X`` dense or sparse, (n_obs, n_vars), in memory, backed, read lazily or
        a Dask array: only a block of cells is dense at a time. Views are fine.
    model
        A :class:`torch.nn.Module` in eval mode, a fitted scikit-learn estimator or Pipeline, any
        callable on rows, a mapping from class names to binary classifiers, or what
        :func:`sensx_sc.models.as_model` made. It must take the genes of
        ``adata`` in their order; names are compared where the model carries them.
    target
        Explained output: a class name, an index, a column of ``adata.obs`` (a class a cell), an
        array, or None: each cell's predicted class.
    qoi
        ``"auto"`` (probability of a classifier, else value), ``"probability"``, ``"logit"``,
        ``"value"``, or a callable on the outputs (B, K) that returns (B,).
    layer, obsm
        Explain this layer, or this array of ``adata.obsm``, instead of ``X``.
    mask_obs, mask_var
        Cells to explain and genes to perturb: bool array or name of a column.
    lower, upper
        The domain: number, array (n_vars,), column of ``adata.var`` or ``"log1p_cp10k"``. None:
        ``adata.var[f"{key_added}_lower"]`` and ``_upper`` (see :func:`sensx_sc.pp.domain`), else
        the data's smallest and largest values.
    deltas
        ``"auto"`` (50 log-spaced scales from 1e-4 to 1, extended downwards where needed),
        ``"linear"`` (50 from 0.02 to 1), or increasing scales in (0, 1].
    tau
        Change of the response that counts as none, in its units.
    n_samples, n_walks
        Random points a scale; walks a cell. ``n_walks="auto"``: as many walks as make the ranking
        stable, ``max_walks`` at most: two halves of them correlate (Spearman-Brown corrected) at
        .99 and share .8 of their top 50, or with ``top_k`` until these are certified.
    design
        ``"balanced"``: blocks of 20 walks with rotated and reversed orders and mirrored,
        Latin-hypercube endpoints; ``"uniform"``: independent walks, the paper's; ``"sobol"``:
        Sobol endpoints, for at most 21,201 genes.
    refine_tol
        Narrow the bracket of delta* to this width.
    min_step
        Leave out steps shorter than this fraction of delta* times the range; alters the estimand.
    out_of_domain
        ``"raise"``, ``"clip"`` or ``"expand"`` for cells outside the domain.
    rank_by
        Statistic of the ranks and rankings: ``"value"``, ``"change"``, ``"mean"``, ``"shapley"``.
        The paper's is ``"value"``, per unit of expression; ``"change"`` compares genes of
        different ranges. The page on evidence says which answers which question.
    estimator
        ``"walks"``: exact. ``"gradient"``: from ``n_walks`` backward passes of a differentiable
        model, exact in the limit of small steps, and audited against exact walks of some
        features. ``"auto"``: gradients screen, exact walks give the values of the candidates, and
        of all features where the audit fails or there are no gradients.
    groups
        Genes that change together, in one step: a column of ``adata.var`` with a label for each
        gene, such labels, a mapping from the names of gene sets to their genes, a GMT file, or a
        long table of a network with the columns ``source`` and ``target`` (or ``geneset`` and
        ``genesymbol``). Of files and tables genes that are not in ``adata`` are left out, with a
        log line. Results are then those of the sets.
    group_norm
        What the change of the response at a set's step is divided by: ``"l2"`` (the Euclidean
        length of the step, A14), ``"density"`` (the sum of the absolute steps) or ``"none"``.
    overlap
        Sets that share genes are walked as disjoint atoms: the genes that are in exactly the same
        sets. ``"share"``: what is found of an atom is divided equally among its sets, so that
        ``shapley`` still sums to q(x) - mean q(e); ``"whole"``: each of its sets gets all of it;
        ``"atoms"``: atoms are reported themselves; ``"raise"``: sets must not overlap.
    ungrouped
        Genes in no set: ``"hold"`` (they keep their values, in the calibration, too),
        ``"single"`` (each changes alone) or ``"together"`` (one more set, ``"ungrouped"``).
    within
        ``"genes"``, or finer sets: the ``within_top`` first sets of each cell are then taken
        apart, and walked again beside the others, which still move as wholes. A whole ranking of
        genes costs the evaluations of few.
    within_top
        How many sets of each cell are taken apart, by ``rank_by``.
    kinds
        What values features take: ``"continuous"``, ``"count"`` (ends are rounded), ``"ordinal"``
        (levels in an order), ``"binary"``, ``"categorical"`` (codes; at a scale delta one switches
        to another with probability delta). None: as ``adata.var["sensx_kind"]`` says, continuous
        without it; ``["sensx_levels"]`` has the levels (``"0, 1, 5"``, or 3 for 0, 1, 2) and
        ``["sensx_block"]`` the name of the one-hot block that a column is of. Or a kind for all, a
        mapping from names, kinds in the order of the features, such a table, or ``"infer"``: 0 and
        1 are binary, other whole numbers counts.
    covariates
        Columns of ``adata.obs`` that walk beside the genes: of those that the model reads by
        itself (scvi-tools), or that follow the genes in the rows of a model that takes them, one
        column a number or ordered category, one a category of the others. Names, or a mapping from
        names to kinds where these are not to be inferred from the type of the column.
    top_k
        Race for the ``top_k`` genes of each cell by ``rank_by`` (``"value"`` or ``"change"``):
        after the first walks only genes whose place among them is in doubt are evaluated, on
        ``n_walks`` walks at most. The same numbers, much sooner where many walks are needed. Where
        gradients are used (``estimator``) nothing is raced: it is then the length of the top that
        the audit compares, and with ``"auto"`` a quarter of the genes that are walked exactly.
    max_walks
        The budget of ``n_walks="auto"``.
    alpha
        Probability that a certified top k is allowed to be wrong.
    statistics
        What to keep for every cell and gene: any of ``"value"``, ``"rank"``, ``"mean"``,
        ``"std"``, ``"change"``, ``"shapley"``, ``"se"``, ``"change_se"``, ``"n"``; ``"value"``
        always is.
    keep
        ``"all"``, or ``"top:500"``: of each cell only its first 500 genes by ``rank_by``, as sparse
        layers, in which an entry that is not there means "not kept", never "no effect". Rankings
        of the explained outputs are of all genes all the same.
    batch_size
        Rows of one model call; ``"auto"``: a share of ``settings.memory_budget``.
    chunk_size
        Cells that are dense at a time. Results do not depend on it.
    device
        Where a torch module runs: ``"auto"`` or a device.
    precision
        ``"auto"``, ``"float32"`` or ``"float64"``; None: ``settings.precision``.
    seed
        Seed; None: ``settings.seed``. Every random number depends on it, the cell's name, the
        walk and the gene alone.
    key_added
        Prefix of all keys, so that several models live together.
    store
        An AnnData in a zarr store to which the results are written, a block of cells at a time:
        the store of this very data, or a new folder, which gets the names of cells and genes.
        ``adata`` shows its layers lazily. A run that was killed goes on from there when it is
        called again.
    shard
        ``"i/n"``: explain only every n-th block of cells, from the i-th, for job arrays whose jobs
        share a ``store``. The job that finds all others done completes the store and ``adata``;
        before that ``adata`` is left unchanged.
    on_error
        ``"mark"`` cells on which the model raises as failed and go on, or ``"raise"``. A model that
        fails on all cells it is tried on is an error.
    progress
        Show a progress bar; None: ``settings.progress``.
    copy
        Return a copy instead of writing into ``adata``.

    Returns
    -------
    None, or with ``copy=True`` the copy. Written are, with ``sensx`` for ``key_added``:

    - ``.obs["sensx_delta_star"]``: delta*, float64; 0 = insensitive, NaN = not analysed or failed.
    - ``.obs["sensx_status"]``: resolved, insensitive, left_censored, unsaturated, failed, skipped.
    - ``.obs["sensx_target"]``, ``.obs["sensx_qoi"]``: explained output and its response q(x).
    - ``.layers["sensx"]``: SensX values, float32, units of q per unit of expression; NaN = not
      tested (never 0).
    - ``.layers["sensx_rank"]``: int32, 1 = most sensitive, 0 = not tested; ``sensx_mean``,
      ``sensx_std``, ``sensx_change``, ``sensx_shapley``, ``sensx_se``, ``sensx_change_se``,
      ``sensx_n`` if asked for.
    - ``.obsm["sensx_envelope"]``: (n_obs, n_deltas, 2), 1st and 99th percentile of q.
    - ``.var["sensx_lower"]``, ``.var["sensx_upper"]``: the domain used.
    - ``.uns["sensx"]``: ``params``, ``deltas``, ``noise_floor``, ``versions``; ``cells`` (how sure
      delta* of each analysed cell is: certified, bracket, share of walks that end inside the
      envelope, noise floor, precision, why it failed; with ``top_k`` whether its top k is
      certified, ``top_k_gap`` and the number of undecided genes; with ``n_walks="auto"`` the
      walks made, ``reliability``, ``overlap`` and whether they are ``settled``; with ``estimator``
      what its values come from and what the audit says); ``rankings`` (tidy: group, names,
      rank, value, value_se, change, mean, presence, n_cells for each explained target);
      ``names`` and ``scores`` as ``sc.pl.rank_genes_groups(adata, key="sensx")`` wants them.

    With ``obsm``, values and ranks go to ``.obsm`` under the same keys, bounds to ``.uns``. With
    ``groups`` values and ranks of the sets go to ``.obsm["sensx_groups"]``,
    ``["sensx_groups_rank"]`` and so on, tables of cells x sets; their names and sizes to
    ``.uns["sensx"]["groups"]``, the genes of each to ``.uns["sensx"]["members"]``, and what each
    gene is moved with to ``.var["sensx_group"]``; rankings are of sets. With ``within="genes"``
    ``.layers["sensx"]`` and the others have what was found of the genes in each cell's top sets,
    NaN (rank 0) elsewhere; with finer sets ``.obsm["sensx_within"]`` has. With ``covariates``
    what was found of them is in ``.obsm["sensx_covariates"]`` and so on, cells x covariates (among
    the sets, with ``groups``), and they are ranked among the genes. With ``store`` the same is
    written there, all of it as arrays.

    Raises
    ------
    ValueError, TypeError, KeyError
        Wrong arguments or data, before any work; ``adata`` is unchanged.
    RuntimeError
        The model's output for a row depends on more than the row; ``adata`` is unchanged.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> adata = sx.datasets.toy()
    >>> model = sx.models.fit_mlp(adata, "cell_type", hidden=(16,), epochs=20, progress=False)
    >>> sx.tl.sensx(adata, model, n_walks=20, n_samples=400, progress=False)
    >>> adata.layers["sensx"].shape == adata.shape
    True

    References
    ----------
    Aggarwal, Cogan, Periwal, "SensX: Model-Agnostic Local Feature Attribution via Calibrated
    Global Sensitivity Analysis", TMLR 2026, equations 1 to 4.
    """
    started = time.perf_counter()
    check_adata(adata)
    part = parse_shard(shard)
    if part is not None and store is None:
        msg = f"`shard` {shard!r} needs a `store` that all shards share."
        raise ValueError(msg)
    refuse_backed(adata, copy=copy)
    asked = ask(
        adata,
        model,
        target=target,
        qoi=qoi,
        layer=layer,
        obsm=obsm,
        mask_obs=mask_obs,
        mask_var=mask_var,
        lower=lower,
        upper=upper,
        deltas=deltas,
        tau=tau,
        n_samples=n_samples,
        n_walks=n_walks,
        design=design,
        refine_tol=refine_tol,
        min_step=min_step,
        out_of_domain=out_of_domain,
        rank_by=rank_by,
        estimator=estimator,
        groups=groups,
        group_norm=group_norm,
        overlap=overlap,
        ungrouped=ungrouped,
        within=within,
        within_top=within_top,
        kinds=kinds,
        covariates=covariates,
        top_k=top_k,
        max_walks=max_walks,
        alpha=alpha,
        statistics=statistics,
        keep=keep,
        batch_size=batch_size,
        chunk_size=chunk_size,
        device=device,
        precision=precision,
        seed=seed,
        key_added=key_added,
        on_error=on_error,
        in_memory=store is None,
    )
    job, stored = asked.job, None
    if store is not None:
        stored = open_store(
            store,
            job,
            chunk_size,
            key=key_added,
            obs_names=adata.obs_names,
            var_names=adata.var_names,
            slots=asked.slots,
        )
    asked.log()
    results = gather(job, asked.together, stored, part, progress=progress)
    if results is None:
        return adata.copy() if copy else None
    slots = asked.slots_of(results, adata)
    if stored is not None:
        stored.finish(slots)
        for attribute, arrays in stored.arrays().items():
            slots[attribute] = slots.get(attribute, {}) | arrays
    result = adata.copy() if copy else adata
    write(result, slots, key_added)
    log_written(results, slots, time.perf_counter() - started)
    return result if copy else None
