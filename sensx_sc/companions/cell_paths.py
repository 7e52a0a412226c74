"""Paths of cells: an editor, bound to a population, as something that can be followed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sensx_sc.companions.population import Detected, LogTotal, ShareOf
from sensx_sc.companions.property_gradient import Path, Paths

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sensx_sc.companions.editors.edit import Edit, Editor
    from sensx_sc.companions.population import Population, Property
    from sensx_sc.core.arrays import Ints


def cell_paths(editors: Mapping[str, Editor], population: Population, cells: Ints) -> list[Paths]:
    """Make the paths of cells for several editors; each tracks the properties of all others.

    Parameters
    ----------
    cells
        Which cells of the population are edited, (C,).
    """
    edits = [editor.bind(population, name) for name, editor in editors.items()]
    tracked = {edit.name: edit.prop for edit in edits if edit.prop is not None}
    edited = list(tracked.values())
    tracked |= {
        prop.name: prop
        for prop in _always(population)
        if not any(_same(prop, other) for other in edited)
    }
    deviation = {name: float(population.measured(prop).std()) for name, prop in tracked.items()}
    return [_paths(edit, population, cells, tracked, deviation) for edit in edits]


def _always(population: Population) -> list[Property]:
    """Properties that are tracked in any case."""
    found: list[Property] = [LogTotal(), Detected()]
    mitochondrial = [j for j, name in enumerate(population.genes) if name.upper().startswith("MT-")]
    if mitochondrial:
        found.append(ShareOf("mitochondrial share", np.array(mitochondrial)))
    return found


def _same(a: Property, b: Property) -> bool:
    """Whether two properties are one under two names."""
    if isinstance(a, ShareOf) and isinstance(b, ShareOf):
        return set(a.members.tolist()) == set(b.members.tolist())
    return type(a) is type(b) and not isinstance(a, ShareOf)


def _paths(
    edit: Edit,
    population: Population,
    cells: Ints,
    tracked: Mapping[str, Property],
    deviation: Mapping[str, float],
) -> Paths:
    def make(i: int, placebo: int) -> Path:
        cell = int(cells[i])
        states = edit.states(cell, placebo)
        measured = edit.measure(states, cell, placebo)
        side = {} if placebo else {name: prop(states) for name, prop in tracked.items()}
        return Path(states.x, np.broadcast_to(measured, states.x.shape[:2]), side)

    return Paths(
        edit.name,
        edit.unit,
        edit.axis,
        edit.strengths,
        edit.origin,
        make,
        deviation.get(edit.name, float("nan")),
        deviation,
        edit.has_placebo,
    )
