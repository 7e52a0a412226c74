"""The protocol by hand: linear responses, trapezoids, ties."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sensx_sc.metrics import curve_auc, perturbation_curve
from sensx_sc.metrics.perturbation import by_size, check_ks, default_ks


def test_a_linear_response_by_hand(rng: np.random.Generator) -> None:
    w, x, ends = rng.normal(size=6), rng.normal(size=6), rng.normal(size=(5, 6))
    scores = np.array([0.1, -3.0, 2.0, 2.0, np.nan, 0.5])
    order = [1, 2, 3, 5, 0]  # by size, ties by index, never the unknown one
    for bottom in (False, True):
        along = order[::-1] if bottom else order
        found = perturbation_curve(lambda z: z @ w, x, scores, ends, range(6), bottom=bottom)
        for k in range(6):
            moved = along[:k]
            expected = x @ w + (ends[:, moved] - x[moved]) @ w[moved]
            np.testing.assert_allclose(found[k], expected, rtol=1e-12)


def test_the_best_ranking_of_a_linear_response_falls_first() -> None:
    """Against all 120 orders of five features: the largest weights first is the best."""
    from itertools import permutations

    w, x, ends = np.array([5.0, 3.0, 2.0, 1.0, 0.5]), np.ones(5), np.zeros((1, 5))
    areas = {}
    for order in permutations(range(5)):
        scores = np.empty(5)
        scores[list(order)] = np.arange(5, 0, -1)
        q = perturbation_curve(lambda z: z @ w, x, scores, ends, [1, 2, 3, 4, 5])
        areas[order] = float(curve_auc(q[:, 0] / w.sum(), [1, 2, 3, 4, 5], 5))
    assert min(areas, key=areas.__getitem__) == (0, 1, 2, 3, 4)
    assert max(areas, key=areas.__getitem__) == (4, 3, 2, 1, 0)


def test_area_by_trapezoids() -> None:
    assert curve_auc([0.0, 0.0], [1, 4], 4) == pytest.approx(0.125)
    assert curve_auc([1.0, 1.0], [1, 4], 4) == pytest.approx(1.0)
    assert curve_auc([0.5, 0.2], [2, 4], 4) == pytest.approx(0.5 * 0.75 + 0.5 * 0.35)
    # k = 0 is 1 unless it is given
    assert curve_auc([1.0, 0.5, 0.2], [0, 2, 4], 4) == pytest.approx(0.55)
    # only half of the features were moved: the mean over that half
    assert curve_auc([0.5], [2], 4) == pytest.approx(0.75)
    assert curve_auc(np.full((2, 3, 2), 0.5), [1, 2], 2).shape == (2, 3)


def test_areas_of_top_and_bottom_mirror_each_other() -> None:
    """A linear response moved to its zero: the areas of top and bottom sum to one."""
    w = np.array([4.0, 3.0, 2.0, 1.0])
    ks = np.arange(1, 5)
    q = [
        perturbation_curve(lambda z: z @ w, np.ones(4), w, np.zeros((1, 4)), ks, bottom=bottom)
        for bottom in (False, True)
    ]
    areas = [float(curve_auc(part[:, 0] / w.sum(), ks, 4)) for part in q]
    assert sum(areas) == pytest.approx(1.0)


def test_default_ks_are_the_papers() -> None:
    ks = default_ks(27_399)
    assert len(ks) == 55
    assert (ks[0], ks[-1]) == (1, 27_399)
    assert np.ptp(np.diff(ks)) <= 1
    assert default_ks(10).tolist() == list(range(1, 11))
    assert default_ks(1).tolist() == [1]


def test_order_by_size() -> None:
    assert by_size(np.array([np.nan, -2.0, 2.0, 5.0, 0.0])).tolist() == [3, 1, 2, 4]
    assert by_size(np.full(3, np.nan)).tolist() == []


@pytest.mark.parametrize(
    "ks", [[], [0.5, 2], [2, 1], [1, 1], [-1, 2], [1, 9], "all", [[1, 2]], None, [np.nan, 1]]
)
def test_ks_that_are_refused(ks: Any) -> None:
    with np.errstate(invalid="ignore"), pytest.raises(ValueError, match="`ks` must be"):
        check_ks(ks, 8)


@pytest.mark.parametrize(
    ("how", "match"),
    [
        ({"x": np.ones((2, 3))}, "one entry a feature"),
        ({"scores": np.ones(2)}, r"shapes \(3,\), \(2,\) and \(1, 3\)"),
        ({"endpoints": np.ones(3)}, "one row a draw"),
        ({"ks": [5]}, "from 0 to 3"),
    ],
)
def test_curves_that_are_refused(how: dict[str, Any], match: str) -> None:
    arguments = {"x": np.ones(3), "scores": np.ones(3), "endpoints": np.ones((1, 3)), "ks": [1]}
    with pytest.raises(ValueError, match=match):
        perturbation_curve(lambda z: z.sum(axis=1), **(arguments | how))


@pytest.mark.parametrize(
    ("ratio", "ks", "match"),
    [
        ([1.0], [1, 2], "one entry for each of the 2 ks"),
        (1.0, [1], "one entry for each"),
        ([1.0], [0], "beyond 0"),
    ],
)
def test_areas_that_are_refused(ratio: Any, ks: list[int], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        curve_auc(ratio, ks, 4)
