"""A model that takes its own features out of wider rows, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from sensx_sc.models.held import HoldsCovariates
from sensx_sc.models.model import OTHER_NAMES, Announces, ChecksRows

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray
    from torch import Tensor

    from sensx_sc.models.model import Model, OutputKind


class ByName:
    """A model given rows of more features than its own, or of the same in another order.

    Nothing is guessed: every feature of the model must be there under its name, once.

    Parameters
    ----------
    inner
        The model; it must carry the names of its features.
    columns
        Names of the columns of the rows.

    Raises
    ------
    ValueError
        The model has no names, a name occurs twice, or features of the model are missing.
    """

    def __init__(self, inner: Model, columns: Sequence[object]) -> None:
        self.inner = inner
        self.source = inner.source
        self.name = inner.name
        self.kind: OutputKind = inner.kind
        self.independent: bool = getattr(inner, "independent", False)
        self.needs_target: bool = getattr(inner, "needs_target", False)
        self.dtypes = inner.dtypes
        self.output_names = inner.output_names
        self.input_range = inner.input_range
        # What the model reads beside features follows the columns.
        self.held_names = inner.held_names if isinstance(inner, HoldsCovariates) else ()
        self.feature_names = (*map(str, columns), *self.held_names)
        self.index = _places(inner, self.feature_names)

    def device(self, dtype: torch.dtype) -> torch.device:
        return self.inner.device(dtype)

    def outputs(self, rows: Tensor) -> Tensor:
        return self.inner.outputs(self.own(rows))

    def own(self, rows: Tensor) -> Tensor:
        """The model's own columns, in its order."""
        return rows[:, torch.as_tensor(self.index, device=rows.device)]

    def held_values(self, obs: pd.DataFrame) -> NDArray[np.float64]:
        inner = self.inner
        none = np.empty((len(obs), 0))
        return inner.held_values(obs) if isinstance(inner, HoldsCovariates) else none

    def check_rows(self, rows: NDArray[np.float64]) -> None:
        # A cell's total is that of all its genes, so the model is shown all of them.
        if isinstance(self.inner, ChecksRows):
            self.inner.check_rows(rows)

    def announce(self, n_rows: int) -> None:
        if isinstance(self.inner, Announces):
            self.inner.announce(n_rows)


def _places(inner: Model, columns: tuple[str, ...]) -> NDArray[np.int64]:
    """Where in the columns the features of a model are."""
    if inner.feature_names is None:
        msg = (
            f"`columns` needs a model that knows the names of its features; {inner.name} does not: "
            "pass `feature_names`, too."
        )
        raise ValueError(msg)
    place = {name: j for j, name in enumerate(columns)}
    if len(place) < len(columns):
        twice = next(name for name in columns if columns.count(name) > 1)
        msg = f"`columns` must be unique; {twice!r} occurs more than once."
        raise ValueError(msg)
    missing = [name for name in inner.feature_names if name not in place]
    if missing:
        more = ", ..." if len(missing) > 5 else ""
        other = OTHER_NAMES if len(missing) == len(inner.feature_names) else ""
        msg = (
            f"{len(missing)} of the {len(inner.feature_names)} features of {inner.name} are not "
            f"among the {len(columns)} `columns`: {', '.join(missing[:5])}{more}. A missing gene "
            f"is not the same as one that is not expressed, so none is filled in.{other}"
        )
        raise ValueError(msg)
    return np.array([place[name] for name in inner.feature_names], dtype=np.int64)
