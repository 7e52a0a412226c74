"""``sx.tl.property_gradient``: whether a model's call follows library size, phase, a programme."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sensx_sc.companions.cell_paths import cell_paths
from sensx_sc.companions.population import make_population
from sensx_sc.companions.property_gradient import Asked, follow
from sensx_sc.companions.property_tables import (
    curve_table,
    paper_table,
    property_table,
    selectivity_table,
)
from sensx_sc.companions.slopes import precise_evaluator, prepare_slopes
from sensx_sc.core.arrays import UnreadRows, as_rows, column_range, pick_rows
from sensx_sc.core.options import is_whole
from sensx_sc.core.preparation import block_size, outputs
from sensx_sc.core.progress import progress_bar
from sensx_sc.logger import logger
from sensx_sc.pp._selection import check_adata, pick_mask, pick_matrix
from sensx_sc.settings import settings
from sensx_sc.slots import check_free, put
from sensx_sc.tl._targets import pick_targets

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch
    from anndata import AnnData
    from numpy.typing import ArrayLike

    from sensx_sc.companions.editors.edit import Editor
    from sensx_sc.companions.population import Population
    from sensx_sc.companions.property_gradient import Followed
    from sensx_sc.core.arrays import Floats, Ints, Rows
    from sensx_sc.core.run import Run
    from sensx_sc.models.qoi import Qoi
    from sensx_sc.words import Precision

TOOL = "property_gradient"
PER_CELL = ("epgm", "net", "flips")


def property_gradient(
    adata: AnnData,
    model: Any,
    editors: Mapping[str, Editor] | Sequence[Editor] | Editor,
    *,
    target: str | int | ArrayLike | None = None,
    qoi: Qoi | Callable[[Floats], Any] = "auto",
    layer: str | None = None,
    counts: str | None = "counts",
    mask_obs: ArrayLike | str | None = None,
    n_placebos: int = 100,
    paper_compat: bool = False,
    n_permutations: int = 10_000,
    batch_size: int | str = "auto",
    device: str | torch.device = "auto",
    precision: Precision | None = None,
    seed: int | None = None,
    key_added: str = TOOL,
    progress: bool | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Test whether a model's response follows a property, by gradual edits of that property.

    Each cell is edited step by step along one property (its library size, a gene programme, the
    mitochondrial share), the property is measured at every step, and the response is followed. The
    expected property gradient magnitude (EPGM) is ``sum |dq| / sum |dm|``, over forward
    differences. Whether that is more than chance is asked of placebos: the same edit of other genes
    of like expression.

    Parameters
    ----------
    adata
        Annotated data in memory; means, deviations and donors come from all its cells.
    model
        What :func:`sensx_sc.tl.sensx` takes; it reads log1p of scaled counts, or counts.
    editors
        Editors by the name of their property, such as ``{"library size":
        sx.companions.LibrarySize(), "mitochondria": sx.companions.Share("MT-")}``.
    target, qoi, layer, mask_obs
        As in :func:`sensx_sc.tl.sensx`; `mask_obs` chooses the cells that are edited.
    counts
        Layer of raw counts that the model's input was made from; None: edit expm1 of the input.
    n_placebos
        Placebos of each edit.
    paper_compat
        Also write the scores as published: mean ``|np.gradient(q)|`` over the index of the step,
        the original prepended, and the two-sided shuffle test.
    n_permutations
        Of the shuffle test.
    batch_size, device
        As in :func:`sensx_sc.tl.sensx`.
    precision
        ``"auto"`` is float64 where the model takes it; None: ``settings.precision``.
    seed
        Of thinning, donors, placebos and control genes; None: ``settings.seed``.
    key_added
        Key of all that is written.
    progress
        Show a progress bar; None: ``settings.progress``.
    copy
        Return a copy instead of writing into ``adata``.

    Returns
    -------
    None, or with ``copy=True`` the copy. Written are, with ``property_gradient`` for ``key_added``:

    - ``.uns["property_gradient"]``: ``params``; ``table``, one row for each explained output and
      property: epgm (per unit of the property) with its standard error over cells, epgm_per_sd (per
      standard deviation of the property over all cells), net (signed), monotonicity, flips,
      flipped, max_slope and where, local (slope at the cell itself), own_change, side_effect and
      side_change (the other property that changes most, in standard deviations), p_placebo, p_net
      (sign flips over cells), both also adjusted for all rows (Benjamini-Hochberg);
      ``curves``, mean response by step with quartiles and the band of placebos; ``selectivity``,
      the change of every tracked property along every path; ``paper`` with ``paper_compat``.
    - ``.obsm["property_gradient_epgm"]``, ``["..._net"]``, ``["..._flips"]``: DataFrames with a
      column a property; NaN = not edited, or the property did not move.

    Raises
    ------
    ValueError, TypeError, KeyError
        Wrong arguments or data, before any work; ``adata`` is unchanged.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> adata = sx.datasets.toy()
    >>> net = sx.models.fit_mlp(adata, "cell_type", "A", hidden=(8,), progress=False)
    >>> markers = adata.var_names[adata.var["marker_of"] == "A"]
    >>> sx.tl.property_gradient(
    ...     adata,
    ...     net,
    ...     {"markers of A": sx.companions.GeneProgramme(list(markers))},
    ...     n_placebos=20,
    ...     progress=False,
    ... )
    >>> adata.uns["property_gradient"]["table"]["property"].tolist()
    ['markers of A']

    References
    ----------
    Penzel, Denzler, WACV 2026, arXiv 2503.05424. EPGM there is mean ``|np.gradient(q)|`` over the
    index of the step; per unit of the measured property, with forward differences and placebos, it
    is comparable between editors, does not hide oscillation, and asks for influence, not
    smoothness.
    """
    started = time.perf_counter()
    check_adata(adata)
    named = _named(editors)
    _check_numbers(n_placebos, n_permutations)
    check_free(adata, key_added, TOOL)
    _refuse_foreign(adata, key_added)
    matrix = pick_matrix(adata, layer=layer)
    cells = np.flatnonzero(pick_mask(mask_obs, adata.obs, adata.obs_names, "mask_obs"))
    values = matrix.values
    every = as_rows(values[:] if isinstance(values, UnreadRows) else values, name=matrix.label)
    low, high = column_range(every)
    rows = pick_rows(every, cells)
    run = prepare_slopes(
        rows,
        model,
        lower=low,
        upper=np.maximum(high, low + 1),
        mask=None,
        qoi=qoi,
        out_of_domain="raise",
        names=matrix.names,
        batch_size=batch_size,
        device=device,
        precision=precision,
    )
    population = make_population(
        every,
        _counts(adata, counts),
        matrix.names,
        tuple(map(str, adata.obs_names)),
        {str(name): np.asarray(adata.obs[name]) for name in adata.obs},
        settings.seed if seed is None else int(seed),
    )
    paths = cell_paths(named, population, cells)
    at_cells = outputs(rows, run, block_size("auto", adata.n_vars))
    target_of, names = pick_targets(adata, target, cells, at_cells, run)
    explained, group = np.unique(target_of, return_inverse=True)
    asked = _asked(run, population, cells, target_of, group)
    logger.info(
        "property_gradient: %s, %d cells, %d properties (%s), %d placebos of each.",
        run.response.model.name,
        len(cells),
        len(paths),
        ", ".join(named),
        n_placebos,
    )
    with progress_bar(len(cells) * len(paths), 1, progress, unit="path") as shown:
        followed = [
            follow(each, asked, n_placebos=n_placebos, advance=shown.advance) for each in paths
        ]
    groups = [names[k] for k in explained]
    tables = {
        "table": property_table(followed, asked, groups, seed=population.seed),
        "curves": curve_table(followed, asked, groups),
        "selectivity": selectivity_table(followed),
    }
    if paper_compat:
        tables["paper"] = paper_table(
            followed, asked, groups, n_permutations=n_permutations, seed=population.seed
        )
    params = {
        "model": run.response.model.name,
        "qoi": run.params["qoi"],
        "layer": layer,
        "counts": counts,
        "n_placebos": n_placebos,
        "n_permutations": n_permutations,
        "seed": population.seed,
        "properties": {
            each.name: {"unit": each.unit, "axis": each.axis, "origin": each.origin}
            for each in paths
        },
        "groups": groups,
    }
    result = adata.copy() if copy else adata
    put(result, key_added, TOOL, params, tables)
    for name, frame in _per_cell(followed, cells, adata.obs_names).items():
        result.obsm[f"{key_added}_{name}"] = frame
    logger.info(
        "property_gradient: added .uns[%r], %s (%.1f s).",
        key_added,
        ", ".join(f".obsm[{key_added + '_' + name!r}]" for name in PER_CELL),
        time.perf_counter() - started,
    )
    return result if copy else None


