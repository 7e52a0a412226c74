"""Responses of rows in which ever more features have moved, in the order of a ranking.

One random endpoint a draw serves every number of features k, so rows of neighbouring k differ in
the features between them only. Where a model starts with an affine stem its states are moved by
those features alone: all k together cost one forward pass through the stem.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sensx_sc.evaluators.full_precision import full_precision

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from sensx_sc.core.arrays import Floats, Ints
    from sensx_sc.evaluators.protocol import Evaluator

_ROW_BYTES = 2**26  # of rows, or endpoints, that are in memory together
_AGREEMENT = {"float64": 1e-9, "float32": 1e-3}
_N_CHECKED = 4


def nested_responses(
    evaluator: Evaluator,
    x: Floats,
    target: int,
    free: Ints,
    endpoint: Floats,
    order: Ints,
    ks: Ints,
) -> Floats:
    """Q once the first k features of an order have moved to their endpoints.

    Parameters
    ----------
    x
        The input, (n,).
    target
        Index of the explained output.
    free
        The F features that may move, indices into n.
    endpoint
        Where they move in each draw, (P, F).
    order
        Positions into ``free``, the first to move first, (F,).
    ks
        Numbers of features that have moved, increasing, each from 0 to F.

    Returns
    -------
    (K, P)
    """
    together = max(1, _ROW_BYTES // (8 * len(x)))
    parts = [
        _of_some(evaluator, x, target, free, endpoint[first : first + together], order, ks)
        for first in range(0, len(endpoint), together)
    ]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def _of_some(
    evaluator: Evaluator, x: Floats, target: int, free: Ints, end: Floats, order: Ints, ks: Ints
) -> Floats:
    # What is known of the evaluator's inside is used where it is there; rows serve any other.
    own: Any = evaluator
    if hasattr(own, "members"):
        own = own.members[target]
    if hasattr(own, "stem") and len(ks) > 1:
        q = _along_stem(own, x, target, free, end, order, ks)
        if _is_confirmed(q[-1], evaluator, x, target, free, end, order[: ks[-1]]):
            return q
    q = np.empty((len(ks), len(end)))
    for at, rows in enumerate(_rows(x, free, end, order, ks)):
        q[at] = evaluator.at(rows, np.full(len(rows), target))
    return q


def _rows(x: Floats, free: Ints, end: Floats, order: Ints, ks: Ints) -> Iterator[Floats]:
    """Complete rows (P, n) for each k; the same array, filled up."""
    rows = np.repeat(x[None], len(end), axis=0)
    before = 0
    for k in ks:
        moved = order[before:k]
        rows[:, free[moved]] = end[:, moved]
        before = k
        yield rows


def _along_stem(
    evaluator: Any, x: Floats, target: int, free: Ints, end: Floats, order: Ints, ks: Ints
) -> Floats:
    stem, response = evaluator.stem, evaluator.response
    device, dtype = stem.branches[0].weight.device, stem.branches[0].weight.dtype

    def tensor(values: Floats) -> Tensor:
        return torch.as_tensor(values.astype(evaluator.dtype), dtype=dtype, device=device)

    q = np.empty((len(ks), len(end)))
    targets = np.full(len(end), target)
    with full_precision():
        states = list(
            torch.split(
                stem.states(tensor(x[None])).repeat(len(end), 1),
                [len(branch.bias) for branch in stem.branches],
                dim=1,
            )
        )
        before = 0
        for at, k in enumerate(ks):
            moved = order[before:k]
            before = k
            if len(moved):
                features = torch.as_tensor(free[moved], device=device)
                values, start = tensor(end[:, moved]), tensor(x[free[moved]])
                for b, branch in enumerate(stem.branches):
                    step = branch.transformed(values, features)
                    step = step - branch.transformed(start, features)
                    states[b] = torch.addmm(states[b], step, branch.weight[features])
            outputs = stem.outputs(torch.cat(states, dim=1))
            q[at] = response.of_outputs(outputs.cpu().double().numpy(), targets)
    return q


def _is_confirmed(
    q: Floats, evaluator: Evaluator, x: Floats, target: int, free: Ints, end: Floats, moved: Ints
) -> bool:
    """Whether complete rows give the same responses, for the first few draws."""
    some = min(_N_CHECKED, len(end))
    rows = np.repeat(x[None], some, axis=0)
    rows[:, free[moved]] = end[:some, moved]
    exact = evaluator.at(rows, np.full(some, target))
    allowed = _AGREEMENT[evaluator.dtype.name] * np.maximum(np.abs(exact).max(), np.abs(q).max())
    return bool((np.abs(q[:some] - exact) <= allowed).all())
