"""Cells with a stored attribution, and their model, made ready to be asked again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.core.arrays import as_rows, pick_rows
from sensx_sc.core.calibration import delta_grid
from sensx_sc.core.options import Options
from sensx_sc.core.preparation import outputs, prepare
from sensx_sc.get._stored import (
    attributed,
    check_stored,
    quoted,
    read_rows,
    require_all,
    source_key,
)
from sensx_sc.metrics.explained import Explained
from sensx_sc.models.qoi import QOIS, resolve_target
from sensx_sc.pp._selection import check_adata, column_of, pick_mask, pick_matrix
from sensx_sc.settings import settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from anndata import AnnData
    from numpy.typing import ArrayLike, NDArray

    from sensx_sc.core.arrays import Bools, Floats, Ints
    from sensx_sc.models.qoi import Qoi

_SAME = 1e-3  # relative difference of responses that another device or type of rows explains
_TOGETHER = 1024


@dataclass(frozen=True)
class Stored:
    """Explained cells and where they are in the AnnData.

    Attributes
    ----------
    cells
        The cells, with their model.
    rows
        Their rows in the AnnData, (C,).
    prefix
        What the stored keys begin with.
    names
        Names of the features, (n,).
    groups
        Name of each one's explained output, (C,).
    where
        Attribute of the AnnData that holds the statistics: ``"layers"`` or ``"obsm"``.
    """

    cells: Explained
    rows: Ints
    prefix: str
    names: tuple[str, ...]
    groups: NDArray[np.object_]
    where: str

    def groups_of(self, adata: AnnData, groupby: str | None) -> NDArray[np.object_]:
        """The group of each cell: a column of ``.obs``, or its explained output."""
        if groupby is None:
            return self.groups
        if groupby not in adata.obs:
            msg = (
                f"groupby={groupby!r} is no column of adata.obs; it has the columns "
                f"{quoted(adata.obs.columns)}."
            )
            raise KeyError(msg)
        column = adata.obs[groupby].iloc[self.rows].astype(object)
        return column.where(column.notna(), "(no group)").astype(str).to_numpy(dtype=object)


def stored_cells(
    adata: AnnData,
    model: Any,
    *,
    key: str,
    mask_obs: ArrayLike | str | None = None,
    qoi: Qoi | Callable[[Floats], Any] | None = None,
    device: Any = "auto",
    seed: int | None = None,
    numbers: dict[str, Any] | None = None,
) -> Stored:
    """The attributed cells of a stored explanation, with the model that was explained.

    Parameters
    ----------
    mask_obs
        Cells wanted; those without an attribution are left out.
    qoi
        None: as stored.
    seed
        None: as stored.
    numbers
        Arguments of :func:`sensx_sc.core.preparation.prepare` to use in place of the stored ones.

    Raises
    ------
    KeyError, ValueError
        No such results, no attributed cell among those wanted, or a model that does not give the
        stored responses.
    """
    check_adata(adata)
    prefix = source_key(adata, key)
    stored = check_stored(adata, prefix)
    require_all(adata, prefix, f"key={key!r}: this takes")
    params = stored["params"]
    if any(params.get(name) is not None for name in ("n_groups", "kinds", "covariates")):
        msg = (
            f"key={key!r} explains groups of features, or features that are no continuous numbers; "
            "this takes the values of single continuous ones: run sx.tl.sensx without `groups`, "
            "`kinds` and `covariates`."
        )
        raise ValueError(msg)
    where = "layers" if params.get("obsm") is None else "obsm"
    matrix = pick_matrix(adata, layer=params.get("layer"), obsm=params.get("obsm"))
    chosen = pick_mask(mask_obs, adata.obs, adata.obs_names, "mask_obs")
    rows = np.flatnonzero(chosen & attributed(adata, prefix))
    if not len(rows):
        msg = (
            f"none of the {int(chosen.sum())} cells asked for has an attribution under "
            f"key={key!r}; see adata.obs[{prefix + '_status'!r}]."
        )
        raise ValueError(msg)
    values = as_rows(pick_rows(matrix.values, rows), name=matrix.label)
    bounds = adata.var if where == "layers" else stored
    run = prepare(
        values,
        model,
        lower=_bounds(bounds, "lower", prefix, where),
        upper=_bounds(bounds, "upper", prefix, where),
        mask=_tested(adata, prefix, where, int(rows[0])),
        qoi=_qoi(params, qoi),
        deltas=stored_grid(stored["deltas"]),
        out_of_domain="clip" if params["out_of_domain"] == "clip" else "raise",
        names=matrix.names,
        batch_size="auto",
        device=device,
        **{
            "n_walks": int(params["n_walks"]),
            "design": params["design"],
            "options": _options(params, seed),
            **(numbers or {}),
        },
    )
    names = column_of(adata.obs, f"{prefix}_target").astype(object).to_numpy()[rows]
    at = outputs(values, run, _TOGETHER)
    wanted = None if callable(run.response.qoi) else names
    try:
        target, _ = resolve_target(wanted, run.response, at)
    except KeyError as error:
        msg = (
            f"the results {prefix!r} are not of this model: {error.args[0]} Pass the model that "
            "was explained."
        )
        raise KeyError(msg) from error
    star = column_of(adata.obs, f"{prefix}_delta_star").to_numpy(dtype=np.float64)[rows]
    keys = tuple(map(str, adata.obs_names[rows]))
    cells = Explained(run, values, keys, target, star, *_rounding(stored, keys))
    _check_responses(run.response.of_outputs(at, target), adata, prefix, rows)
    return Stored(cells, rows, prefix, matrix.names, names, where)


def _rounding(stored: Any, keys: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Type of rows of each cell's walks, and its noise floor, where they are known."""
    table = stored.get("cells")
    if table is None or not set(keys) <= set(table.index):
        return (), ()
    rows = table.loc[list(keys)]
    return tuple(map(str, rows["precision"])), tuple(map(float, rows["noise_floor"].fillna(0.0)))


