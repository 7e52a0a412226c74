"""Pipelines that end in trees, behind steps that treat each column alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.evaluators.columnwise import ColumnwiseEvaluator
from sensx_sc.evaluators.dense import DenseEvaluator
from sensx_sc.evaluators.graph.sklearn_linear import pipeline_steps
from sensx_sc.evaluators.graph.sklearn_transformers import column_of_each
from sensx_sc.evaluators.trees.evaluator import UsedFeaturesEvaluator, tree_evaluator
from sensx_sc.models.sklearn_estimator import SklearnModel

if TYPE_CHECKING:
    from collections.abc import Callable

    from sensx_sc.evaluators.protocol import Evaluator, Floats
    from sensx_sc.models.qoi import Response


def pipeline_evaluator(
    response: Response, model: SklearnModel, dense: DenseEvaluator, probes: Floats
) -> tuple[Evaluator, str] | None:
    """An evaluator for scaled or selected columns and trees on them; None for other estimators.

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
    *before, last = pipeline_steps(model.estimator)
    if last is model.estimator or dense.dtype != np.float64:
        return None
    n_features = probes.shape[1]
    index = np.arange(n_features)
    for step in before:
        columns = column_of_each(step, len(index))
        if columns is None:
            return None
        index = index[columns]
    inner = SklearnModel(last, outputs=model.kind)
    transform = _transform(before, model.columns)
    rows = transform(probes)
    if rows.shape[1] != len(index):
        return None
    own = replace(response, model=inner)
    found = tree_evaluator(own, inner, DenseEvaluator(own, dense.dtype, dense.rows), rows)
    if found is None:
        return None
    trees, why = found
    if not isinstance(trees, UsedFeaturesEvaluator):
        return None
    whole = UsedFeaturesEvaluator(response, dense.dtype, dense.rows, index[trees.used])
    made = ColumnwiseEvaluator(trees, index, n_features, transform, whole)
    if not np.allclose(made.outputs(probes), dense.outputs(probes), rtol=1e-12, atol=0):
        return None
    return made, why


def _transform(steps: list[Any], names: Any) -> Callable[[Floats], Floats]:
    def transform(rows: Floats) -> Floats:
        table: Any = rows.copy()  # a scaler may be told to work in place
        if names is not None:
            import pandas as pd

            table = pd.DataFrame(table, columns=names, copy=False)
        for step in steps:
            table = step.transform(table)
        return np.asarray(table, dtype=np.float64)

    return transform
