"""Labelled rows out of an AnnData, and their stratified split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from sensx_sc.logger import logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

LEAST_CELLS = 3
"""Cells a class must have: one in each part of the split."""


@dataclass(frozen=True)
class LabelledCells:
    """Rows (n_obs, n_vars), float32, ndarray or CSR, of the labelled cells; codes (n_obs,)."""

    rows: Any
    codes: NDArray[np.int64]
    classes: tuple[str, ...]
    obs_names: NDArray[Any]
    var_names: tuple[str, ...]
    input_range: tuple[float, float]


def labelled_cells(
    adata: AnnData,
    groupby: str,
    group: object | None,
    *,
    layer: str | None,
    mask_var: str | Sequence[bool] | NDArray[np.bool_] | None,
    mask_obs: str | Sequence[bool] | NDArray[np.bool_] | None,
) -> LabelledCells:
    """Pick rows, genes and labels; with ``group``, the classes are the rest (0) and it (1)."""
    labels = _labels(adata, groupby)
    if layer is not None and layer not in adata.layers:
        msg = f"`layer` {layer!r} is not in adata.layers, which has: {_list(adata.layers)}."
        raise KeyError(msg)
    genes = _mask("mask_var", mask_var, adata.var)
    cells = _mask("mask_obs", mask_obs, adata.obs)
    missing = labels.isna().to_numpy()
    if (cells & missing).any():
        n = int((cells & missing).sum())
        logger.info("fit_mlp: %d cells without a label in obs[%r] are left out.", n, groupby)
    cells &= ~missing
    for name, mask, what in (("mask_obs", cells, "labelled cell"), ("mask_var", genes, "gene")):
        if not mask.any():
            msg = f"`{name}` leaves no {what} of the {len(mask)} in adata."
            raise ValueError(msg)
    labels = labels[cells].cat.remove_unused_categories()
    if group is None:
        codes = labels.cat.codes.to_numpy().astype(np.int64)
        classes = tuple(str(name) for name in labels.cat.categories)
    else:
        codes = (labels == _category(labels, groupby, group)).to_numpy().astype(np.int64)
        classes = ("rest", str(group))
    _check_classes(codes, classes, groupby)
    rows = _rows(adata, layer, cells, genes)
    return LabelledCells(
        rows=rows,
        codes=codes,
        classes=classes,
        obs_names=adata.obs_names.to_numpy()[cells],
        var_names=tuple(str(name) for name in adata.var_names[genes]),
        input_range=(float(rows.min()), float(rows.max())),
    )


def is_sparse(rows: Any) -> bool:
    """Whether it is a scipy sparse matrix or array."""
    return bool(sparse.issparse(rows))


def stratified_split(
    codes: NDArray[np.int64],
    *,
    validation_fraction: float = 0.15,
    test_fraction: float = 0.15,
    seed: int = 0,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Split positions 0..n-1 into training, validation and test parts, class by class.

    Each class gives the rounded fractions of its cells, and at least one, to each part.

    Parameters
    ----------
    codes
        Class of each cell (n,).
    validation_fraction, test_fraction
        Shares in (0, 1), together less than 1.
    seed
        The same seed and codes give the same parts.

    Returns
    -------
    Sorted positions of the three parts, which cover all cells without overlap.

    Raises
    ------
    ValueError
        A share outside (0, 1), or a class of fewer than 3 cells.

    Examples
    --------
    >>> import numpy as np
    >>> parts = stratified_split(np.repeat([0, 1], 10))
    >>> [len(part) for part in parts]
    [12, 4, 4]
    """
    for name, share in (("validation", validation_fraction), ("test", test_fraction)):
        if not 0 < share < 1:
            msg = f"`{name}_fraction` must lie between 0 and 1, exclusive; got {share!r}."
            raise ValueError(msg)
    if validation_fraction + test_fraction >= 1:
        msg = (
            f"`validation_fraction` {validation_fraction} and `test_fraction` {test_fraction} must "
            "add up to less than 1, so that cells remain for training."
        )
        raise ValueError(msg)
    rng = np.random.default_rng(seed)
    parts: tuple[list[Any], ...] = ([], [], [])
    for code in np.unique(codes):
        members = rng.permutation(np.flatnonzero(codes == code))
        if len(members) < LEAST_CELLS:
            msg = f"class {code} has {len(members)} cells; a split needs at least {LEAST_CELLS}."
            raise ValueError(msg)
        n_validation = max(1, round(len(members) * validation_fraction))
        n_test = max(1, round(len(members) * test_fraction))
        while n_validation + n_test >= len(members):  # rounding of small classes
            n_validation, n_test = max(1, n_validation - 1), max(1, n_test - 1)
        cuts = np.cumsum([len(members) - n_validation - n_test, n_validation])
        for part, chosen in zip(parts, np.split(members, cuts), strict=True):
            part.append(chosen)
    train, validation, test = (np.sort(np.concatenate(part)) for part in parts)
    return train, validation, test


