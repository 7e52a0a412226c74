"""Explanations of blocks of cells, gathered into what lands in AnnData."""

from __future__ import annotations

from collections import Counter
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

import sensx_sc
from sensx_sc.scale.group_means import GroupMeans
from sensx_sc.scale.results import WHOLE
from sensx_sc.scale.top import csr
from sensx_sc.slots import GROUPS, sanitised
from sensx_sc.tl._columns import group_tables
from sensx_sc.tl._rank_groups import ranking_records
from sensx_sc.tl._ranking_table import ranking_table
from sensx_sc.words import STATUSES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sensx_sc.core.arrays import Floats, Ints
    from sensx_sc.scale.results import BlockResult
    from sensx_sc.scale.run import Job

_FIRST = ("names", "rank", "value", "value_se", "change", "mean", "presence", "n_cells")


class Results:
    """What is known of all cells so far; single precision, one row a cell of the AnnData.

    Parameters
    ----------
    job
        What is explained.
    statistics
        Those to hold in memory for every cell and feature.
    """

    def __init__(self, job: Job, statistics: Iterable[str]) -> None:
        n_obs = job.n_obs
        self.job = job
        self.names = job.names
        self.run = job.run
        self.arrays: dict[str, Any] = {}
        self._statistics, self._keep = tuple(statistics), job.keep
        self._kept: list[tuple[Ints, np.ndarray, dict[str, np.ndarray]]] = []
        if job.keep is None:
            shape = (n_obs, len(job.names))
            self.arrays = {
                name: np.zeros(shape, np.int32)
                if name in WHOLE
                else np.full(shape, np.nan, np.float32)
                for name in self._statistics
            }
        self.delta_star = np.full(n_obs, np.nan)
        self.qoi = np.full(n_obs, np.nan)
        self.status = np.full(n_obs, STATUSES.index("skipped"), dtype=np.int8)
        self.target = np.full(n_obs, -1, dtype=np.int64)
        self.output_names = job.output_names
        self.messages: dict[int, str] = {}
        self.noise_floor = np.nan
        self._cells: list[pd.DataFrame] = []
        self._envelopes: list[tuple[Ints, Floats, Floats]] = []
        self._groups: dict[int, GroupMeans] = {}

    def add(self, block: BlockResult) -> None:
        """Take in the results of a block of cells."""
        cells = block.cells
        for name, array in self.arrays.items():
            array[cells] = block.arrays[name]
        if block.genes is not None and self._statistics:
            self._kept.append((cells, block.genes, block.arrays))
        self.delta_star[cells], self.qoi[cells] = block.delta_star, block.qoi
        self.status[cells], self.target[cells] = block.status, block.target
        messages = block.table["message"].tolist()
        self.messages |= {
            int(cell): text for cell, text in zip(cells, messages, strict=True) if text
        }
        self.noise_floor = float(np.fmax.reduce([self.noise_floor, *block.table["noise_floor"]]))
        self._cells.append(pd.DataFrame(block.table, index=cells))
        self._envelopes.append((cells, block.deltas, block.envelope))
        for target, group in block.groups.items():
            self._groups.setdefault(target, GroupMeans(len(self.names))).merge(group)

    @property
    def bounds(self) -> tuple[Floats, Floats]:
        """The domain of the features."""
        n, domain = self._n_matrix, self.run.domain
        return domain.lower[:n], domain.upper[:n]

    @property
    def _n_matrix(self) -> int:
        n = self.job.n_matrix
        return self.run.n_features if n is None else n

    @property
    def counts(self) -> dict[str, int]:
        """How many cells have each status, of those that were analysed."""
        counted = Counter(STATUSES[code] for code in self.status)
        return {name: counted[name] for name in STATUSES if counted[name] and name != "skipped"}

    @property
    def n_uncertified(self) -> int:
        """How many cells have a delta* that chance may have moved."""
        return sum(
            int((~table["certified"] & (table["message"] == "")).sum()) for table in self._cells
        )

    @property
    def n_failed_audits(self) -> int:
        """How many cells have gradients that exact walks do not bear out."""
        tables = [table for table in self._cells if "audit_passed" in table]
        return sum(
            int((~table["audit_passed"] & (table["estimator"] == "gradient")).sum())
            for table in tables
        )

    @property
    def n_unsettled(self) -> int:
        """How many walked cells used up the budget of walks before their ranking was stable."""
        tables = [table for table in self._cells if "settled" in table]
        return sum(int((~table["settled"] & (table["n_walks"] > 0)).sum()) for table in tables)

    @property
    def span(self) -> float:
        """Range of the response over all envelopes."""
        ends = np.concatenate([envelope.ravel() for _, _, envelope in self._envelopes])
        return float(np.nanmax(ends) - np.nanmin(ends))

    def rankings(self, *, within: bool = False) -> pd.DataFrame:
        """The tidy table of all groups, in the order of the model's outputs.

        Parameters
        ----------
        within
            Of what the top groups of cells were taken apart into.
        """
        rank_by, n_coarse = self.run.options.rank_by, self.run.n_coarse
        columns = slice(n_coarse, None) if within else slice(0, n_coarse)
        groups = {
            self.output_names[target]: self._groups[target].part(columns)
            for target in sorted(self._groups)
        }
        if not groups:  # no rows, but all columns
            none = ranking_table(GroupMeans(0), (), rank_by)
            return none.assign(group="")[["group", *_FIRST]]
        tables = [
            ranking_table(group, self.names[columns], rank_by).assign(group=name)
            for name, group in groups.items()
        ]
        table = pd.concat(tables, ignore_index=True)
        return table[["group", *table.columns.drop("group")]]

    def cells(self, names: pd.Index[Any]) -> pd.DataFrame:
        """How sure delta* of each analysed cell is, and what its walks were like."""
        table = pd.concat(self._cells).sort_index()
        table.index = names[table.index.to_numpy()]
        return table

    def slots(
        self, key: str, params: dict[str, Any], obs_names: pd.Index[Any], *, of_genes: bool
    ) -> dict[str, dict[str, Any]]:
        """Keys and values for each attribute of the AnnData.

        Parameters
        ----------
        of_genes
            Whether the features are the genes of the AnnData.
        """
        explained = np.unique(self.target[self.target >= 0])
        obs = {
            f"{key}_delta_star": self.delta_star,
            f"{key}_status": pd.Categorical.from_codes(self.status, list(STATUSES)),
            f"{key}_target": pd.Categorical.from_codes(
                np.where(self.target < 0, -1, np.searchsorted(explained, self.target)),
                [self.output_names[target] for target in explained],
            ),
            f"{key}_qoi": self.qoi,
        }
        deltas, envelope = self.envelope()
        lower, upper = self.bounds
        bounds = {f"{key}_lower": lower, f"{key}_upper": upper}
        uns: dict[str, Any] = {
            "params": sanitised(params),
            "deltas": deltas,
            "noise_floor": self.noise_floor,
            "versions": {"sensx_sc": sensx_sc.__version__}
            | {name: version(name) for name in ("anndata", "numpy", "torch")},
        }
        uns |= {"cells": self.cells(obs_names), "rankings": (rankings := self.rankings())}
        if len(rankings):
            uns |= ranking_records(rankings, self.run.options.rank_by, len(self.names))
        slots: dict[str, dict[str, Any]] = {"obs": obs, "obsm": {f"{key}_envelope": envelope}}
        if of_genes:
            slots["var"] = bounds
        else:
            uns |= {"lower": lower, "upper": upper}
        for attribute, arrays in self._arrays(key, obs_names).items():
            slots[attribute] = slots.get(attribute, {}) | arrays
        if self.run.within is not None:
            uns["rankings_within"] = self.rankings(within=True)
        groups = self.run.domain.groups
        if groups is not None and self.job.sections[0].spot == GROUPS:
            uns |= group_tables(self.run, self.job)
            label = groups.label[: self._n_matrix]
            if of_genes:
                slots["var"][f"{key}_group"] = pd.Categorical.from_codes(label, list(groups.names))
            else:
                uns["group_of"] = label
        return slots | {"uns": {key: uns}}

    def _arrays(self, key: str, obs_names: pd.Index[Any]) -> dict[str, dict[str, Any]]:
        """Keys and values of all statistics, for each attribute they go to."""
        slots: dict[str, dict[str, Any]] = {}
        for name, array in (self.arrays | self._sparse()).items():
            for part in self.job.sections:
                whole = part.width == array.shape[1]
                own = array if whole else array[:, part.columns].copy()
                if part.names is not None:
                    own = pd.DataFrame(own, index=obs_names, columns=list(part.names))
                slots.setdefault(part.spot.attribute, {})[part.spot.name(key, name)] = own
        return slots

    def _sparse(self) -> dict[str, Any]:
        """Sparse layers of what was kept of each cell."""
        shape = (len(self.status), len(self.names))
        return {
            name: csr(
                shape,
                [(cells, genes, arrays[name]) for cells, genes, arrays in self._kept],
                np.int32 if name in WHOLE else np.float32,
            )
            for name in (self._statistics if self._keep is not None else ())
        }

    def envelope(self) -> tuple[Floats, Floats]:
        """All scales, (K,), and percentiles of q at them, (n_obs, K, 2); NaN = not evaluated."""
        deltas = np.unique(np.concatenate([found for _, found, _ in self._envelopes]))
        envelope = np.full((len(self.status), len(deltas), 2), np.nan)
        for cells, of_block, values in self._envelopes:
            envelope[np.ix_(cells, np.searchsorted(deltas, of_block))] = values
        return deltas, envelope
