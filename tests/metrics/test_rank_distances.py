"""Rank distances by definition, neighbours by brute force, the graph against UMAP's own."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from sensx_sc.metrics import rank_distances
from sensx_sc.metrics import rank_distances as distances
from sensx_sc.metrics.rank_distances import fuzzy_graph, nearest, rank_profiles


@pytest.fixture
def scores(rng: np.random.Generator) -> np.ndarray:
    groups = rng.normal(size=(3, 40))
    return groups[np.arange(30) % 3] + 0.5 * rng.normal(size=(30, 40))


def savage(place: np.ndarray) -> np.ndarray:
    n = len(place)
    return np.array([sum(1 / j for j in range(r, n + 1)) for r in place])


def test_distances_by_definition(scores: np.ndarray) -> None:
    size = np.abs(scores)
    place = np.argsort(np.argsort(-size, axis=1, kind="stable"), axis=1) + 1
    found = {name: rank_distances(scores, name, k=10) for name in ("spearman", "savage", "overlap")}
    for i, j in ((0, 3), (0, 1), (7, 22)):
        assert found["spearman"][i, j] == pytest.approx(
            1 - spearmanr(size[i], size[j])[0], abs=1e-5
        )
        expected = 1 - pearsonr(savage(place[i]), savage(place[j]))[0]
        assert found["savage"][i, j] == pytest.approx(expected, abs=1e-5)
        shared = len(set(np.argsort(-size[i])[:10]) & set(np.argsort(-size[j])[:10]))
        assert found["overlap"][i, j] == pytest.approx(1 - shared / 10, abs=1e-6)


def test_features_that_were_not_tested_change_nothing(scores: np.ndarray) -> None:
    more = np.full((30, 50), np.nan)
    more[:, 5:45] = scores
    for metric in ("spearman", "savage", "overlap"):
        np.testing.assert_allclose(
            rank_distances(more, metric, k=7),
            rank_distances(scores, metric, k=7),
            atol=1e-5,  # type: ignore[arg-type]
        )


def test_savage_looks_at_the_top(rng: np.random.Generator) -> None:
    """Two rankings that share their top and nothing else, and two that share all but the top."""
    base = np.linspace(1, 0, 200)
    same_top, same_rest = base.copy(), base.copy()
    rng.shuffle(same_top[20:])
    same_rest[:10] = -1 - np.arange(10)
    same_rest -= same_rest.min()
    scores = np.stack([base, same_top, same_rest])
    spearman, top = rank_distances(scores, "spearman")[0], rank_distances(scores, "savage")[0]
    assert spearman[2] < spearman[1]
    assert top[1] < top[2]


def test_nearest_in_blocks(scores: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    from sensx_sc.metrics import rank_distances as module_name  # noqa: F401

    profile = rank_profiles(scores)
    whole = 1 - profile.astype(float) @ profile.T.astype(float)
    np.fill_diagonal(whole, -1)
    expected = np.argsort(whole, axis=1)[:, :6]
    import sys

    monkeypatch.setattr(sys.modules["sensx_sc.metrics.rank_distances"], "_ROW_BYTES", 4 * 40 * 7)
    index, distance = nearest(lambda part: profile[part], 30, 40, 6)
    np.testing.assert_array_equal(index, expected)
    np.testing.assert_allclose(
        distance[:, 1:], np.take_along_axis(whole, expected, axis=1)[:, 1:], atol=1e-6
    )
    assert (distance[:, 0] == 0).all()


def test_the_graph_is_umaps(scores: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        umap_ = pytest.importorskip("umap.umap_")
    profile = rank_profiles(scores, "spearman")
    index, distance = nearest(lambda part: profile[part], 30, 40, 8)
    # The functions before they are compiled, which would take longer than all the rest.
    knn = distance.astype(np.float32)
    sigmas, rhos = umap_.smooth_knn_dist.py_func(knn, 8.0)
    rows, columns, strength, _ = umap_.compute_membership_strengths.py_func(
        index.astype(np.int32), knn, sigmas, rhos
    )
    one = np.zeros((30, 30))
    np.add.at(one, (rows, columns), strength)
    mine = fuzzy_graph(index, distance, 30)
    np.testing.assert_allclose(mine.toarray(), one + one.T - one * one.T, atol=2e-4)


def test_the_graph_of_equal_cells_is_finite() -> None:
    index = np.tile(np.arange(4), (4, 1))
    graph = fuzzy_graph(index, np.zeros((4, 4)), 4)
    assert np.isfinite(graph.toarray()).all()
    assert graph.max() == 1


@pytest.mark.parametrize(
    ("scores", "how", "match"),
    [
        (np.ones((2, 3)), {"metric": "kendall"}, "`metric` must be one of .*got 'kendall'"),
        (np.ones(3), {}, r"must be \(cells, features\)"),
        (np.ones((2, 3)), {"k": 0}, "`k` at least 1"),
        (np.full((2, 3), np.nan), {}, "2 rows of `scores` have no score"),
    ],
)
def test_refused(scores: Any, how: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        distances(scores, **how)
