"""The evaluator for any black box: rows are written out in full and given to the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from sensx_sc.evaluators.full_precision import full_precision
from sensx_sc.logger import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from sensx_sc.evaluators.protocol import Floats, Ints
    from sensx_sc.evaluators.walk_set import WalkSet
    from sensx_sc.models.qoi import Response


TILE = 16


class DenseEvaluator:
    """q by forward calls on complete rows.

    Parameters
    ----------
    response
        Model and quantity of interest.
    dtype
        float32 or float64.
    rows
        Rows of one call. In float32 calls are padded to whole tiles of 16 rows, of which what is
        left over is dropped: kernels round the odd rows of a batch in another way, and the
        results would depend on the batch.
    """

    name = "dense"
    parallel = False

    def __init__(self, response: Response, dtype: np.dtype[np.floating], rows: int) -> None:
        self.response = response
        self.dtype = np.dtype(dtype)
        self._tile = TILE if self.dtype == np.float32 else 1
        self.rows = max(rows // self._tile * self._tile, 1)
        self._torch_dtype = torch.float32 if self.dtype == np.float32 else torch.float64
        self._device = response.model.device(self._torch_dtype)

    def _tensor(self, values: Floats) -> Tensor:
        return torch.as_tensor(values.astype(self.dtype), device=self._device)

    def _padded(self, rows: Tensor) -> Tensor:
        missing = -len(rows) % self._tile
        return rows if missing == 0 else torch.cat([rows, rows[-1:].expand(missing, -1)])

    def _respond(self, rows: Tensor, target: Ints) -> Floats:
        """Q of rows on the device, (B,)."""

        def call(part: slice) -> Floats:
            padded = self._padded(rows[part])
            more = len(padded) - (part.stop - part.start)
            targets = np.concatenate([target[part], np.repeat(target[part][-1:], more)])
            return self.response(padded, targets)[: part.stop - part.start]

        return self._in_parts(call, len(rows))

    def _in_parts(self, call: Callable[[slice], Floats], n_rows: int, times: int = 1) -> Floats:
        """What a call on rows gives; in halves, from then on, where the device has no memory.

        Parameters
        ----------
        times
            So many rows take the memory of one.
        """
        parts, first = [], 0
        while first < n_rows:
            part = slice(first, min(first + max(self.rows, self._tile) * times, n_rows))
            try:
                parts.append(call(part))
            except torch.OutOfMemoryError:
                size = (part.stop - part.start) // times
                if size <= self._tile:
                    raise
                self.rows = max(size // 2 // self._tile * self._tile, self._tile)
                logger.warning(
                    "sensx: the device ran out of memory; batches now have %d rows.", self.rows
                )
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
                continue
            first = part.stop
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def at(self, x: Floats, target: Ints) -> Floats:
        q = np.empty(len(x))
        with full_precision():
            for start in range(0, len(x), self.rows):
                part = slice(start, start + self.rows)
                q[part] = self._respond(self._tensor(x[part]), target[part])
        return q

    def outputs(self, x: Floats) -> Floats:
        """The model's outputs (B, K) for rows (B, n)."""

        def call(part: slice) -> Floats:
            rows = self._tensor(x[part])
            return self.response.outputs(self._padded(rows))[: len(rows)]

        with full_precision():
            return self._in_parts(call, len(x))

    def sweep(
        self, x: Floats, target: int, free: Ints, down: Floats, up: Floats, u: Floats
    ) -> Floats:
        q = np.empty((len(down), len(u)))
        columns = _Columns(self._tensor(x), free)
        centre, fractions = self._tensor(x[free]), self._tensor(u)
        with full_precision():
            # Tiles of several whole scales, or of a part of one.
            for scales, part in tiles(len(down), len(u), self.rows):
                base = (centre - self._tensor(down[scales]))[:, None, :]
                width = self._tensor(down[scales] + up[scales])[:, None, :]
                rows = columns.fill(torch.addcmul(base, fractions[None, part], width))
                answers = self._respond(rows, np.full(len(rows), target))
                q[scales, part] = answers.reshape(q[scales, part].shape)
        return q

    def alive(self, free: Ints) -> NDArray[np.bool_]:
        return np.ones(len(free), dtype=bool)

    def complete_rows(self, free: Ints, n_walks: int, n_points: int) -> int:
        return n_walks * (len(free) + 1) + n_points

    def walks_together(self, n_steps: int) -> int:
        return max(1, self.rows // n_steps)

    def walks(self, walks: WalkSet) -> Floats:
        taken = np.broadcast_to(np.arange(1, walks.n_steps + 1), walks.order.shape)
        return self._after(taken, walks, walks.turn())

    def steps(self, walks: WalkSet, chosen: Ints) -> Floats:
        turn = walks.turn()
        before = turn[:, chosen]
        q = self._after(np.concatenate([before, before + 1], axis=1), walks, turn)
        with np.errstate(invalid="ignore"):
            moved: Floats = q[:, len(chosen) :] - q[:, : len(chosen)]
        return moved

    def one_at_a_time(
        self, x: Floats, target: Ints, cell: Ints, features: Ints, values: Floats
    ) -> Floats:
        q = np.empty(values.shape)
        inputs, moved = self._tensor(x), self._tensor(values)
        columns = torch.as_tensor(features, device=self._device)
        with full_precision():
            for part, points in tiles(len(values), values.shape[1], self.rows):
                some = moved[part, points]
                base = inputs[torch.as_tensor(cell[part], device=self._device)]
                rows = base[:, None].repeat(1, some.shape[1], 1)
                at = columns[part, None, None].expand(*some.shape, 1)
                rows.scatter_(2, at, some[:, :, None])
                targets = np.repeat(target[cell[part]], some.shape[1])
                q[part, points] = self._respond(rows.flatten(0, 1), targets).reshape(some.shape)
        return q

    def _after(self, taken: Ints, walks: WalkSet, turn: Ints) -> Floats:
        """Q after some numbers of steps of each walk, (W, T).

        Parameters
        ----------
        taken
            Those numbers, (W, T).
        turn
            The :meth:`WalkSet.turn` of these walks, (W, S).
        """
        q = np.empty(taken.shape)
        if not q.size:
            return q
        targets = walks.targets
        turn = turn if walks.member is None else turn[:, walks.member]
        step = torch.as_tensor(turn, device=self._device)
        inputs, moved = self._tensor(walks.x), self._tensor(walks.endpoint)
        with full_precision():
            for some, times in tiles(len(taken), taken.shape[1], self.rows):
                done = torch.as_tensor(taken[some, times].copy(), device=self._device)
                changed = step[some, None, :] < done[:, :, None]
                base = inputs[torch.as_tensor(walks.cell[some], device=self._device)]
                values = torch.where(changed, moved[some, None, :], base[:, None, walks.free])
                rows = _Columns(base, walks.free).fill(values)
                # A tile of several walks holds all their times.
                asked = np.repeat(targets[some], done.shape[1])
                q[some, times] = self._respond(rows, asked).reshape(done.shape)
        return q


class _Columns:
    """Complete rows from the values of the features that change."""

    def __init__(self, base: Tensor, free: Ints) -> None:
        self.base = base
        self.free = None if len(free) == base.shape[-1] else torch.as_tensor(free)

    def fill(self, values: Tensor) -> Tensor:
        """Rows (B, n) from (i, k, F), where base is (i, n) or (n,)."""
        if self.free is not None:
            base = self.base if self.base.ndim == 1 else self.base[:, None, :]
            rows = base.expand(*values.shape[:-1], base.shape[-1]).clone()
            rows[..., self.free.to(rows.device)] = values
            values = rows
        return values.reshape(-1, values.shape[-1])


def tiles(n_walks: int, n_steps: int, rows: int) -> Iterator[tuple[slice, slice]]:
    """Cut walks x steps into tiles of at most ``rows`` rows: several whole walks, or one's part."""
    together, length = max(1, rows // n_steps), min(rows, n_steps)
    for first in range(0, n_walks, together):
        walks = slice(first, min(first + together, n_walks))
        for step in range(0, n_steps, length):
            yield walks, slice(step, min(step + length, n_steps))
