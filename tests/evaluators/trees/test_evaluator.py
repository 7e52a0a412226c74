"""Tree ensembles: the numbers of dense evaluation, from the trees that a step can change."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.base import BaseEstimator
from sklearn.ensemble import (
    AdaBoostClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import DecisionTreeClassifier, ExtraTreeRegressor
from xgboost import XGBClassifier, XGBRegressor, XGBRFClassifier, XGBRFRegressor

import sensx_sc as sx
from sensx_sc.core import make_domain
from sensx_sc.core.sampling import endpoints, make_design, orders, uniforms
from sensx_sc.core.walks import place
from sensx_sc.evaluators import DenseEvaluator, choose
from sensx_sc.evaluators.choose import choose_evaluator
from sensx_sc.evaluators.trees import runs
from sensx_sc.evaluators.trees.evaluator import TreeEvaluator, UsedFeaturesEvaluator
from sensx_sc.evaluators.walk_set import WalkSet
from sensx_sc.models.qoi import make_response

if TYPE_CHECKING:
    from collections.abc import Callable

    from sensx_sc.evaluators.protocol import Evaluator

N = 24
FEW: dict[str, Any] = {"n_estimators": 6, "max_depth": 4, "random_state": 0}
XGB: dict[str, Any] = {"n_estimators": 8, "max_depth": 4, "n_jobs": 1, "learning_rate": 0.5}
LGBM: dict[str, Any] = {
    "n_estimators": 8, "num_leaves": 9, "min_child_samples": 3, "n_jobs": 1, "verbose": -1,
    "deterministic": True,
}  # fmt: skip
HIST: dict[str, Any] = {"max_iter": 5, "max_leaf_nodes": 7, "random_state": 0}

# What is fitted: "two" or "three" classes, a "score", a positive "amount", or "both" scores.
SUPPORTED: dict[str, tuple[Any, str]] = {
    "decision tree": (DecisionTreeClassifier(random_state=0), "three"),
    "extra tree": (ExtraTreeRegressor(max_depth=4, random_state=0), "score"),
    "forest": (RandomForestClassifier(**FEW), "three"),
    "forest of two classes": (RandomForestClassifier(**FEW), "two"),
    "deep forest": (RandomForestClassifier(n_estimators=6, random_state=0), "three"),
    "regression forest": (RandomForestRegressor(**FEW), "score"),
    "forest with two outputs": (RandomForestRegressor(**FEW), "both"),
    "extra trees": (ExtraTreesClassifier(**FEW), "three"),
    "boosting": (GradientBoostingClassifier(**FEW), "three"),
    "boosting of two classes": (GradientBoostingClassifier(**FEW), "two"),
    "exponential boosting": (GradientBoostingClassifier(**FEW, loss="exponential"), "two"),
    "boosted regression": (GradientBoostingRegressor(**FEW), "score"),
    "boosting from zero": (GradientBoostingRegressor(**FEW, init="zero", loss="huber"), "score"),
    "histograms": (HistGradientBoostingClassifier(**HIST), "three"),
    "histograms of two classes": (HistGradientBoostingClassifier(**HIST), "two"),
    "histogram regression": (HistGradientBoostingRegressor(**HIST), "score"),
    "histogram Poisson": (HistGradientBoostingRegressor(**HIST, loss="poisson"), "amount"),
    "xgboost": (XGBClassifier(**XGB), "three"),
    "xgboost of two classes": (XGBClassifier(**XGB), "two"),
    "xgboost with a start": (XGBClassifier(**XGB, base_score=0.3), "two"),
    "xgboost on threads": (XGBClassifier(**{**XGB, "n_jobs": 2}), "three"),
    "xgboost exact": (XGBClassifier(**XGB, tree_method="exact"), "two"),
    "xgboost where zero is missing": (XGBClassifier(**XGB, missing=0.0), "two"),
    "xgboost that stopped": (XGBClassifier(**XGB, early_stopping_rounds=1), "two"),
    "xgboost softmax": (XGBClassifier(**XGB, objective="multi:softmax"), "three"),
    "xgboost regression": (XGBRegressor(**XGB), "score"),
    "xgboost Tweedie": (XGBRegressor(**XGB, objective="reg:tweedie"), "amount"),
    "xgboost with two outputs": (XGBRegressor(**XGB), "both"),
    "xgboost forest": (XGBRFClassifier(n_estimators=6, max_depth=4, n_jobs=1), "three"),
    "xgboost regression forest": (XGBRFRegressor(n_estimators=6, n_jobs=1), "score"),
    "lightgbm": (LGBMClassifier(**LGBM), "three"),
    "lightgbm of two classes": (LGBMClassifier(**LGBM), "two"),
    "lightgbm one against all": (LGBMClassifier(**LGBM, objective="multiclassova"), "three"),
    "lightgbm where zero is missing": (LGBMClassifier(**LGBM, zero_as_missing=True), "two"),
    "lightgbm that stopped": (LGBMClassifier(**LGBM), "two"),
    "lightgbm dart": (LGBMClassifier(**LGBM, boosting_type="dart", drop_rate=0.5), "two"),
    "lightgbm forest": (
        LGBMClassifier(**LGBM, boosting_type="rf", subsample=0.6, subsample_freq=1), "three"
    ),
    "lightgbm regression": (LGBMRegressor(**LGBM), "score"),
    "lightgbm absolute": (LGBMRegressor(**LGBM, objective="regression_l1"), "score"),
    "lightgbm Poisson": (LGBMRegressor(**LGBM, objective="poisson"), "amount"),
    "lightgbm with nothing to learn": (LGBMRegressor(**LGBM, min_split_gain=1e9), "score"),
}  # fmt: skip


def data(rng: np.random.Generator) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Sparse counts on a log scale, and things to learn of the first of their columns."""
    X = np.log1p(np.where(rng.random((300, N)) < 0.4, 0.0, rng.gamma(1.5, size=(300, N))))
    score = X[:, 0] - X[:, 1] + 0.5 * X[:, 2] * X[:, 3] + 0.1 * rng.normal(size=300)
    return X, {
        "two": (score > 0.1).astype(int),
        "three": np.digitize(score, [-0.2, 0.3]),
        "score": score,
        "amount": np.exp(score),
        "both": np.stack([score, X[:, 4] - X[:, 5]], axis=1),
    }


