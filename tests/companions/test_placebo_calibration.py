"""Null programmes against placebos: 5 % of them below .05."""

from __future__ import annotations

import numpy as np

from sensx_sc.companions import GeneProgramme
from sensx_sc.companions.cell_paths import cell_paths
from sensx_sc.companions.population import make_population
from sensx_sc.companions.property_gradient import Asked, follow
from sensx_sc.companions.property_tables import property_table

N_PROGRAMMES, N_PLACEBOS, LEVEL = 1000, 19, 0.05


def test_five_per_cent_of_null_programmes_are_below_the_level() -> None:
    """1000 random programmes of 8 genes; a model that reads all genes by random weights.

    The share of p-values up to .05 is known to .7 %; .05 +- .015 is what is allowed.
    """
    rng = np.random.default_rng(11)
    n_genes, n_cells = 400, 1
    mean = rng.gamma(0.8, 2.0, n_genes)
    counts = rng.poisson(rng.gamma(2, 0.5, (40, 1)) * mean).astype(np.float64)
    x = np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True))
    genes = tuple(f"g{j}" for j in range(n_genes))
    keys = tuple(f"c{i}" for i in range(40))
    population = make_population(x, counts, genes, keys, {}, 0)
    weights = rng.normal(size=n_genes) * np.abs(rng.standard_t(3, size=n_genes))
    centre = float((x @ weights).mean())

    def outputs(rows: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-0.02 * (rows @ weights - centre)))[:, None]

    target = np.zeros(n_cells, dtype=np.int64)
    asked = Asked(
        outputs,
        lambda found, _: found[:, 0],
        None,
        np.arange(n_cells),
        target,
        outputs(x[:n_cells])[:, 0],
        target,
        1,
    )
    editors = {
        f"null {k}": GeneProgramme(
            [genes[j] for j in rng.choice(n_genes, 8, replace=False)],
            composition="open",
            strengths=[-1.0, 0.0, 1.0],
        )
        for k in range(N_PROGRAMMES)
    }
    followed = []
    for name, editor in editors.items():  # one by one: each path tracks all others
        (paths,) = cell_paths({name: editor}, population, np.arange(n_cells))
        followed.append(follow(paths, asked, n_placebos=N_PLACEBOS))
    p = property_table(followed, asked, ["all"])["p_placebo"].to_numpy()
    assert abs(np.mean(p <= LEVEL) - LEVEL) < 0.015
    # And everywhere else: uniform.
    for level in (0.25, 0.5, 0.75):
        assert abs(np.mean(p <= level) - level) < 0.05
