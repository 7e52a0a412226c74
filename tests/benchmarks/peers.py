"""Against captum and shap at an equal budget of forward calls, on 2,000 genes.

All estimate what a walk's signed changes estimate: Shapley values of the cell against endpoints
of its neighbourhood. The reference is 2,000 balanced walks with other random numbers.
"""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING

import numpy as np
import torch
from cases import paper_case, seconds
from scipy.stats import spearmanr

import sensx_sc as sx

if TYPE_CHECKING:
    from cases import Row

_N, _WALKS = 2000, 20


def table() -> list[Row]:
    """Rows of the table."""
    import shap
    from captum.attr import FeatureAblation, ShapleyValueSampling

    case = paper_case(_N)
    lower, upper = case.domain.lower, case.domain.upper
    probability = torch.nn.Sequential(case.net, torch.nn.Sigmoid()).eval()
    x = torch.as_tensor(case.x, dtype=torch.float32)
    rng = np.random.default_rng(5)
    low = np.maximum(lower, case.x[0] - case.delta_star * (upper - lower))
    high = np.minimum(upper, case.x[0] + case.delta_star * (upper - lower))
    ends = (low + rng.random((_WALKS, _N)) * (high - low)).astype(np.float32)
    how = {"lower": lower, "upper": upper, "deltas": [case.delta_star], "progress": False}

    def ours(n_walks: int, seed: int) -> np.ndarray:
        return sx.core.explain(case.x, case.net, n_walks=n_walks, n_samples=2, seed=seed, **how
                               ).shapley[0]  # fmt: skip

    def forward(rows: torch.Tensor) -> torch.Tensor:
        return probability(rows)[:, 0]

    def ablation() -> np.ndarray:
        base = torch.as_tensor(ends.mean(axis=0, keepdims=True))
        return FeatureAblation(forward).attribute(x, baselines=base, perturbations_per_eval=500)

    def sampling() -> np.ndarray:
        method = ShapleyValueSampling(forward)
        parts = [
            method.attribute(
                x, baselines=torch.as_tensor(end[None]), n_samples=1, perturbations_per_eval=500
            )
            for end in ends
        ]
        return torch.stack(parts).mean(dim=0)

    def permutation() -> np.ndarray:
        masker = shap.maskers.Independent(ends[: _WALKS // 2], max_samples=_WALKS // 2)
        explainer = shap.PermutationExplainer(
            lambda rows: forward(torch.as_tensor(rows, dtype=torch.float32)).numpy(), masker, seed=0
        )
        return explainer(x.numpy(), max_evals=2 * _N + 1, silent=True).values

    reference = ours(2000, 99)
    top = set(np.argsort(-np.abs(reference))[:50])
    rows: list[Row] = []
    base = 0.0
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, calls, run in [
            (f"sensx, {_WALKS} balanced walks", _WALKS * _N, lambda: ours(_WALKS, 1)),
            ("captum ShapleyValueSampling", _WALKS * _N, sampling),
            ("shap PermutationExplainer", _WALKS * _N, permutation),
            ("captum FeatureAblation", _N, ablation),
        ]:
            found: list[np.ndarray] = []
            took = seconds(lambda: found.append(np.ravel(run())))
            base = base or took
            rank = spearmanr(found[0], reference).statistic
            shared = len(top & set(np.argsort(-np.abs(found[0]))[:50]))
            told = f"{name}, {calls} forwards"
            rows += [
                (f"{told}: time / ours", f"{took / base:.1f}"),
                (f"{told}: Spearman with 2000 walks", f"{rank:.3f}"),
                (f"{told}: top 50 shared with 2000 walks", str(shared)),
            ]
    return rows


if __name__ == "__main__":
    for name, value in table():
        sys.stdout.write(f"  {name:<48}{value:>14}\n")
