"""Reads the trees of XGBoost's scikit-learn estimators."""

from __future__ import annotations

import copy
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.evaluators.trees.ensemble import Reading, Tree, UnreadableError, make_ensemble, single

if TYPE_CHECKING:
    from sensx_sc.evaluators.protocol import Floats
    from sensx_sc.evaluators.trees.ensemble import Sums

_NAMES = ("XGBClassifier", "XGBRegressor", "XGBRFClassifier", "XGBRFRegressor")


def read_xgboost(estimator: Any, method: str) -> Reading | None:
    """The trees behind a method of a fitted estimator; None for a subclass of XGBoost's own.

    Raises
    ------
    UnreadableError
        It has no trees.
    """
    if type(estimator).__name__ not in _NAMES:
        return None
    document = json.loads(bytes(estimator.get_booster().save_raw("json")))
    booster = document["learner"]["gradient_booster"]
    name = booster["name"]
    if name not in ("gbtree", "dart"):
        msg = f"its booster is {name!r}"
        raise UnreadableError(msg)
    model = booster["gbtree"]["model"] if name == "dart" else booster["model"]
    nodes = model["trees"]
    best = getattr(estimator, "best_iteration", None)
    if best is not None:
        nodes = nodes[: model["iteration_indptr"][best + 1]]
    if not nodes:
        msg = "it has no trees"
        raise UnreadableError(msg)
    trees = [_tree(*tree) for tree in zip(nodes, model["tree_info"], strict=False)]
    used = np.unique(np.concatenate([tree.feature[tree.left >= 0] for tree in trees]))
    if name == "dart":
        return Reading(used, "its trees are weighted (dart)")
    if any(any(tree["split_type"]) for tree in nodes):
        return Reading(used, "it has categorical features")
    if any(int(tree["tree_param"]["size_leaf_vector"]) > 1 for tree in nodes):
        return Reading(used, "its leaves have several values")
    link = _Link(estimator, document, method)
    missing = float(np.float32(estimator.missing))
    ensemble = make_ensemble(
        trees, link.start(), link, single, missing=None if math.isnan(missing) else missing
    )
    return Reading(used, ensemble)


def _tree(tree: dict[str, Any], column: int) -> Tree:
    value = np.array(tree["split_conditions"], dtype=np.float32)
    return Tree(
        left=np.array(tree["left_children"]),
        right=np.array(tree["right_children"]),
        feature=np.array(tree["split_indices"]),
        # Smaller values than the threshold go left: those up to the number before it.
        threshold=np.nextafter(value, np.float32(-np.inf)),
        leaf=value,
        column=column,
        missing_left=np.array(tree["default_left"], dtype=bool),
    )


class _Link:
    """XGBoost's own way from margins to outputs: the estimator, stripped of its trees.

    It starts from margins that it is given, so its outputs are those of the whole to the last
    bit, whatever the objective.
    """

    def __init__(self, estimator: Any, document: dict[str, Any], method: str) -> None:
        from xgboost import Booster

        learner = document["learner"]
        model = learner["gradient_booster"]["model"]
        model.update(trees=[], tree_info=[], iteration_indptr=[0])
        model["gbtree_model_param"]["num_trees"] = "0"
        learner.update(feature_names=[], feature_types=[], attributes={})
        # The intercept is there, and must not be fitted again.
        learner["learner_model_param"].update(num_feature="1", boost_from_average="0")
        booster = Booster({"nthread": 1})
        booster.load_model(bytearray(json.dumps(document).encode()))
        self._bare = copy.copy(estimator)
        self._bare._Booster = booster
        self._method = getattr(type(estimator), method)

    def start(self) -> Sums:
        """The intercepts, (K,)."""
        empty = np.zeros((1, 1), dtype=np.float32)
        margins = type(self._bare).predict(self._bare, empty, output_margin=True)
        return np.asarray(margins, dtype=np.float32).ravel()

    def __call__(self, sums: Sums) -> Floats:
        empty = np.zeros((len(sums), 1), dtype=np.float32)
        found = self._method(self._bare, empty, base_margin=sums)
        return np.asarray(found, dtype=np.float64).reshape(len(sums), -1)
