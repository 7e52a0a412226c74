"""How large rounding is in the response, and which floating-point type it allows.

A uniform endpoint makes E[1 / |e - x|] infinite, so any rounding in q makes effects heavy-tailed.
float32 is used only where its rounding is harmless beside the changes of q along a walk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sensx_sc.core.sampling import endpoints, orders, uniforms
from sensx_sc.core.walks import place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sensx_sc.core.arrays import Floats, Ints
    from sensx_sc.core.domain import Domain
    from sensx_sc.core.sampling import Design
    from sensx_sc.evaluators.protocol import Evaluator
    from sensx_sc.words import Precision

HARMLESS = 1e-3
"""Rounding of this share of the mean step leaves the values of live features unharmed."""
_STEPS = 16
_POINTS = 4
_JITTERS = 4
_SHARE_OF_TAU = 1e-2


def probe_steps(
    x: Floats, delta: float, domain: Domain, design: Design, *, seed: int, key: int
) -> Floats:
    """Rows just before and just after a few steps, spread over the input's first walk.

    Returns
    -------
    (2 * steps, n): all rows before, then all rows after.
    """
    free, n = domain.free, domain.n_features
    order = orders(seed, key, design, range(1), n, domain.leaders)[0]
    end = place(endpoints(seed, key, design, range(1), n, free)[0], x, domain, delta)
    size = domain.n_steps
    turn = np.empty(size, dtype=np.int64)
    turn[order] = np.arange(size)
    position = turn[domain.member]
    steps = np.unique(np.linspace(0, size - 1, min(_STEPS, size)).astype(np.int64))
    done = np.concatenate([steps - 1, steps])
    rows = np.repeat(x[None], len(done), axis=0)
    rows[:, free] = np.where(position <= done[:, None], end, x[free])
    return rows


def noise_floor(rows: Floats, target: int, evaluator: Evaluator, *, grain: float = 0.0) -> float:
    """Largest difference between evaluations of the same rows at other places of other batches.

    Parameters
    ----------
    grain
        Relative rounding inside a model that computes in reduced precision. Each row is then
        evaluated a few more times with its values moved by as much: what that makes of the
        response is what rounding makes of it.
    """
    once, again = _twice(rows, target, evaluator)
    # At least the rounding of the response itself, unless it is constant zero.
    known = np.isfinite(once) & np.isfinite(again)
    spacing = float(np.spacing(np.abs(once[known]).max(initial=0.0)))
    moved = moved_differences(rows, target, evaluator, grain) if grain else np.zeros(0)
    moved = moved[np.isfinite(moved)]
    largest = float(np.abs(once - again)[known].max(initial=0.0))
    return max(largest, spacing, float(moved.max(initial=0.0)))


def repeated_differences(rows: Floats, target: int, evaluator: Evaluator) -> Floats:
    """Sizes of the differences between two evaluations of each row in other batches, (B,)."""
    once, again = _twice(rows, target, evaluator)
    with np.errstate(invalid="ignore"):
        return np.abs(once - again)


def moved_differences(rows: Floats, target: int, evaluator: Evaluator, grain: float) -> Floats:
    """What moving all values of rows by their rounding makes of the response, (4 B,)."""
    targets = np.full(len(rows), target)
    once = evaluator.at(rows, targets)
    u = np.random.default_rng(0).uniform(-1.0, 1.0, size=(_JITTERS, *rows.shape))
    with np.errstate(invalid="ignore"):
        each = [np.abs(evaluator.at(rows * (1.0 + grain * v), targets) - once) for v in u]
    return np.concatenate(each)


def _twice(rows: Floats, target: int, evaluator: Evaluator) -> tuple[Floats, Floats]:
    """Q of rows, and q of them at other places of other batches."""
    targets = np.full(len(rows), target)
    once = evaluator.at(rows, targets)
    cut = len(rows) // 3
    again = np.concatenate(
        [evaluator.at(part[::-1], targets[: len(part)])[::-1] for part in (rows[:cut], rows[cut:])]
    )
    return once, again


def choose_precision(
    rows: Floats,
    target: int,
    candidates: Mapping[str, Evaluator],
    precision: Precision,
    *,
    grain: float = 0.0,
) -> tuple[str, float]:
    """The type for one input's walks, and its noise floor.

    Parameters
    ----------
    rows
        Rows before and after a few steps (:func:`probe_steps`).
    candidates
        Evaluators by type, the model's preferred type first.
    precision
        What the caller asked for.
    grain
        As in :func:`noise_floor`.

    Returns
    -------
    ``"float32"`` or ``"float64"``, and the floor in units of q.
    """
    chosen = next(iter(candidates)) if precision == "auto" else precision
    floor = noise_floor(rows, target, candidates[chosen], grain=grain)
    if chosen == "float64" or "float64" not in candidates:
        return chosen, floor
    exact = _steps(rows, target, candidates["float64"])
    lost = np.abs(_steps(rows, target, candidates["float32"]) - exact)
    floor = max(floor, float(lost[np.isfinite(lost)].max(initial=0.0)))
    if precision == "auto" and not floor <= HARMLESS * np.abs(exact).mean():
        return "float64", noise_floor(rows, target, candidates["float64"], grain=grain)
    return chosen, floor


def sweep_precision(
    x: Floats,
    target: int,
    candidates: Mapping[str, Evaluator],
    domain: Domain,
    deltas: Floats,
    precision: Precision,
    tau: float,
    *,
    key: int,
) -> str:
    """The type for one input's calibration: float32 where it moves q by far less than tau.

    A few points at both ends of the grid are evaluated in both types.
    """
    preferred = next(iter(candidates))
    if precision != "auto" or preferred == "float64" or "float64" not in candidates:
        return preferred
    free = domain.free
    u = uniforms(0, key, "calibration", 0, _POINTS, domain.n_features)[:, free]
    rows = np.repeat(x[None], 2 * _POINTS, axis=0)
    rows[:_POINTS, free] = place(u, x, domain, deltas[0])
    rows[_POINTS:, free] = place(u, x, domain, deltas[-1])
    targets = np.full(len(rows), target)
    coarse, exact = (candidates[name].at(rows, targets) for name in ("float32", "float64"))
    return "float32" if np.abs(coarse - exact).max() <= _SHARE_OF_TAU * tau else "float64"


def _steps(rows: Floats, target: int, evaluator: Evaluator) -> Floats:
    q = evaluator.at(rows, np.full(len(rows), target))
    half: Ints = np.arange(len(rows) // 2)
    return q[half + len(half)] - q[half]
