"""What of an AnnData is explained: the matrix, the cells, the features and their bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sensx_sc.core.arrays import as_rows, column_range, pick_rows
from sensx_sc.scale.blocks import in_reach

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData
    from numpy.typing import ArrayLike

    from sensx_sc.core.arrays import Bools, Floats, Rows

LOG1P_CP10K = "log1p_cp10k"
_LOG1P_CP10K_RANGE = {"lower": 0.0, "upper": float(np.log1p(1e4))}


@dataclass(frozen=True)
class Matrix:
    """The matrix to explain, and what it is called.

    Attributes
    ----------
    values
        ndarray, scipy sparse or unread rows, (n_obs, n).
    names
        Names of its columns.
    label
        For messages, such as ``adata.layers['counts']``.
    """

    values: Rows
    names: tuple[str, ...]
    label: str


def check_adata(adata: object) -> None:
    """Refuse what is no AnnData, or has cells or genes that share a name.

    Names key the random numbers of cells and match the features of models.
    """
    from anndata import AnnData as _AnnData

    if not isinstance(adata, _AnnData):
        arrays = " For arrays there is sx.core.explain." * hasattr(adata, "shape")
        msg = f"`adata` must be an AnnData; got {type(adata).__name__}.{arrays}"
        raise TypeError(msg)
    for axis, names in (("obs", adata.obs_names), ("var", adata.var_names)):
        if not names.is_unique:
            twice = names[names.duplicated()].unique()
            msg = (
                f"`adata.{axis}_names` must be unique; {len(twice)} names occur more than once, "
                f"such as {str(twice[0])!r}. Call adata.{axis}_names_make_unique() first."
            )
            raise ValueError(msg)


def refuse_backed(adata: AnnData, *, copy: bool) -> None:
    """Refuse an AnnData on disk that cannot take results."""
    if adata.isbacked and (adata.is_view or copy):
        msg = (
            "a view or a copy of a backed AnnData cannot take results. Select cells with "
            "`mask_obs`, or call adata.to_memory() first."
        )
        raise ValueError(msg)


def pick_matrix(adata: AnnData, *, layer: str | None = None, obsm: str | None = None) -> Matrix:
    """The matrix meant by ``layer`` or ``obsm``: X by default.

    Raises
    ------
    ValueError
        Both are given, or X is empty.
    KeyError
        No such layer or obsm, naming those that are there.
    TypeError
        The matrix is of no kind that is known.
    """
    if layer is not None and obsm is not None:
        msg = f"give `layer` or `obsm`, not both; got {layer!r} and {obsm!r}."
        raise ValueError(msg)
    genes = tuple(map(str, adata.var_names))
    if obsm is not None:
        values = _slot(adata.obsm, "obsm", obsm)
        if isinstance(values, pd.DataFrame):
            names = tuple(map(str, values.columns))
            return Matrix(values.to_numpy(), names, f"adata.obsm[{obsm!r}]")
        names = tuple(f"{obsm}_{j}" for j in range(np.shape(values)[1]))
        matrix = Matrix(values, names, f"adata.obsm[{obsm!r}]")
    elif layer is not None:
        matrix = Matrix(_slot(adata.layers, "layers", layer), genes, f"adata.layers[{layer!r}]")
    else:
        if adata.X is None:
            msg = "`adata.X` is empty; name a `layer` or `obsm` to explain."
            raise ValueError(msg)
        matrix = Matrix(adata.X, genes, "adata.X")
    return Matrix(in_reach(matrix.values, matrix.label), matrix.names, matrix.label)


def column_of(table: Any, name: str) -> pd.Series[Any]:
    """A column of ``.obs`` or ``.var``, also of one that was read lazily."""
    column = table[name]
    return column if isinstance(column, pd.Series) else column.to_series()


def _slot(slots: Any, kind: str, key: str) -> Any:
    if key not in slots:
        there = ", ".join(map(repr, slots)) or "none"
        msg = f"{kind} {key!r} is not in adata.{kind}; there are: {there}."
        raise KeyError(msg)
    return slots[key]


def aligned(value: Any, names: Sequence[str] | pd.Index[Any], name: str) -> Any:
    """A pandas Series in the order of the names it is about; anything else as it is.

    Raises
    ------
    ValueError
        The index of the Series holds other names.
    """
    if not isinstance(value, pd.Series):
        return value
    index = pd.Index(names)
    if not (value.index.is_unique and len(value) == len(index) and index.isin(value.index).all()):
        msg = (
            f"`{name}` is a Series whose index does not hold the {len(index)} names it is about "
            f"(such as {str(index[0])!r}); give it that index, or pass an array."
        )
        raise ValueError(msg)
    return value.reindex(index)


def pick_mask(
    mask: ArrayLike | str | None,
    table: pd.DataFrame | None,
    names: Sequence[str] | pd.Index[Any],
    name: str,
) -> Bools:
    """A mask as a bool array: given so, or as the name of a column of bools.

    Raises
    ------
    KeyError
        No such column.
    ValueError
        Not bools, of another length, or nothing selected.
    """
    size = len(names)
    if mask is None:
        return np.ones(size, dtype=bool)
    values: Any = aligned(mask, names, name)
    if isinstance(mask, str):
        if table is None or mask not in table:
            there = "none" if table is None else ", ".join(map(repr, table.columns)) or "none"
            msg = f"`{name}` {mask!r} is not a column; the columns are: {there}."
            raise KeyError(msg)
        values = column_of(table, mask)
    chosen = np.asarray(values)
    if chosen.dtype == object and all(isinstance(v, bool | np.bool_) for v in chosen.ravel()):
        chosen = chosen.astype(bool)
    if chosen.dtype != bool or chosen.shape != (size,):
        msg = (
            f"`{name}` must be a bool array of length {size} or the name of a column of bools; "
            f"got {chosen.dtype} of shape {chosen.shape}.{_how_to_mask(mask, chosen, name)}"
        )
        raise ValueError(msg)
    if not chosen.any():
        msg = f"`{name}` selects nothing: all {size} entries are False."
        raise ValueError(msg)
    return chosen


def _how_to_mask(mask: Any, chosen: np.ndarray, name: str) -> str:
    """How what was given for a mask becomes one."""
    axis = name.removeprefix("mask_")
    if isinstance(mask, str) and len(chosen) and isinstance(chosen[0], str):
        return f" A class of it is one: adata.{axis}[{mask!r}] == {str(chosen[0])!r}."
    if chosen.ndim == 1 and chosen.dtype.kind in "OU":
        return f" Of names it is made by adata.{axis}_names.isin(names)."
    if chosen.ndim == 1 and chosen.dtype.kind in "iu":
        return f" Of positions it is made by np.isin(np.arange(adata.n_{axis}), positions)."
    return ""


def pick_bounds(
    lower: ArrayLike | str | None,
    upper: ArrayLike | str | None,
    var: pd.DataFrame | None,
    matrix: Matrix,
    cells: Bools | None = None,
) -> tuple[Floats, Floats, str]:
    """Bounds of every feature, and where they come from.

    Parameters
    ----------
    lower, upper
        Number, array (n,), column of ``adata.var``, ``"log1p_cp10k"``, or None: the smallest
        (largest) value of the data.
    cells
        The cells whose smallest and largest values count; all by default.
    """
    low = _bound(aligned(lower, matrix.names, "lower"), "lower", var)
    high = _bound(aligned(upper, matrix.names, "upper"), "upper", var)
    n = len(matrix.names)
    columns = [f"adata.var[{value!r}]" for value in (lower, upper) if _is_column(value)]
    source = " and ".join(columns) or "as given"
    if low is not None and high is not None:
        return _spread(low, "lower", n), _spread(high, "upper", n), source
    rows = matrix.values
    if cells is not None and not cells.all():
        rows = pick_rows(rows, np.flatnonzero(cells))
    data_low, data_high = column_range(as_rows(rows, name=matrix.label))
    if low is None and high is None:
        return data_low, data_high, f"the smallest and largest values of {matrix.label}"
    if low is None:
        return (
            data_low,
            _spread(high, "upper", n),
            f"the smallest values of {matrix.label}, {source}",
        )
    return _spread(low, "lower", n), data_high, f"{source}, the largest values of {matrix.label}"


def _is_column(value: object) -> bool:
    return isinstance(value, str) and value != LOG1P_CP10K


def _bound(value: ArrayLike | str | None, name: str, var: pd.DataFrame | None) -> Any:
    if not isinstance(value, str):
        return value
    if value == LOG1P_CP10K:
        return _LOG1P_CP10K_RANGE[name]
    if var is None or value not in var:
        there = "none" if var is None else ", ".join(map(repr, var.columns)) or "none"
        msg = (
            f"`{name}` {value!r} is neither {LOG1P_CP10K!r} nor a column of adata.var; "
            f"the columns are: {there}."
        )
        raise KeyError(msg)
    try:
        return column_of(var, value).to_numpy(dtype=np.float64)
    except (TypeError, ValueError) as error:
        msg = f"`{name}`: the column {value!r} of adata.var must hold numbers."
        raise TypeError(msg) from error


def _spread(value: Any, name: str, n: int) -> Floats:
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        msg = f"`{name}` must be a number or {n} numbers; got {value!r}."
        raise TypeError(msg) from error
    if array.ndim == 0:
        return np.full(n, float(array))
    if array.shape != (n,):
        msg = f"`{name}` must be a number or have shape ({n},); got shape {array.shape}."
        raise ValueError(msg)
    return array


def refuse_constant(lower: Floats, upper: Floats, source: str, n_obs: int) -> None:
    """Refuse a range of the data that is none: of one cell, say.

    Parameters
    ----------
    source
        Where the bounds are from, as :func:`pick_bounds` says.
    """
    if source.startswith("the smallest and") and not (upper > lower).any():
        msg = (
            f"every feature is constant over the {n_obs} cells of adata, so the data say "
            "nothing of its range: pass `lower` and `upper`, or explain some cells of all the data "
            "with `mask_obs`."
        )
        raise ValueError(msg)
