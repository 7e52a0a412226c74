"""What a model reads of a cell beside its genes, taken from the table of the cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.core.sets import Partition
from sensx_sc.models.as_model import as_model
from sensx_sc.models.held import HoldsCovariates
from sensx_sc.models.scvi_model import is_scvi
from sensx_sc.scale.beside import Beside

if TYPE_CHECKING:
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

    def with_covariates(self, adata: AnnData, cells: Ints, device: str | torch.device) -> Inputs:
        """The same with the covariates of the cells beside their rows, where the model reads any.

        They are held at the cells' values: never perturbed, and no part of the results.

        Raises
        ------
        KeyError, ValueError
            A covariate that ``adata.obs`` does not hold, or a value that the model does not know.
        """
        model = self.model
        if is_scvi(model):
            model = as_model(model, device=device)
        if not isinstance(model, HoldsCovariates) or not model.held_names:
            return self
        held = model.held_values(adata.obs.iloc[cells])
        groups, within, n_held = self.groups, self.within, held.shape[1]
        if within is not None:
            within = Partition(within).beside(n_held).groups
        return Inputs(
            model,
            Beside(self.rows, held),
            (*self.names, *model.held_names),
            np.concatenate([self.low, held.min(axis=0)]),
            np.concatenate([self.high, held.max(axis=0)]),
            np.concatenate([self.mask, np.zeros(held.shape[1], dtype=bool)]),
            None if groups is None else groups.beside(n_held),
            within,
        )