def _labels(adata: AnnData, groupby: str) -> pd.Series:
    import pandas as pd

    if groupby not in adata.obs:
        msg = f"`groupby` {groupby!r} is not a column of adata.obs, which has: {_list(adata.obs)}."
        raise KeyError(msg)
    labels = adata.obs[groupby]
    if pd.api.types.is_float_dtype(labels.dtype):
        msg = (
            f"`groupby` {groupby!r} must hold classes (categorical, strings, integers or bool); it "
            f"has dtype {labels.dtype}. Convert it with .astype('category') if it has classes."
        )
        raise TypeError(msg)
    return labels.astype("category")


def _category(labels: pd.Series, groupby: str, group: object) -> object:
    for category in labels.cat.categories:
        if category == group or str(category) == str(group):
            return category
    msg = (
        f"`group` {group!r} is not a category of obs[{groupby!r}] among the cells used, which has: "
        f"{_list(labels.cat.categories)}."
    )
    raise ValueError(msg)


def _check_classes(codes: NDArray[np.int64], classes: tuple[str, ...], groupby: str) -> None:
    sizes = np.bincount(codes, minlength=len(classes))
    if np.count_nonzero(sizes) < 2:
        msg = (
            f"`groupby` {groupby!r} has one class only among the cells used, "
            f"{classes[int(np.argmax(sizes))]!r}; a classifier needs at least two."
        )
        raise ValueError(msg)
    small = [f"{name!r} ({size})" for name, size in zip(classes, sizes, strict=True) if size < 3]
    if small:
        msg = (
            f"every class of `groupby` {groupby!r} needs at least {LEAST_CELLS} cells, one each to "
            f"train, validate and test; too few: {_list(small)}. Leave them out with `mask_obs`."
        )
        raise ValueError(msg)


def _mask(name: str, mask: Any, table: pd.DataFrame) -> NDArray[np.bool_]:
    if mask is None:
        return np.ones(len(table), dtype=bool)
    if isinstance(mask, str):
        if mask not in table:
            slot = name.removeprefix("mask_")
            msg = f"`{name}` {mask!r} is not a column of adata.{slot}, which has: {_list(table)}."
            raise KeyError(msg)
        mask = table[mask]
    chosen = np.asarray(mask)
    if chosen.shape != (len(table),):
        msg = f"`{name}` must have one value each for {len(table)}; got shape {chosen.shape}."
        raise ValueError(msg)
    if chosen.dtype != bool:
        msg = f"`{name}` must be boolean; got dtype {chosen.dtype}."
        raise TypeError(msg)
    return chosen.copy()


def _rows(
    adata: AnnData, layer: str | None, cells: NDArray[np.bool_], genes: NDArray[np.bool_]
) -> Any:
    if adata.isbacked:
        adata = adata[cells].to_memory()
        cells = np.ones(adata.n_obs, dtype=bool)
    stored: Any = adata.X if layer is None else adata.layers[layer]
    name = "adata.X" if layer is None else f"adata.layers[{layer!r}]"
    if stored is None:
        msg = f"{name} is empty; name the matrix to train on with `layer`."
        raise ValueError(msg)
    rows = (stored.tocsr() if is_sparse(stored) else stored)[cells][:, genes]
    if hasattr(rows, "compute"):  # a Dask array
        rows = rows.compute()
    if rows.dtype.kind not in "fiub":
        msg = f"{name} must be numeric; it has dtype {rows.dtype}."
        raise TypeError(msg)
    rows = rows.astype(np.float32) if is_sparse(rows) else np.array(rows, dtype=np.float32)
    bad = np.count_nonzero(~np.isfinite(rows.data if is_sparse(rows) else rows))
    if bad:
        msg = f"{name} has {bad} values that are NaN or infinite among the cells and genes used."
        raise ValueError(msg)
    return rows


def _list(names: Any, most: int = 20) -> str:
    shown = [str(name) for name in names]
    more = f" and {len(shown) - most} more" if len(shown) > most else ""
    return (", ".join(shown[:most]) or "nothing") + more
