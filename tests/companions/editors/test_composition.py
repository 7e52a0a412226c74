"""Edits of what counts are made of."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from sensx_sc.companions import AmbientRNA, Doublet, LibrarySize, Share
from sensx_sc.companions.population import make_population

if TYPE_CHECKING:
    from sensx_sc.companions.population import Population


# ------------------------------------------------------------------ library size


def test_thinning_is_nested_and_normalised_anew(population: Population) -> None:
    edit = LibrarySize().bind(population, "depth")
    found = edit.states(4, 0)
    assert found.x.shape == (41, 8, 20)
    own = population.of(4)
    np.testing.assert_array_equal(found.counts[0], np.repeat(own.counts[0], 8, axis=0))
    np.testing.assert_allclose(found.x[0], np.repeat(own.x[0], 8, axis=0))
    assert (np.diff(found.counts, axis=0) <= 0).all()  # one uniform number a molecule
    np.testing.assert_array_equal(found.counts, np.rint(found.counts))
    np.testing.assert_allclose(np.expm1(found.x).sum(axis=-1), 1e4)
    np.testing.assert_array_equal(found.total, found.counts.sum(axis=-1))
    m = edit.measure(found, 4, 0)
    np.testing.assert_allclose(m, np.log10(found.total))
    assert not edit.has_placebo
    assert edit.origin == 0


def test_thinning_is_binomial(population: Population) -> None:
    """2000 replicates: mean and variance of every gene's counts at p, in standard errors."""
    edit = LibrarySize([0.7, 0.3], replicates=2000).bind(population, "depth")
    found, c = edit.states(4, 0).counts, population.of(4).counts[0, 0]
    for k, p in enumerate((0.7, 0.3)):
        error = np.sqrt(c * p * (1 - p) / 2000)
        assert (np.abs(found[k].mean(axis=0) - p * c) <= 4 * error + 1e-12).all()
        spread = found[k].sum(axis=1).var() / (c.sum() * p * (1 - p))
        assert spread == pytest.approx(1, abs=4 * np.sqrt(2 / 2000))


def test_genes_that_are_not_there_are_thinned_too(population: Population) -> None:
    counts = np.asarray(population.counts)
    library = counts.sum(axis=1) + 500
    x = np.log1p(1e4 * counts / library[:, None])
    few = make_population(x, counts, population.genes, population.keys, {}, 0)
    found = LibrarySize([1.0, 0.5], replicates=400).bind(few, "depth").states(0, 0)
    np.testing.assert_allclose(found.total[0], library[0])
    assert found.total[1].mean() == pytest.approx(0.5 * library[0], rel=0.02)


def test_thinning_depends_on_the_cell_alone(population: Population) -> None:
    edit = LibrarySize([1, 0.5]).bind(population, "depth")
    few = replace(
        population,
        counts=population.counts[3:6],
        factor=population.factor[3:6],
        total=population.total[3:6],
        keys=population.keys[3:6],
    )
    again = LibrarySize([1, 0.5]).bind(few, "depth")
    np.testing.assert_array_equal(edit.states(4, 0).counts, again.states(1, 0).counts)
    other = LibrarySize([1, 0.5]).bind(replace(population, seed=1), "depth")
    assert not np.array_equal(edit.states(4, 0).counts, other.states(4, 0).counts)


# ------------------------------------------------------------------ share of a class


def test_the_share_is_what_was_asked(population: Population) -> None:
    edit = Share("MT-").bind(population, "mt")
    found, own = edit.states(4, 0), population.of(4)
    np.testing.assert_allclose(edit.measure(found, 4, 0)[:, 0], edit.strengths, atol=1e-12)
    np.testing.assert_allclose(found.counts.sum(axis=-1), own.total[0, 0])
    np.testing.assert_allclose(np.expm1(found.x).sum(axis=-1), 1e4)
    others = np.setdiff1d(np.arange(20), [12, 15, 18])
    for state in found.counts[1:, 0]:  # the others keep their proportions
        np.testing.assert_allclose(
            state[others] / state[others].sum(),
            own.counts[0, 0, others] / own.counts[0, 0, others].sum(),
        )


