"""What the package claims of its own statistics: coverage, certificates, negative controls.

The limits say how they were chosen. Each test fails if the claim is off by what its comment says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import sensx_sc as sx
from sensx_sc.core import bounded_interval, certify, interval
from sensx_sc.metrics import auroc

if TYPE_CHECKING:
    from anndata import AnnData

REPETITIONS = 500
DESIGNS = ["balanced", "uniform", "sobol"]


def repeated(model: Any, x: list[float], **how: Any) -> sx.core.Explanation:
    """One input explained 500 times, each time with random numbers of its own."""
    settings: dict[str, Any] = {
        "lower": -1, "upper": 1, "deltas": [1.0], "n_samples": 2, "tau": 1e-6,
        "n_walks": 200, "progress": False,
    }  # fmt: skip
    keys = [f"run {i}" for i in range(REPETITIONS)]
    return sx.core.explain(np.repeat([x], REPETITIONS, axis=0), model, keys=keys,
                           **(settings | how))  # fmt: skip


def bilinear(z: np.ndarray) -> np.ndarray:
    return z[:, 0] * z[:, 1]


def n_blocks(found: sx.core.Explanation) -> int:
    return int(found.params["n_walks"] // found.params["block"])


# ---- intervals: 95 +- 2 % of 500 repetitions. The standard error of a coverage is 1 %; an error
# of the standard error of 13 % (coverage 92 %) would be seen five times in six.

BILINEAR_CHANGE = np.array([0.545 * (0.4 + 0.5) / 2, 0.58 * (0.3 + 0.5) / 2])
"""E|e_j - x_j| times the mean size of the other factor, at x = (.3, -.4) on [-1, 1]^2."""


@pytest.mark.parametrize("design", DESIGNS)
def test_students_interval_of_change(design: Any) -> None:
    found = repeated(bilinear, [0.3, -0.4], design=design)
    low, high = interval(found.change, found.change_se, n_blocks(found))
    covered = ((low <= BILINEAR_CHANGE) & (high >= BILINEAR_CHANGE)).mean(axis=0)
    np.testing.assert_allclose(covered, 0.95, atol=0.02)


@pytest.mark.parametrize("design", DESIGNS)
def test_students_interval_of_value(design: Any) -> None:
    """METHOD 9: |d_1| is the mean size of the other factor, .4 before it moves and .5 after."""
    truth = np.array([0.45, 0.40])
    found = repeated(bilinear, [0.3, -0.4], design=design)
    low, high = interval(found.value, found.se, n_blocks(found))
    covered = ((low <= truth) & (truth <= high)).mean(axis=0)
    np.testing.assert_allclose(covered, 0.95, atol=0.02)


@pytest.mark.parametrize("design", DESIGNS)
def test_students_interval_of_value_on_ishigami(design: Any) -> None:
    """Closed forms of METHOD 9; the third feature is skewed and met by one sample in two."""

    def ishigami(z: np.ndarray) -> np.ndarray:
        return np.sin(z[:, 0]) * (1 + 0.1 * z[:, 2] ** 4) + 7 * np.sin(z[:, 1]) ** 2

    found = repeated(
        ishigami, [1.0, 0.5, 2.0], lower=-np.pi, upper=np.pi, design=design, n_walks=400
    )
    truth = np.array([1.447802, 2.584774, 1.256794])
    low, high = interval(found.value, found.se, n_blocks(found))
    covered = ((low <= truth) & (truth <= high)).mean(axis=0)
    np.testing.assert_allclose(covered, 0.95, atol=0.025)


@pytest.mark.parametrize("method", ["hoeffding", "bernstein"])
def test_bounds_of_change_hold(method: Any) -> None:
    found = repeated(bilinear, [0.3, -0.4], design="uniform", n_walks=400)
    low, high = bounded_interval(found.change, found.change_se, 400, method=method, span=2.0)
    covered = (low <= BILINEAR_CHANGE) & (high >= BILINEAR_CHANGE)
    assert covered.mean() >= 0.95


# ---- certificates: wrong in no more than alpha of the runs that certify anything

WEIGHTS = np.array([1.0, 0.82, 0.66, 0.55, 0.3, 0.1])


def squares(z: np.ndarray) -> np.ndarray:
    """Value (1 + x^2) / 2 times the weight on [-1, 1]: the order of the weights."""
    return (z**2) @ WEIGHTS


@pytest.mark.parametrize("design", ["balanced", "uniform"])
@pytest.mark.parametrize("k", [1, 2])
def test_certificates_of_a_race_are_right(design: Any, k: int) -> None:
    alpha = 0.1
    found = repeated(squares, [0.2] * 6, design=design, top_k=k, alpha=alpha, n_walks=600)
    right = ((found.rank <= k) == (np.arange(6) < k)).all(axis=1)
    wrong = found.top_k_certified & ~right
    assert wrong.mean() <= alpha
    assert found.top_k_certified.mean() > 0.2  # and it does certify


@pytest.mark.parametrize("k", [1, 3])
def test_certificates_from_students_intervals_are_right(k: int) -> None:
    alpha, wrong, made = 0.1, 0, 0
    found = repeated(squares, [0.2] * 6, design="uniform", n_walks=300)
    low, high = interval(found.value, found.se, 300, 1 - alpha / 6)
    for score, a, b in zip(found.value, low, high, strict=True):
        verdict, _ = certify(score, a, b, k)
        made += verdict.certified
        top = set(np.argsort(-score)[:k].tolist())
        wrong += verdict.certified and top != set(range(k))
    assert wrong <= alpha * REPETITIONS
    assert made > 50


# ---- negative controls: nothing is found where there is nothing


def trained(adata: AnnData, labels: str, seed: int) -> Any:
    return sx.models.fit_mlp(
        adata, labels, "A", hidden=(16,), epochs=60, learning_rate=1e-2, seed=seed
    )


def agreement(adata: AnnData, net: Any) -> float:
    """AUROC of the planted markers of type A among genes by value, mean over its cells."""
    cells = adata.copy()
    sx.tl.sensx(cells, net, mask_obs=(cells.obs["cell_type"] == "A").to_numpy(), n_walks=40,
                n_samples=200)  # fmt: skip
    there = ~np.isnan(cells.layers["sensx"]).all(axis=1)
    if not there.any():
        return np.nan
    markers = (cells.var["marker_of"] == "A").to_numpy()
    return float(auroc(cells.layers["sensx"][there], markers).mean())


def test_markers_are_found_by_trained_nets_only(adata: AnnData) -> None:
    """Six nets each. On shuffled labels and with random weights the mean AUROC is chance, .5 to
    within three standard errors (or there is no attribution at all); trained, it is near one."""
    rng = np.random.default_rng(0)
    found: dict[str, list[float]] = {"trained": [], "shuffled": [], "random": []}
    for seed in range(6):
        found["trained"].append(agreement(adata, trained(adata, "cell_type", seed)))
        adata.obs["shuffled"] = rng.permutation(adata.obs["cell_type"].to_numpy())
        found["shuffled"].append(agreement(adata, trained(adata, "shuffled", seed)))
        net = sx.models.ExpressionMLP(list(adata.var_names), ["A"], hidden=(16,), seed=seed).eval()
        found["random"].append(agreement(adata, net))
    assert np.mean(found["trained"]) > 0.9
    for control in ("shuffled", "random"):
        areas = np.array(found[control])
        areas = areas[~np.isnan(areas)]
        if len(areas) > 2:
            error = max(areas.std(ddof=1) / np.sqrt(len(areas)), 0.03)
            assert abs(areas.mean() - 0.5) < 3 * error, (control, areas)


def test_random_weights_leave_most_cells_without_an_attribution(adata: AnnData) -> None:
    """Small random weights move a probability by less than tau: insensitive, and no map."""
    with torch.no_grad():
        net = sx.models.ExpressionMLP(list(adata.var_names), ["A"], hidden=(64, 32), seed=1).eval()
    sx.tl.sensx(adata, net, tau=0.2, n_walks=20, n_samples=400)
    assert (adata.obs["sensx_status"] == "insensitive").mean() > 0.9
    assert np.isnan(adata.layers["sensx"]).all(axis=1).mean() > 0.9


def test_shuffled_groups_do_not_differ(adata: AnnData) -> None:
    """Genes with an adjusted p-value below 5 % in no more than 5 % of 60 shuffles, by chance 3;
    the true groups differ in most genes."""
    net = trained(adata, "cell_type", 0)
    sx.tl.sensx(adata, net, n_walks=40, n_samples=200)
    rng, some = np.random.default_rng(1), 0
    for _ in range(60):
        adata.obs["shuffled"] = rng.permutation(np.resize(["a", "b"], 60))
        sx.tl.rank_groups(adata, "shuffled", reference="b")
        some += bool((adata.uns["sensx_shuffled"]["rankings"]["pval_adj"] <= 0.05).any())
    assert some <= 7  # 3 expected at most; P(more than 7) is 1 %
    sx.tl.rank_groups(adata, "cell_type", reference="rest")
    table = adata.uns["sensx_cell_type"]["rankings"]
    assert (table.query("group == 'A'")["pval_adj"] <= 0.05).mean() > 0.5
