"""Edits of genes that belong together, and of one gene."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np

from sensx_sc.companions.editors.edit import (
    N_STEPS,
    Edit,
    check_steps,
    check_word,
    generator,
    where_unedited,
)
from sensx_sc.companions.population import LinearModelT, Score
from sensx_sc.companions.significance import same_bins, stand_ins

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sensx_sc.companions.population import Population, Property, States
    from sensx_sc.core.arrays import Floats, Ints

Composition = Literal["closed", "open"]
_N_CONTROLS = 50  # control genes from each expression bin, as scanpy's score_genes takes


@dataclass(frozen=True)
class GeneProgramme:
    """Raise and lower a set of genes together.

    Counts become c 2^(w a), a from -2 to 2, or, with ``mode="add"``, expression x + a w sigma, cut
    at zero, which also reaches genes without counts. Measured is the mean z-score of the genes
    less that of control genes of like expression. Placebo: other genes of like expression.

    Parameters
    ----------
    genes
        Names, or a mapping to weights (signed).
    mode
        ``"fold"`` or ``"add"``.
    composition
        ``"closed"``: the cell is normalised anew, so that other genes give way; ``"open"``: they
        stay. The two answer different questions.
    strengths
        Values of a; by default 41 from -2 to 2.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> sx.companions.GeneProgramme(["CD3D", "CD3E"], composition="open").mode
    'fold'
    """

    genes: Sequence[str] | Mapping[str, float]
    mode: Literal["fold", "add"] = "fold"
    composition: Composition = "closed"
    strengths: Sequence[float] | None = None

    def __post_init__(self) -> None:
        check_word(self.mode, "mode", ("fold", "add"))
        check_word(self.composition, "composition", ("closed", "open"))

    def bind(self, population: Population, name: str) -> Edit:
        members, weights = _weighted(population, self.genes)
        return _bind(self, population, name, members, weights, "z-score")


@dataclass(frozen=True)
class Pathway:
    """Move genes up and down by their signed weights: a pathway, or a transcription factor.

    As :class:`GeneProgramme`, with the activity measured as the t-value of a univariate linear
    model of a cell's z-scores on the weights (``"ulm"``), or as their weighted mean.

    Parameters
    ----------
    weights
        Gene to weight, signed; the largest is taken as 1.
    score
        ``"ulm"`` or ``"weighted_mean"``.
    mode, composition, strengths
        As in :class:`GeneProgramme`.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> sx.companions.Pathway({"STAT1": 1.0, "IRF1": 0.5, "MYC": -1.0}).score
    'ulm'
    """

    weights: Mapping[str, float]
    score: Literal["ulm", "weighted_mean"] = "ulm"
    mode: Literal["fold", "add"] = "fold"
    composition: Composition = "closed"
    strengths: Sequence[float] | None = None

    def __post_init__(self) -> None:
        check_word(self.score, "score", ("ulm", "weighted_mean"))
        check_word(self.mode, "mode", ("fold", "add"))
        check_word(self.composition, "composition", ("closed", "open"))
        if not isinstance(self.weights, Mapping):
            msg = f"`weights` must map genes to numbers; got {type(self.weights).__name__}."
            raise TypeError(msg)

    def bind(self, population: Population, name: str) -> Edit:
        members, weights = _weighted(population, self.weights)
        unit = "ULM t-value" if self.score == "ulm" else "weighted z-score"
        return _bind(self, population, name, members, weights, unit)


@dataclass(frozen=True)
class GeneDose:
    """Knock one gene out, or over-express it.

    Parameters
    ----------
    gene
        Its name.
    kind
        ``"range"``: expression from 0 to the largest of the population, also where the cell has
        none; ``"knock_out"``: counts c (1 - s); ``"over_expression"``: c 2^a, a from 0 to 3.
    composition
        As in :class:`GeneProgramme`.
    strengths
        Shares of the largest expression, s, or a.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> sx.companions.GeneDose("CD8A").kind
    'range'
    """

    gene: str
    kind: Literal["range", "knock_out", "over_expression"] = "range"
    composition: Composition = "open"
    strengths: Sequence[float] | None = None

    def __post_init__(self) -> None:
        check_word(self.kind, "kind", ("range", "knock_out", "over_expression"))
        check_word(self.composition, "composition", ("closed", "open"))

    def bind(self, population: Population, name: str) -> Edit:
        (gene,) = population.find(self.gene, "gene")
        top = 3.0 if self.kind == "over_expression" else 1.0
        steps = check_steps(self.strengths, "strengths", np.linspace(0, top, N_STEPS), 0, 10 * top)

        @cache
        def at(placebo: int) -> int:
            return int(_stand_ins(population, name, np.array([gene]), placebo)[0])

        def states(cell: int, placebo: int) -> States:
            chosen = at(placebo)
            counts = np.repeat(population.of(cell).counts, len(steps), axis=0)
            if self.kind == "range":
                x = steps * population.largest[chosen]
                new = np.expm1(x) / population.factor[cell] if population.log else x
            elif self.kind == "knock_out":
                new = counts[:, 0, chosen] * (1 - steps)
            else:
                new = counts[:, 0, chosen] * 2**steps
            counts[:, 0, chosen] = np.maximum(new, 0.0)
            return population.composed(self.composition, cell, counts)

        def measure(found: States, _: int, placebo: int) -> Floats:
            return found.x[..., at(placebo)]

        axis = {"range": "share of the largest expression", "knock_out": "share knocked out"}
        return Edit(
            name,
            "expression",
            axis.get(self.kind, "log2 fold change"),
            steps,
            None if self.kind == "range" else where_unedited(steps, 0.0),
            states,
            measure,
            Expression(name, int(gene)),
            has_placebo=True,
        )


@dataclass(frozen=True)
class Expression:
    """Expression of one gene, as the model reads it."""

    name: str
    gene: int

    def __call__(self, states: States) -> Floats:
        return states.x[..., self.gene]


def _weighted(
    population: Population, genes: Sequence[str] | Mapping[str, float]
) -> tuple[Ints, Floats]:
    """Positions and weights of genes; the largest weight is 1."""
    members = population.find(genes, "genes")
    if not isinstance(genes, Mapping):
        return members, np.ones(len(members))
    weights = np.array([float(genes[population.genes[j]]) for j in members])
    if not np.isfinite(weights).all() or not weights.any():
        msg = f"the weights of genes must be finite and not all zero; got {dict(genes)!r}."
        raise ValueError(msg)
    return members, weights / np.abs(weights).max()


def _stand_ins(population: Population, name: str, members: Ints, placebo: int) -> Ints:
    """The genes of the edit, or those that stand in for them."""
    if placebo == 0:
        return members
    return stand_ins(members, population.bins, generator(population, "placebo", name, placebo))


def gene_score(population: Population, name: str, members: Ints, weights: Floats) -> Score:
    """Mean z-score of genes less that of up to 50 others from each of their expression bins."""
    rng = generator(population, "controls", name)
    bins = same_bins(members, population.bins)
    controls = [rng.permutation(others)[:_N_CONTROLS] for _, _, others in bins]
    mean, deviation = population.moments
    return Score(name, members, weights, np.sort(np.concatenate(controls)), mean, deviation)


def _bind(
    editor: GeneProgramme | Pathway,
    population: Population,
    name: str,
    members: Ints,
    weights: Floats,
    unit: str,
) -> Edit:
    steps = check_steps(editor.strengths, "strengths", np.linspace(-2, 2, N_STEPS), -20, 20)
    mean, deviation = population.moments

    @cache
    def of(placebo: int) -> Ints:
        return _stand_ins(population, name, members, placebo)

    @cache
    def score(placebo: int) -> Property:
        genes = of(placebo)
        if unit == "ULM t-value":
            every = np.zeros(len(population.genes))
            every[genes] = weights
            return LinearModelT(name, every, mean, deviation)
        return gene_score(population, name, genes, weights)

    def states(cell: int, placebo: int) -> States:
        genes = of(placebo)
        size = steps[:, None, None] * weights
        own = population.of(cell)
        if editor.mode == "add":
            x = np.repeat(own.x, len(steps), axis=0)
            x[..., genes] += size * deviation[genes]
            found = population.shifted(cell, x)
            closed = editor.composition == "closed"
            return population.closed(cell, found.counts) if closed else found
        counts = np.repeat(own.counts, len(steps), axis=0)
        counts[..., genes] *= 2**size
        return population.composed(editor.composition, cell, counts)

    return Edit(
        name,
        unit,
        "log2 fold change" if editor.mode == "fold" else "shift in standard deviations",
        steps,
        where_unedited(steps, 0.0),
        states,
        lambda found, _, placebo: score(placebo)(found),
        score(0),
        has_placebo=True,
    )
