"""What an editor is: it changes one property of a cell step by step, and measures that property."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Protocol

import numpy as np

from sensx_sc.core.sampling import cell_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from sensx_sc.companions.population import Population, Property, States
    from sensx_sc.core.arrays import Floats, Ints

N_STEPS = 41
"""Steps of a path, the original included."""


@dataclass(frozen=True)
class Edit:
    """An editor made ready for a population.

    Attributes
    ----------
    name
        Of the property.
    unit, axis
        Unit of the measured property; what the strengths are.
    strengths
        Strength of each step, (S,).
    origin
        The step that leaves the cell as it is; None where no step does.
    states
        Cell and placebo (0 = the edit itself) to the edited states.
    measure
        States, cell and placebo to the measured property, (S, R).
    prop
        The property, where it can be measured of any cell.
    has_placebo
        Whether other genes can stand in for the edited ones.
    """

    name: str
    unit: str
    axis: str
    strengths: Floats
    origin: int | None
    states: Callable[[int, int], States]
    measure: Callable[[States, int, int], Floats]
    prop: Property | None
    has_placebo: bool


class Editor(Protocol):
    """A gradual edit of one property."""

    def bind(self, population: Population, name: str) -> Edit:
        """Make the editor ready for a population."""
        ...


def generator(population: Population, *what: str | int) -> np.random.Generator:
    """Random numbers that depend on the seed and on what they are for, and on nothing else."""
    return np.random.default_rng([population.seed, *(cell_key(part) for part in what)])


def check_steps(values: object, name: str, default: Floats, low: float, high: float) -> Floats:
    """Strengths that go one way, inside their range.

    Raises
    ------
    ValueError
        Not such numbers, or fewer than two.
    """
    steps = np.asarray(default if values is None else values, dtype=np.float64)
    one_way = steps.ndim == 1 and len(steps) > 1 and len({*np.sign(np.diff(steps)).tolist()}) == 1
    inside = one_way and low <= steps.min() and steps.max() <= high and (np.diff(steps) != 0).all()
    if not inside:
        msg = (
            f"`{name}` must be two or more numbers that only rise or only fall, from {low:g} to "
            f"{high:g}; got {values!r}."
        )
        raise ValueError(msg)
    return steps


def check_replicates(n: int) -> None:
    """Refuse anything but a whole number of at least 1."""
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        msg = f"`replicates` must be a whole number of at least 1; got {n!r}."
        raise ValueError(msg)


def check_word(value: str, name: str, allowed: tuple[str, ...]) -> None:
    """Refuse a word that is not known."""
    if value not in allowed:
        msg = f"`{name}` must be one of {allowed}; got {value!r}."
        raise ValueError(msg)


def where_unedited(strengths: Floats, neutral: float) -> int | None:
    """The step at which nothing changes, if there is one."""
    at = np.flatnonzero(np.abs(strengths - neutral) <= 1e-12)
    return int(at[0]) if len(at) else None


def places_within_bins(population: Population, name: str) -> Callable[[int], Ints]:
    """For each placebo an order in which genes of like expression are in each other's places."""

    @cache
    def order(placebo: int) -> Ints:
        rng = generator(population, "placebo", name, placebo)
        shuffled = np.lexsort((rng.random(len(population.genes)), population.bins))
        places = np.argsort(population.bins, kind="stable")
        moved = np.empty_like(shuffled)
        moved[places] = shuffled
        return moved

    return order
