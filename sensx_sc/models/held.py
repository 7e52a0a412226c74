"""What a model reads of a cell beside its features: covariates, held at the cell's values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@runtime_checkable
class HoldsCovariates(Protocol):
    """A model whose last columns are no features: they are never perturbed.

    Attributes
    ----------
    held_names
        Their names, the last of the model's ``feature_names``.
    """

    held_names: tuple[str, ...]

    def held_values(self, obs: pd.DataFrame) -> Floats:
        """Their values for cells, (n_obs, len(held_names)), from the table of the cells."""
        ...


@dataclass(frozen=True)
class Covariate:
    """A column of ``adata.obs`` that a model reads.

    Attributes
    ----------
    key
        Its name.
    categories
        What it may hold, in the order in which the model knows them; None for numbers.
    """

    key: str
    categories: tuple[str, ...] | None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns of a row that stand for it: one, or one a category."""
        if self.categories is None:
            return (self.key,)
        return tuple(f"{self.key}={category}" for category in self.categories)

    def columns(self, obs: pd.DataFrame, model: str) -> Floats:
        """Its columns for the cells of a table, (n_obs, len(names)).

        Raises
        ------
        KeyError
            The table has no such column.
        ValueError
            Values that are missing, or that the model has not seen.
        """
        if self.key not in obs:
            msg = (
                f"{model} reads the covariate {self.key!r}, which is not a column of adata.obs; "
                f"there are: {', '.join(map(repr, obs.columns)) or 'none'}."
            )
            raise KeyError(msg)
        column = obs[self.key]
        if column.isna().any():
            msg = f"{int(column.isna().sum())} cells have no value in adata.obs[{self.key!r}]."
            raise ValueError(msg)
        if self.categories is None:
            numbers: Floats = column.to_numpy(dtype=np.float64)
            return numbers[:, None]
        values = column.astype(str).to_numpy()
        unknown = sorted(set(values) - set(self.categories))
        if unknown:
            msg = (
                f"adata.obs[{self.key!r}] holds {', '.join(map(repr, unknown[:5]))}, which {model} "
                f"has not seen; it knows {', '.join(map(repr, self.categories))}."
            )
            raise ValueError(msg)
        found: Floats = (values[:, None] == np.array(self.categories)).astype(np.float64)
        return found


def one_hot(key: str, categories: Sequence[object]) -> Covariate:
    """A covariate with categories."""
    return Covariate(key, tuple(map(str, categories)))


def continuous(key: str) -> Covariate:
    """A covariate with numbers."""
    return Covariate(key, None)