def _named(editors: Any) -> dict[str, Editor]:
    """Editors by name."""
    if isinstance(editors, Mapping):
        found = {str(name): editor for name, editor in editors.items()}
    else:
        several = list(editors) if isinstance(editors, list | tuple) else [editors]
        found = {type(editor).__name__: editor for editor in several}
        if len(found) < len(several):
            msg = "`editors` holds several of one kind: give them names, {'name': editor, ...}."
            raise ValueError(msg)
    if not found:
        msg = "`editors` is empty; give at least one, such as sx.companions.LibrarySize()."
        raise ValueError(msg)
    for name, editor in found.items():
        if isinstance(editor, type) or not callable(getattr(editor, "bind", None)):
            msg = (
                f"`editors`: {name!r} is no editor but {editor!r}; give one of sx.companions, such "
                "as sx.companions.LibrarySize()."
            )
            raise TypeError(msg)
    return found


def _check_numbers(n_placebos: int, n_permutations: int) -> None:
    for name, value, least in (
        ("n_placebos", n_placebos, 0),
        ("n_permutations", n_permutations, 1),
    ):
        if not is_whole(value) or value < least:
            msg = f"`{name}` must be a whole number of at least {least}; got {value!r}."
            raise ValueError(msg)


def _refuse_foreign(adata: AnnData, key: str) -> None:
    if key in adata.uns:  # an earlier result of this tool
        return
    for name in PER_CELL:
        if f"{key}_{name}" in adata.obsm:
            msg = (
                f"`key_added` {key!r} would overwrite adata.obsm[{key + '_' + name!r}], which is "
                "no result of this tool; give another `key_added`."
            )
            raise ValueError(msg)


