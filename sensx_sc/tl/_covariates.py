"""What a model reads of a cell beside its genes, taken from the table of the cells."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.core.kinds import Kinds
from sensx_sc.core.sets import Partition, appended, single_features
from sensx_sc.models.as_model import as_model
from sensx_sc.models.held import HoldsCovariates
from sensx_sc.models.scvi_model import is_scvi
from sensx_sc.pp._obs_columns import ObsColumns, obs_columns
from sensx_sc.scale.beside import Beside
from sensx_sc.words import FEATURE_KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from anndata import AnnData

    from sensx_sc.core.arrays import Bools, Floats, Ints, Rows
    from sensx_sc.core.groups import Groups


@dataclass(frozen=True)
class Inputs:
    """What is handed to the method: the model, rows, and what is said of their columns."""

    model: Any
    rows: Rows
    names: tuple[str, ...]
    low: Floats
    high: Floats
    mask: Bools
    groups: Partition | None = None
    within: Groups | None = None
    kinds: Kinds | None = None

    def with_covariates(
        self, adata: AnnData, cells: Ints, device: str | torch.device, walking: Any = None
    ) -> Inputs:
        """The same with covariates of the cells beside their rows.

        Those that the model reads by itself are held at the cells' values, never perturbed and no
        part of the results, but for those that are to walk. What else is to walk follows the
        genes in the rows of a model that takes it.

        Parameters
        ----------
        walking
            Names of the covariates that walk, or a mapping from them to kinds.

        Raises
        ------
        KeyError, ValueError, TypeError
            A covariate that ``adata.obs`` does not hold, or a value that the model does not know.
        """
        model = self.model
        if is_scvi(model):
            model = as_model(model, device=device)
        if isinstance(model, HoldsCovariates) and model.held_names:
            values = model.held_values(adata.obs.iloc[cells])
            columns = _held(values, model.held_names, walking)
        elif walking is not None:
            columns = obs_columns(adata.obs, walking)
            columns = columns._replace(values=columns.values[cells])
        else:
            return self
        return replace(self, model=model)._beside(columns)

    def _beside(self, columns: ObsColumns) -> Inputs:
        n, c = len(self.names), len(columns.names)
        walks = columns.of >= 0
        kinds = self.kinds or Kinds.continuous(n)
        groups = self.groups
        if groups is None and walks.any():
            groups = Partition(single_features(n, self.names, kinds.blocks))
        if groups is not None and groups.groups is not None:
            own = groups.groups
            own = replace(own, label=np.concatenate([own.label, np.full(c, -1)]))
            at = n + np.flatnonzero(walks)
            _refuse_names(columns.keys, groups.names)
            groups = Partition(*appended(own, groups.sets, at, columns.of[walks], columns.keys))
        within = self.within
        if within is not None:
            within = replace(within, label=np.concatenate([within.label, np.full(c, -1)]))
        return Inputs(
            self.model,
            Beside(self.rows, columns.values),
            (*self.names, *columns.names),
            np.concatenate([self.low, columns.low]),
            np.concatenate([self.high, columns.high]),
            np.concatenate([self.mask, walks]),
            groups,
            within,
            kinds.beside(columns.kinds) if walks.any() or self.kinds else None,
        )


def _held(values: Floats, names: tuple[str, ...], walking: Any) -> ObsColumns:
    """The columns that a model reads by itself, of which some walk."""
    wanted = _names(walking)
    of = np.full(len(names), -1)
    for k, key in enumerate(wanted):
        own = [j for j, name in enumerate(names) if name == key or name.startswith(f"{key}=")]
        if not own:
            read = dict.fromkeys(name.split("=", 1)[0] for name in names)
            msg = (
                f"`covariates` {key!r} is none that the model reads; it reads "
                f"{', '.join(map(repr, read))}."
            )
            raise KeyError(msg)
        of[own] = k
    hot = [np.flatnonzero(of == k) for k in range(len(wanted))]
    blocks = {key: at for key, at in zip(wanted, hot, strict=True) if len(at) > 1}
    kind = np.zeros(len(names), dtype=np.int64)
    kinds = Kinds(kind, {}, blocks)
    kind[kinds.in_blocks] = FEATURE_KINDS.index("categorical")
    return ObsColumns(
        values, names, of, tuple(wanted), kinds, values.min(axis=0), values.max(axis=0)
    )


def _names(walking: Any) -> list[str]:
    if walking is None:
        return []
    return [walking] if isinstance(walking, str) else list(walking)


def _refuse_names(keys: Sequence[str], taken: Sequence[str]) -> None:
    twice = sorted(set(keys) & set(taken))
    if twice:
        msg = f"`covariates` {twice[0]!r} is also the name of a feature, or of a group of some."
        raise ValueError(msg)
