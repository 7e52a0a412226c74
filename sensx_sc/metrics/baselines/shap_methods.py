"""KernelExplainer and PermutationExplainer, by shap."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sensx_sc.metrics.baselines.question import Answer, library, quiet, relative

if TYPE_CHECKING:
    from collections.abc import Callable

    from sensx_sc.core.arrays import Floats
    from sensx_sc.metrics.baselines.question import Question

_EXTRA = 2048  # coalitions that shap adds to twice the features
_COPIES = 3  # of its table of rows that KernelExplainer holds: rows, masks, what the model is given


def kernel_shap(question: Question) -> Answer:
    """Shapley values by weighted regression on coalitions, the background summarised by k-means."""
    n, many = question.x.shape[1], len(question.background)
    coalitions = question.n_samples or 2 * n + _EXTRA
    question.check_memory(8.0 * _COPIES * many * coalitions * n)
    question.check_rows(many * coalitions)
    shap = library("shap")

    def of(i: int, q: Callable[[Floats], Floats], _: int) -> tuple[Floats, float]:
        explainer = shap.KernelExplainer(q, question.background)
        values = explainer.shap_values(
            question.cells.x(i)[None], nsamples=coalitions, l1_reg=0, silent=True
        )
        return np.asarray(values).reshape(-1)[:n], float(explainer.expected_value)

    return _each(question, "kernel_shap", of)


def permutation_shap(question: Question) -> Answer:
    """Shapley values from permutations of the features, forward and backward."""
    n, many = question.x.shape[1], len(question.background)
    evaluations = question.n_permutations * (2 * n + 1)
    question.check_memory(8.0 * many * n * _COPIES)
    question.check_rows(many * evaluations)
    shap = library("shap")
    masker = shap.maskers.Independent(question.background, max_samples=many)

    def of(i: int, q: Callable[[Floats], Floats], seed: int) -> tuple[Floats, float]:
        explainer = shap.PermutationExplainer(q, masker, seed=seed)
        found = explainer(question.cells.x(i)[None], max_evals=evaluations, silent=True)
        return found.values[0], float(np.ravel(found.base_values)[0])

    return _each(question, "permutation_shap", of)


def _each(
    question: Question,
    method: str,
    of: Callable[[int, Callable[[Floats], Floats], int], tuple[Floats, float]],
) -> Answer:
    cells = question.cells
    scores = np.empty((len(cells), question.x.shape[1]))
    missed = np.empty(len(cells))
    for i in range(len(cells)):

        def q(rows: Floats, target: int = int(cells.target[i])) -> Floats:
            return cells.evaluator.at(np.asarray(rows, np.float64), np.full(len(rows), target))

        seed = int(question.rng(f"{method}:{cells.keys[i]}").integers(2**31))
        with quiet(seed):
            scores[i], base = of(i, q, seed)
        should = cells.q(i) - base
        missed[i] = relative(np.array([scores[i].sum() - should]), np.array([should]))[0]
    return Answer(scores, missed)
