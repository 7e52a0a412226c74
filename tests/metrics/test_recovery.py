"""Measures of recovery by hand and against scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensx_sc.metrics import auroc, hits, precision_recall, top_k_accuracy

SCORES = np.array([[5.0, -4.0, 3.0, np.nan, 1.0], [1.0, 2.0, 3.0, 4.0, 5.0]])
TRUTH = np.array([[True, True, False, True, False], [False, False, False, True, True]])


def test_accuracy_by_hand() -> None:
    # first: order 0, 1, 2, 4; second: 4, 3, 2, 1, 0
    np.testing.assert_allclose(top_k_accuracy(SCORES, TRUTH, [1, 2, 3]), [1.0, 1.0, 0.0])
    assert top_k_accuracy(SCORES, TRUTH[0], 1)[0] == 0.5
    # a feature without a score is no mistake, and no help
    assert top_k_accuracy(SCORES[:1, :4], np.array([True, True, True, False]), 4)[0] == 1.0


def test_hits_by_hand() -> None:
    assert hits(SCORES, TRUTH, 2).tolist() == [2, 2]
    assert hits(SCORES, TRUTH, 20).tolist() == [2, 2]
    assert hits(SCORES, TRUTH[0], 2).tolist() == [2, 1]


@given(st.integers(0, 10_000))
def test_auroc_is_sklearns(seed: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    scores, truth = rng.integers(-4, 5, (3, 12)).astype(float), rng.random((3, 12)) < 0.4
    truth[:, 0], truth[:, 1] = True, False
    expected = [metrics.roc_auc_score(t, np.abs(s)) for s, t in zip(scores, truth, strict=True)]
    np.testing.assert_allclose(auroc(scores, truth), expected)


def test_auroc_of_nothing() -> None:
    assert np.isnan(auroc([[1.0, 2.0]], [True, True]))[0]
    assert np.isnan(auroc([[np.nan, 2.0]], [True, False]))[0]


def test_precision_and_recall_by_hand() -> None:
    precision, recall = precision_recall(SCORES, TRUTH, [1, 2, 4, 5])
    np.testing.assert_allclose(precision[0], [1, 1, 0.5, 0.5])
    np.testing.assert_allclose(recall[0], [0.5, 1, 1, 1])
    np.testing.assert_allclose(precision[1], [1, 1, 0.5, 0.4])
    assert np.isnan(precision_recall([[1.0, 2.0]], [False, False], [1])[1]).all()


WRONG: list[tuple[Any, tuple[Any, ...], str]] = [
    (top_k_accuracy, (np.ones(3), [True] * 3, [1]), r"`scores` must be \(inputs, features\)"),
    (top_k_accuracy, (np.ones((2, 3)), [1, 0, 1], [1]), "`relevant` bool"),
    (top_k_accuracy, (np.ones((2, 3)), [True] * 4, [1]), "a feature a column"),
    (top_k_accuracy, (np.ones((2, 3)), np.ones((3, 3), bool), [1]), "has 3 rows for 2 inputs"),
    (top_k_accuracy, (np.ones((2, 3)), [True] * 3, [4]), "`ks` must be whole numbers from 1 to 3"),
    (top_k_accuracy, (np.ones((2, 3)), [True] * 3, [0.5]), "`ks` must be whole"),
    (hits, (np.ones((2, 3)), [True] * 3, 0), "`k` must be at least 1; got 0"),
]


@pytest.mark.parametrize(("function", "arguments", "match"), WRONG)
def test_refused(function: Any, arguments: tuple[Any, ...], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        function(*arguments)
