"""Reads the trees of LightGBM's boosters, and of its scikit-learn estimators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.evaluators.trees.ensemble import Reading, Tree, make_ensemble

if TYPE_CHECKING:
    from collections.abc import Callable

    from sensx_sc.evaluators.protocol import Floats, Ints
    from sensx_sc.evaluators.trees.ensemble import Sums

_NAMES = ("LGBMClassifier", "LGBMRegressor", "Booster")
_SMALLEST = float(np.float32(1e-35))  # LightGBM takes smaller values for zero
# The bits of a node's decision type; what counts as missing is nothing, zero or NaN.
_DEFAULT_LEFT, _MISSING, _ZERO = 2, 12, 4


def read_lightgbm(estimator: Any, method: str) -> Reading | None:
    """The trees behind a method of a fitted estimator; None for a subclass of LightGBM's own."""
    if type(estimator).__name__ not in _NAMES:
        return None
    booster = getattr(estimator, "booster_", estimator)
    # The rounds that predictions use: up to the best one, if training stopped early.
    header, *parts = booster.model_to_string().split("\nTree=")
    about = _fields(header)
    fields = [_fields(part.split("\n\n")[0]) for part in parts]
    n_sums = int(about["num_tree_per_iteration"])
    trees = [_tree(field, t % n_sums) for t, field in enumerate(fields)]
    used = np.unique(np.concatenate([tree.feature[tree.left >= 0] for tree in trees]))
    if any(field["num_cat"] != "0" for field in fields):
        return Reading(used, "it has categorical features")
    if any(field.get("is_linear", "0") != "0" for field in fields):
        return Reading(used, "its leaves are linear models")
    if booster is not estimator and estimator.get_params().get("pred_early_stop"):
        return Reading(used, "its predictions stop early")
    link = _link(about, len(trees) // n_sums, method, classifies=hasattr(estimator, "classes_"))
    if isinstance(link, str):
        return Reading(used, link)
    zeros = any((_integers(field, "decision_type") & _MISSING == _ZERO).any() for field in fields)
    missing = 0.0 if zeros else None
    ensemble = make_ensemble(trees, np.zeros(n_sums), link, _without_tiny, missing=missing)
    return Reading(used, ensemble)


def _fields(text: str) -> dict[str, str]:
    return {
        name: value
        for name, _, value in (line.partition("=") for line in text.splitlines())
        if name
    }


def _integers(field: dict[str, str], name: str) -> Ints:
    return np.array(field.get(name, "").split(), dtype=np.int64)


def _tree(field: dict[str, str], column: int) -> Tree:
    """Nodes first, leaves after them: in LightGBM's text leaf j is the child -1 - j."""
    leaf = np.array(field["leaf_value"].split(), dtype=np.float64)
    if len(leaf) == 1:
        alone = np.array([-1])
        return Tree(alone, alone, np.zeros(1, np.int64), np.zeros(1), leaf, column)
    n = len(leaf) - 1
    left, right = (_integers(field, f"{side}_child") for side in ("left", "right"))
    none, nothing = np.full(n + 1, -1), np.zeros(n + 1)
    threshold = np.array(field["threshold"].split(), dtype=np.float64)
    kind = _integers(field, "decision_type")
    missing_left = np.where(kind & _MISSING == _ZERO, kind & _DEFAULT_LEFT != 0, threshold >= 0)
    return Tree(
        left=np.concatenate([np.where(left < 0, n - 1 - left, left), none]),
        right=np.concatenate([np.where(right < 0, n - 1 - right, right), none]),
        feature=np.concatenate([_integers(field, "split_feature"), nothing.astype(np.int64)]),
        threshold=np.concatenate([threshold, nothing]),
        leaf=np.concatenate([np.zeros(n), leaf]),
        column=column,
        missing_left=np.concatenate([missing_left, nothing.astype(bool)]),
    )


def _without_tiny(values: Floats) -> Floats:
    return np.where(np.abs(values) <= _SMALLEST, 0.0, values)


def _link(
    about: dict[str, str], n_rounds: int, method: str, *, classifies: bool
) -> Callable[[Sums], Floats] | str:
    """From sums to outputs, or why that is not known."""
    if classifies and method == "predict":
        return "its outputs are class labels"
    objective, *words = about.get("objective", "custom").split()
    settings = dict(word.split(":", 1) for word in words if ":" in word)
    averages = "average_output" in about
    if averages and method == "decision_function":
        return "its trees are averaged"
    if "sqrt" in words:
        return "its objective is a square root's"
    steepness = float(settings.get("sigmoid", "1"))
    probability = _LINKS.get(objective)
    if probability is None:
        return f"its objective is {objective!r}"

    def outputs(sums: Sums) -> Floats:
        if averages:
            sums = sums / np.float64(n_rounds)
        if method == "decision_function":
            return np.asarray(sums)
        with np.errstate(over="ignore"):
            return probability(sums, steepness)

    return outputs


def _same(sums: Sums, _: float) -> Floats:
    return np.asarray(sums)


def _exponential(sums: Sums, _: float) -> Floats:
    return np.asarray(np.exp(sums))


def _sigmoid(sums: Sums, steepness: float) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-steepness * sums)))


def _two_classes(sums: Sums, steepness: float) -> Floats:
    second = _sigmoid(sums, steepness)
    return np.concatenate([1.0 - second, second], axis=1)


def _softmax(sums: Sums, _: float) -> Floats:
    weights = np.exp(sums - sums.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


_LINKS: dict[str, Callable[[Sums, float], Floats]] = {
    **dict.fromkeys(("regression", "regression_l1", "huber", "fair", "quantile", "mape"), _same),
    **dict.fromkeys(("poisson", "gamma", "tweedie"), _exponential),
    "binary": _two_classes,
    "multiclass": _softmax,
    "multiclassova": _sigmoid,
}
