"""Edits along directions between groups of cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from sensx_sc.companions import BatchShift, CellCycle, StateInterpolation
from sensx_sc.companions.editors.cell_cycle_genes import G2M_GENES, S_GENES
from sensx_sc.companions.population import Population, make_population

if TYPE_CHECKING:
    from numpy.typing import NDArray


def matrix(population: Population) -> NDArray[np.float64]:
    return np.concatenate([states.x[:, 0] for _, states in population.blocks()])


# ------------------------------------------------------------------ cell cycle

CYCLE = {"s_genes": [f"s{j}" for j in range(6)], "g2m_genes": [f"g{j}" for j in range(6)]}


@pytest.fixture
def cycling(rng: np.random.Generator) -> tuple[Population, np.ndarray]:
    """300 cells around a cycle: S genes follow the cosine of their phase, G2M genes its sine."""
    phase = rng.uniform(-np.pi, np.pi, 300)
    genes = [*CYCLE["s_genes"], *CYCLE["g2m_genes"], *(f"o{j}" for j in range(60))]
    x = np.abs(rng.normal(2.0, 0.1, (300, 72)))
    x[:, :6] += np.cos(phase)[:, None]
    x[:, 6:12] += np.sin(phase)[:, None]
    keys = tuple(f"c{i}" for i in range(300))
    return make_population(x, None, tuple(genes), keys, {}, 0), phase


def test_once_around_the_cycle(cycling: tuple[Population, np.ndarray]) -> None:
    population, phase = cycling
    edit = CellCycle(**CYCLE).bind(population, "cycle")
    found = edit.states(7, 0).x[:, 0]
    own = population.of(7).x[0, 0]
    np.testing.assert_allclose(found[0], own)
    np.testing.assert_allclose(found[-1], own, atol=1e-9)  # and home again
    np.testing.assert_array_equal(found[:, 12:], np.tile(own[12:], (41, 1)))
    m = edit.measure(edit.states(7, 0), 7, 0)[:, 0]
    np.testing.assert_allclose(np.diff(m), 2 * np.pi / 40)
    first = np.array([edit.measure(edit.states(i, 0), i, 0)[0, 0] for i in range(300)])
    off = np.angle(np.exp(1j * (first - phase)))
    assert np.mean(np.abs(off) < 0.8) > 0.95  # the phases of cells are found
    # S genes rise where the phase is near 0; smoothing flattens the cosine, by a factor of .86.
    expected = np.cos(m) - np.cos(m[0])
    slope = np.polyfit(expected, (found - own)[:, :6].mean(axis=1), 1)[0]
    assert 0.75 < slope < 0.95


def test_placebos_move_other_genes(cycling: tuple[Population, np.ndarray]) -> None:
    population, _ = cycling
    population.bins[:] = 0
    edit = CellCycle(**CYCLE).bind(population, "cycle")
    found = edit.states(7, 1).x[:, 0]
    changed = np.flatnonzero(np.ptp(found, axis=0) > 1e-9)
    assert len(changed) == 12
    assert not set(changed.tolist()) & set(range(12))


def test_the_default_genes() -> None:
    assert len(set(S_GENES)) == len(S_GENES) == 44
    assert len(set(G2M_GENES)) == len(G2M_GENES) == 56
    assert not set(S_GENES) & set(G2M_GENES)


# ------------------------------------------------------------------ batches


def test_the_shift_is_the_difference_of_means(population: Population) -> None:
    edit = BatchShift("batch", "two").bind(population, "batch")
    x, batch = matrix(population), population.label("batch")
    delta = x[batch == "two"].mean(axis=0) - x[batch == "one"].mean(axis=0)
    assert batch[3] == "one"
    found = edit.states(3, 0).x[:, 0]
    expected = np.maximum(x[3] + edit.strengths[:, None] * delta, 0)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    # The other batch stays where it is.
    assert batch[4] == "two"
    np.testing.assert_allclose(edit.states(4, 0).x[:, 0], np.tile(x[4], (41, 1)), atol=1e-9)


def test_the_batch_logit_separates_batches(population: Population) -> None:
    edit = BatchShift("batch", "two").bind(population, "batch")
    m = edit.measure(edit.states(3, 0), 3, 0)[:, 0]
    assert (np.diff(m) > 0).all()
    assert edit.prop is not None
    logit, batch = population.measured(edit.prop), population.label("batch")
    np.testing.assert_allclose(m[0], logit[3], atol=1e-9)
    assert logit[batch == "two"].mean() > 0 > logit[batch == "one"].mean()
    np.testing.assert_allclose(logit[batch == "two"].mean(), -logit[batch == "one"].mean())


# ------------------------------------------------------------------ states


def test_the_goal_is_the_mean_of_the_nearest_cells(population: Population) -> None:
    edit = StateInterpolation("cell_type", "A", "B", n_neighbours=4).bind(population, "to B")
    x, group = matrix(population), population.label("cell_type").astype(str)
    b = np.flatnonzero(group == "B")
    nearest = b[np.argsort(((x[b] - x[2]) ** 2).sum(axis=1))[:4]]
    found = edit.states(2, 0).x[:, 0]
    np.testing.assert_allclose(found[0], x[2], atol=1e-9)
    np.testing.assert_allclose(found[-1], x[nearest].mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(found[20], (found[0] + found[-1]) / 2, atol=1e-9)


def test_pseudotime_is_0_at_the_start_and_1_at_the_end(population: Population) -> None:
    edit = StateInterpolation("cell_type", "A", "B").bind(population, "to B")
    assert edit.prop is not None
    time = population.measured(edit.prop)
    group = population.label("cell_type").astype(str)
    assert time[group == "A"].mean() == pytest.approx(0, abs=1e-9)
    assert time[group == "B"].mean() == pytest.approx(1)
    m = edit.measure(edit.states(2, 0), 2, 0)[:, 0]
    assert m[0] == pytest.approx(time[2])
    assert m[-1] > 0.6


def test_placebos_move_as_far(population: Population) -> None:
    population.bins[:] = 0
    for editor in (BatchShift("batch", "two"), StateInterpolation("cell_type", "A", "B")):
        edit = editor.bind(population, "e")
        x = population.of(3).x[0, 0]
        far = np.sort(edit.states(3, 0).x[1, 0] - x)
        placebo = edit.states(3, 1)
        np.testing.assert_allclose(np.sort(placebo.x[1, 0] - x)[2:-2], far[2:-2], atol=0.3)
        m = edit.measure(placebo, 3, 1)[:, 0]
        assert m[-1] > m[0]


WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "no cycle genes": (CellCycle(), ValueError, "`s_genes`: none of the 44 genes"),
    "batch": (BatchShift("batch", "three"), ValueError, "`to` 'three' is no group of 'batch'"),
    "column": (BatchShift("donor", "a"), KeyError, "'donor' is no column"),
    "start": (StateInterpolation("cell_type", "X", "B"), ValueError, "`start` 'X' is no group"),
    "steps": (BatchShift("batch", "two", strengths=[0]), ValueError, "`strengths` must be"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input(population: Population, case: str) -> None:
    editor, error, message = WRONG[case]
    with pytest.raises(error, match=message):
        editor.bind(population, "p")
