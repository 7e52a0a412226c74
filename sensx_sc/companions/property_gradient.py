"""Does a model's response follow a property? Gradual edits of inputs, and the traces they leave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sensx_sc.companions.traces import TraceScores, count_flips, epgm, trace_scores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sensx_sc.core.arrays import Floats, Ints

    Outputs = Callable[[np.ndarray], Floats]
    """Inputs (B, ...) to outputs (B, K)."""

_BYTES_AT_ONCE = 2**26  # of edited inputs that are in memory together


class Path(NamedTuple):
    """Edited versions of one input.

    Attributes
    ----------
    inputs
        What the model is given, (S, R, ...): S steps, R replicates.
    measured
        The property, (S, R).
    side
        Other properties, by name, (S, R) each.
    """

    inputs: np.ndarray
    measured: Floats
    side: Mapping[str, Floats]


@dataclass(frozen=True)
class Paths:
    """The paths of one property.

    Attributes
    ----------
    name, unit, axis
        Of the property; unit of what is measured; what the strengths are.
    strengths
        (S,)
    origin
        The step that changes nothing, if any.
    make
        Input and placebo (0 = the edit itself) to a path.
    deviation
        Standard deviation of the measured property over the population; NaN if it has none.
    side_deviation
        The same of other properties, by name.
    has_placebo
        Whether there are placebos.
    """

    name: str
    unit: str
    axis: str
    strengths: Floats
    origin: int | None
    make: Callable[[int, int], Path]
    deviation: float
    side_deviation: Mapping[str, float]
    has_placebo: bool


@dataclass(frozen=True)
class Asked:
    """The model, and the questions that it is asked: C pairs of an input and an output.

    Attributes
    ----------
    outputs
        Inputs (B, ...) to outputs (B, K).
    respond
        Outputs (B, K) and targets (B,) to responses (B,).
    classify
        Outputs (B, K) to predicted classes (B,), or None where there are none.
    item
        Input of each question, ascending, (C,).
    target, q_x
        Explained output, and response of the input as it is, of each, (C,).
    group
        Group of each, (C,), below ``n_groups``.
    """

    outputs: Outputs
    respond: Callable[[Floats, Ints], Floats]
    classify: Callable[[Floats], Ints] | None
    item: Ints
    target: Ints
    q_x: Floats
    group: Ints
    n_groups: int


@dataclass(frozen=True)
class Followed:
    """Traces of all questions along the paths of one property.

    Attributes
    ----------
    paths
        The property.
    m, q
        Measured property and response, means over replicates, (C, S).
    flips
        Changes of the predicted class along the path, means over replicates, (C,); NaN where the
        model has no classes.
    scores
        Of each trace, (C,) each.
    side
        Range of each other property along the path, (C,) each.
    placebo_epgm
        EPGM of each placebo's trace, (P, C).
    placebo_q
        Mean trace of each placebo over the questions of each group, (P, G, S).
    """

    paths: Paths
    m: Floats
    q: Floats
    flips: Floats
    scores: TraceScores
    side: dict[str, Floats]
    placebo_epgm: Floats
    placebo_q: Floats


def follow(
    paths: Paths,
    asked: Asked,
    *,
    n_placebos: int = 0,
    advance: Callable[[int], object] = lambda _: None,
) -> Followed:
    """Evaluate a model along the paths of all inputs, and along those of placebos.

    Parameters
    ----------
    n_placebos
        Placebos of each path.
    advance
        Told how many inputs are done.
    """
    n, n_steps = len(asked.target), len(paths.strengths)
    n_placebos = n_placebos if paths.has_placebo else 0
    m, q = np.empty((2, n, n_steps))
    flips = np.full(n, np.nan)
    side = {name: np.empty(n) for name in paths.side_deviation}
    placebo_epgm = np.full((n_placebos, n), np.nan)
    placebo_q = np.zeros((n_placebos, asked.n_groups, n_steps))
    items, first = np.unique(asked.item, return_index=True)
    questions = np.split(np.arange(n), first[1:])
    jobs = ((k, placebo) for k in range(len(items)) for placebo in range(n_placebos + 1))

    def make(k: int, placebo: int) -> Path:
        return paths.make(int(items[k]), placebo)

    for k, placebo, path, outputs in _answered(jobs, make, asked.outputs):
        rows = outputs.reshape(-1, outputs.shape[-1])
        measured = path.measured.mean(axis=1)
        for i in questions[k]:
            own = asked.respond(rows, np.full(len(rows), asked.target[i]))
            trace = own.reshape(outputs.shape[:2]).mean(axis=1)
            if placebo:
                placebo_epgm[placebo - 1, i] = epgm(measured, trace)
                placebo_q[placebo - 1, asked.group[i]] += trace
            else:
                m[i], q[i] = measured, trace
        if not placebo:
            at = questions[k]
            if asked.classify is not None:
                flips[at] = count_flips(asked.classify(rows).reshape(outputs.shape[:2]).T).mean()
            for name in side:
                side[name][at] = np.ptp(path.side[name].mean(axis=1))
        if placebo == n_placebos:
            advance(1)
    placebo_q /= np.maximum(np.bincount(asked.group, minlength=asked.n_groups), 1)[:, None]
    scores = trace_scores(m, q, paths.origin)
    return Followed(paths, m, q, flips, scores, side, placebo_epgm, placebo_q)


def _answered(
    jobs: Iterator[tuple[int, int]], make: Callable[[int, int], Path], outputs: Outputs
) -> Iterator[tuple[int, int, Path, Floats]]:
    """Paths and the outputs along them, (S, R, K); several paths share a call of the model."""
    waiting: list[tuple[int, int, Path]] = []
    size = 0
    for i, placebo in jobs:
        path = make(i, placebo)
        waiting.append((i, placebo, path))
        size += path.inputs.nbytes
        if size >= _BYTES_AT_ONCE:
            yield from _answers(waiting, outputs)
            waiting, size = [], 0
    yield from _answers(waiting, outputs)


def _answers(
    waiting: list[tuple[int, int, Path]], outputs: Outputs
) -> Iterator[tuple[int, int, Path, Floats]]:
    if not waiting:
        return
    inputs = [path.inputs.reshape(-1, *path.inputs.shape[2:]) for _, _, path in waiting]
    found = outputs(np.concatenate(inputs))
    ends = np.cumsum([len(rows) for rows in inputs])
    for (i, placebo, path), rows in zip(waiting, np.split(found, ends[:-1]), strict=True):
        yield i, placebo, path, rows.reshape(*path.inputs.shape[:2], -1)