def _bounds(where_from: Any, side: str, prefix: str, where: str) -> Floats:
    name = f"{prefix}_{side}" if where == "layers" else side
    if name not in where_from:
        place = f"adata.var[{name!r}]" if where == "layers" else f"adata.uns[{prefix!r}][{name!r}]"
        msg = f"{place} is gone, so the domain of the results is not known; run sx.tl.sensx again."
        raise KeyError(msg)
    return np.asarray(where_from[name], dtype=np.float64)


def _tested(adata: AnnData, prefix: str, where: str, row: int) -> Bools:
    """Which features have values: those that were tested, the same in all attributed cells."""
    there: Bools = ~np.isnan(read_rows(getattr(adata, where)[prefix], np.array([row]))[0])
    return there


def _qoi(params: Any, qoi: Any) -> Any:
    if qoi is not None:
        return qoi
    if params["qoi"] not in QOIS:
        msg = (
            f"the results are of a quantity of interest of your own, {params['qoi']!r}; pass the "
            "function once more as `qoi`."
        )
        raise ValueError(msg)
    return params["qoi"]


def _options(params: Any, seed: int | None) -> Options:
    return Options(
        tau=float(params["tau"]),
        n_samples=int(params["n_samples"]),
        min_step=float(params["min_step"]),
        rank_by=params["rank_by"],
        precision=settings.precision,
        seed=int(params["seed"]) if seed is None else seed,
    )


def stored_grid(deltas: ArrayLike) -> ArrayLike | str:
    """What ``deltas`` was: ``"auto"``, also where single cells have extended it, or scales."""
    grid = np.asarray(deltas, dtype=np.float64)
    auto, _ = delta_grid("auto")
    if len(grid) >= len(auto) and np.allclose(grid[-len(auto) :], auto, rtol=1e-12, atol=0):
        return "auto"
    return grid


def _check_responses(q: Floats, adata: AnnData, prefix: str, rows: Ints) -> None:
    """Refuse another model than the explained one."""
    stored = column_of(adata.obs, f"{prefix}_qoi").to_numpy(dtype=np.float64)[rows]
    off = np.abs(q - stored)
    size = np.maximum(np.abs(stored).max(), 1e-6)
    if not (off <= _SAME * size).all():
        worst = int(np.nanargmax(off))
        msg = (
            f"the model gives {q[worst]:.4g} for cell {str(adata.obs_names[rows[worst]])!r}, but "
            f"adata.obs[{prefix + '_qoi'!r}] holds {stored[worst]:.4g}: pass the model (and the "
            "expression) that was explained."
        )
        raise ValueError(msg)


def score_reader(adata: AnnData, stored: Stored, name: str) -> Callable[[int], Floats]:
    """Function from a cell's position to its scores: a stored statistic, or any layer.

    Raises
    ------
    KeyError
        Neither a stored statistic nor a layer.
    """
    arrays = getattr(adata, stored.where)
    own = stored.prefix if name == "value" else f"{stored.prefix}_{name}"
    found = own if own in arrays else name
    if found not in arrays or np.shape(arrays[found]) != (adata.n_obs, len(stored.names)):
        msg = (
            f"{name!r} is neither a statistic stored under {stored.prefix!r} nor an array of "
            f"adata.{stored.where} with a column a feature; there are {quoted(arrays)}. Statistics "
            f"are kept on request: sx.tl.sensx(..., statistics=('value', 'rank', {name!r}))."
        )
        raise KeyError(msg)

    def of(i: int) -> Floats:
        row = read_rows(arrays[found], stored.rows[i : i + 1])[0].astype(np.float64)
        return -row if found == f"{stored.prefix}_rank" else row

    return of
