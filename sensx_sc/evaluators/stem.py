"""The evaluator for models that start with something affine: head(A phi(x) + b).

A step of a walk changes one feature, so the affine stem moves along one column of A:
h_k = h_{k-1} + A[:, j] (phi_j(e_j) - phi_j(x_j)). Rows are never written out; only the head is
evaluated, on the numbers that a forward pass would have given it.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from sensx_sc.evaluators.dead import skip_dead
from sensx_sc.evaluators.dense import TILE, DenseEvaluator
from sensx_sc.evaluators.full_precision import full_precision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor, nn

    from sensx_sc.evaluators.protocol import Floats, Ints
    from sensx_sc.models.qoi import Response

_ON_LINE = 1e-12  # relative rounding of a reach that is still on its line
_WALKS_TOGETHER = 32
_LEAST_FOR_LOOP = 64  # outputs of a stem
_STATE_BYTES = 2**22  # states of the stem that are in memory together: they should stay in cache


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
    """

    branches: tuple[Branch, ...]
    head: nn.Module

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
        used = torch.stack([(branch.weight != 0).any(dim=1) for branch in self.branches]).any(dim=0)
        found: np.ndarray = used.cpu().numpy()[features]
        return found


class StemEvaluator(DenseEvaluator):
    """q from the states of an affine stem; single rows are still evaluated in full.

    Parameters
    ----------
    response
        Model and quantity of interest.
    dtype
        float32 or float64.
    rows
        States of one call of the head.
    stem
        The model taken apart, on the device and in the type of the rows.
    """

    name = "stem"

    def __init__(
        self, response: Response, dtype: np.dtype[np.floating], rows: int, stem: Stem
    ) -> None:
        super().__init__(response, dtype, rows)
        self.stem = stem
        bytes_a_state = stem.width * self.dtype.itemsize
        self.rows = int(np.clip(_STATE_BYTES // bytes_a_state, 64, 16_384))

    def _q(self, states: Tensor, target: Ints) -> Floats:
        outputs = self.stem.outputs(self._padded(states))[: len(states)]
        return self.response.of_outputs(outputs.cpu().double().numpy(), target)

    def sweep(
        self, x: Floats, target: int, free: Ints, down: Floats, up: Floats, u: Floats
    ) -> Floats:
        q = np.empty((len(down), len(u)))
        targets = np.full(len(u), target)
        with full_precision():
            for k, states in enumerate(self._sweep_states(x, free, down, up, u)):
                for start in range(0, len(u), self.rows):
                    part = slice(start, start + self.rows)
                    q[k, part] = self._q(states[part], targets[part])
        return q

    def _sweep_states(
        self, x: Floats, free: Ints, down: Floats, up: Floats, u: Floats
    ) -> Iterator[Tensor]:
        """States (S, width) at the points of each neighbourhood."""
        features = torch.as_tensor(free, device=self._device)
        base = self.stem.states(self._tensor(x[None]))
        fractions = self._tensor(u)
        swept = [
            _affine_sweep(branch.weight[features], fractions, down, up)
            if branch.phi is None
            else _general_sweep(
                branch, features, self._tensor(x), fractions, self._tensor(down), self._tensor(up)
            )
            for branch in self.stem.branches
        ]
        for moved in zip(*swept, strict=True):
            yield base + torch.cat(moved, dim=1)

    def walks(
        self,
        x: Floats,
        target: Ints,
        q_x: Floats,
        cell: Ints,
        free: Ints,
        endpoint: Floats,
        order: Ints,
    ) -> Floats:
        def live_walks(features: Ints, end: Floats, steps: Ints) -> Floats:
            return self._live_walks(x, target, cell, features, end, steps)

        live = self.stem.live(free)
        return skip_dead(live, q_x, cell, free, endpoint, order, live_walks)

    def _live_walks(
        self, x: Floats, target: Ints, cell: Ints, free: Ints, endpoint: Floats, order: Ints
    ) -> Floats:
        n_walks, n_steps = order.shape
        q = np.empty(order.shape)
        # Chunks are as long whatever walks share a batch, so that rounding is the same, too.
        length = min(n_steps, max(TILE, self.rows // _WALKS_TOGETHER))
        together = max(1, self.rows // length)
        with full_precision():
            for first in range(0, n_walks, together):
                walks = slice(first, min(first + together, n_walks))
                self._walk_together(
                    q[walks], x, target, cell[walks], free, endpoint[walks], order[walks], length
                )
        return q

    def _walk_together(
        self,
        q: Floats,
        x: Floats,
        target: Ints,
        cell: Ints,
        free: Ints,
        endpoint: Floats,
        order: Ints,
        length: int,
    ) -> None:
        """Advance some walks side by side, ``length`` steps at a time; q is filled in."""
        n_walks, n_steps = order.shape
        features = torch.as_tensor(free, device=self._device)
        steps = torch.as_tensor(order, device=self._device)
        start, end = self._tensor(x[:, free][cell]), self._tensor(endpoint)
        # Steps by walks: how far phi moves at each step, and the feature that moves it.
        moves = [
            (branch.transformed(end, features) - branch.transformed(start, features))
            .gather(1, steps)
            .T.contiguous()
            for branch in self.stem.branches
        ]
        column = features[steps.T]
        # The state before the chunk, in float64 where there is one: rounding does not add up.
        wide = torch.float32 if self._device.type == "mps" else torch.float64
        at = torch.as_tensor(cell, device=self._device)
        state = self.stem.states(self._padded(self._tensor(x)))[at].to(wide)
        for first in range(0, n_steps, length):
            part = slice(first, min(first + length, n_steps))
            states = self._moved(column[part], [move[part] for move in moves])
            last = states[-1].to(wide, copy=True)
            states += state.to(states.dtype)
            state += last
            size = len(states)
            answers = self._q(states.reshape(size * n_walks, -1), np.tile(target[cell], size))
            q[:, part] = answers.reshape(size, n_walks).T

    def _moved(self, column: Tensor, moves: list[Tensor]) -> Tensor:
        """How far the stem has moved after each of some steps (steps, walks, width)."""
        index = column.reshape(-1)
        parts = [
            branch.weight.index_select(0, index).mul_(move.reshape(-1, 1))
            for branch, move in zip(self.stem.branches, moves, strict=True)
        ]
        moved = torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]
        moved = moved.reshape(*column.shape, -1)
        if moved.device.type != "cpu" or moved.shape[-1] < _LEAST_FOR_LOOP:
            return torch.cumsum(moved, dim=0)
        # On a CPU, sums over the first axis are fastest as additions of whole steps.
        steps = moved.numpy()
        for before, after in itertools.pairwise(steps):
            np.add(before, after, out=after)
        return moved


def _affine_sweep(weight: Tensor, u: Tensor, down: Floats, up: Floats) -> Iterator[Tensor]:
    """A (z - x) for each scale, (S, H), where z - x = u up - (1 - u) down.

    Along the grid a reach is a line through zero until it meets its bound, and constant from
    there. One product over all features serves every scale; after it, only features that leave
    their line are looked at again.

    Parameters
    ----------
    weight
        Rows of A transposed for the F features, (F, H).
    u
        (S, F)
    down, up
        (K, F)
    """
    scale = _line(np.concatenate([down, up], axis=1))
    total = torch.zeros(len(u), weight.shape[1], dtype=weight.dtype, device=weight.device)
    linear = total.clone()
    ends = []
    for fraction, reach in ((u, up), (u - 1, down)):
        slope = reach[0] / scale[0]
        linear += (fraction * _like(slope, u)) @ weight
        ends.append((fraction, reach, slope, np.zeros_like(slope)))
    for k in range(len(scale)):
        for fraction, reach, slope, held in ends:
            expected = slope * scale[k] + held
            off = np.flatnonzero(np.abs(reach[k] - expected) > _ON_LINE * reach[k])
            if off.size:
                # Off its line for good: what it has reached is kept apart from what grows.
                at = torch.as_tensor(off, device=u.device)
                chosen, rows = fraction[:, at], weight[at]
                linear -= (chosen * _like(slope[off], u)) @ rows
                total += (chosen * _like(reach[k][off] - held[off], u)) @ rows
                slope[off], held[off] = 0.0, reach[k][off]
        yield scale[k] * linear + total


def _like(values: Floats, other: Tensor) -> Tensor:
    return torch.as_tensor(values, dtype=other.dtype, device=other.device)


def _line(reach: Floats) -> Floats:
    """How far a reach that has not met its bound has grown at each scale, (K,), from 1."""
    moving = reach[:, reach[0] > 0]
    if not moving.size:
        return np.ones(len(reach))
    growth: Floats = (moving / moving[0]).max(axis=1)
    return growth


def _general_sweep(
    branch: Branch, features: Tensor, x: Tensor, u: Tensor, down: Tensor, up: Tensor
) -> Iterator[Tensor]:
    """A (phi(z) - phi(x)) for each scale, (S, H), for a stem that is not linear in the input."""
    centre = x[features]
    weight = branch.weight[features]
    start = branch.transformed(centre, features)
    for lower, upper in zip(down, up, strict=True):
        z = torch.addcmul(centre - lower, u, lower + upper)
        yield (branch.transformed(z, features) - start) @ weight