def _counts(adata: AnnData, layer: str | None) -> Rows | None:
    if layer is None:
        return None
    if layer not in adata.layers:
        there = ", ".join(repr(name) for name in adata.layers if name is not None) or "none"
        msg = (
            f"`counts` {layer!r} is not in adata.layers; there are: {there}. Pass counts=None to "
            "edit expm1 of what the model reads."
        )
        raise KeyError(msg)
    return as_rows(adata.layers[layer], name=f"adata.layers[{layer!r}]")


def _asked(run: Run, population: Population, cells: Ints, target: Ints, group: Ints) -> Asked:
    """The question; q of the cells from what the edits start at, to the last bit."""
    kind = run.response.model.kind
    threshold = 0.5 if kind == "probability" else 0.0
    ask = precise_evaluator(run).outputs
    at_cells = np.concatenate([ask(population.of(int(cell)).x[0]) for cell in cells])

    def classify(found: Floats) -> Ints:
        if found.shape[1] == 1:
            return np.asarray(found[:, 0] > threshold, dtype=np.int64)
        return np.asarray(found.argmax(axis=1), dtype=np.int64)

    return Asked(
        ask,
        run.response.of_outputs,
        None if kind == "value" else classify,
        np.arange(len(cells)),
        target,
        run.response.of_outputs(at_cells, target),
        group,
        int(group.max()) + 1,
    )


def _per_cell(
    followed: Sequence[Followed], cells: Ints, obs_names: pd.Index[Any]
) -> dict[str, pd.DataFrame]:
    """A table of all cells for each score that is kept."""
    found: dict[str, pd.DataFrame] = {}
    for name in PER_CELL:
        columns = {}
        for each in followed:
            values = np.full(len(obs_names), np.nan)
            values[cells] = each.flips if name == "flips" else getattr(each.scores, name)
            columns[each.paths.name] = values
        found[name] = pd.DataFrame(columns, index=obs_names)
    return found