def fitted(estimator: Any, what: str, X: np.ndarray, y: dict[str, np.ndarray]) -> Any:
    more: dict[str, Any] = {}
    if getattr(estimator, "early_stopping_rounds", None):
        more = {"eval_set": [(X[:100], 1 - y[what][:100])], "verbose": False}
    return estimator.fit(X, y[what], **more)


@pytest.fixture(scope="module")
def models() -> dict[str, Any]:
    X, y = data(np.random.default_rng(7))
    made = {name: fitted(estimator, what, X, y) for name, (estimator, what) in SUPPORTED.items()}
    assert made["xgboost that stopped"].best_iteration < XGB["n_estimators"] - 1
    made["lightgbm that stopped"].booster_.best_iteration = 3
    return made


def evaluators(model: Any, probes: np.ndarray, qoi: Any = "auto") -> tuple[Evaluator, Evaluator]:
    """The chosen evaluator, and the dense one."""
    response = make_response(sx.models.as_model(model), qoi)
    chosen, _ = choose_evaluator(response, np.dtype(np.float64), 512, probes)
    return chosen, DenseEvaluator(response, np.dtype(np.float64), 512)


def assert_same(found: np.ndarray, expected: np.ndarray, *, single: bool) -> None:
    """Equal to the last bit where the library sums in float32, else but for rounding."""
    if single:
        np.testing.assert_array_equal(found, expected)
    else:
        largest = np.abs(expected).max()
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14 * max(largest, 1.0))


