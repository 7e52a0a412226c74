"""What ``tl.sensx`` is asked: checked, and made ready to be worked on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.core.arguments import split_options
from sensx_sc.core.arrays import as_rows, pick_rows
from sensx_sc.core.plan import make_plan
from sensx_sc.core.preparation import block_size, outputs, prepare
from sensx_sc.core.sets import Partition, make_partition, single_features
from sensx_sc.pp._feature_kinds import pick_kinds
from sensx_sc.pp._gene_sets import pick_groups, pick_within
from sensx_sc.pp._selection import (
    check_adata,
    pick_bounds,
    pick_mask,
    pick_matrix,
    refuse_constant,
)
from sensx_sc.scale.budget import check_fits, check_samples_fit
from sensx_sc.scale.run import Job
from sensx_sc.scale.top import parse_keep
from sensx_sc.slots import GROUPS, check_key, digest, refuse_foreign, slot_names, stored_bounds
from sensx_sc.tl._columns import make_sections, pick_spots, place_names, refuse_kept_groups
from sensx_sc.tl._covariates import Inputs
from sensx_sc.tl._notes import log_levels, log_plan
from sensx_sc.tl._targets import pick_targets, warn_of_scale
from sensx_sc.words import ON_ERROR, STATISTICS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from anndata import AnnData

    from sensx_sc.core.arrays import Floats, Ints
    from sensx_sc.tl._results import Results
    from sensx_sc.words import GroupNorm, OnError, Overlap, Ungrouped

KEPT = ("value", "rank", *STATISTICS[1:])


@dataclass(frozen=True)
class Asked:
    """A question to a model about the cells of an AnnData.

    Attributes
    ----------
    job
        The cells and the run.
    together
        Cells that are dense at a time.
    at_cells
        Outputs of the model at the cells, (C, K).
    key, source
        Prefix of the results, and where the bounds come from.
    told
        Arguments that are recorded with the results.
    """

    job: Job
    together: int
    at_cells: Floats
    key: str
    source: str
    told: dict[str, Any]

    @property
    def slots(self) -> dict[str, list[str]]:
        """Names of what is written."""
        spots = [section.spot for section in self.job.sections]
        return slot_names(self.key, self.job.statistics, spots)

    def about(self, adata: AnnData, target: Any, key: str) -> Asked:
        """The same question about another output, under another key."""
        check_key(key)
        index, _ = pick_targets(adata, target, self.job.cells, self.at_cells, self.job.run)
        made = replace(
            self, job=replace(self.job, target=index), key=key, told=self.told | _told(target)
        )
        refuse_foreign(adata, key, made.slots)
        return made

    def params(self, results: Results) -> dict[str, Any]:
        """What is recorded with the results."""
        return {
            **self.job.run.params,
            **self.told,
            "groupby": f"{self.key}_target",
            "reference": "rest",
            "method": "sensx",
            "use_raw": False,
            "domain": self.source,
            "domain_digest": digest(*results.bounds),
            "statistics": list(self.job.statistics),
            "evaluations": self.job.run.evaluations,
            "evaluations_within": self.job.run.evaluations_within,
        }

    def slots_of(self, results: Results, adata: AnnData) -> dict[str, dict[str, Any]]:
        """Keys and values for each attribute of the AnnData."""
        of_genes = self.told["obsm"] is None
        return results.slots(self.key, self.params(results), adata.obs_names, of_genes=of_genes)

    def log(self) -> None:
        """Say what will be done, and how."""
        job = self.job
        log_plan(
            make_plan(job.rows, job.run, self.together),
            job.n_obs,
            len(job.statistics),
            source=self.source,
            raced=bool(job.run.options.top_k or job.run.until_stable),
        )
        log_levels(job.run)


def ask(
    adata: AnnData,
    model: Any,
    *,
    key_added: str,
    target: Any,
    layer: str | None,
    obsm: str | None,
    mask_obs: Any,
    mask_var: Any,
    lower: Any,
    upper: Any,
    groups: Any,
    group_norm: GroupNorm,
    overlap: Overlap,
    ungrouped: Ungrouped,
    within: Any,
    kinds: Any,
    covariates: Any,
    statistics: Sequence[str],
    keep: str,
    chunk_size: int | str,
    on_error: OnError,
    in_memory: bool,
    device: Any,
    **how: Any,
) -> Asked:
    """Check everything, and prepare the run.

    Parameters
    ----------
    in_memory
        Results have no store, and must fit before the model is asked about all cells.
    how
        The numbers of :class:`sensx_sc.core.options.Options`, and what else
        :func:`sensx_sc.core.preparation.prepare` takes.

    Raises
    ------
    ValueError, TypeError, KeyError
        Wrong arguments or data.
    """
    check_adata(adata)
    check_key(key_added)
    options, how = split_options(how)
    kept, n_kept = kept_statistics(statistics), parse_keep(keep)
    if on_error not in ON_ERROR:
        msg = f"`on_error` must be one of {ON_ERROR}; got {on_error!r}."
        raise ValueError(msg)
    matrix = pick_matrix(adata, layer=layer, obsm=obsm)
    features = adata.var if obsm is None else None
    cells = np.flatnonzero(pick_mask(mask_obs, adata.obs, adata.obs_names, "mask_obs"))
    rows = matrix.values if len(cells) == adata.n_obs else pick_rows(matrix.values, cells)
    rows = as_rows(rows, name=matrix.label)
    if features is not None:
        lower, upper = stored_bounds(adata, key_added, lower, upper)
    low, high, source = pick_bounds(lower, upper, features, matrix)
    refuse_constant(low, high, source, adata.n_obs)
    mask = pick_mask(mask_var, features, matrix.names, "mask_var")
    values = pick_kinds(kinds, features, matrix.names, rows, low, high)
    together = {} if values is None else values.blocks
    spots = pick_spots(
        obsm=obsm, groups=groups, within=within, covariates=covariates, blocks=bool(together)
    )
    refuse_kept_groups(keep, spots)
    refuse_foreign(adata, key_added, slot_names(key_added, kept, spots))
    how_grouped: dict[str, Any] = {"norm": group_norm, "overlap": overlap, "ungrouped": ungrouped}
    grouped = _partition(groups, features, matrix.names, together, how_grouped)
    finer = pick_within(within, features, matrix.names)
    inputs = Inputs(model, rows, matrix.names, low, high, mask, grouped, finer, values)
    inputs = inputs.with_covariates(adata, cells, device, covariates)
    run = prepare(
        inputs.rows,
        inputs.model,
        lower=inputs.low,
        upper=inputs.high,
        mask=inputs.mask,
        names=inputs.names,
        groups=inputs.groups,
        within=inputs.within,
        kinds=inputs.kinds,
        hold=False,
        device=device,
        options=options,
        mark=on_error == "mark",
        **how,
    )
    warn_of_scale(inputs.rows, run.response.model)
    check_samples_fit(len(run.deltas), options.n_samples)
    columns = place_names(run, matrix.names)
    if in_memory:
        n_rows = len(cells) if n_kept else adata.n_obs
        check_fits(n_rows, len(columns), len(kept), keep=n_kept)
    n_together = block_size(chunk_size, len(matrix.names))
    at_cells = outputs(inputs.rows, run, n_together, mark=on_error == "mark")
    targets, names = pick_targets(adata, target, cells, at_cells, run)
    job = Job(
        inputs.rows,
        cells,
        adata.n_obs,
        tuple(adata.obs_names[cells]),
        targets,
        names,
        columns,
        run,
        tuple(kept),
        on_error,
        make_sections(run, spots, columns, len(matrix.names)),
        n_kept,
        inputs.names,
        len(matrix.names),
    )
    told = {**_told(target), "layer": layer, "obsm": obsm, "keep": keep}
    if covariates is not None:
        told["covariates"] = [covariates] if isinstance(covariates, str) else list(covariates)
    if GROUPS not in spots:  # each gene alone, whatever walks beside them
        told["n_groups"] = None
    return Asked(job, n_together, at_cells, key_added, source, told)


def _partition(
    groups: Any,
    table: pd.DataFrame | None,
    names: tuple[str, ...],
    blocks: Mapping[str, Ints],
    how: dict[str, Any],
) -> Partition | None:
    """What changes together: groups, or one-hot blocks beside single features."""
    if groups is not None:
        return make_partition(
            pick_groups(groups, table, names), len(names), names=names, blocks=blocks, **how
        )
    if blocks:
        single = single_features(len(names), names, blocks)
        return Partition(single.with_norm(how["norm"]))
    return None


def _told(target: Any) -> dict[str, Any]:
    return {"target": target if isinstance(target, str | int | None) else "array"}


def kept_statistics(statistics: Sequence[str]) -> list[str]:
    """The statistics that are kept: those asked for, in the order of the results, and value."""
    asked = [statistics] if isinstance(statistics, str) else list(statistics)
    unknown = [name for name in asked if name not in KEPT]
    if unknown:
        msg = f"`statistics` may hold {', '.join(KEPT)}; got {unknown[0]!r}."
        raise ValueError(msg)
    return [name for name in KEPT if name in asked or name == "value"]
