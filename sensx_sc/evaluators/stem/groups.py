"""The states of an affine stem along walks whose steps move groups of features.

What a group moves a state is one product, of the moves of its features with their rows of A.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from sensx_sc.evaluators.stem.segments import wide

if TYPE_CHECKING:
    from torch import Tensor

    from sensx_sc.evaluators.protocol import Ints
    from sensx_sc.evaluators.stem.stem import Stem


class GroupRows:
    """Rows of A, those of a group together.

    Parameters
    ----------
    features
        The F features that change.
    member
        The group of each, (F,), from 0 to G - 1; each group has one.
    """

    def __init__(self, stem: Stem, features: Tensor, member: Ints) -> None:
        order = np.argsort(member, kind="stable")
        self._order = torch.as_tensor(order, device=features.device)
        self._edges = np.searchsorted(member[order], np.arange(int(member.max()) + 2))
        self._rows = [branch.weight[features[self._order]] for branch in stem.branches]

    def states(self, start: Tensor, moves: list[Tensor], order: Ints) -> Tensor:
        """States before the first step and after each, (G + 1, W, width), in float64.

        Parameters
        ----------
        start
            States at the inputs of the walks, (W, width).
        moves
            How far phi moves at each feature, (W, F) for each branch.
        order
            Groups in the order in which they change, (W, G).
        """
        totals = torch.cat(
            [
                self._totals(move[:, self._order], rows)
                for move, rows in zip(moves, self._rows, strict=True)
            ],
            dim=2,
        )
        walks = np.arange(len(order))
        met = totals[torch.as_tensor(order.T.copy()), torch.as_tensor(walks)]
        before = wide(start)[None]
        return torch.cat([before, before + wide(met).cumsum(dim=0)])

    def _totals(self, move: Tensor, rows: Tensor) -> Tensor:
        """What each group moves a state, (G, W, H)."""
        first, size = self._edges[:-1], np.diff(self._edges)
        totals = move.new_empty((len(size), len(move), rows.shape[1]))
        alone = np.flatnonzero(size == 1)
        at = torch.as_tensor(first[alone], device=move.device)
        totals[alone] = move[:, at].T[:, :, None] * rows[at][:, None]
        for g in np.flatnonzero(size > 1):
            part = slice(int(first[g]), int(first[g] + size[g]))
            torch.matmul(move[:, part], rows[part], out=totals[g])
        return totals