@pytest.mark.parametrize("name", SUPPORTED)
def test_walks_steps_and_sweeps_are_those_of_dense_evaluation(
    name: str, models: dict[str, Any], rng: np.random.Generator
) -> None:
    model, (X, _) = models[name], data(np.random.default_rng(7))
    fast, slow = evaluators(model, X[:4])
    assert type(fast) is TreeEvaluator, name
    single = fast.ensemble.start.dtype == np.float32
    assert single == name.startswith("xgboost")
    # Rows of the model: the ends of walks; and of sweeps in which zero is no number.
    assert fast.complete_rows(np.arange(N), 5, 7) == (12 if "missing" in name else 5)
    cells, n_outputs = X[:3].copy(), slow.outputs(X[:1]).shape[1]
    cells[0, 1] = 4.0  # at its upper bound
    target = np.arange(3) % n_outputs
    mask = rng.random(N) < 0.8
    mask[:3] = True, False, True
    domain, design = make_domain(0, 4, N, mask=mask), make_design("balanced", 40)
    free, cell = domain.free, np.repeat(np.arange(3), 40)
    order = np.concatenate(
        [orders(3, c, design, range(design.n_blocks), N, free) for c in range(3)]
    )
    u = endpoints(3, 0, design, range(design.n_blocks), N, free)
    end = np.concatenate([place(u, cells[c], domain, 0.4) for c in range(3)])
    # Some endpoints lie on thresholds, or on the numbers after them.
    thresholds = fast.ensemble.threshold[fast.ensemble.child[::2] >= 0]
    if len(thresholds):
        some = rng.random(end.shape) < 0.3
        drawn = rng.choice(thresholds, size=some.sum())
        end[some] = np.where(rng.random(some.sum()) < 0.5, drawn, np.nextafter(drawn, 9))
    walks = WalkSet(cells, target, slow.at(cells, target), cell, free, end, order)
    assert_same(fast.walks(walks), slow.walks(walks), single=single)
    chosen = np.array([4, 0, 7])
    assert_same(fast.steps(walks, chosen), slow.steps(walks, chosen), single=single)
    lines = (np.repeat(np.arange(3), len(free)), np.tile(free, 3))
    values = np.linspace(0, 3, 5) * np.linspace(0.3, 1, len(lines[0]))[:, None]
    moved = [each.one_at_a_time(cells, target, *lines, values) for each in (fast, slow)]
    np.testing.assert_array_equal(*moved)  # by the library's own rows
    deltas = np.geomspace(1e-3, 1, 15)
    u = uniforms(0, 5, "calibration", 0, 70, N)[:, free]
    for x in cells:
        down, up = (
            np.stack(part) for part in zip(*(domain.reach(x, d) for d in deltas), strict=True)
        )
        swept = slow.sweep(x, n_outputs - 1, free, down, up, u)
        assert_same(fast.sweep(x, n_outputs - 1, free, down, up, u), swept, single=single)


QOIS: dict[str, Any] = {
    "logit": "logit",
    "entropy": lambda outputs: -(outputs * np.log(np.maximum(outputs, 1e-9))).sum(axis=1),
}


@pytest.mark.parametrize("qoi", QOIS)
@pytest.mark.parametrize("name", ["forest", "boosting", "xgboost", "lightgbm"])
def test_other_quantities(name: str, qoi: str, models: dict[str, Any]) -> None:
    X, _ = data(np.random.default_rng(7))
    fast, slow = evaluators(models[name], X[:4], QOIS[qoi])
    assert type(fast) is TreeEvaluator
    order = np.argsort(np.random.default_rng(0).random((30, N)), axis=1)
    end, target, free = X[10:40], np.array([2, 0]), np.arange(N)
    walks = WalkSet(X[:2], target, slow.at(X[:2], target), np.arange(30) % 2, free, end, order)
    np.testing.assert_allclose(fast.walks(walks), slow.walks(walks), rtol=1e-12)


@pytest.mark.parametrize("outputs", ["logit", "value"])
@pytest.mark.parametrize("name", ["boosting", "histograms of two classes", "lightgbm"])
def test_decision_functions(name: str, outputs: Any, models: dict[str, Any]) -> None:
    X, _ = data(np.random.default_rng(7))
    fast, slow = evaluators(sx.models.as_model(models[name], outputs=outputs), X[:4])
    assert type(fast) is TreeEvaluator
    order = np.argsort(np.random.default_rng(0).random((10, N)), axis=1)
    zero = np.zeros(1, dtype=np.int64)
    cell, free = np.zeros(10, dtype=np.int64), np.arange(N)
    walks = WalkSet(X[:1], zero, slow.at(X[:1], zero), cell, free, X[10:20], order)
    np.testing.assert_allclose(fast.walks(walks), slow.walks(walks), rtol=1e-12)


