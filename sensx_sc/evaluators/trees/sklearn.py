"""Reads the trees of fitted scikit-learn estimators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.evaluators.trees.ensemble import Reading, Tree, UnreadableError, make_ensemble, single

if TYPE_CHECKING:
    from collections.abc import Callable

    from sensx_sc.evaluators.protocol import Floats, Ints
    from sensx_sc.evaluators.trees.ensemble import Sums

_LABELS = "its outputs are class labels"


def read_sklearn(estimator: Any, method: str) -> Reading | None:
    """The trees behind a method of an estimator.

    Parameters
    ----------
    estimator
        Fitted. Subclasses of scikit-learn's models are not read: they may do what they like.
    method
        ``"predict_proba"``, ``"decision_function"`` or ``"predict"``.

    Returns
    -------
    None for estimators without trees.
    """
    name = type(estimator).__name__
    reader = _READERS.get(name.removesuffix("Classifier").removesuffix("Regressor"))
    return None if reader is None else reader(estimator, method)


def _read_forest(estimator: Any, method: str) -> Reading:
    members = getattr(estimator, "estimators_", [estimator])
    classifies = hasattr(estimator, "classes_")
    trees = []
    for member in members:
        value = member.tree_.value
        trees.append(_tree(member.tree_, value[:, 0] if classifies else value[:, :, 0]))
    if classifies and (method != "predict_proba" or estimator.n_outputs_ > 1):
        return Reading(_used(trees), _LABELS if method == "predict" else "it has several outputs")
    n_sums = trees[0].leaf.shape[1]

    def average(sums: Sums) -> Floats:
        return sums / np.float64(len(trees))

    ensemble = make_ensemble(trees, np.zeros(n_sums), average, single, separable=True)
    return Reading(ensemble.used, ensemble)


def _read_boosted(estimator: Any, method: str) -> Reading | None:
    # It may start from a model of its own, which reads the input, too.
    if not isinstance(estimator.init, str | None):
        return None
    rate = estimator.learning_rate
    trees = [
        _tree(member.tree_, rate * member.tree_.value[:, 0, 0], k)
        for stage in estimator.estimators_
        for k, member in enumerate(stage)
    ]
    if method == "predict" and hasattr(estimator, "classes_"):
        return Reading(_used(trees), _LABELS)
    zeros = np.zeros((1, estimator.n_features_in_), dtype=np.float32)
    start = np.array(estimator._raw_predict_init(zeros), dtype=np.float64)[0]
    loss = estimator._loss.predict_proba if method == "predict_proba" else _unchanged
    return _boosted(trees, start, _of_raw(loss), single)


def _read_histograms(estimator: Any, method: str) -> Reading:
    if estimator._preprocessor is not None:
        msg = "it has categorical features"
        raise UnreadableError(msg)
    trees = [
        _histogram_tree(predictor.nodes, k)
        for iteration in estimator._predictors
        for k, predictor in enumerate(iteration)
    ]
    if method == "predict" and hasattr(estimator, "classes_"):
        return Reading(_used(trees), _LABELS)
    start = np.ravel(np.array(estimator._baseline_prediction, dtype=np.float64))
    loss, link = estimator._loss, _unchanged
    if method != "decision_function":
        link = loss.predict_proba if method == "predict_proba" else loss.link.inverse
    return _boosted(trees, start, _of_raw(link), _unchanged)


def _boosted(
    trees: list[Tree],
    start: Floats,
    link: Callable[[Sums], Floats],
    rounded: Callable[[Floats], Floats],
) -> Reading:
    ensemble = make_ensemble(trees, start, link, rounded)
    return Reading(ensemble.used, ensemble)


def _of_raw(link: Callable[[Any], Any]) -> Callable[[Sums], Floats]:
    """A library's link, which takes one sum a row as a vector."""

    def outputs(sums: Sums) -> Floats:
        found = np.asarray(link(sums[:, 0] if sums.shape[1] == 1 else sums), dtype=np.float64)
        return found.reshape(len(sums), -1)

    return outputs


def _unchanged(values: Floats) -> Floats:
    return values


def _tree(tree: Any, leaf: Floats, column: int = 0) -> Tree:
    return Tree(tree.children_left, tree.children_right, tree.feature, tree.threshold, leaf, column)


def _histogram_tree(nodes: Any, column: int) -> Tree:
    if nodes["is_categorical"].any():
        msg = "it has categorical features"
        raise UnreadableError(msg)
    leaf = nodes["is_leaf"].astype(bool)
    left, right = (np.where(leaf, -1, nodes[side].astype(np.int64)) for side in ("left", "right"))
    feature = nodes["feature_idx"].astype(np.int64)
    return Tree(left, right, feature, nodes["num_threshold"], nodes["value"], column)


def _used(trees: list[Tree]) -> Ints:
    return np.unique(np.concatenate([tree.feature[tree.left >= 0] for tree in trees]))


_READERS: dict[str, Callable[[Any, str], Reading | None]] = {
    "DecisionTree": _read_forest,
    "ExtraTree": _read_forest,
    "RandomForest": _read_forest,
    "ExtraTrees": _read_forest,
    "GradientBoosting": _read_boosted,
    "HistGradientBoosting": _read_histograms,
}
