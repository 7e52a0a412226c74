"""The evaluator for tree ensembles: features that no tree splits on are never evaluated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.evaluators.dead import skip_dead
from sensx_sc.evaluators.dense import DenseEvaluator

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sensx_sc.evaluators.protocol import Floats, Ints
    from sensx_sc.models.qoi import Response

_TREES = ("DecisionTree", "ExtraTree")
_ENSEMBLES = ("RandomForest", "ExtraTrees", "GradientBoosting")
_HISTOGRAMS = ("HistGradientBoosting",)
_ENDINGS = ("Classifier", "Regressor")


class TreeEvaluator(DenseEvaluator):
    """Rows are written out for the features that some tree splits on, and for no others.

    Parameters
    ----------
    used
        Which of the n features any tree splits on.
    """

    name = "trees"

    def __init__(
        self,
        response: Response,
        dtype: np.dtype[np.floating],
        rows: int,
        used: NDArray[np.bool_],
    ) -> None:
        super().__init__(response, dtype, rows)
        self.used = used

    def walks(
        self,
        x: Floats,
        target: Ints,
        q_x: Floats,
        cell: Ints,
        free: Ints,
        endpoint: Floats,
        order: Ints,
    ) -> Floats:
        def live_walks(features: Ints, end: Floats, steps: Ints) -> Floats:
            return DenseEvaluator.walks(self, x, target, q_x, cell, features, end, steps)

        return skip_dead(self.used[free], q_x, cell, free, endpoint, order, live_walks)


def used_features(estimator: Any, n_features: int) -> NDArray[np.bool_] | None:
    """Which features the trees of a fitted scikit-learn model split on, (n,).

    None for anything else, subclasses of its models included: they may read what they like.
    """
    if not type(estimator).__module__.startswith("sklearn."):
        return None
    name = type(estimator).__name__
    if _is(name, _TREES):
        splits = [estimator.tree_.feature]
    elif _is(name, _ENSEMBLES):
        # A gradient booster may start from a model of its own, which reads the input, too.
        if not isinstance(getattr(estimator, "init", None), str | None):
            return None
        splits = [tree.tree_.feature for tree in np.ravel(np.asarray(estimator.estimators_))]
    elif _is(name, _HISTOGRAMS):
        nodes = [tree.nodes for iteration in estimator._predictors for tree in iteration]
        splits = [tree["feature_idx"][tree["is_leaf"] == 0] for tree in nodes]
    else:
        return None
    found = np.concatenate(splits).astype(np.int64)
    used = np.zeros(n_features, dtype=bool)
    used[found[found >= 0]] = True  # a leaf has a negative feature
    return used


def _is(name: str, stems: tuple[str, ...]) -> bool:
    return any(name == stem + ending for stem in stems for ending in _ENDINGS)
