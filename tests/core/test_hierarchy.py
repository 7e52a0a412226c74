"""Coarse groups first, then what the top ones hold: the same top genes from few evaluations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sensx_sc.core import Explanation, explain

N, GROUPS = 2000, 40
LABEL = np.arange(N) % GROUPS
PLANTED = {7: 4.0, 47: -3.0, 87: 2.5, 12: 3.5, 52: 3.0, 92: -2.0}  # in the groups 7 and 12
W = np.random.default_rng(0).normal(size=N) * 0.003
for gene, weight in PLANTED.items():
    W[gene] = weight
X = np.where(np.random.default_rng(1).random((2, N)) < 0.7, 0.0, 0.4)


class Counted:
    """A response that counts the rows it is asked for."""

    def __init__(self) -> None:
        self.rows = 0

    def __call__(self, z: np.ndarray) -> np.ndarray:
        self.rows += len(z)
        s = z @ W
        return np.tanh(0.2 * s) + 0.1 * np.sin(s)


def call(model: Any, **arguments: Any) -> Explanation:
    base: dict[str, Any] = {
        "lower": 0, "upper": 1, "deltas": [0.3, 1.0], "tau": 1e-3, "n_samples": 200, "n_walks": 40,
        "rank_by": "change", "group_norm": "none", "precision": "float64",
    }  # fmt: skip
    return explain(X, model, **{**base, **arguments})


@pytest.fixture(scope="module")
def both() -> tuple[Explanation, int, Explanation, int]:
    flat, deep = Counted(), Counted()
    whole = call(flat)
    found = call(deep, groups=LABEL, within="features", within_top=2)
    return whole, flat.rows, found, deep.rows


def test_the_top_genes_of_all_walks_from_a_tenth_of_the_evaluations(both: Any) -> None:
    whole, n_flat, found, n_deep = both
    for i in range(len(X)):
        top = np.flatnonzero(whole.rank[i] <= len(PLANTED))
        assert set(top) == set(PLANTED)
        fine = found.rank[i, GROUPS:]
        assert set(np.flatnonzero((fine > 0) & (fine <= len(PLANTED)))) == set(PLANTED)
        assert set(np.flatnonzero(found.rank[i, :GROUPS] <= 2)) <= {7, 12}
    assert n_deep < n_flat / 10
    # As the budget says, but for the trials before the work and the ends that are compared.
    steps = 40 * (GROUPS + (GROUPS - 2) + 2 * N // GROUPS)
    assert n_deep < 1.1 * 2 * (steps + 2 * 40 + 2 * 200) + 200


def test_values_of_the_top_genes_are_about_those_of_all_walks(both: Any) -> None:
    whole, _, found, _ = both
    at = np.array(list(PLANTED))
    # Not the same: at its turn a gene meets others that have moved as wholes.
    ratio = found.change[:, GROUPS + at] / whole.change[:, at]
    assert (np.abs(ratio - 1) < 0.15).all()


def test_each_level_sums_to_the_difference(both: Any) -> None:
    _, _, found, _ = both
    for i in range(len(X)):
        coarse = found.shapley[i, :GROUPS]
        top = np.flatnonzero(found.rank[i, :GROUPS] <= 2)
        inside = np.isin(LABEL, top)
        # The second level is a partition, too: the others, which move as wholes, take the rest.
        refined = call(
            Counted(), groups=np.where(inside, GROUPS + np.arange(N), LABEL)
        )  # fmt: skip
        assert refined.groups is not None
        whole = refined.shapley[i].sum()
        assert coarse.sum() == pytest.approx(whole, rel=0.02)  # other walks, the same mean
        genes = np.array([name.isdigit() and int(name) >= GROUPS for name in refined.groups.names])
        assert np.nansum(found.shapley[i, GROUPS:]) == pytest.approx(
            refined.shapley[i][genes].sum(), rel=0.05
        )
