"""The evaluator for tree ensembles: a step is felt by the trees that split on its feature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sensx_sc.evaluators.dead import skip_dead
from sensx_sc.evaluators.dense import DenseEvaluator, tiles
from sensx_sc.evaluators.trees.courses import Course, Scales, Walks, is_sweep
from sensx_sc.evaluators.trees.ensemble import TreeEnsemble, UnreadableError
from sensx_sc.evaluators.trees.lightgbm import read_lightgbm
from sensx_sc.evaluators.trees.runs import changed_sums, lines_together
from sensx_sc.evaluators.trees.sklearn import read_sklearn
from sensx_sc.evaluators.trees.xgboost import read_xgboost
from sensx_sc.models.qoi import Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from sensx_sc.evaluators.protocol import Floats, Ints
    from sensx_sc.evaluators.trees.ensemble import Reading
    from sensx_sc.evaluators.walk_set import WalkSet
    from sensx_sc.models.lightgbm_booster import LightGBMBooster
    from sensx_sc.models.sklearn_estimator import SklearnModel

_READERS: dict[str, Callable[[Any, str], Reading | None]] = {
    "sklearn": read_sklearn,
    "xgboost": read_xgboost,
    "lightgbm": read_lightgbm,
}
_FORM = (AttributeError, KeyError, IndexError, TypeError, ValueError)
_STEPS_TOGETHER = 2**20
_N_PROBES = 32
_ULPS = 16


class UsedFeaturesEvaluator(DenseEvaluator):
    """Rows are written out for the features that some tree splits on, and for no others.

    Parameters
    ----------
    used
        The features that some tree splits on.
    """

    name = "used features"

    def __init__(
        self, response: Response, dtype: np.dtype[np.floating], rows: int, used: Ints
    ) -> None:
        super().__init__(response, dtype, rows)
        self.used = used

    def _live(self, free: Ints) -> NDArray[np.bool_]:
        return np.isin(free, self.used)

    def alive(self, free: Ints) -> NDArray[np.bool_]:
        return self._live(free)

    def complete_rows(self, free: Ints, n_walks: int, n_points: int) -> int:
        return super().complete_rows(free[self._live(free)], n_walks, n_points)

    def sweep(
        self, x: Floats, target: int, free: Ints, down: Floats, up: Floats, u: Floats
    ) -> Floats:
        live = self._live(free)
        at, centre, fractions = free[live], x[free[live]], torch.as_tensor(u[:, live])
        base = torch.as_tensor(centre - down[:, live])[:, None]
        width = torch.as_tensor(down[:, live] + up[:, live])[:, None]
        q = np.empty((len(down), len(u)))
        rows = np.repeat(x[None], min(self.rows, q.size), axis=0)
        for scales, part in tiles(len(down), len(u), self.rows):
            moved = torch.addcmul(base[scales], fractions[None, part], width[scales]).numpy()
            filled = rows[: moved.shape[0] * moved.shape[1]]
            filled[:, at] = moved.reshape(len(filled), -1)
            answers = self._respond(self._tensor(filled), np.full(len(filled), target))
            q[scales, part] = answers.reshape(moved.shape[:2])
        return q

    def walks(self, walks: WalkSet) -> Floats:
        return skip_dead(walks, self._live(walks.free), super().walks)

    def one_at_a_time(
        self, x: Floats, target: Ints, cell: Ints, features: Ints, values: Floats
    ) -> Floats:
        live = self._live(features)
        q = np.empty(values.shape)
        if not live.all():
            some, of = np.unique(cell[~live], return_inverse=True)
            q[~live] = self.at(x[some], target[some])[of, None]
        q[live] = super().one_at_a_time(x, target, cell[live], features[live], values[live])
        return q


class TreeEvaluator(UsedFeaturesEvaluator):
    """q from the trees themselves; single rows are still evaluated by the model.

    Parameters
    ----------
    ensemble
        The model's trees.
    n_features
        Length of a row.
    """

    name = "trees"

    def __init__(
        self,
        response: Response,
        dtype: np.dtype[np.floating],
        rows: int,
        ensemble: TreeEnsemble,
        n_features: int,
    ) -> None:
        super().__init__(response, dtype, rows, ensemble.used)
        self.ensemble = ensemble
        # A library evaluates short rows faster than its trees are taken apart here (measured).
        self._sweeps = ensemble.missing is None and n_features >= len(ensemble.root)
        # Trees are arrays, and links are the libraries'; a caller's quantity may be anything.
        self.parallel = not callable(response.qoi)
        # Other quantities, and subclasses of Response, may look at more outputs than the target's.
        self._apart = ensemble.separable and self.parallel and type(response) is Response

    def complete_rows(self, free: Ints, n_walks: int, n_points: int) -> int:
        return n_walks + (0 if self._sweeps else n_points)  # the end of each walk, to compare

    def walks_together(self, n_steps: int) -> int:
        return max(super().walks_together(n_steps), _STEPS_TOGETHER // n_steps)

    def sweep(
        self, x: Floats, target: int, free: Ints, down: Floats, up: Floats, u: Floats
    ) -> Floats:
        column, live = self._columns(free, len(x))
        down_used, up_used = np.zeros((2, len(down), len(self.used)))
        down_used[:, live], up_used[:, live] = down[:, column], up[:, column]
        if not self._sweeps or not is_sweep(down_used, up_used):
            return super().sweep(x, target, free, down, up, u)
        q = np.empty((len(down), len(u)))
        for ensemble, points in self._tasks(np.full(len(u), target), len(down), 3):
            fractions = np.zeros((len(points), len(self.used)))
            fractions[:, live] = u[points][:, column]
            course = Scales(ensemble, x[self.used], down_used, up_used, fractions)
            q[:, points] = self._states(ensemble, course, np.full(len(points), target)).T
        return q

    def walks(self, walks: WalkSet) -> Floats:
        q = np.empty(walks.order.shape)
        for some, _, states in self._walked(walks, walks.q_x):
            q[some] = states[:, 1:]
        return q

    def steps(self, walks: WalkSet, chosen: Ints) -> Floats:
        change = np.empty((len(walks.order), len(chosen)))
        for some, moved, states in self._walked(walks, None):
            at = moved[:, chosen]
            before, after = (np.take_along_axis(states, at - side, axis=1) for side in (1, 0))
            with np.errstate(invalid="ignore"):
                change[some] = after - before
        return change

    def _walked(self, walks: WalkSet, q_x: Floats | None) -> Iterator[tuple[Ints, Ints, Floats]]:
        """Some walks after the other; what the inputs answer is computed where it is not given.

        Yields
        ------
        Which walks, the first state in which each feature, or group, has moved, (W, S), and q of
        the states, (W, S + 1), of which the first is the input.
        """
        n_states = walks.n_steps + 1
        column, live = self._columns(walks.free, walks.x.shape[1])
        group = walks.groups[column]
        start = self.ensemble.rounded(walks.x[:, self.used])
        for ensemble, lines in self._tasks(walks.targets, n_states, 1):
            some = walks.some(lines)
            moved = some.turn() + 1
            before = start[some.cell]
            after, first = before.copy(), np.zeros(before.shape, dtype=np.int64)
            after[:, live] = ensemble.rounded(some.endpoint[:, column])
            first[:, live] = moved[:, group]
            course = Walks(ensemble, before, after, first, n_states)
            own = None if q_x is None else q_x[some.cell]
            yield lines, moved, self._states(ensemble, course, some.targets, own)

    def _columns(self, free: Ints, n_features: int) -> tuple[Ints, NDArray[np.bool_]]:
        """Where among the free features those used features are that are free; and which are."""
        position = np.full(n_features, -1)
        position[free] = np.arange(len(free))
        of_used = position[self.used]
        return of_used[of_used >= 0], of_used >= 0

    def _tasks(
        self, target: Ints, n_states: int, splits: int
    ) -> Iterator[tuple[TreeEnsemble, Ints]]:
        """Trees, and lines that are evaluated together; ``target`` is that of each line."""
        wanted = np.unique(target) if self._apart else [None]
        for k in wanted:
            ensemble = self.ensemble if k is None else self.ensemble.only(int(k))
            lines = np.arange(len(target)) if k is None else np.flatnonzero(target == k)
            together = lines_together(ensemble, n_states, splits)
            for first in range(0, len(lines), together):
                yield ensemble, lines[first : first + together]

    def _states(
        self, ensemble: TreeEnsemble, course: Course, target: Ints, q_x: Floats | None = None
    ) -> Floats:
        """Q of all states of lines, (W, S); before anything changes it is ``q_x``, if given."""
        sums, last = changed_sums(ensemble, course)
        changed = np.flatnonzero(np.diff(last, prepend=-1))
        asked = target[changed // course.n_states]
        q = self.response.of_outputs(
            ensemble.link(sums), np.zeros_like(asked) if self._apart else asked
        )
        if q_x is not None:
            q[last[:: course.n_states]] = q_x
        return q[last].reshape(course.n_lines, course.n_states)


def tree_evaluator(
    response: Response,
    model: SklearnModel | LightGBMBooster,
    dense: DenseEvaluator,
    probes: Floats,
) -> tuple[DenseEvaluator, str] | None:
    """An evaluator for a fitted tree, forest or boosted trees; None for other estimators.

    Parameters
    ----------
    response
        Quantity of interest of ``model``.
    dense
        The model's evaluator row by row.
    probes
        Some rows of the domain, (B, n).

    Returns
    -------
    The evaluator, and one sentence's end on why it is this one.
    """
    estimator = model.estimator
    read = _READERS.get(type(estimator).__module__.partition(".")[0])
    if read is None or dense.dtype != np.float64:
        return None
    method = "decision_function" if hasattr(estimator, "decision_function") else "predict"
    # What a library keeps its trees in is its own business, and may change.
    try:
        found = read(estimator, "predict_proba" if model.kind == "probability" else method)
        if found is None:
            return None
        used, ensemble = found
        reason = ensemble if isinstance(ensemble, str) else _difference(ensemble, dense, probes)
    except UnreadableError as unread:
        return dense, f"row by row, because {unread}"
    except _FORM as error:
        return dense, f"row by row, because its trees cannot be read ({type(error).__name__})"
    if isinstance(ensemble, TreeEnsemble) and not reason:
        why = (
            f"by its {len(ensemble.root)} trees, which split on {len(used)} features: "
            "a step is felt by those that split on its feature"
        )
        n_features = probes.shape[1]
        return TreeEvaluator(response, dense.dtype, dense.rows, ensemble, n_features), why
    why = f"row by row for the {len(used)} features that some tree splits on, because {reason}"
    return UsedFeaturesEvaluator(response, dense.dtype, dense.rows, used), why


def _difference(ensemble: TreeEnsemble, dense: DenseEvaluator, probes: Floats) -> str:
    """Why trees are not the model: empty if they give its own outputs.

    They are compared on probes, and on rows of values at which nodes turn.
    """
    rows = np.concatenate([probes, _on_thresholds(ensemble, probes[0])])
    values = ensemble.rounded(rows[:, ensemble.used])
    course = Walks(ensemble, values, values, np.zeros(values.shape, dtype=np.int64), 1)
    found, expected = ensemble.link(changed_sums(ensemble, course)[0]), dense.outputs(rows)
    # Threads may sum in another order: each tree rounds once. Sums in float32 are the same.
    rounding = (_ULPS + len(ensemble.root)) * np.finfo(np.float64).eps
    allowed = 0.0 if ensemble.start.dtype == np.float32 else rounding * np.abs(expected).max()
    same = found.shape == expected.shape and np.allclose(found, expected, rtol=0, atol=allowed)
    return "" if same else "its trees do not give its outputs"


def _on_thresholds(ensemble: TreeEnsemble, x: Floats) -> Floats:
    """Rows whose used features lie on thresholds of theirs, or on the next number."""
    inner = np.flatnonzero(ensemble.child[::2] >= 0)
    by_feature = inner[np.argsort(ensemble.feature[inner], kind="stable")]
    count = np.bincount(ensemble.feature[inner], minlength=len(ensemble.used))
    chosen = np.random.default_rng(0).random((_N_PROBES, len(count))) * count
    node = by_feature[np.cumsum(count) - count + chosen.astype(np.int64)]
    values = ensemble.threshold[node]
    with np.errstate(over="ignore"):
        values[1::3] = np.nextafter(values[1::3], np.inf)
        values[2::3] = np.nextafter(values[2::3].astype(np.float32), np.float32(np.inf))
    rows = np.repeat(x[None], _N_PROBES, axis=0)
    rows[:, ensemble.used] = np.where(np.isfinite(values), values, x[ensemble.used])
    return rows