EXPLAINED = ["deep forest", "boosting of two classes", "histograms", "xgboost", "lightgbm"]


@pytest.mark.parametrize("name", EXPLAINED)
def test_explanations_are_those_of_dense_evaluation(
    name: str, models: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, (X, _) = models[name], data(np.random.default_rng(7))
    arguments: dict[str, Any] = {
        "lower": 0, "upper": 4, "n_walks": 40, "n_samples": 80, "tau": 1e-6,
        "deltas": [0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0], "target": 0,
    }  # fmt: skip
    # Between the range over all scales and that at the largest, so that a cell saturates.
    envelope = sx.core.explain(X[:20], model, **{**arguments, "n_walks": 1}).envelope
    over_all, largest = np.ptp(envelope[:, 1:], axis=(1, 2)), np.ptp(envelope[:, -1], axis=1)
    saturates = int((over_all - largest).argmax())
    arguments["tau"] = (over_all[saturates] + largest[saturates]) / 2
    fast = sx.core.explain(X[:20], model, **arguments)
    assert fast.params["evaluator"] == "trees"
    monkeypatch.setattr(choose, "tree_evaluator", lambda *_: None)
    slow = sx.core.explain(X[:20], model, **arguments)
    assert slow.params["evaluator"] == "dense"
    assert fast.status == slow.status
    assert fast.status[saturates] == "resolved"
    np.testing.assert_array_equal(fast.rank, slow.rank)
    np.testing.assert_array_equal(fast.delta_star, slow.delta_star)
    for field in ("value", "mean", "std", "change", "shapley", "se", "envelope"):
        found, expected = getattr(fast, field), getattr(slow, field)
        largest = np.nanmax(np.abs(expected))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * largest, err_msg=field)


@pytest.mark.parametrize("name", EXPLAINED)
def test_features_that_no_tree_splits_on_are_exactly_zero(
    name: str, models: dict[str, Any]
) -> None:
    model, (X, _) = models[name], data(np.random.default_rng(7))
    evaluator, _ = evaluators(model, X[:4])
    assert isinstance(evaluator, TreeEvaluator)
    dead = np.setdiff1d(np.arange(N + 3), evaluator.used)
    wide = type(model)(**model.get_params())
    y = data(np.random.default_rng(7))[1][SUPPORTED[name][1]]
    padded = np.concatenate([X, np.ones((len(X), 3))], axis=1)  # constant: never split on
    wide.fit(padded, y)
    found = sx.core.explain(padded[:2], wide, lower=0, upper=4, deltas=[0.5, 1.0], tau=1e-6)
    assert set(found.status) == {"unsaturated"}
    for field in ("value", "mean", "std", "change", "shapley"):
        assert (getattr(found, field)[:, N:] == 0).all(), field
    assert (found.change[:, 0] > 0).all()
    assert {N, N + 1, N + 2} <= set(dead)


