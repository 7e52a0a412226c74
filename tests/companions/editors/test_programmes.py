"""Edits of gene programmes, pathways and single genes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from sensx_sc.companions import GeneDose, GeneProgramme, Pathway

if TYPE_CHECKING:
    from sensx_sc.companions.population import Population

GENES = ["gene_1", "gene_4", "gene_7"]
AT = [1, 4, 7]


def test_fold_changes_of_counts(population: Population) -> None:
    edit = GeneProgramme(GENES, composition="open").bind(population, "p")
    assert len(edit.strengths) == 41
    assert edit.origin == 20
    own, found = population.of(3), edit.states(3, 0)
    assert found.x.shape == (41, 1, 20)
    np.testing.assert_allclose(found.x[20], own.x[0])
    counts = own.counts[0, 0, AT] * 2.0 ** edit.strengths[:, None]
    np.testing.assert_allclose(found.counts[:, 0, AT], counts)
    np.testing.assert_allclose(found.x[:, 0, AT], np.log1p(population.factor[3] * counts))
    others = np.setdiff1d(np.arange(20), AT)
    np.testing.assert_allclose(found.x[:, 0, others], np.tile(own.x[0, 0, others], (41, 1)))


def test_closed_composition_makes_the_others_give_way(population: Population) -> None:
    edit = GeneProgramme(GENES, strengths=[0, 2]).bind(population, "p")
    found = edit.states(3, 0)
    np.testing.assert_allclose(np.expm1(found.x).sum(axis=-1), 1e4)
    others = np.setdiff1d(np.arange(20), AT)
    there = found.counts[0, 0, others] > 0
    assert (found.x[1, 0, others][there] < found.x[0, 0, others][there]).all()
    np.testing.assert_allclose(found.counts[1, 0, others], found.counts[0, 0, others])


def test_shifts_reach_genes_without_counts(population: Population) -> None:
    edit = GeneProgramme(GENES, mode="add", composition="open").bind(population, "p")
    cell = int(np.flatnonzero(np.asarray(population.counts)[:, 4] == 0)[0])
    found, sigma = edit.states(cell, 0), population.moments[1][AT]
    own = population.of(cell).x[0, 0, AT]
    expected = np.maximum(own + edit.strengths[:, None] * sigma, 0)
    np.testing.assert_allclose(found.x[:, 0, AT], expected)
    assert found.x[-1, 0, 4] > 0
    closed = GeneProgramme(GENES, mode="add").bind(population, "p").states(cell, 0)
    np.testing.assert_allclose(np.expm1(closed.x).sum(axis=-1), 1e4)


def test_what_is_measured_is_the_score(population: Population) -> None:
    edit = GeneProgramme(GENES, composition="open").bind(population, "p")
    m = edit.measure(edit.states(3, 0), 3, 0)
    assert m.shape == (41, 1)
    assert (np.diff(m[:, 0]) > 0).all()
    assert edit.prop is not None
    np.testing.assert_allclose(m[20, 0], population.measured(edit.prop)[3])
    # An open edit moves the score by the genes' own z-scores: controls stay.
    mean, deviation = population.moments
    z = ((edit.states(3, 0).x[:, 0] - mean) / deviation)[:, AT].mean(axis=1)
    np.testing.assert_allclose(m[:, 0] - m[20, 0], z - z[20], atol=1e-12)


def test_weights_sign_and_scale_the_change(population: Population) -> None:
    edit = GeneProgramme({"gene_1": 4.0, "gene_4": -2.0}, composition="open").bind(population, "p")
    found = edit.states(3, 0).counts[:, 0]
    own = population.of(3).counts[0, 0]
    np.testing.assert_allclose(found[:, 1], own[1] * 2.0**edit.strengths)
    np.testing.assert_allclose(found[:, 4], own[4] * 2.0 ** (-0.5 * edit.strengths))


def test_placebos_are_other_genes_of_like_expression(population: Population) -> None:
    population.bins[:] = np.argsort(np.argsort(population.moments[0])) // 7
    edit = GeneProgramme(GENES, composition="open").bind(population, "p")
    own = population.of(3).counts[0, 0]
    sets = set()
    for placebo in range(1, 12):
        counts = edit.states(3, placebo).counts[:, 0]
        changed = np.flatnonzero(counts[0] != counts[-1])
        assert not set(changed.tolist()) & set(AT)
        bins = sorted(population.bins[AT].tolist())
        assert set(population.bins[changed].tolist()) <= set(bins)
        sets.add(tuple(changed.tolist()))
        np.testing.assert_allclose(counts[20], own)
        # Its own property is measured.
        m = edit.measure(edit.states(3, placebo), 3, placebo)[:, 0]
        assert (np.diff(m) >= -1e-12).all()
    assert len(sets) > 5
    again = GeneProgramme(GENES, composition="open").bind(population, "p")
    np.testing.assert_array_equal(again.states(3, 4).x, edit.states(3, 4).x)


def test_pathway_activity_is_the_t_value(population: Population) -> None:
    weights = {"gene_1": 1.0, "gene_4": -1.0, "gene_7": 0.5}
    edit = Pathway(weights, composition="open").bind(population, "p")
    m = edit.measure(edit.states(5, 0), 5, 0)[:, 0]
    assert edit.unit == "ULM t-value"
    assert m[-1] > m[20] > m[0]
    mean = Pathway(weights, score="weighted_mean", composition="open").bind(population, "p")
    assert mean.unit == "weighted z-score"
    np.testing.assert_array_equal(mean.states(5, 0).x, edit.states(5, 0).x)


@pytest.mark.parametrize("kind", ["range", "knock_out", "over_expression"])
def test_doses_of_one_gene(population: Population, kind: str) -> None:
    edit = GeneDose("gene_4", kind=kind).bind(population, "dose")  # type: ignore[arg-type]
    cell = int(np.flatnonzero(np.asarray(population.counts)[:, 4] > 0)[0])
    own, found = population.of(cell), edit.states(cell, 0)
    others = np.setdiff1d(np.arange(20), [4])
    np.testing.assert_allclose(found.x[:, 0, others], np.tile(own.x[0, 0, others], (41, 1)))
    x = found.x[:, 0, 4]
    np.testing.assert_array_equal(edit.measure(found, cell, 0)[:, 0], x)
    if kind == "range":
        top = np.asarray([s.x[:, 0, 4].max() for _, s in population.blocks()]).max()
        np.testing.assert_allclose(x, np.linspace(0, 1, 41) * top)
        assert edit.origin is None
    elif kind == "knock_out":
        assert x[-1] == 0
        assert x[0] == pytest.approx(own.x[0, 0, 4])
        assert edit.origin == 0
    else:
        counts = own.counts[0, 0, 4] * 2.0 ** np.linspace(0, 3, 41)
        np.testing.assert_allclose(found.counts[:, 0, 4], counts)
    population.bins[:] = 0
    moved = GeneDose("gene_4", kind=kind).bind(population, "d").states(cell, 3)  # type: ignore[arg-type]
    assert (moved.x[0, 0] != moved.x[-1, 0]).sum() <= 1
    assert moved.x[0, 0, 4] == moved.x[-1, 0, 4]


def test_wrong_input(population: Population) -> None:
    for make, message in (
        (lambda: GeneProgramme(GENES, mode="times"), "`mode` must be one of"),  # type: ignore[arg-type]
        (lambda: GeneProgramme(GENES, composition="half"), "`composition` must be one of"),  # type: ignore[arg-type]
        (lambda: Pathway({"gene_1": 1.0}, score="z"), "`score` must be one of"),  # type: ignore[arg-type]
        (lambda: GeneDose("gene_1", kind="up"), "`kind` must be one of"),  # type: ignore[arg-type]
    ):
        with pytest.raises(ValueError, match=message):
            make()
    with pytest.raises(TypeError, match="`weights` must map genes to numbers; got list"):
        Pathway(["gene_1"])  # type: ignore[arg-type]
    for editor, message in (
        (GeneProgramme(["CD4"]), "none of the 1 genes"),
        (GeneDose("CD4"), "`gene`: none of the 1 genes"),
        (GeneProgramme(GENES, strengths=[1.0]), "`strengths` must be two or more numbers"),
        (GeneProgramme({"gene_1": 0.0}), "finite and not all zero"),
        (GeneProgramme({"gene_1": np.nan}), "finite and not all zero"),
    ):
        with pytest.raises(ValueError, match=message):
            editor.bind(population, "p")
