"""Perturbation curves of many inputs and rankings under common random numbers (A.7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sensx_sc.metrics.nested import nested_responses
from sensx_sc.metrics.perturbation import by_size, curve_auc

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from sensx_sc.core.arrays import Floats, Ints
    from sensx_sc.metrics.explained import Explained

DIRECTIONS = ("top", "bottom")
RANDOM = "random"
"""The control: features in random order."""


@dataclass(frozen=True)
class Curves:
    """Median of q / q(x) with the first or last k features of rankings moved.

    Attributes
    ----------
    ratio
        (C, methods, 2, scales, K): top and bottom.
    ks
        Numbers of features moved, (K,).
    n
        Features that can be moved.
    methods, scales
        What ranked, and where.
    keys
        Names of the inputs.
    """

    ratio: Floats
    ks: Ints
    n: int
    methods: tuple[str, ...]
    scales: tuple[str | float, ...]
    keys: tuple[str | int, ...]

    def auc(self) -> pd.DataFrame:
        """Area under each input's curve: ``cell, method, direction, scale, auc``."""
        area = curve_auc(self.ratio, self.ks, self.n)
        labels = [list(self.keys), list(self.methods), list(DIRECTIONS), self._scales()]
        index = pd.MultiIndex.from_product(labels, names=["cell", "method", "direction", "scale"])
        return pd.DataFrame({"auc": area.ravel()}, index=index).reset_index()

    def summary(self, groups: NDArray[np.object_]) -> pd.DataFrame:
        """Mean and standard deviation over the inputs of each group, with 1 at k = 0.

        Columns ``group, method, direction, scale, k, fraction, mean, std, n_cells``.
        """
        whole = np.concatenate([np.ones((*self.ratio.shape[:-1], 1)), self.ratio], axis=-1)
        ks = np.concatenate([[0], self.ks])
        if self.ks[0] == 0:
            whole, ks = self.ratio, self.ks
        names = ["method", "direction", "scale", "k"]
        axes = [list(self.methods), list(DIRECTIONS), self._scales(), ks.tolist()]
        index = pd.MultiIndex.from_product(axes, names=names)
        parts = []
        for group in dict.fromkeys(groups.tolist()):
            of_group = whole[groups == group]
            spread = np.full(of_group.shape[1:], np.nan)
            if len(of_group) > 1:
                spread = of_group.std(axis=0, ddof=1)
            columns = {"mean": of_group.mean(axis=0).ravel(), "std": spread.ravel()}
            part = pd.DataFrame(columns, index=index).reset_index()
            part.insert(0, "group", str(group))
            part.insert(5, "fraction", part["k"] / self.n)
            parts.append(part.assign(n_cells=len(of_group)))
        return pd.concat(parts, ignore_index=True)

    def _scales(self) -> list[str]:
        return [scale if isinstance(scale, str) else f"{scale:g}" for scale in self.scales]


def perturbation_curves(
    cells: Explained,
    scores: Mapping[str, Callable[[int], Floats]],
    *,
    scales: Sequence[str | float],
    ks: Ints,
    n_draws: int,
    advance: Callable[[int], object] = lambda _: None,
) -> Curves:
    """The curves of several rankings, all with the same random endpoints.

    Parameters
    ----------
    scores
        For each ranking a function from an input's position to its scores, (n,).
    scales
        ``"delta_star"`` or scales.
    ks
        Numbers of features, 1 to F.
    n_draws
        Random endpoints of each input and scale.
    advance
        Told how many more responses are known.
    """
    free = cells.free
    ratio = np.empty((len(cells), len(scores), len(DIRECTIONS), len(scales), len(ks)))
    for i in range(len(cells)):
        x, target, q_x = cells.x(i), int(cells.target[i]), cells.q(i)
        orders = [by_size(of(i)[free]) for of in scores.values()]
        for s, scale in enumerate(scales):
            end = cells.endpoints(i, cells.scale(i, scale), n_draws)
            for m, order in enumerate(orders):
                for d in range(len(DIRECTIONS)):
                    along = order[::-1] if d else order
                    q = nested_responses(cells.evaluator, x, target, free, end, along, ks)
                    ratio[i, m, d, s] = np.median(q, axis=1) / (q_x or np.nan)
                    advance(q.size)
    return Curves(ratio, ks, len(free), tuple(scores), tuple(scales), cells.keys)


def random_scores(cells: Explained) -> Callable[[int], Floats]:
    """Scores of the control: uniform numbers, other ones for each input."""

    def of(i: int) -> Floats:
        scores = np.full(cells.run.domain.n_features, np.nan)
        scores[cells.free] = cells.fractions(i, 1, "control")[0]
        return scores

    return of
