"""The paper's synthetic benchmarks (figure 2, D1, D3) on nets trained here, at a moderate size.

Accuracy at k is the share of inputs whose k highest-ranked features are all relevant (F1). With
200 inputs its standard error is at most .035. Seen over five seeds: Switch, value top-2 .945-.965,
change top-5 .55-.62; IG top-2 .60-.90; KernelSHAP .28-.34. In full: notebooks/synthetic.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

import sensx_sc as sx

if TYPE_CHECKING:
    from anndata import AnnData

N, N_EXPLAINED, N_WALKS = 40_000, 200, 400
N_BASELINES = 100  # inputs that captum explains, one at a time
SEEDS = range(5)


def trained(X: np.ndarray, y: np.ndarray, seed: int) -> nn.Module:
    """The paper's 10-200-100-50-1 net; the epoch with the best validation F1 is kept."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for n_in, n_out in itertools.pairwise([10, 200, 100, 50]):
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
    net = nn.Sequential(*layers, nn.Linear(50, 1))
    rows, labels = torch.as_tensor(X, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=1e-4)
    n_train, n_fit = int(0.8 * N), int(0.9 * N)
    best, kept = -1.0, net.state_dict()
    for _ in range(20):
        for part in torch.randperm(n_train).split(256):
            optimiser.zero_grad()
            logit = net(rows[part])[:, 0]
            nn.functional.binary_cross_entropy_with_logits(logit, labels[part]).backward()
            optimiser.step()
        with torch.no_grad():
            called = net(rows[n_train:n_fit])[:, 0] > 0
        truth = labels[n_train:n_fit] == 1
        f1 = 2 * float((called & truth).sum()) / float(called.sum() + truth.sum())
        if f1 > best:
            best, kept = f1, {name: part.clone() for name, part in net.state_dict().items()}
    net.load_state_dict(kept)
    return net.eval()


def explained(kind: str, seed: int) -> tuple[nn.Module, AnnData, np.ndarray]:
    """A net, sure inputs and their explanation, and the training data."""
    adata = sx.datasets.synthetic(kind, n_obs=N, seed=0)  # type: ignore[arg-type]
    X = np.asarray(adata.X)
    net = trained(X, adata.obs["label"].astype(str).astype(int).to_numpy(), seed)
    test = np.arange(int(0.9 * N), N)
    with torch.no_grad():
        sure = torch.sigmoid(net(torch.as_tensor(X[test], dtype=torch.float32)))[:, 0] > 0.99
    cells = adata[test[sure.numpy()][:N_EXPLAINED]].copy()
    assert cells.n_obs == N_EXPLAINED
    sx.tl.sensx(
        cells, net, lower=X.min(axis=0), upper=X.max(axis=0), deltas=np.linspace(0.05, 1, 20),
        n_walks=N_WALKS, n_samples=N_WALKS, statistics=("change",),
    )  # fmt: skip
    return net, cells, X[: int(0.8 * N)]


def accuracy(cells: AnnData, layer: str, n: int = N_EXPLAINED) -> np.ndarray:
    """Accuracy at k = 1 .. number of relevant features (equation F1)."""
    relevant = np.asarray(cells.obsm["relevant"], dtype=bool)[:n]
    ks = np.arange(1, relevant.sum(axis=1).min() + 1)
    return sx.metrics.top_k_accuracy(np.asarray(cells.layers[layer])[:n], relevant, ks)


def attributions(
    net: nn.Module, cells: AnnData, methods: tuple[str, ...], background: np.ndarray, n: int
) -> None:
    """Keep a baseline's attributions of the first inputs as layers ``other_<method>``."""
    sx.tl.compare(
        cells, net, methods=list(methods), background=background, mask_obs=np.arange(200) < n,
        scales=1.0, ks=[10], n_draws=1, n_steps=50, n_samples=1000, keep_scores=True,
        key_added="other",
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_switch(seed: int) -> None:
    pytest.importorskip("captum")
    net, cells, train = explained("switch", seed)
    assert (cells.obs["sensx_delta_star"] == 1).all()
    assert accuracy(cells, "sensx")[1] >= 0.93
    ours = accuracy(cells, "sensx_change")
    assert ours[4] >= 0.5  # the paper: below .13
    some = accuracy(cells, "sensx_change", N_BASELINES)
    for methods, background in (
        (("ig_zero", "ig_mean"), train.mean(axis=0)[None]),
        (("ig_random",), train),
    ):
        attributions(net, cells, methods, background, N_BASELINES)
        for name in methods:
            # One input of them is no difference.
            theirs = accuracy(cells, f"other_{name}", N_BASELINES)
            assert (theirs <= some + 1.5 / N_BASELINES).all(), name
    if seed == 0:  # the others are told apart as clearly, at a minute each
        pytest.importorskip("shap")
        cluster = pytest.importorskip("sklearn.cluster")
        centres = cluster.KMeans(50, n_init=1, random_state=0).fit(train[:5000]).cluster_centers_
        attributions(net, cells, ("kernel_shap",), centres, 50)
        theirs = accuracy(cells, "other_kernel_shap", 50)
        assert (theirs <= accuracy(cells, "sensx_change", 50)).all()
        assert theirs[1] < 0.6 < accuracy(cells, "sensx", 50)[1]


def test_xor_is_always_right() -> None:
    _, cells, _ = explained("xor", 0)
    assert (cells.obs["sensx_delta_star"] == 1).all()
    for layer in ("sensx", "sensx_change"):
        assert (accuracy(cells, layer) == 1).all()


def test_additive_saturates_nowhere() -> None:
    _, cells, _ = explained("nonlinear_additive", 0)
    assert (cells.obs["sensx_delta_star"] == 1).all()
    assert accuracy(cells, "sensx_change")[2] >= 0.9


def test_orange_skin_is_near_one() -> None:
    _, cells, _ = explained("orange_skin", 0)
    assert cells.obs["sensx_delta_star"].median() > 0.8
    for layer in ("sensx", "sensx_change"):
        assert (accuracy(cells, layer) >= 0.95).all()
