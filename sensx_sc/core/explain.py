"""One call: inputs and a model in, an explanation out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from sensx_sc.core.arguments import prepared
from sensx_sc.core.attribution import attribute
from sensx_sc.core.explanation import joined
from sensx_sc.core.options import MAX_WALKS
from sensx_sc.core.preparation import block_size, check_keys, outputs, read
from sensx_sc.core.progress import progress_bar
from sensx_sc.models.qoi import resolve_target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import torch
    from numpy.typing import ArrayLike

    from sensx_sc.core.arrays import Floats, Ints, Rows
    from sensx_sc.core.explanation import Explanation
    from sensx_sc.core.groups import Grouping
    from sensx_sc.core.run import Run
    from sensx_sc.models.model import Model
    from sensx_sc.models.qoi import Qoi
    from sensx_sc.words import (
        DesignName,
        Estimator,
        GroupNorm,
        OutOfDomain,
        Overlap,
        Precision,
        RankBy,
        Ungrouped,
    )


def explain(
    X: Rows,
    model: Model | torch.nn.Module | Callable[..., Any] | Any,
    *,
    lower: ArrayLike,
    upper: ArrayLike,
    mask: ArrayLike | None = None,
    groups: Grouping | None = None,
    group_norm: GroupNorm = "l2",
    overlap: Overlap = "share",
    ungrouped: Ungrouped = "hold",
    within: Grouping | str | None = None,
    within_top: int = 1,
    kinds: Mapping[str, str] | ArrayLike | None = None,
    levels: Mapping[Any, ArrayLike] | None = None,
    blocks: Mapping[str, Sequence[object]] | None = None,
    target: object = None,
    qoi: Qoi | Callable[[Floats], Any] = "auto",
    deltas: ArrayLike | str = "auto",
    tau: float = 0.1,
    n_samples: int = 1000,
    n_walks: int | Literal["auto"] = 200,
    design: DesignName = "balanced",
    refine_tol: float | None = None,
    min_step: float = 0.0,
    rank_by: RankBy = "value",
    estimator: Estimator = "walks",
    top_k: int | None = None,
    max_walks: int = MAX_WALKS,
    audit_features: int = 256,
    audit_walks: int | None = None,
    alpha: float = 0.05,
    out_of_domain: OutOfDomain = "raise",
    names: Sequence[str] | None = None,
    keys: Sequence[str | int] | None = None,
    batch_size: int | str = "auto",
    device: str | torch.device = "auto",
    precision: Precision | None = None,
    seed: int | None = None,
    progress: bool | None = None,
) -> Explanation:
    """SensX values of inputs (equations 1 to 4 of the paper).

    For each input, find delta*, the smallest perturbation scale at which the response saturates;
    inside that neighbourhood walk from the input to random endpoints, one feature at a time in
    random order, and average the elementary effects.

    Parameters
    ----------
    X
        Inputs, dense or sparse, shape (C, n).
    model
        What :func:`sensx_sc.models.as_model` takes.
    lower, upper
        The admissible domain, scalars or shape (n,), in feature units.
    mask
        Features to perturb, bool (n,); the others keep their values and get NaN.
    groups
        Features that change together, in one step of a walk: what
        :func:`sensx_sc.core.make_groups` takes. Results then have a column for each group. The
        sets of a mapping may share features. None: each feature changes alone.
    group_norm
        What the change of q at a group's step is divided by: ``"l2"`` (equation A14),
        ``"density"`` or ``"none"``; see :class:`sensx_sc.core.Groups`.
    overlap
        Sets that share features are walked as disjoint atoms, and what is found of an atom is
        divided equally among the sets that hold it (``"share"``), or counted in full for each
        (``"whole"``); ``"atoms"`` reports the atoms, ``"raise"`` takes partitions only. See
        :func:`sensx_sc.core.sets.of_sets`.
    ungrouped
        Features in no group: ``"hold"`` (they keep their values), ``"single"`` (each changes
        alone) or ``"together"`` (one more group).
    within
        Finer groups, or ``"features"``: then the ``within_top`` first groups of each input are
        taken apart, and walked again beside the other groups, which still move as wholes. Results
        have further columns for the fine groups.
    within_top
        How many groups of each input are taken apart, by ``rank_by``.
    kinds
        What values features take: one of ``"continuous"``, ``"count"`` (whole numbers),
        ``"ordinal"`` (levels in an order), ``"binary"`` and ``"categorical"`` (codes) for each,
        for all, or in a mapping from names or positions. At a scale delta a category switches to
        another with probability delta; see :mod:`sensx_sc.core.kinds`. None: all continuous.
    levels
        Levels of features by their names or positions, ascending; by default the whole numbers of
        the domain, or its two ends for binary ones.
    blocks
        Columns of one-hot blocks, by the name of each. A block changes as a whole, so it is a
        group; without ``groups`` the others are each alone.
    target
        Explained output: name, index, one a cell, or None for each input's predicted class.
    qoi
        ``"auto"`` (probability of a classifier, else value), ``"probability"``, ``"logit"``,
        ``"value"``, or a callable on the outputs (B, K) that returns (B,).
    deltas
        Scales: ``"auto"``, ``"linear"`` or increasing numbers in (0, 1].
    tau
        Change of q that counts as none, in units of q.
    n_samples
        Random points a scale.
    n_walks
        Walks an input, rounded up to whole blocks of the design. ``"auto"``: as many as make the
        ranking stable, ``max_walks`` at most: two halves of the walks correlate (Spearman-Brown
        corrected) at .99 and share .8 of their top 50 (of a fifth of the features, if fewer), or
        with ``top_k`` until these are certified.
    design
        ``"balanced"`` (blocks of 20 walks that balance each other), ``"uniform"`` (independent
        walks, the paper's) or ``"sobol"`` (Sobol endpoints, at most 21,201 features).
    refine_tol
        Narrow the bracket of delta* to this width with scales between the grid's.
    min_step
        Leave out steps shorter than this fraction of delta* times the range; alters the estimand.
    rank_by
        Statistic that ``rank`` sorts by: ``"value"``, ``"change"``, ``"mean"``, ``"shapley"``.
    estimator
        ``"walks"``: exact. ``"gradient"``: from ``n_walks`` backward passes of a differentiable
        model, exact in the limit of small steps, and audited against exact walks of some
        features. ``"auto"``: gradients screen, exact walks give the values of the candidates, and
        of all features where the audit fails or there are no gradients.
    top_k
        Race for so many features: ``n_walks`` becomes the most walks that any feature gets, and
        only features whose place among the top k is in doubt get more than the first ones.
    max_walks
        The budget of ``n_walks="auto"``.
    audit_features
        Size of the random sample of features that gradients are held against, beside the top ones.
    audit_walks
        Walks of the audit of ``estimator="gradient"``; each costs two evaluations a feature.
        None: four blocks of the design.
    alpha
        Probability that a certified top k is allowed to be wrong.
    out_of_domain
        ``"raise"``, ``"clip"`` or ``"expand"`` for inputs outside the domain.
    names
        Feature names, held against the model's if it has any.
    keys
        Names of the inputs that key the random numbers; by default their rows.
    batch_size
        Rows of one model call; ``"auto"``: a byte budget.
    device
        Where a torch module runs.
    precision
        ``"auto"``, ``"float32"`` or ``"float64"``; None takes the setting.
    seed
        Seed; None takes the setting.
    progress
        Show a bar; None takes the setting.

    Returns
    -------
    An :class:`Explanation`.

    Raises
    ------
    ValueError, TypeError, KeyError
        Wrong arguments, before any work: each says what was got and what is allowed.
    RuntimeError
        The model's output for a row depends on more than the row.

    Examples
    --------
    >>> import numpy as np
    >>> import sensx_sc as sx
    >>> result = sx.core.explain(
    ...     np.array([[0.0, 0.5]]),
    ...     lambda z: 3 * z[:, 0] - z[:, 1],
    ...     lower=0,
    ...     upper=1,
    ...     progress=False,
    ... )
    >>> result.value.round(6)
    array([[3., 1.]])

    References
    ----------
    Aggarwal, Cogan, Periwal, "SensX: Model-Agnostic Local Feature Attribution via Calibrated
    Global Sensitivity Analysis", TMLR 2026.
    """
    how = {
        "mask": mask,
        "groups": groups,
        "group_norm": group_norm,
        "overlap": overlap,
        "ungrouped": ungrouped,
        "within": within,
        "within_top": within_top,
        "kinds": kinds,
        "levels": levels,
        "blocks": blocks,
        "qoi": qoi,
        "deltas": deltas,
        "tau": tau,
        "n_samples": n_samples,
        "n_walks": n_walks,
        "design": design,
        "refine_tol": refine_tol,
        "min_step": min_step,
        "rank_by": rank_by,
        "estimator": estimator,
        "top_k": top_k,
        "max_walks": max_walks,
        "audit_features": audit_features,
        "audit_walks": audit_walks,
        "alpha": alpha,
        "out_of_domain": out_of_domain,
        "names": names,
        "batch_size": batch_size,
        "device": device,
        "precision": precision,
        "seed": seed,
    }
    rows, run, _ = prepared(X, model, lower, upper, how, function="explain")
    keys = check_keys(keys, rows.shape[0])
    together = block_size("auto", rows.shape[1])
    targets, output_names = resolve_target(target, run.response, outputs(rows, run, together))
    with progress_bar(rows.shape[0], run.evaluations, progress) as shown:
        parts = explain_blocks(
            rows, targets, output_names, keys, run, together, advance=shown.advance
        )
        return joined([found for _, _, found in parts])


def explain_blocks(
    rows: Rows,
    target: Ints,
    output_names: tuple[str, ...],
    keys: Sequence[str | int],
    run: Run,
    together: int,
    *,
    advance: Callable[[int], object] = lambda _: None,
) -> Iterator[tuple[slice, Floats, Explanation]]:
    """Explain inputs a block at a time: only a block of rows is dense.

    Yields
    ------
    Which rows, the inputs as the run sees them, and their explanation.
    """
    for start in range(0, rows.shape[0], together):
        part = slice(start, min(start + together, rows.shape[0]))
        x = read(rows[part], run)
        yield part, x, attribute(x, target[part], output_names, keys[part], run, advance=advance)
