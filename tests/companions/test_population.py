"""How the model's input comes from counts, and properties of cells."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

import sensx_sc as sx
from sensx_sc.companions.population import (
    Detected,
    LinearModelT,
    LogTotal,
    Population,
    Score,
    ShareOf,
    make_population,
)

GENES = tuple("abcdef")


def made(x: object, counts: object) -> Population:
    n = np.shape(x)[0]
    return make_population(x, counts, GENES, tuple(map(str, range(n))), {}, 0)


@pytest.fixture
def counts(rng: np.random.Generator) -> np.ndarray:
    return rng.poisson(3.0, (8, 6)).astype(np.float64)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
def test_log_normalised_over_these_genes(counts: np.ndarray, kind: type) -> None:
    x = np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True))
    found = made(kind(x), kind(counts))
    assert found.log
    assert found.whole
    np.testing.assert_allclose(found.factor, 1e4 / counts.sum(axis=1))
    np.testing.assert_allclose(found.total, counts.sum(axis=1))
    for i in range(8):
        states = found.of(i)
        np.testing.assert_allclose(states.x[0, 0], x[i], rtol=1e-12)
        assert states.total[0, 0] == pytest.approx(counts[i].sum())


def test_log_normalised_over_more_genes(counts: np.ndarray) -> None:
    """A subset of genes: the counts of the others are known from the size factor."""
    library = counts.sum(axis=1) + 100
    found = made(np.log1p(1e4 * counts / library[:, None]), counts)
    np.testing.assert_allclose(found.total, library)
    np.testing.assert_allclose(found.of(2).total[0, 0], library[2])


def test_another_target_sum(counts: np.ndarray) -> None:
    """Beyond 10,000 the largest sum is what was scaled to."""
    found = made(np.log1p(1e6 * counts / counts.sum(axis=1, keepdims=True)), counts)
    np.testing.assert_allclose(found.total, counts.sum(axis=1))


def test_counts_themselves(counts: np.ndarray) -> None:
    found = made(counts, sparse.csr_matrix(counts))
    assert not found.log
    np.testing.assert_array_equal(found.of(3).x[0, 0], counts[3])


def test_without_counts(counts: np.ndarray) -> None:
    x = np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True))
    for given in (x, sparse.csr_matrix(x, dtype=np.float32)):
        found = made(given, None)
        assert not found.whole
        np.testing.assert_allclose(found.of(1).x[0, 0], x[1], rtol=1e-6)
        np.testing.assert_allclose(found.total, 1e4, rtol=1e-6)


def test_a_cell_without_counts(counts: np.ndarray) -> None:
    counts[2] = 0
    x = np.log1p(1e4 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))
    np.testing.assert_array_equal(made(x, counts).of(2).x, 0)


def test_wrong_input(counts: np.ndarray) -> None:
    x = np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True))
    with pytest.raises(ValueError, match="negative values.*is it scaled"):
        made(x - x.mean(axis=0), counts)
    with pytest.raises(ValueError, match="not log1p of the counts scaled per cell: in cell 0"):
        made(np.sqrt(x), counts)


def test_closed_edits_keep_the_sum_open_ones_the_other_genes(counts: np.ndarray) -> None:
    population = made(np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True)), counts)
    edited = counts[4] * np.array([[[1.0, 1, 1, 1, 5, 1]], [[0, 1, 1, 1, 1, 1]]])
    opened, closed = population.open(4, edited), population.closed(4, edited)
    np.testing.assert_allclose(np.expm1(closed.x).sum(axis=-1), 1e4)
    np.testing.assert_allclose(opened.x[0, 0, :4], population.of(4).x[0, 0, :4])
    np.testing.assert_allclose(opened.total[:, 0], edited.sum(axis=-1)[:, 0])
    x = population.of(4).x + np.array([0, 0, 0.3, -9, 0, 0])
    shifted = population.shifted(4, x)
    np.testing.assert_allclose(shifted.x, np.maximum(x, 0))
    np.testing.assert_allclose(population.open(4, shifted.counts).x, shifted.x, atol=1e-9)


def test_a_cell_that_loses_everything_expresses_nothing(counts: np.ndarray) -> None:
    population = made(np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True)), counts)
    states = population.closed(4, np.zeros((2, 1, 6)))
    np.testing.assert_array_equal(states.x, 0)
    np.testing.assert_allclose(states.total, 0, atol=1e-12)
    np.testing.assert_array_equal(population.closed(4, np.zeros((1, 1, 6)), np.zeros((1, 1))).x, 0)


def test_moments_profile_and_bins(population: Population) -> None:
    x = np.concatenate([states.x[:, 0] for _, states in population.blocks()])
    mean, deviation = population.moments
    np.testing.assert_allclose(mean, x.mean(axis=0))
    np.testing.assert_allclose(deviation, x.std(axis=0))
    np.testing.assert_allclose(population.largest, x.max(axis=0))
    np.testing.assert_allclose(population.profile.sum(), 1)
    order = np.argsort(mean)
    assert (np.diff(population.bins[order]) >= 0).all()


def test_properties_of_cells(population: Population) -> None:
    counts = np.asarray(population.counts)
    np.testing.assert_allclose(population.measured(LogTotal()), np.log10(counts.sum(axis=1)))
    np.testing.assert_allclose(population.measured(Detected()), (counts > 0).sum(axis=1))
    members = np.array([3, 9])
    share = counts[:, members].sum(axis=1) / counts.sum(axis=1)
    np.testing.assert_allclose(population.measured(ShareOf("s", members)), share)


def test_score(population: Population) -> None:
    mean, deviation = population.moments
    x = np.concatenate([states.x[:, 0] for _, states in population.blocks()])
    z = (x - mean) / deviation
    members, controls, weights = np.array([1, 4]), np.array([7, 8, 9]), np.array([1.0, -0.5])
    found = population.measured(Score("s", members, weights, controls, mean, deviation))
    expected = (z[:, 1] - 0.5 * z[:, 4]) / 1.5 - z[:, controls].mean(axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_univariate_linear_model(population: Population, rng: np.random.Generator) -> None:
    from scipy.stats import linregress

    mean, deviation = population.moments
    weights = np.where(rng.random(20) < 0.4, rng.normal(size=20), 0.0)
    found = population.measured(LinearModelT("t", weights, mean, deviation))
    for i in (0, 17, 59):
        z = (population.of(i).x[0, 0] - mean) / deviation
        fit = linregress(weights, z)
        np.testing.assert_allclose(found[i], fit.slope / fit.stderr, rtol=1e-9)


def test_names_and_labels(population: Population) -> None:
    assert population.find(["gene_1", "nothing", "gene_0"], "genes").tolist() == [1, 0]
    with pytest.raises(ValueError, match="`genes`: none of the 2 genes .'x', 'y'. is among"):
        population.find(["x", "y"], "genes")
    with pytest.raises(KeyError, match="'donor' is no column of labels; there are: 'cell_type'"):
        population.label("donor")


def test_the_real_data_are_log1p_cp10k_of_their_counts() -> None:
    adata = sx.datasets.pbmc()[:30]
    found = make_population(
        adata.X, adata.layers["counts"], tuple(adata.var_names), tuple(adata.obs_names), {}, 0
    )
    counts = np.asarray(adata.layers["counts"].sum(axis=1)).ravel()
    np.testing.assert_allclose(found.total, counts, rtol=1e-5)
    np.testing.assert_allclose(found.of(3).x[0, 0], adata.X[3].toarray()[0], rtol=1e-5)
