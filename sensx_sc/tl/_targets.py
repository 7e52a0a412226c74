"""Which output of the model is explained for each cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.models.qoi import resolve_target
from sensx_sc.pp._selection import aligned, column_of

if TYPE_CHECKING:
    from anndata import AnnData

    from sensx_sc.core.arrays import Floats, Ints
    from sensx_sc.core.preparation import Run


def targets_of(
    adata: AnnData, target: Any, cells: Ints, at_cells: Floats, run: Run
) -> tuple[Ints, tuple[str, ...]]:
    """The explained output of each cell, given the outputs at all of them."""
    wanted = target
    named = run.response.model.output_names or ()
    if isinstance(target, str) and target not in named and target in adata.obs:
        column = column_of(adata.obs, target).iloc[cells]
        if column.isna().any():
            msg = (
                f"`target` column {target!r} has {int(column.isna().sum())} cells without a "
                "class; leave them out with `mask_obs`."
            )
            raise ValueError(msg)
        wanted = column.astype(str).to_numpy()
    elif target is not None and not isinstance(target, str | int | np.integer):
        if isinstance(target, float):
            msg = f"`target` must be a name, an index, a column or an array; got {target!r}."
            raise TypeError(msg)
        wanted = np.asarray(aligned(target, adata.obs_names, "target"), dtype=object)
        if wanted.shape == (adata.n_obs,):
            wanted = wanted[cells]
    try:
        return resolve_target(wanted, run.response, at_cells)
    except KeyError as error:
        msg = f"{error.args[0]} A column of adata.obs with a class a cell is possible, too."
        raise KeyError(msg) from error
