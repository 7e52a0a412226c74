"""The one form in which the method sees a model: rows in, outputs out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor, nn

OutputKind = Literal["logit", "probability", "value"]
"""What the outputs mean: log-odds or softmax inputs, probabilities, or anything else."""

OTHER_NAMES = (
    " None is there: are these names of two kinds, symbols and Ensembl's, say? Rename those of the "
    "data, or pass the model's as `feature_names` of the data's kind."
)


@runtime_checkable
class Model(Protocol):
    """A model made ready by :func:`~sensx_sc.models.as_model`.

    Attributes
    ----------
    name
        For messages.
    kind
        What the outputs mean.
    dtypes
        Types of rows the model can be given, the preferred one first.
    feature_names, output_names
        None where the model does not carry them.
    input_range
        Smallest and largest value it was fitted on, if known.
    source
        The object that the user passed.
    """

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> OutputKind: ...

    @property
    def dtypes(self) -> tuple[torch.dtype, ...]: ...

    @property
    def feature_names(self) -> tuple[str, ...] | None: ...

    @property
    def output_names(self) -> tuple[str, ...] | None: ...

    @property
    def input_range(self) -> tuple[float, float] | None: ...

    @property
    def source(self) -> object: ...

    def device(self, dtype: torch.dtype) -> torch.device:
        """Where rows of this type should lie."""
        ...

    def outputs(self, rows: Tensor) -> Tensor:
        """Outputs (B, K) for rows (B, n) of one of ``dtypes`` on ``device(dtype)``."""
        ...


@runtime_checkable
class InTorch(Protocol):
    """A model that can be had as a torch module, so that its structure can be looked at."""

    def module(self, dtype: torch.dtype) -> nn.Module:
        """A module with the same outputs, on ``device(dtype)`` and for rows of that type."""
        ...


@runtime_checkable
class ChecksRows(Protocol):
    """A model that expects something of its rows beyond their number of columns."""

    def check_rows(self, rows: NDArray[np.float64]) -> None:
        """Refuse rows (B, n) of cells as they are, none perturbed, that cannot be meant.

        Raises
        ------
        ValueError
            What was got, and what the model expects.
        """
        ...


@runtime_checkable
class Announces(Protocol):
    """A model each of whose rows costs something, money or someone else's time."""

    def announce(self, n_rows: int) -> None:
        """Say what a run of up to so many rows costs, before it starts.

        Raises
        ------
        ValueError
            It may cost more than is allowed.
        """
        ...


def as_names(names: Sequence[object] | np.ndarray | None) -> tuple[str, ...] | None:
    """Names as plain strings."""
    return None if names is None else tuple(str(name) for name in names)


def as_matrix(shape: tuple[int, ...], n_rows: int, name: str) -> tuple[int, int]:
    """The (B, K) that an output of this shape stands for.

    Raises
    ------
    ValueError
        Anything but (B,) or (B, K).
    """
    if len(shape) in (1, 2) and shape[0] == n_rows:
        return n_rows, 1 if len(shape) == 1 else shape[1]
    if n_rows == 1 and len(shape) < 2:  # a model that squeezes a single row
        return 1, shape[0] if shape else 1
    msg = (
        f"the model ({name}) must return one row of outputs for each input row, shape (B,) or "
        f"(B, K); for B = {n_rows} it returned shape {tuple(shape)}."
    )
    raise ValueError(msg)