def test_a_cell_without_the_class_gets_the_populations_proportions(population: Population) -> None:
    counts = np.asarray(population.counts)
    counts[4, [12, 15, 18]] = 0
    total = counts.sum(axis=1)
    edited = replace(population, counts=counts, total=total, factor=1e4 / total)
    edit = Share(["MT-gene_12", "MT-gene_15"], shares=[0.0, 0.2]).bind(edited, "mt")
    found = edit.states(4, 0).counts[1, 0]
    pool = counts[:, [12, 15]].sum(axis=0)
    np.testing.assert_allclose(found[[12, 15]], 0.2 * total[4] * pool / pool.sum())


def test_placebo_classes_have_the_same_shares(population: Population) -> None:
    population.bins[:] = 0
    edit = Share("MT-").bind(population, "mt")
    found = edit.states(4, 2)
    np.testing.assert_allclose(edit.measure(found, 4, 2)[:, 0], edit.strengths, atol=1e-12)
    assert not np.allclose(found.x, edit.states(4, 0).x)


# ------------------------------------------------------------------ mixtures


def test_ambient_rna(population: Population) -> None:
    edit = AmbientRNA().bind(population, "soup")
    found, own = edit.states(4, 0), population.of(4)
    n, pool = own.counts.sum(), np.asarray(population.counts).sum(axis=0)
    for rho, state in zip(edit.strengths, found.counts[:, 0], strict=True):
        expected = (1 - rho) * own.counts[0, 0] + rho * n * pool / pool.sum()
        np.testing.assert_allclose(state, expected)
    np.testing.assert_allclose(found.x[0], own.x[0])
    np.testing.assert_array_equal(edit.measure(found, 4, 0)[:, 0], edit.strengths)
    population.bins[:] = 0
    placebo = edit.states(4, 1).counts[-1, 0]
    assert placebo.sum() == pytest.approx(n)
    assert not np.allclose(placebo, found.counts[-1, 0])
    profile = np.eye(20)[3]
    given = AmbientRNA(profile, rho=[0, 1]).bind(population, "soup").states(4, 0)  # type: ignore[arg-type]
    np.testing.assert_allclose(given.counts[1, 0], n * profile)


def test_doublets(population: Population) -> None:
    edit = Doublet("cell_type", "C", replicates=5).bind(population, "doublet")
    found, own = edit.states(4, 0), population.of(4)
    assert found.x.shape == (41, 5, 20)
    np.testing.assert_allclose(found.x[0], np.repeat(own.x[0], 5, axis=0))
    second = found.counts[-1] - own.counts[0]
    counts, group = np.asarray(population.counts), population.label("cell_type")
    for one in second:
        (donor,) = np.flatnonzero((counts == np.rint(one)).all(axis=1))
        assert group[donor] == "C"
    np.testing.assert_allclose(found.total, found.counts.sum(axis=-1))
    np.testing.assert_allclose(np.expm1(found.x).sum(axis=-1), 1e4)
    population.bins[:] = 0
    placebo = edit.states(4, 1)
    np.testing.assert_allclose(placebo.total, found.total)
    assert not np.allclose(placebo.counts, found.counts)


WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "depth": (LibrarySize([1.0, 0.0]), ValueError, "`fractions` must be two or more"),
    "replicates": (LibrarySize(replicates=0), ValueError, "`replicates` must be a whole number"),
    "share": (Share("MT-", shares=[0, 1.5]), ValueError, "`shares` must be"),
    "class": (Share("RPL"), ValueError, "`genes`: none of the 1 genes"),
    "profile": (AmbientRNA([1.0, 2.0]), ValueError, "`profile` must hold 20 numbers"),
    "profile below 0": (AmbientRNA(-np.ones(20)), ValueError, "none negative"),  # type: ignore[arg-type]
    "column": (Doublet("type", "C"), KeyError, "'type' is no column of labels"),
    "group": (Doublet("cell_type", "D"), ValueError, "`partner` 'D' is no group .* 'A', 'B', 'C'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input(population: Population, case: str) -> None:
    editor, error, message = WRONG[case]
    with pytest.raises(error, match=message):
        editor.bind(population, "p")


def test_thinning_needs_molecules(population: Population) -> None:
    with pytest.raises(ValueError, match="needs whole counts"):
        LibrarySize().bind(replace(population, whole=False), "depth")
