"""A model taken apart at its affine layers: head(A phi(x) + b)."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from torch import Tensor, nn

    from sensx_sc.evaluators.graph.bends import Bends
    from sensx_sc.evaluators.protocol import Ints


@dataclass(frozen=True)
class Branch:
    """One affine layer that reads the input.

    Attributes
    ----------
    weight
        A transposed, (n, H): a row a feature, zero where the layer does not read it.
    bias
        (H,); what is constant of the layer, fixed covariates included.
    phi
        Elementwise function of values (..., m) of the features given by their indices (m,); None
        where it is the identity (scalings and shifts are folded into ``weight`` and ``bias``).
    """

    weight: Tensor
    bias: Tensor
    phi: Callable[[Tensor, Tensor], Tensor] | None

    def transformed(self, values: Tensor, features: Tensor) -> Tensor:
        """Phi of values of some features."""
        return values if self.phi is None else self.phi(values, features)


@dataclass(frozen=True)
class Stem:
    """A model taken apart.

    Attributes
    ----------
    branches
        The affine layers that read the input. Nothing else of the model does.
    head
        From the outputs of the branches to the outputs of the model.
    bends
        The layers of bent units with which the head starts, if the sum of all branches goes
        through them and nowhere else.
    beside
        Numbers a row that the head makes beside those of a state; 0 where they are no more.
    """

    branches: tuple[Branch, ...]
    head: nn.Module
    bends: Bends | None = None
    beside: int = 0

    @property
    def width(self) -> int:
        """Numbers in a state: the outputs of all branches."""
        return sum(len(branch.bias) for branch in self.branches)

    def states(self, rows: Tensor) -> Tensor:
        """A phi(x) + b of complete rows (B, n); (B, width)."""
        features = torch.arange(rows.shape[1], device=rows.device)
        return torch.cat(
            [
                torch.addmm(branch.bias, branch.transformed(rows, features), branch.weight)
                for branch in self.branches
            ],
            dim=1,
        )

    def outputs(self, states: Tensor) -> Tensor:
        """Outputs of the model (B, K) from states (B, width)."""
        parts = torch.split(states, [len(branch.bias) for branch in self.branches], dim=1)
        returned: Tensor = self.head(*parts)
        return returned.reshape(len(states), -1)

    def live(self, features: Ints) -> np.ndarray:
        """Which of some features any branch reads: the others are dead, whatever their value."""
        found: np.ndarray = self._live[features]
        return found

    @functools.cached_property
    def _live(self) -> np.ndarray:
        used = torch.stack([(branch.weight != 0).any(dim=1) for branch in self.branches])
        return used.any(dim=0).cpu().numpy()
