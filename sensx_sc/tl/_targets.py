"""The explained output of each cell, and a word on cells that cannot be what the model expects."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.core.arrays import column_range, stored_sample
from sensx_sc.models.qoi import resolve_target
from sensx_sc.pp._selection import aligned, column_of

if TYPE_CHECKING:
    from anndata import AnnData

    from sensx_sc.core.arrays import Floats, Ints, Rows
    from sensx_sc.core.run import Run
    from sensx_sc.models.model import Model


def warn_of_scale(rows: Rows, model: Model) -> None:
    """Values that cannot be what the model was fitted on are worth a word: counts, z-scores."""
    if model.input_range is None:
        return
    low, high = column_range(rows)
    bottom, top, fitted = float(low.min()), float(high.max()), model.input_range[1]
    if bottom < 0 <= model.input_range[0]:
        warnings.warn(
            f"the values to explain go down to {bottom:.3g}, but the model was fitted on values "
            f"from {model.input_range[0]:.3g} to {fitted:.3g}: were they centred or scaled since?",
            UserWarning,
            stacklevel=3,
        )
    values = stored_sample(rows)
    if top > 2 * fitted and np.array_equal(values, np.rint(values)):
        warnings.warn(
            f"the values to explain are whole numbers up to {top:g}, but the model was fitted on "
            f"values up to {fitted:.3g}: are these raw counts where it expects normalised, "
            "log-transformed expression?",
            UserWarning,
            stacklevel=3,
        )


def pick_targets(
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
        if wanted.shape != (adata.n_obs,) and {*wanted.ravel().tolist()} <= {*named}:
            msg = (
                f"`target` must be one output, or one for each of the {adata.n_obs} cells; got "
                f"{target!r}. For several outputs there is sx.tl.sensx_targets."
            )
            raise ValueError(msg)
        if wanted.shape == (adata.n_obs,):
            wanted = wanted[cells]
    try:
        index, names = resolve_target(wanted, run.response, at_cells)
    except KeyError as error:
        msg = f"{error.args[0]} A column of adata.obs with a class a cell is possible, too."
        raise KeyError(msg) from error
    if target is None and len(names) > 1:
        index = np.where(np.isnan(at_cells).any(axis=1), -1, index)  # the class is not known
    return index, names
