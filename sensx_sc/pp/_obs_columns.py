"""Columns of the table of the cells as features beside the genes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from sensx_sc.core.declared_kinds import make_kinds
from sensx_sc.core.kinds import Kinds
from sensx_sc.logger import logger
from sensx_sc.words import FEATURE_KINDS

if TYPE_CHECKING:
    from sensx_sc.core.arrays import Floats


class ObsColumns(NamedTuple):
    """Columns of the table of the cells, as features beside the genes.

    Attributes
    ----------
    values
        (n_obs, c).
    names
        Of the columns, (c,).
    of
        Which covariate each column is of, positions into ``keys``.
    keys
        Names of the covariates.
    kinds
        What values they take.
    low, high
        Bounds, (c,).
    """

    values: Floats
    names: tuple[str, ...]
    of: np.ndarray
    keys: tuple[str, ...]
    kinds: Kinds
    low: Floats
    high: Floats


def obs_columns(obs: pd.DataFrame, covariates: Any) -> ObsColumns:
    """Covariates of cells as numbers: categories one-hot, ordered ones as ranks, numbers as such.

    Parameters
    ----------
    covariates
        A name, names, or a mapping from names to kinds (``"continuous"``, ``"count"``,
        ``"ordinal"``, ``"binary"``, ``"categorical"``) where these are not to be inferred: text,
        bools and unordered categories are categorical, ordered categories ordinal, numbers
        continuous.

    Raises
    ------
    KeyError, ValueError, TypeError
        No such column, missing values, a kind that its values are not, a single category.
    """
    wanted = {covariates: None} if isinstance(covariates, str) else covariates
    if not isinstance(wanted, Mapping):
        wanted = dict.fromkeys(wanted)
    if not wanted:
        msg = "`covariates` must name at least one column of adata.obs."
        raise ValueError(msg)
    parts = [_covariate(obs, key, kind) for key, kind in wanted.items()]
    values = np.concatenate([part.values for part in parts], axis=1)
    of = np.repeat(np.arange(len(parts)), [part.values.shape[1] for part in parts])
    low, high = values.min(axis=0), values.max(axis=0)
    kinds, levels, blocks = [], {}, {}
    for c, part in enumerate(parts):
        at = np.flatnonzero(of == c)
        kinds += [part.kind] * len(at)
        if len(at) > 1:
            blocks[part.key] = at.tolist()
        elif part.levels is not None:
            levels[int(at[0])] = part.levels
            low[at], high[at] = part.levels[0], part.levels[-1]
    made = make_kinds(kinds, len(of), low, high, levels=levels, blocks=blocks)
    if made is None:
        made = Kinds.continuous(len(of))
    logger.info(
        "covariates: %s walk beside the genes.",
        ", ".join(f"{part.key} ({part.told})" for part in parts),
    )
    names = tuple(name for part in parts for name in part.names)
    return ObsColumns(values, names, of, tuple(part.key for part in parts), made, low, high)


class _Covariate(NamedTuple):
    key: str
    values: Floats
    names: list[str]
    kind: str
    levels: list[float] | None
    told: str


def _covariate(obs: pd.DataFrame, key: str, kind: str | None) -> _Covariate:
    if key not in obs:
        msg = (
            f"`covariates` {key!r} is not a column of adata.obs; there are: "
            f"{', '.join(map(repr, obs.columns)) or 'none'}."
        )
        raise KeyError(msg)
    column = obs[key]
    if column.isna().any():
        msg = f"{int(column.isna().sum())} cells have no value in adata.obs[{key!r}]."
        raise ValueError(msg)
    is_category = isinstance(column.dtype, pd.CategoricalDtype)
    is_number = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    if kind is None:
        ordered = is_category and bool(column.cat.ordered)
        kind = "ordinal" if ordered else "continuous" if is_number else "categorical"
    if kind not in FEATURE_KINDS:
        msg = f"`covariates` {key!r}: the kind must be one of {FEATURE_KINDS}; got {kind!r}."
        raise ValueError(msg)
    if kind == "categorical":
        categories = list(column.cat.categories) if is_category else sorted(column.unique())
        if len(categories) < 2:
            msg = f"`covariates` {key!r} has a single category, {categories[0]!r}: nothing to walk."
            raise ValueError(msg)
        text, titles = column.astype(str).to_numpy(), [str(name) for name in categories]
        hot = (text[:, None] == np.array(titles)).astype(np.float64)
        names = [f"{key}={title}" for title in titles]
        return _Covariate(key, hot, names, kind, None, f"categorical, {len(titles)} levels")
    if kind == "ordinal" and is_category:
        codes = column.cat.codes.to_numpy(dtype=np.float64)
        size = len(column.cat.categories)
        levels = [float(level) for level in range(size)]
        if size < 2:
            msg = f"`covariates` {key!r} has a single level: nothing to walk."
            raise ValueError(msg)
        return _Covariate(key, codes[:, None], [key], kind, levels, f"ordinal, {size} levels")
    try:
        numbers = column.to_numpy(dtype=np.float64)
    except (TypeError, ValueError) as error:
        msg = f"`covariates` {key!r} is to be {kind}, and adata.obs[{key!r}] holds no numbers."
        raise TypeError(msg) from error
    if not np.isfinite(numbers).all():
        msg = f"`covariates` {key!r}: adata.obs[{key!r}] has values that are not finite."
        raise ValueError(msg)
    some: list[float] | None = None
    if kind in ("ordinal", "binary"):
        some = np.unique(numbers).tolist()
        if len(some) < 2 or (kind == "binary" and len(some) > 2):
            msg = f"`covariates` {key!r} is to be {kind}, and has {len(some)} different values."
            raise ValueError(msg)
    told = kind if some is None else f"{kind}, {len(some)} levels"
    return _Covariate(key, numbers[:, None], [key], kind, some, told)
