"""The evaluator for models that start with something affine: head(A phi(x) + b).

A step of a walk changes one feature, so the affine stem moves along one column of A:
h_k = h_{k-1} + A[:, j] (phi_j(e_j) - phi_j(x_j)). Rows are never written out; only the head is
evaluated, on the numbers that a forward pass would have given it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from sensx_sc.evaluators.dead import skip_dead
from sensx_sc.evaluators.dense import DenseEvaluator
from sensx_sc.evaluators.full_precision import full_precision
from sensx_sc.evaluators.stem.groups import GroupRows
from sensx_sc.evaluators.stem.kinks import Narrower
from sensx_sc.evaluators.stem.steps import step_states
from sensx_sc.evaluators.stem.sweep import affine_sweep, general_sweep, rows_of, samples_at_once
from sensx_sc.evaluators.stem.turns import cut, families
from sensx_sc.evaluators.stem.walks import walk_states

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from sensx_sc.evaluators.protocol import Floats, Ints
    from sensx_sc.evaluators.stem.stem import Stem
    from sensx_sc.evaluators.stem.turns import Turns
    from sensx_sc.evaluators.stem.walks import Chunk
    from sensx_sc.evaluators.walk_set import WalkSet
    from sensx_sc.models.qoi import Response

_WALKS_TOGETHER = 32
_WALK_BYTES = 2**23  # each of the arrays that a batch of walks needs
_CACHE_BYTES = 2**20
_ROUNDING = {"float64": 1e-11, "float32": 1e-4}  # of a term of a sum, relative to the sum
_STATE_BYTES = 2**21  # states of the stem that are in memory together: they should stay in cache
_MOST_STATES = 16_384
_ON_A_DEVICE = 32  # times as much on a GPU, which wants large batches


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
        self.rows = self._at_once(stem)
        self.parallel = self._device.type == "cpu"
        self._narrower = Narrower(stem)
        self._last: tuple[Floats, Tensor] | None = None
        self._whole = DenseEvaluator(response, dtype, rows)

    def _q(self, states: Tensor, target: Ints) -> Floats:
        """Q of states (..., B, width) for targets (B,); (..., B)."""
        rows = states.reshape(-1, self.stem.width)
        targets = np.broadcast_to(target, states.shape[:-1]).ravel()

        def call(part: slice) -> Floats:
            size = part.stop - part.start
            outputs = self.stem.outputs(self._padded(rows[part]))[:size].cpu().double().numpy()
            return self.response.of_outputs(outputs, targets[part])

        q = self._in_parts(call, len(rows)) if len(rows) else np.empty(0)
        return q.reshape(states.shape[:-1])

    def at(self, x: Floats, target: Ints) -> Floats:
        return self._whole.at(x, target)

    def sweep(
        self, x: Floats, target: int, free: Ints, down: Floats, up: Floats, u: Floats
    ) -> Floats:
        ends = np.concatenate([x[free] - down, x[free] + up])
        q = self._swept(x, target, free, down, up, u) if self._steady(x[None], free, ends) else None
        if q is None or not np.isfinite(q).all():
            return self._whole.sweep(x, target, free, down, up, u)
        return q

    def _swept(
        self, x: Floats, target: int, free: Ints, down: Floats, up: Floats, u: Floats
    ) -> Floats:
        q = np.empty((len(down), len(u)))
        together = samples_at_once(len(down), self.stem.width)
        with full_precision():
            for some in (slice(i, i + together) for i in range(0, len(u), together)):
                targets = np.full(len(u[some]), target)
                for k, states in enumerate(self._sweep_states(x, free, down, up, u[some])):
                    q[k, some] = self._q(states, targets)
        return q

    def _sweep_states(
        self, x: Floats, free: Ints, down: Floats, up: Floats, u: Floats
    ) -> Iterator[Tensor]:
        """States (S, width) at the points of each neighbourhood."""
        features = torch.as_tensor(free, device=self._device)
        base = self.stem.states(self._tensor(x[None]))
        fractions = self._tensor(u)
        swept = [
            affine_sweep(rows_of(branch.weight, features), fractions, down, up)
            if branch.phi is None
            else general_sweep(
                branch, features, self._tensor(x), fractions, self._tensor(down), self._tensor(up)
            )
            for branch in self.stem.branches
        ]
        for moved in zip(*swept, strict=True):
            yield base + torch.cat(moved, dim=1)

    def walks(self, walks: WalkSet) -> Floats:
        if not self._steady(walks.x, walks.free, walks.endpoint):
            return self._whole.walks(walks)
        live_walks = self._walked if walks.member is None else self._walked_in_groups
        return skip_dead(walks, self.stem.live(walks.free), live_walks)

    def _steady(self, x: Floats, free: Ints, values: Floats) -> bool:
        """Whether running sums keep the precision of a full evaluation.

        A function of a feature may have a pole, or be so large at one end of a step that what it
        leaves in a sum is rounding, where a forward pass would never have seen it.
        """
        curved = [branch for branch in self.stem.branches if branch.phi is not None]
        if not curved:
            return True
        features = torch.as_tensor(free, device=self._device)
        size = torch.zeros((), dtype=self._torch_dtype, device=self._device)
        with full_precision():
            for branch in curved:
                weight = branch.weight[features].abs().amax(dim=1)
                for each in (x[:, free], values):
                    terms = branch.transformed(self._tensor(each), features).abs() * weight
                    size = torch.maximum(size, terms.amax())
            ends = x[:1].repeat(len(values), axis=0)
            ends[:, free] = values
            states = self.stem.states(self._tensor(np.concatenate([x, ends]))).abs().amax(dim=1)
            # A state of zero has lost nothing yet.
            scale = torch.where(states > 0, states, torch.inf).amin()
        rounding = float(size) * np.finfo(self.dtype).eps
        return bool(np.isfinite(rounding) and rounding <= _ROUNDING[self.dtype.name] * float(scale))

    def _walked(self, walks: WalkSet) -> Floats:
        q = np.empty(walks.order.shape)
        features = torch.as_tensor(walks.free, device=self._device)
        with full_precision():
            start = self._start(walks.x)
            for part, turns in self._families(walks.order):
                some, stem = walks.some(part), self.stem
                begin, moves = self._begun(some, start, features)
                if turns is not None:
                    stem, begin = self._narrower.narrowed(begin, moves, features, turns)
                length = self._length(turns, stem)
                made = walk_states(
                    stem, begin, moves, features, some.order, turns, length, self._tile
                )
                for chunk in made:
                    self._answer(stem, chunk, some.targets, q[part])
        return q

    def _walked_in_groups(self, walks: WalkSet) -> Floats:
        q = np.empty(walks.order.shape)
        for part, states in self._group_states(walks):
            q[part] = self._q(states[1:], walks.targets[part]).T
        return q

    def steps(self, walks: WalkSet, chosen: Ints) -> Floats:
        if not self._steady(walks.x, walks.free, walks.endpoint):
            return self._whole.steps(walks, chosen)
        stepped = self._stepped if walks.member is None else self._stepped_in_groups
        return stepped(walks, chosen)

    def _stepped(self, walks: WalkSet, chosen: Ints) -> Floats:
        change = np.empty((len(walks.order), len(chosen)))
        features = torch.as_tensor(walks.free, device=self._device)
        with full_precision():
            start = self._start(walks.x)
            for part, turns in self._families(walks.order):
                some, targets = walks.some(part), walks.targets[part]
                begin, moves = self._begun(some, start, features)
                pairs = step_states(self.stem, begin, moves, features, some.order, turns, chosen)
                for which, low, high, signs in pairs:
                    with np.errstate(invalid="ignore"):
                        moved = self._q(high, targets) - self._q(low, targets)
                    change[part, which] = (moved * signs.cpu().numpy()).T
        return change

    def _stepped_in_groups(self, walks: WalkSet, chosen: Ints) -> Floats:
        change = np.empty((len(walks.order), len(chosen)))
        for part, states in self._group_states(walks):
            some = walks.some(part)
            turn = some.turn()[:, chosen].T.copy()
            line = np.arange(turn.shape[1])[None]
            with np.errstate(invalid="ignore"):
                after = self._q(states[turn + 1, line], some.targets)
                change[part] = (after - self._q(states[turn, line], some.targets)).T
        return change

    def _group_states(self, walks: WalkSet) -> Iterator[tuple[slice, Tensor]]:
        """Some walks after the other: which, and states (G + 1, W, width) from the input on."""
        features = torch.as_tensor(walks.free, device=self._device)
        with full_precision():
            start, rows = self._start(walks.x), GroupRows(self.stem, features, walks.groups)
            together = max(self._at_once(self.stem) // walks.n_steps, 1)
            for part in cut(len(walks.order), together):
                some = walks.some(part)
                states = rows.states(*self._begun(some, start, features), some.order)
                yield part, states.to(self._torch_dtype)

    def one_at_a_time(
        self, x: Floats, target: Ints, cell: Ints, features: Ints, values: Floats
    ) -> Floats:
        if not self._steady_alone(x, cell, features, values):
            return self._whole.one_at_a_time(x, target, cell, features, values)
        q = np.empty(values.shape)
        live = self.stem.live(features)
        if not live.all():
            some, of = np.unique(cell[~live], return_inverse=True)
            q[~live] = self.at(x[some], target[some])[of, None]
        lines = np.flatnonzero(live)
        with full_precision():
            start = self._start(x)
            for part in cut(len(lines), max(self.rows // values.shape[1], 1)):
                some = lines[part]
                states = self._moved(x[cell[some], features[some]], features[some], values[some])
                states += start[torch.as_tensor(cell[some], device=self._device)][:, None]
                q[some] = self._q(states, target[cell[some]][:, None])
        return q

    def _steady_alone(self, x: Floats, cell: Ints, features: Ints, values: Floats) -> bool:
        """:meth:`_steady` for one feature at a time."""
        if all(branch.phi is None for branch in self.stem.branches):
            return True
        lines = [np.flatnonzero(cell == c) for c in np.unique(cell)]
        return all(self._steady(x[cell[at[:1]]], features[at], values[at].T) for at in lines)

    def _moved(self, old: Floats, features: Ints, values: Floats) -> Tensor:
        """How far single features move the stem from their old values (W,), (W, M, width)."""
        at = torch.as_tensor(features, device=self._device)
        before, after = self._tensor(old), self._tensor(values)
        parts = []
        for branch in self.stem.branches:
            # Phi acts on values whose last axis is that of the features.
            move = branch.transformed(after.T, at).T - branch.transformed(before, at)[:, None]
            parts.append(move[:, :, None] * branch.weight[at][:, None, :])
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)

    def alive(self, free: Ints) -> NDArray[np.bool_]:
        return self.stem.live(free)

    def complete_rows(self, free: Ints, n_walks: int, n_points: int) -> int:
        return n_walks  # the end of each, to compare

    def walks_together(self, n_steps: int) -> int:
        return int(np.clip(_WALK_BYTES // (8 * n_steps), _WALKS_TOGETHER, 4096))

    def _start(self, x: Floats) -> Tensor:
        """States of inputs (C, n): those of the last ones again, whose walks come in batches."""
        last = self._last
        if last is None or not np.array_equal(last[0], x):
            last = self._last = x.copy(), self.stem.states(self._padded(self._tensor(x)))
        return last[1]

    def _families(self, order: Ints) -> Iterator[tuple[slice, Turns | None]]:
        n_steps = order.shape[1]
        if n_steps * self.stem.width * self.dtype.itemsize < _CACHE_BYTES:
            # A is at hand: nothing is gained by reading its rows for several walks at once.
            together = max(_WALKS_TOGETHER, self.rows // n_steps)
            return ((part, None) for part in cut(len(order), together))
        return families(order, _WALKS_TOGETHER)

    def _length(self, turns: Turns | None, stem: Stem) -> int:
        """Steps a chunk: as long whatever walks share a batch, so that rounding is the same."""
        beside = _WALKS_TOGETHER if turns is None else len(turns.turn)
        return max(self._at_once(stem) // beside, 1)

    def _at_once(self, stem: Stem) -> int:
        """States in memory together, whole tiles."""
        times = 1 if self._device.type == "cpu" else _ON_A_DEVICE
        bytes_a_row = (stem.width + stem.beside) * self.dtype.itemsize
        most = int(np.clip(times * _STATE_BYTES // bytes_a_row, 64, times * _MOST_STATES))
        return most // self._tile * self._tile

    def _begun(
        self, walks: WalkSet, start: Tensor, features: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """States at the inputs of walks, and how far phi moves at each feature's step.

        Parameters
        ----------
        start
            States of all inputs, (C, width).

        Returns
        -------
        (W, width), and (W, F) for each branch.
        """
        cell = torch.as_tensor(walks.cell, device=self._device)
        before, end = self._tensor(walks.x)[:, features], self._tensor(walks.endpoint)
        moves = [
            branch.transformed(end, features) - branch.transformed(before, features)[cell]
            for branch in self.stem.branches
        ]
        return start[cell], moves

    def _answer(self, stem: Stem, chunk: Chunk, target: Ints, q: Floats) -> None:
        """Fill in the response (W, F) of a chunk's states."""
        size, n_walks, _ = chunk.states.shape
        rows = chunk.rows

        def call(part: slice) -> Floats:
            return stem.outputs(rows[part]).cpu().double().numpy()

        times = max(self._at_once(stem) // self._at_once(self.stem), 1)
        outputs = self._in_parts(call, len(rows), times)[: size * n_walks]
        answers = self.response.of_outputs(outputs, np.tile(target[chunk.walks], size))
        steps = chunk.first[:, None] + np.arange(size)
        q[chunk.walks[:, None], steps] = answers.reshape(size, n_walks).T
