"""Edits that move a cell's expression along a direction between groups of cells."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from sensx_sc.companions.editors.cell_cycle_genes import G2M_GENES, S_GENES
from sensx_sc.companions.editors.composition import cells_of
from sensx_sc.companions.editors.edit import (
    N_STEPS,
    Edit,
    check_steps,
    generator,
    places_within_bins,
    where_unedited,
)
from sensx_sc.companions.editors.programmes import gene_score
from sensx_sc.companions.significance import stand_ins
from sensx_sc.core.arrays import dense

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sensx_sc.companions.population import Population, States
    from sensx_sc.core.arrays import Floats, Ints

_CONCENTRATION = 4.0  # of the von Mises weights that smooth means over the cycle


@dataclass(frozen=True)
class Projection:
    """Position of a cell along a direction: (x - start) . direction."""

    name: str
    start: Floats
    direction: Floats

    def __call__(self, states: States) -> Floats:
        return np.asarray((states.x - self.start) @ self.direction, dtype=np.float64)


@dataclass(frozen=True)
class CellCycle:
    """Send a cell once around the cell cycle.

    The phase of a cell is the angle of its G2M score over its S score. Its cycle genes are moved by
    the difference of the population's means at the new and at its own phase, which are smoothed
    over the circle. Placebo: genes of like expression take the cycle genes' moves.

    Parameters
    ----------
    s_genes, g2m_genes
        Marker genes; by default those of Tirosh et al. (2016).
    n_steps
        Phases of the path, the original included.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> sx.companions.CellCycle().n_steps
    41
    """

    s_genes: Sequence[str] = S_GENES
    g2m_genes: Sequence[str] = G2M_GENES
    n_steps: int = N_STEPS

    def bind(self, population: Population, name: str) -> Edit:
        turn = np.linspace(0, 2 * np.pi, int(self.n_steps))
        s_phase = population.find(self.s_genes, "s_genes")
        g2m_phase = population.find(self.g2m_genes, "g2m_genes")
        genes = np.union1d(s_phase, g2m_phase)
        angle = _angles(population, s_phase, g2m_phase)
        of_genes = np.concatenate([found.x[:, 0, genes] for _, found in population.blocks()])

        @cache
        def instead(placebo: int) -> Ints:
            rng = generator(population, "placebo", name, placebo)
            return stand_ins(genes, population.bins, rng)

        def mean_at(phase: Floats) -> Floats:
            weights = np.exp(_CONCENTRATION * (np.cos(phase[:, None] - angle) - 1))
            return np.asarray(weights @ of_genes / weights.sum(axis=1, keepdims=True))

        def states(cell: int, placebo: int) -> States:
            moves = mean_at(angle[cell] + turn) - mean_at(angle[cell : cell + 1])
            at = genes
            if placebo:
                at = instead(placebo)
            x = np.repeat(population.of(cell).x, len(turn), axis=0)
            x[:, 0, at] += moves
            return population.shifted(cell, x)

        return Edit(
            name,
            "radians",
            "turn of the cycle (radians)",
            turn,
            0,
            states,
            lambda _, cell, __: (angle[cell] + turn)[:, None],
            None,
            has_placebo=True,
        )


def _angles(population: Population, s_phase: Ints, g2m_phase: Ints) -> Floats:
    """Phase of each cell, (C,)."""
    scores = []
    for name, genes in (("S", s_phase), ("G2M", g2m_phase)):
        score = population.measured(gene_score(population, name, genes, np.ones(len(genes))))
        deviation = score.std()
        scores.append((score - score.mean()) / (deviation if deviation > 0 else 1.0))
    return np.asarray(np.arctan2(scores[1], scores[0]), dtype=np.float64)


@dataclass(frozen=True)
class BatchShift:
    """Move a cell from its batch to another: x + lambda (mean of the other - mean of its own).

    Measured is the logit of a linear classifier of the two batches (Gaussian, independent genes).
    Cells of the other batch itself do not move. Placebo: the shift with genes of like expression
    in each other's places.

    Parameters
    ----------
    batch, to
        Column of batches, and the batch to go to.
    strengths
        Values of lambda; by default 41 from 0 to 1.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> sx.companions.BatchShift("donor", "P2").to
    'P2'
    """

    batch: str
    to: str
    strengths: Sequence[float] | None = None

    def bind(self, population: Population, name: str) -> Edit:
        steps = check_steps(self.strengths, "strengths", np.linspace(0, 1, N_STEPS), -5, 5)
        labels = population.label(self.batch).astype(str)
        cells_of(population, self.batch, self.to, "to")
        means = {str(b): _mean_of(population, labels == b) for b in np.unique(labels)}
        deviation = population.moments[1]
        precision = np.where(deviation > 0, 1 / np.where(deviation > 0, deviation, 1) ** 2, 0.0)

        moved = places_within_bins(population, name)

        def shift(cell: int, placebo: int) -> Floats:
            found = means[str(self.to)] - means[labels[cell]]
            return found if placebo == 0 else found[moved(placebo)]

        def states(cell: int, placebo: int) -> States:
            x = population.of(cell).x + steps[:, None, None] * shift(cell, placebo)
            return population.shifted(cell, x)

        def measure(found: States, cell: int, placebo: int) -> Floats:
            middle = (means[str(self.to)] + means[labels[cell]]) / 2
            return Projection(name, middle, shift(cell, placebo) * precision)(found)

        prop = None
        if len(means) == 2:  # the same classifier for all cells
            (other,) = set(means) - {str(self.to)}
            there, here = means[str(self.to)], means[other]
            prop = Projection(name, (there + here) / 2, (there - here) * precision)
        return Edit(
            name,
            "batch logit",
            "share of the way to the other batch",
            steps,
            where_unedited(steps, 0.0),
            states,
            measure,
            prop,
            has_placebo=True,
        )


@dataclass(frozen=True)
class StateInterpolation:
    """Move a cell towards another state: to the mean of its nearest cells there.

    Measured is pseudotime: the position on the axis from the mean of ``start`` (0) to that of
    ``to`` (1). Placebo: the move with genes of like expression in each other's places.

    Parameters
    ----------
    groupby, start, to
        Column of states, and the two states.
    n_neighbours
        Cells whose mean is the goal.
    strengths
        Shares of the way; by default 41 from 0 to 1.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> sx.companions.StateInterpolation("cell_type", "T cells CD4 conv", "Tregs").n_neighbours
    10
    """

    groupby: str
    start: str
    to: str
    n_neighbours: int = 10
    strengths: Sequence[float] | None = None

    def bind(self, population: Population, name: str) -> Edit:
        steps = check_steps(self.strengths, "strengths", np.linspace(0, 1, N_STEPS), -5, 5)
        labels = population.label(self.groupby).astype(str)
        goals = cells_of(population, self.groupby, self.to, "to")
        cells_of(population, self.groupby, self.start, "start")
        first, last = (_mean_of(population, labels == str(g)) for g in (self.start, self.to))
        there = _rows(population, goals)
        moved = places_within_bins(population, name)
        size = float((last - first) @ (last - first))
        axis = (last - first) / max(size, np.finfo(float).tiny)
        prop = Projection(name, first, axis)

        def states(cell: int, placebo: int) -> States:
            own = population.of(cell).x
            away = ((there - own[0, 0]) ** 2).sum(axis=1)
            away[goals == cell] = np.inf
            nearest = np.argsort(away, kind="stable")[: self.n_neighbours]
            move = there[nearest].mean(axis=0) - own[0, 0]
            if placebo:
                move = move[moved(placebo)]
            return population.shifted(cell, own + steps[:, None, None] * move)

        def measure(found: States, _: int, placebo: int) -> Floats:
            if placebo == 0:
                return prop(found)
            return Projection(name, first, axis[moved(placebo)])(found)

        return Edit(
            name,
            "pseudotime",
            "share of the way",
            steps,
            where_unedited(steps, 0.0),
            states,
            measure,
            prop,
            has_placebo=True,
        )


def _rows(population: Population, cells: Ints) -> Floats:
    """What the model reads of some cells, (C, n)."""
    counts = dense(population.counts[cells])
    if not population.log:
        return counts
    return np.asarray(np.log1p(population.factor[cells, None] * counts), dtype=np.float64)


def _mean_of(population: Population, chosen: np.ndarray) -> Floats:
    """Mean of what the model reads of some cells, (n,)."""
    total = np.zeros(len(population.genes))
    for part, found in population.blocks():
        total += found.x[chosen[part], 0].sum(axis=0)
    return np.asarray(total / max(int(chosen.sum()), 1), dtype=np.float64)
