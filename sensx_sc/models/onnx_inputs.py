"""Inputs of an ONNX graph: which hold features, which are held, and which never change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.models.held import continuous

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

FLOATS: dict[str, type[np.floating]] = {"tensor(float)": np.float32, "tensor(double)": np.float64}
_NUMBERS: dict[str, Any] = FLOATS | {"tensor(int64)": np.int64, "tensor(int32)": np.int32}


@dataclass(frozen=True)
class Part:
    """An input of a graph that a row fills.

    Attributes
    ----------
    name, dtype
        As the graph says.
    width
        Columns of the row; None: all of them.
    flat
        Whether it takes (B,) instead of (B, width).
    """

    name: str
    dtype: Any
    width: int | None
    flat: bool = False


@dataclass(frozen=True)
class Inputs:
    """What a graph is fed, for rows of features followed by what is held.

    Attributes
    ----------
    features, held
        Inputs in the order in which their columns follow each other.
    columns
        Columns of ``adata.obs`` that are held.
    fixed, constant
        Inputs that never change: those that have a row for each row, (1, ...), and those that are
        given as they are.
    batch
        Number of rows that the graph is bound to, if it is.
    """

    features: tuple[Part, ...]
    held: tuple[Part, ...]
    columns: tuple[str, ...]
    fixed: dict[str, NDArray[Any]]
    constant: dict[str, NDArray[Any]]
    batch: int | None

    @property
    def n_features(self) -> int | None:
        """Columns of a row that are features, where the graph says how many."""
        widths = [part.width for part in self.features]
        return None if None in widths else sum(width for width in widths if width is not None)

    @property
    def names(self) -> tuple[str, ...] | None:
        """Names of the features, if the graph has an input for each."""
        each = len(self.features) > 1 and all(part.width == 1 for part in self.features)
        return tuple(part.name for part in self.features) if each else None

    @property
    def dtype(self) -> Any:
        """Type of rows: the coarser one of the features' inputs."""
        single = any(part.dtype is np.float32 for part in self.features)
        return np.float32 if single else np.float64

    def held_values(self, obs: pd.DataFrame, model: str) -> Floats:
        """What is held of cells, (n_obs, len(columns)).

        Raises
        ------
        KeyError, ValueError
            A column that is not there, that holds no numbers, or none for some cells.
        """
        made = [np.empty((len(obs), 0))]
        for column in self.columns:
            if column in obs and not np.issubdtype(getattr(obs[column].dtype, "type", object),
                                                   np.number):  # fmt: skip
                msg = (
                    f"adata.obs[{column!r}] holds {obs[column].dtype}, and {model} wants numbers: "
                    "hold a column of the codes that it was trained with."
                )
                raise ValueError(msg)
            made.append(continuous(column).columns(obs, model))
        return np.concatenate(made, axis=1)

    def feed(self, rows: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """What the graph is given for rows (B, n)."""
        given = {name: np.repeat(value, len(rows), axis=0) for name, value in self.fixed.items()}
        given |= self.constant
        first = 0
        for part in (*self.features, *self.held):
            last = rows.shape[1] if part.width is None else first + part.width
            values = np.ascontiguousarray(rows[:, first:last], dtype=part.dtype)
            given[part.name] = values[:, 0] if part.flat else values
            first = last
        return given


def read_inputs(
    entries: Sequence[Any],
    name: str,
    *,
    features: str | Sequence[str] | None = None,
    held: Mapping[str, str | Sequence[str]] | None = None,
    fixed: Mapping[str, ArrayLike] | None = None,
) -> Inputs:
    """Settle what the inputs of a graph are.

    Parameters
    ----------
    entries
        The inputs, with ``name``, ``type`` and ``shape``.
    name
        Of the model, for messages.
    features
        Names of the inputs that hold features, in the order of the columns; None: all others.
    held
        Column, or columns, of ``adata.obs`` for inputs that are held at each cell's values.
    fixed
        A row's values for inputs that are the same for all rows.

    Raises
    ------
    ValueError
        A graph that does not take rows, or an input that is not there, named twice, or left over.
    """
    held, fixed = dict(held or {}), dict(fixed or {})
    by_name = {entry.name: entry for entry in entries}
    told = [features] if isinstance(features, str) else features
    own = [n for n in by_name if n not in held and n not in fixed] if told is None else list(told)
    named = [*own, *held, *fixed]
    listed = ", ".join(f"{e.name}: {e.type} {list(e.shape)}" for e in entries)
    unknown = [n for n in named if n not in by_name]
    if unknown or len(set(named)) < len(named) or set(named) < set(by_name) or not own:
        msg = (
            f"every input of {name} must be named once, in `features`, `held` or `fixed`, and one "
            f"must hold features; it has {listed}."
        )
        raise ValueError(msg)
    parts = [_feature(by_name[n], name, listed, alone=len(own) == 1) for n in own]
    columns = {n: [c] if isinstance(c, str) else list(c) for n, c in held.items()}
    rows = by_name[own[0]].shape[0]
    by_row = {n for n in fixed if by_name[n].shape and _same(by_name[n].shape[0], rows)}
    values = {n: _fixed(by_name[n], value, by_row=n in by_row) for n, value in fixed.items()}
    return Inputs(
        tuple(parts),
        tuple(_held(by_name[n], len(c), name) for n, c in columns.items()),
        tuple(c for of_one in columns.values() for c in of_one),
        {n: value for n, value in values.items() if n in by_row},
        {n: value for n, value in values.items() if n not in by_row},
        rows if isinstance(rows, int) and rows > 0 else None,
    )


def _same(size: Any, rows: Any) -> bool:
    """Whether the first dimension of an input is that of the rows."""
    return size == rows if isinstance(size, int) or isinstance(rows, int) else True


def _feature(entry: Any, name: str, listed: str, *, alone: bool) -> Part:
    known = entry.type in FLOATS and len(entry.shape) == 2
    width = entry.shape[1] if known and isinstance(entry.shape[1], int) else None
    if not known or (width is None and not alone):
        msg = (
            f"{name} must take features as rows (B, n), float or double; it has {listed}. Where "
            "an input is no feature, say so: sx.models.Onnx(path, held={input: column of "
            "adata.obs}, fixed={input: value})."
        )
        raise ValueError(msg)
    return Part(entry.name, FLOATS[entry.type], width)


def _held(entry: Any, n_columns: int, name: str) -> Part:
    flat = len(entry.shape) == 1
    width = 1 if flat else entry.shape[-1]
    fits = not isinstance(width, int) or width == n_columns
    if entry.type not in _NUMBERS or len(entry.shape) > 2 or not fits:
        msg = (
            f"the input {entry.name!r} of {name}, {entry.type} {list(entry.shape)}, cannot hold "
            f"{n_columns} columns of numbers."
        )
        raise ValueError(msg)
    return Part(entry.name, _NUMBERS[entry.type], n_columns, flat=flat)


def _fixed(entry: Any, value: ArrayLike, *, by_row: bool) -> NDArray[Any]:
    """A value as the graph wants it, with one row where it wants one for each row."""
    values = np.asarray(value, dtype=_NUMBERS.get(entry.type))
    sizes = list(entry.shape)[by_row:]
    shape = [
        size if isinstance(size, int) else found
        for size, found in zip(sizes, _sizes(values, len(sizes)), strict=True)
    ]
    try:
        made = np.broadcast_to(values, shape).copy()
    except ValueError as error:
        of_one = " of one row" if by_row else ""
        msg = (
            f"`fixed` gives the input {entry.name!r}, {entry.type} {list(entry.shape)}, a value of "
            f"shape {values.shape}; it takes one of shape {tuple(sizes)}{of_one}."
        )
        raise ValueError(msg) from error
    return made[None] if by_row else made


def _sizes(values: NDArray[Any], n: int) -> list[int]:
    """Sizes of the last ``n`` dimensions of a value, 1 where it has none."""
    return [1] * (n - values.ndim) + list(values.shape[max(values.ndim - n, 0) :])