def test_results_do_not_depend_on_how_lines_are_grouped(
    models: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    X, _ = data(np.random.default_rng(7))
    fast, _ = evaluators(models["xgboost"], X[:4])
    order = np.argsort(np.random.default_rng(0).random((50, N)), axis=1)
    zero = np.zeros(50, dtype=np.int64)
    walks = WalkSet(X[:1], zero[:1], np.zeros(1), zero, np.arange(N), X[10:60], order)
    together = fast.walks(walks)
    for lines, front in ((1, 2**15), (900, 2**15), (2**20, 3)):
        monkeypatch.setattr(runs, "_RUNS", lines)
        monkeypatch.setattr(runs, "_FRONT", front)
        np.testing.assert_array_equal(fast.walks(walks), together)


def test_memory_does_not_grow_with_the_number_of_walks(models: dict[str, Any]) -> None:
    X, _ = data(np.random.default_rng(7))
    fast, _ = evaluators(models["xgboost"], X[:4])
    n_walks = 30_000
    order = np.argsort(np.random.default_rng(0).random((n_walks, N)), axis=1)
    zero = np.zeros(n_walks, dtype=np.int64)
    end = X[np.arange(n_walks) % len(X)]
    walks = WalkSet(X[:1], zero[:1], np.zeros(1), zero, np.arange(N), end, order)
    tracemalloc.start()
    q = fast.walks(walks)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak - q.nbytes < 64 * 2**20


def test_walks_call_no_model_and_visit_few_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of the model: those that are checked. Nodes: those at which a walk's states part."""
    X, y = data(np.random.default_rng(7))
    forest = RandomForestClassifier(n_estimators=50, random_state=0).fit(X, y["two"])
    rows: list[int] = []
    inner = forest.predict_proba
    forest.predict_proba = lambda table: (rows.append(len(table)), inner(table))[1]
    visits: list[int] = []
    children = runs._children

    def counted(child: Any, course: Any, front: Any) -> Any:
        visits.append(len(front.node))
        return children(child, course, front)

    evaluator, _ = evaluators(forest, X[:4])
    assert isinstance(evaluator, TreeEvaluator)
    order = np.argsort(np.random.default_rng(0).random((60, N)), axis=1)
    zero = np.zeros(60, dtype=np.int64)
    rows.clear()
    monkeypatch.setattr(runs, "_children", counted)
    evaluator.walks(WalkSet(X[:1], zero[:1], np.zeros(1), zero, np.arange(N), X[10:70], order))
    assert not rows
    depth = np.mean([tree.get_depth() for tree in forest.estimators_])
    every_step = 60 * N * 50 * depth  # rows evaluated in full
    assert sum(visits) < every_step / 10
    rows.clear()
    sx.core.explain(
        X[:1], forest, lower=0, upper=4, deltas=[1.0], n_samples=50, n_walks=200, tau=1e-6
    )
    assert sum(rows) < 500 < 200 * N  # samples, endpoints, and what is checked before the start


class Own(RandomForestClassifier):
    """May read what it likes."""


class Boosted(XGBClassifier):
    """May read what it likes."""


class Light(LGBMClassifier):
    """May read what it likes."""


class Holder(BaseEstimator):
    """Holds a model, and is none of a library's."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def fit(self) -> None: ...

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self.inner.predict(rows)


@pytest.mark.parametrize(
    "make",
    [
        lambda: AdaBoostClassifier(random_state=0),
        lambda: Own(**FEW),
        lambda: Boosted(**XGB),
        lambda: Light(**LGBM),
    ],
    ids=["AdaBoost", "own forest", "own xgboost", "own lightgbm"],
)
def test_what_may_read_anything_is_evaluated_densely(make: Callable[[], Any]) -> None:
    X, y = data(np.random.default_rng(7))
    evaluator, _ = evaluators(make().fit(X, y["two"]), X[:4])
    assert type(evaluator) is DenseEvaluator


def test_an_object_that_holds_trees_is_evaluated_densely(models: dict[str, Any]) -> None:
    X, _ = data(np.random.default_rng(7))
    evaluator, _ = evaluators(Holder(models["xgboost regression"]), X[:4])
    assert type(evaluator) is DenseEvaluator


def test_trees_that_do_not_give_the_outputs_are_not_used() -> None:
    """A method that was replaced on the object: only the comparison on probes can tell."""
    X, y = data(np.random.default_rng(7))
    forest = RandomForestClassifier(**FEW).fit(X, y["two"])
    inner = forest.predict_proba
    forest.predict_proba = lambda rows: inner(rows) ** 2
    response = make_response(sx.models.as_model(forest), "probability")
    evaluator, why = choose_evaluator(response, np.dtype(np.float64), 512, X[:4])
    assert type(evaluator) is UsedFeaturesEvaluator
    assert why.endswith("because its trees do not give its outputs")


def test_a_form_that_is_not_known_is_evaluated_densely(
    models: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    X, _ = data(np.random.default_rng(7))
    model = models["xgboost"]
    monkeypatch.setattr(
        type(model.get_booster()), "save_raw", lambda *_: b'{"learner": {"trees": []}}'
    )
    response = make_response(sx.models.as_model(model), "probability")
    evaluator, why = choose_evaluator(response, np.dtype(np.float64), 512, X[:4])
    assert type(evaluator) is DenseEvaluator
    assert why == "row by row, because its trees cannot be read (KeyError)"


@pytest.mark.parametrize("name", ["forest", "decision tree"])
def test_labels_are_evaluated_row_by_row_for_used_features(
    name: str, models: dict[str, Any], rng: np.random.Generator
) -> None:
    X, y = data(np.random.default_rng(7))
    X[:, 10:] = 1.0  # constant: never split on
    estimator = type(models[name])(max_depth=3, random_state=0).fit(X, y["three"])
    predict, rows = estimator.predict, []
    estimator.predict = lambda table: (rows.append(len(table)), predict(table))[1]
    response = make_response(sx.models.as_model(estimator, outputs="value"), "value")
    fast, why = choose_evaluator(response, np.dtype(np.float64), 512, X[:4])
    assert type(fast) is UsedFeaturesEvaluator
    n_used = len(fast.used)
    assert 0 < n_used <= 10
    assert fast.complete_rows(np.arange(N), 20, 30) == 20 * (n_used + 1) + 30
    assert why == (
        f"row by row for the {n_used} features that some tree splits on, because its outputs are "
        "class labels"
    )
    slow = DenseEvaluator(response, np.dtype(np.float64), 512)
    order, zero = np.argsort(rng.random((20, N)), axis=1), np.zeros(20, dtype=np.int64)
    q_x = slow.at(X[:1], zero[:1])
    walks = WalkSet(X[:1], zero[:1], q_x, zero, np.arange(N), rng.random((20, N)), order)
    rows.clear()
    walked = fast.walks(walks)
    assert sum(rows) == 20 * n_used
    np.testing.assert_array_equal(walked, slow.walks(walks))
    down, up = np.zeros((2, N)), np.array([[0.5], [1.0]]) * np.ones((2, N))
    arguments = (X[0], 0, np.arange(N), down, up, rng.random((15, N)))
    np.testing.assert_array_equal(fast.sweep(*arguments), slow.sweep(*arguments))
    of_three = np.arange(N) // 3  # eight groups; those of columns that no tree splits on stay
    order = np.argsort(rng.random((20, N // 3)), axis=1)
    walks = replace(walks, endpoint=rng.random((20, N)), order=order, member=of_three)
    rows.clear()
    walked = fast.walks(walks)
    assert sum(rows) == 20 * len(set(of_three[fast.used]))
    np.testing.assert_array_equal(walked, slow.walks(walks))


def test_labels_of_xgboost_are_its_own(models: dict[str, Any]) -> None:
    X, _ = data(np.random.default_rng(7))
    fast, slow = evaluators(sx.models.as_model(models["xgboost"], outputs="value"), X[:4])
    assert type(fast) is TreeEvaluator
    order, zero = np.argsort(np.random.default_rng(0).random((20, N))), np.zeros(20, dtype=np.int64)
    q_x = slow.at(X[:1], zero[:1])
    walks = WalkSet(X[:1], zero[:1], q_x, zero, np.arange(N), X[10:30], order)
    walked = fast.walks(walks)
    np.testing.assert_array_equal(walked, slow.walks(walks))
    assert len(np.unique(walked)) > 1


def test_classifiers_in_a_mapping_have_their_own_trees(models: dict[str, Any]) -> None:
    X, _ = data(np.random.default_rng(7))
    each = {"forest": models["forest of two classes"], "boosted": models["xgboost of two classes"]}
    evaluator, why = choose_evaluator(
        make_response(sx.models.as_model(each), "auto"), np.dtype(np.float64), 512, X[:4]
    )
    assert evaluator.name == "trees"
    assert "6 trees" in why
    order = np.argsort(np.random.default_rng(0).random((20, N)), axis=1)
    target, cell = np.array([1, 0]), np.arange(20) % 2
    q_x = evaluator.at(X[:2], target)
    walks = WalkSet(X[:2], target, q_x, cell, np.arange(N), X[10:30], order)
    slow = DenseEvaluator(make_response(sx.models.as_model(each)), np.dtype(np.float64), 512)
    np.testing.assert_allclose(evaluator.walks(walks), slow.walks(walks), rtol=1e-12)
