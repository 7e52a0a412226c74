"""A logistic model of CellTypist's shape, 6,000 genes x 90 classes: O(n) a walk against dense."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING

import numpy as np
from cases import Case, counts, seconds
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import sensx_sc as sx
from sensx_sc.core.domain import make_domain
from sensx_sc.evaluators import DenseEvaluator
from sensx_sc.evaluators.choose import choose_evaluator
from sensx_sc.models.qoi import make_response

if TYPE_CHECKING:
    from cases import Row


def table(n_genes: int = 6000, n_classes: int = 90) -> list[Row]:
    """Rows of the table."""
    rows, _ = counts(900, n_genes)
    rng = np.random.default_rng(0)
    rows[:, rows.max(axis=0) == 0] += 1e-3 * rng.random((900, 1), dtype=np.float32)
    labels = np.arange(900) % n_classes
    made = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=15))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it need not converge
        made.fit(rows, labels)
    x = rows[:1].astype(np.float64)
    response = make_response(sx.models.as_model(made), "probability")
    kind = np.dtype(np.float64)
    stem, _ = choose_evaluator(response, kind, 600, np.repeat(x, 4, axis=0))
    dense = DenseEvaluator(response, kind, 600)
    case = Case(made, x, make_domain(0, 9.3, n_genes), 0.087, (0.0, 1.0), stem, dense)
    some = case.draw(20)
    a_walk = seconds(lambda: stem.walks(some), 3) / 20
    few = case.draw(1)
    dense_walk = seconds(lambda: dense.walks(few), 1)
    sweep = seconds(lambda: case.sweep(stem, 50, 100), 2)
    dense_sweep = seconds(lambda: case.sweep(dense, 5, 100), 1) * 10
    return [
        (f"{n_genes} genes x {n_classes} classes: evaluated by", stem.name),
        ("dense / stem, one walk", f"{dense_walk / a_walk:.0f}"),
        ("dense / stem, calibration", f"{dense_sweep / sweep:.0f}"),
        ("walks a second", f"{1 / a_walk:.0f}"),
    ]


if __name__ == "__main__":
    for name, value in table():
        sys.stdout.write(f"  {name:<48}{value:>14}\n")
