"""``sx.tl.compare``: SensX and other methods under one protocol, in one table."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sensx_sc.core.arrays import dense, pick_rows
from sensx_sc.core.progress import progress_bar
from sensx_sc.get._stored import check_count, quoted
from sensx_sc.logger import logger
from sensx_sc.metrics.baselines import BASELINES, NotApplicableError, Question
from sensx_sc.metrics.curves import RANDOM, perturbation_curves, random_scores
from sensx_sc.metrics.explained import STAR, check_scales
from sensx_sc.metrics.perturbation import check_ks, default_ks
from sensx_sc.metrics.recovery import top_k_accuracy
from sensx_sc.pp._selection import pick_mask, pick_matrix
from sensx_sc.settings import settings
from sensx_sc.slots import check_free, in_place, put
from sensx_sc.tl._explained import score_reader, stored_cells
from sensx_sc.tl._perturbation_curve import check_rankings, log_areas

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch
    from anndata import AnnData
    from numpy.typing import ArrayLike

    from sensx_sc.core.arrays import Floats
    from sensx_sc.metrics.curves import Curves
    from sensx_sc.models.qoi import Qoi
    from sensx_sc.tl._explained import Stored

METHODS = ("value", "change", *BASELINES, RANDOM)
_BADLY = 0.05  # missing of what attributions should add up to
_MOST_ACCURACY = 10


def compare(
    adata: AnnData,
    model: Any,
    *,
    methods: str | Sequence[str] = METHODS,
    background: ArrayLike | str | None = None,
    n_background: int = 100,
    relevant: str | None = None,
    scales: str | float | Sequence[str | float] = (STAR, 1.0),
    ks: ArrayLike | None = None,
    n_draws: int = 1000,
    n_steps: int = 200,
    n_samples: int | None = None,
    n_permutations: int = 10,
    max_rows: int = 10_000_000,
    keep_scores: bool = False,
    mask_obs: ArrayLike | str | None = None,
    groupby: str | None = None,
    qoi: Qoi | Callable[[Floats], Any] | None = None,
    device: str | torch.device = "auto",
    seed: int | None = None,
    key: str = "sensx",
    key_added: str | None = None,
    progress: bool | None = None,
) -> None:
    """Rank each cell's genes by several methods and hold the rankings against each other (A.7).

    Every method explains the same cells and the same response, and every ranking goes through the
    protocol of :func:`sensx_sc.tl.perturbation_curve` with the same random numbers. A method that
    cannot be used (no gradients, too much memory, too many evaluations, its library not installed)
    is in the table with the reason.

    ==================== =====================================================================
    method               what it is
    ==================== =====================================================================
    ``value``, ...       ``change`` and the other statistics of SensX that are stored
    ``ig_zero``          Integrated Gradients (captum) from zero
    ``ig_mean``          from the mean of the background
    ``ig_random``        from one background cell, another for each cell
    ``ig_expected``      averaged over all background cells
    ``ig_own``           from the mean of the cells with the same explained output
    ``gradient_shap``    expected gradients at random points (captum's GradientShap, no noise)
    ``deeplift_shap``    DeepSHAP (captum's DeepLiftShap)
    ``kernel_shap``      shap's KernelExplainer
    ``permutation_shap`` shap's PermutationExplainer
    ``random``           the control
    any layer            attributions of your own, ranked by size
    ==================== =====================================================================

    Parameters
    ----------
    adata
        Data with the results of :func:`sensx_sc.tl.sensx`.
    model
        The model that was explained.
    methods
        Names from the table, in the order wanted.
    background
        What stands for the data, where a method needs it: an array (B, n_vars) that is used as it
        is, or the cells to draw `n_background` from: bool array or name of a column; None: all.
    n_background
        Cells drawn.
    relevant
        Key of ``adata.obsm`` (bool, (n_obs, n_vars)) or column of ``adata.var`` (bool) with the
        features that truly matter: then the table has top-k accuracies (F1), too.
    scales, ks, n_draws
        Of the protocol.
    n_steps
        Points of the integrals.
    n_samples
        Coalitions of KernelExplainer, samples of GradientShap; None: their own defaults
        (2 n + 2048, and 200).
    n_permutations
        Of PermutationExplainer.
    max_rows
        Evaluations a cell that a method may ask for.
    keep_scores
        Also keep each method's attributions, as layers ``f"{key_added}_{method}"``.
    mask_obs, groupby, qoi, device, seed, key, progress
        As in :func:`sensx_sc.tl.perturbation_curve`.
    key_added
        Key to write; None = ``f"{key}_compare"``.

    Returns
    -------
    None; writes ``adata.uns[key_added]`` with

    - ``table``: DataFrame, a row a method: ``method, applies, reason, seconds`` (a cell),
      ``missed`` (median share of the completeness that attributions miss, NaN where none is
      promised), and the mean areas ``top@delta_star, bottom@delta_star, top@1, ...``;
      ``accuracy_1`` ... with `relevant`;
    - ``auc``, ``curves``: as :func:`sensx_sc.tl.perturbation_curve` writes them;
    - ``accuracy``: DataFrame ``method, k, accuracy``, with `relevant`;
    - ``params``.

    Raises
    ------
    KeyError
        No results under `key`, or an unknown method, layer or column.
    ValueError
        Wrong numbers, no attributed cell, or a model that does not give the stored responses.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> adata = sx.datasets.toy()
    >>> net = sx.models.fit_mlp(adata, "cell_type", hidden=(16,), epochs=20, progress=False)
    >>> some = adata.obs_names.isin(["cell_0", "cell_25"])
    >>> sx.tl.sensx(adata, net, mask_obs=some, n_walks=40, n_samples=400, progress=False)
    >>> sx.tl.compare(adata, net, methods=["value", "ig_zero", "random"], progress=False)
    >>> adata.uns["sensx_compare"]["table"]["method"].tolist()
    ['value', 'ig_zero', 'random']

    References
    ----------
    Aggarwal, Cogan, Periwal (2026), SensX, TMLR, fig. 2, 5 and D11; Kokhlikyan et al. (2020),
    captum, arXiv:2009.07896; Lundberg and Lee, NeurIPS 2017.
    """
    names, where = check_rankings(methods, "methods"), check_scales(scales)
    for argument, count in (
        ("n_background", n_background),
        ("n_draws", n_draws),
        ("n_steps", n_steps),
        ("n_samples", n_samples),
        ("n_permutations", n_permutations),
        ("max_rows", max_rows),
    ):
        check_count(count, argument)
    added = f"{key}_compare" if key_added is None else key_added
    check_free(adata, added, "compare")
    stored = stored_cells(
        adata, model, key=key, mask_obs=mask_obs, qoi=qoi, device=device, seed=seed
    )
    cells, n = stored.cells, len(stored.cells.free)
    truth = None if relevant is None else _relevant(adata, stored, relevant)
    groups = stored.groups_of(adata, groupby)
    moved = default_ks(n) if ks is None else check_ks(ks, n)
    readers = {
        name: random_scores(cells) if name == RANDOM else _reader(adata, stored, name)
        for name in names
        if name not in BASELINES
    }
    question = Question(
        cells,
        _background(adata, stored, background, n_background),
        n_steps=n_steps,
        n_samples=n_samples,
        n_permutations=n_permutations,
        max_rows=max_rows,
        max_bytes=float(settings.memory_budget),
        seed=cells.run.options.seed,
    )
    answers, about = _ask([name for name in names if name in BASELINES], question)
    scores = {
        name: readers[name] if name in readers else _row_of(answers[name])
        for name in names
        if name in readers or name in answers
    }
    a_cell = len(scores) * 2 * len(where) * len(moved) * n_draws
    with progress_bar(len(cells), a_cell, progress, unit="cell") as shown:
        curves = perturbation_curves(
            cells, scores, scales=where, ks=moved, n_draws=n_draws, advance=shown.advance
        )
    tables = {"auc": curves.auc(), "curves": curves.summary(groups)}
    if truth is not None:
        tables["accuracy"] = _accuracy(scores, truth, stored)
    tables["table"] = _table(names, about, tables)
    params = {
        "methods": names,
        "scales": where,
        "n_draws": n_draws,
        "n_background": len(question.background),
        "n_steps": n_steps,
        "n_samples": n_samples,
        "n_permutations": n_permutations,
        "max_rows": max_rows,
        "relevant": relevant,
        "n_features": n,
        "seed": cells.run.options.seed,
        "groupby": groupby,
        "source": stored.prefix,
    }
    put(adata, added, "compare", params, tables)
    if keep_scores:
        _keep(adata, stored, answers, added)
    _log(curves, tables["table"], added)


def _reader(adata: AnnData, stored: Stored, name: str) -> Callable[[int], Floats]:
    try:
        return score_reader(adata, stored, name)
    except KeyError as error:
        msg = f"{error.args[0]} Other methods are {', '.join(map(repr, (*BASELINES, RANDOM)))}."
        raise KeyError(msg) from error


def _relevant(adata: AnnData, stored: Stored, relevant: str) -> np.ndarray:
    """Which features truly matter in each cell, bool (C, n)."""
    n = len(stored.names)
    if relevant in adata.obsm:
        found = np.asarray(adata.obsm[relevant])[stored.rows]
    elif relevant in adata.var and stored.where == "layers":
        found = np.broadcast_to(adata.var[relevant].to_numpy(), (len(stored.rows), n))
    else:
        msg = (
            f"relevant={relevant!r} is neither in adata.obsm ({quoted(adata.obsm)}) nor a column "
            f"of adata.var ({quoted(adata.var.columns)})."
        )
        raise KeyError(msg)
    if found.dtype != bool or found.shape != (len(stored.rows), n):
        msg = (
            f"relevant={relevant!r} must hold bools, one a cell and feature; got {found.dtype} of "
            f"shape {found.shape}."
        )
        raise ValueError(msg)
    return found


def _background(
    adata: AnnData, stored: Stored, background: ArrayLike | str | None, n: int
) -> Floats:
    """Rows that stand for the data, (B, n_vars)."""
    given = None if background is None or isinstance(background, str) else np.asarray(background)
    if given is not None and given.ndim == 2:
        if given.shape[1] != len(stored.names) or not np.isfinite(given.astype(np.float64)).all():
            msg = (
                f"`background` must be finite numbers with {len(stored.names)} columns; got shape "
                f"{given.shape}."
            )
            raise ValueError(msg)
        return given.astype(np.float64)
    params = adata.uns[stored.prefix]["params"]
    matrix = pick_matrix(adata, layer=params.get("layer"), obsm=params.get("obsm"))
    chosen = pick_mask(background, adata.obs, adata.obs_names, "background")
    rows = np.flatnonzero(chosen)
    rng = np.random.default_rng([stored.cells.run.options.seed, *b"background"])
    drawn = np.sort(rng.choice(rows, size=min(n, len(rows)), replace=False))
    return dense(pick_rows(matrix.values, drawn))


def _ask(
    names: list[str], question: Question
) -> tuple[dict[str, Floats], dict[str, dict[str, Any]]]:
    """Attributions by each baseline that applies, and what there is to say of all of them."""
    answers, about = {}, {}
    for name in names:
        started = time.perf_counter()
        try:
            answer = BASELINES[name](question)
        except NotApplicableError as reason:
            about[name] = {"applies": False, "reason": str(reason)}
            logger.info("compare: %s does not apply: it %s.", name, reason)
            continue
        missed = float(np.nanmedian(answer.missed)) if len(answer.missed) else np.nan
        answers[name] = answer.scores
        about[name] = {
            "applies": True,
            "reason": f"misses {missed:.0%} of what it should add up to" * (missed > _BADLY),
            "seconds": (time.perf_counter() - started) / len(question.cells),
            "missed": missed,
        }
    return answers, about


def _row_of(scores: Floats) -> Callable[[int], Floats]:
    return lambda i: scores[i]


def _accuracy(
    scores: dict[str, Callable[[int], Floats]], truth: np.ndarray, stored: Stored
) -> pd.DataFrame:
    """Top-k accuracy of each ranking, for k up to the fewest relevant features of a cell."""
    free = stored.cells.free
    most = int(np.clip(truth[:, free].sum(axis=1).min(), 1, _MOST_ACCURACY))
    ks = np.arange(1, most + 1)
    parts = []
    for name, of in scores.items():
        rows = np.stack([of(i)[free] for i in range(len(stored.cells))])
        found = top_k_accuracy(rows, truth[:, free], ks)
        parts.append(pd.DataFrame({"method": name, "k": ks, "accuracy": found}))
    return pd.concat(parts, ignore_index=True)


def _table(
    names: list[str], about: dict[str, dict[str, Any]], tables: dict[str, pd.DataFrame]
) -> pd.DataFrame:
    """A row a method, whether it applies or not."""
    empty = {"applies": True, "reason": "", "seconds": np.nan, "missed": np.nan}
    rows = [{"method": name, **empty, **about.get(name, {})} for name in names]
    table = pd.DataFrame(rows)
    areas = tables["auc"].pivot_table(
        index="method", columns=["scale", "direction"], values="auc", sort=False
    )
    for scale, direction in areas.columns:
        column = areas[scale, direction]
        table[f"{direction}@{scale}"] = table["method"].map(column)
    if "accuracy" in tables:
        wide = tables["accuracy"].pivot_table(index="method", columns="k", values="accuracy")
        for k in wide.columns:
            table[f"accuracy_{k}"] = table["method"].map(wide[k])
    return table


def _keep(adata: AnnData, stored: Stored, answers: dict[str, Floats], added: str) -> None:
    in_place(adata)
    for name, scores in answers.items():
        whole = np.full((adata.n_obs, len(stored.names)), np.nan, dtype=np.float32)
        whole[stored.rows[:, None], stored.cells.free] = scores[:, stored.cells.free]
        getattr(adata, stored.where)[f"{added}_{name}"] = whole


def _log(curves: Curves, table: pd.DataFrame, added: str) -> None:
    log_areas("compare", curves)
    unfit = table.loc[~table["applies"], "method"]
    if len(unfit):
        logger.info("compare: without %s, which do not apply; see `reason`.", ", ".join(unfit))
    logger.info("compare: added .uns[%r]: table, auc, curves.", added)
