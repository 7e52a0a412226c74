"""The paper's synthetic benchmark (section 4.1, appendix F.1), at any size.

python notebooks/synthetic/benchmark.py --seeds 5 --inputs 1000 --shap-inputs 200

writes tables to results/ beside this file, which the notebook reads. Nets are kept in --cache, so
that a run that was stopped goes on. One process, one thread; a run of five seeds takes about two
hours of one core, most of it training and shap. Sets and seeds that the tables have already are
kept unless they are asked for again, so the run may be cut into parts (--kinds, --first-seed).
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import platform
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import nn

import sensx_sc as sx

if TYPE_CHECKING:
    import anndata as ad

KINDS = ("xor", "orange_skin", "nonlinear_additive", "switch")
QOIS = ("probability", "logit")
RESULTS = Path(__file__).parent / "results"
WALKS = (500, 1000, 2500, 5000, 7500, 10_000)
STEPS = (50, 100, 200, 500)
SURE = 0.99


def data(kind: str, n_obs: int) -> tuple[ad.AnnData, np.ndarray]:
    """The set, and its labels."""
    adata = sx.datasets.synthetic(kind, n_obs=n_obs, seed=0)
    return adata, adata.obs["label"].astype(str).astype(int).to_numpy()


def fresh() -> nn.Sequential:
    """The paper's 10-200-100-50-1 net, untrained."""
    layers: list[nn.Module] = []
    for n_in, n_out in itertools.pairwise([10, 200, 100, 50]):
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(50, 1))


def trained(
    adata: ad.AnnData, y: np.ndarray, seeds: list[int], epochs: int, batch: int
) -> list[nn.Module]:
    """A net for each seed; the epoch with the best validation F1 is kept.

    They are trained side by side, as one product a layer, which takes a third of the time of one
    after the other. Each has its own initial weights and order of the rows, both from its seed.
    """
    nets, orders = [], [torch.Generator().manual_seed(seed) for seed in seeds]
    for seed in seeds:
        torch.manual_seed(seed)
        nets.append(fresh())
    stacked = [torch.stack([p.detach() for p in ps]) for ps in
               zip(*(net.parameters() for net in nets), strict=True)]  # fmt: skip
    weights = [p.transpose(1, 2) if p.ndim == 3 else p[:, None] for p in stacked]
    weights = [p.contiguous().requires_grad_() for p in weights]

    def logits(rows: torch.Tensor) -> torch.Tensor:
        for bias, weight in zip(weights[1::2], weights[::2], strict=True):
            rows = torch.baddbmm(bias, rows, weight)
            rows = torch.relu(rows) if weight.shape[2] > 1 else rows
        return rows[:, :, 0]

    rows = torch.as_tensor(np.asarray(adata.X), dtype=torch.float32)
    labels = torch.as_tensor(y, dtype=torch.float32)
    n_train, n_fit = int(0.8 * len(rows)), int(0.9 * len(rows))
    optimiser = torch.optim.AdamW(weights, lr=1e-3, weight_decay=1e-4, fused=True)
    best = np.full(len(seeds), -1.0)
    for _ in range(epochs):
        shuffled = torch.stack([torch.randperm(n_train, generator=order) for order in orders])
        for part in shuffled.split(batch, dim=1):
            optimiser.zero_grad()
            loss = nn.functional.binary_cross_entropy_with_logits(
                logits(rows[part]), labels[part], reduction="none"
            )
            loss.mean(dim=1).sum().backward()
            optimiser.step()
        with torch.no_grad():
            called = logits(rows[n_train:n_fit].expand(len(seeds), -1, -1)) > 0
        truth = (labels[n_train:n_fit] == 1).expand_as(called)
        f1 = 2 * (called & truth).sum(1) / (called.sum(1) + truth.sum(1)).clamp(min=1)
        for i in np.flatnonzero(f1.numpy() > best):
            best[i] = float(f1[i])
            for into, weight in zip(nets[i].parameters(), weights, strict=True):
                here = weight.detach()[i]
                into.data.copy_(here.T if into.ndim == 2 else here[0])
    return [net.eval() for net in nets]


def cached_nets(
    adata: ad.AnnData, y: np.ndarray, kind: str, seeds: list[int], options: Any
) -> dict[int, nn.Module]:
    """Trained nets, from the cache if they are there."""
    size = f"{options.n_obs}-{options.epochs}-{options.batch}"
    paths = {seed: options.cache / f"{kind}-{size}-{seed}.pt" for seed in seeds}
    missing = [seed for seed, path in paths.items() if not path.exists()]
    if missing:
        made = trained(adata, y, missing, options.epochs, options.batch)
        for seed, net in zip(missing, made, strict=True):
            torch.save(net.state_dict(), paths[seed])
    nets = {seed: fresh() for seed in seeds}
    for seed, net in nets.items():
        net.load_state_dict(torch.load(paths[seed], weights_only=True))
        net.eval()
    return nets


def sure_cells(adata: ad.AnnData, net: nn.Module, n: int) -> ad.AnnData:
    """Up to n test inputs that the net is sure of, with the domain of all data."""
    first = int(0.9 * adata.n_obs)
    with torch.no_grad():
        p = torch.sigmoid(net(torch.as_tensor(np.asarray(adata.X[first:]), dtype=torch.float32)))
    chosen = first + np.flatnonzero(p[:, 0].numpy() > SURE)[:n]
    cells = adata[chosen].copy()
    x = np.asarray(adata.X)
    cells.var["lower"], cells.var["upper"] = (
        x.min(axis=0).astype(float),
        x.max(axis=0).astype(float),
    )
    return cells


def explain(
    cells: ad.AnnData, net: nn.Module, qoi: str, n_walks: int, tau: float, **how: Any
) -> None:
    """SensX as in the paper: 20 scales on [.05, 1], as many samples as walks."""
    sx.tl.sensx(
        cells, net, qoi=qoi, tau=tau, lower="lower", upper="upper", deltas=np.linspace(0.05, 1, 20),
        n_walks=n_walks, n_samples=min(n_walks, 2000), statistics=("change", "mean", "shapley"),
        **how,
    )  # fmt: skip


def baselines(
    cells: ad.AnnData, adata: ad.AnnData, net: nn.Module, options: Any, seed: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Attributions of every baseline, and the inputs they are of."""
    train = np.asarray(adata.X)[: int(0.8 * adata.n_obs)]
    rng = np.random.default_rng(seed)
    some = rng.choice(len(train), 100, replace=False)
    few = np.arange(cells.n_obs) < options.shap_inputs
    every = np.ones(cells.n_obs, dtype=bool)
    calls = [
        (["ig_zero", "ig_mean"], train.mean(axis=0)[None], every),
        (["ig_random"], train[:20_000], every),
        (["ig_expected"], train[some[:50]], few),
        (["deeplift_shap", "gradient_shap"], train[some], few),
        (["kernel_shap", "permutation_shap"], centres(train, seed), few),
    ]
    found = {}
    for methods, background, mask in calls:
        sx.tl.compare(
            cells, net, methods=methods, background=background, mask_obs=mask, n_draws=1, ks=[10],
            scales=1.0, n_steps=200, n_samples=1000, n_permutations=options.permutations,
            keep_scores=True, key_added="other",
        )  # fmt: skip
        for name in methods:
            scores = np.asarray(cells.layers[f"other_{name}"])
            there = ~np.isnan(scores).all(axis=1)
            found[name] = (scores[there], there)
    return found


def centres(train: np.ndarray, seed: int) -> np.ndarray:
    """100 cluster centres of the training data, as the paper summarises it."""
    from sklearn.cluster import KMeans

    return KMeans(100, n_init=1, random_state=seed).fit(train[:20_000]).cluster_centers_


def rows_of(
    scores: np.ndarray, relevant: np.ndarray, about: dict[str, Any]
) -> list[dict[str, Any]]:
    """Accuracy for each k up to the number of relevant features."""
    most = int(relevant.sum(axis=1).min())
    accuracy = sx.metrics.top_k_accuracy(scores, relevant, np.arange(1, most + 1))
    return [
        {**about, "k": k, "accuracy": float(a), "n": len(scores)} for k, a in enumerate(accuracy, 1)
    ]


def written(name: str, rows: list[dict[str, Any]], keys: list[str], **how: Any) -> None:
    """Write rows to a table in the folder of results; they replace those with the same keys."""
    path, new = RESULTS / name, pd.DataFrame(rows)
    if path.exists():
        old = pd.read_csv(path)
        again = pd.MultiIndex.from_frame(old[keys]).isin(pd.MultiIndex.from_frame(new[keys]))
        new = pd.concat([old[~again], new])
    new.sort_values(keys, kind="stable").to_csv(path, index=False, **how)


def main_table(options: Any) -> None:
    """S1 to S8: accuracy of every method on every set, model seed and scale of q; delta* (S9)."""
    for kind in options.kinds:
        adata, y = data(kind, options.n_obs)
        seeds = list(range(options.first_seed, options.seeds))
        for seed, net in cached_nets(adata, y, kind, seeds, options).items():
            accuracy, star = [], []
            started = time.time()
            cells = sure_cells(adata, net, options.inputs)
            relevant = np.asarray(cells.obsm["relevant"], dtype=bool)
            for qoi in QOIS:
                tau = 0.1 if qoi == "probability" else options.tau_logit
                explain(cells, net, qoi, options.walks, tau, seed=seed)
                about = {"set": kind, "seed": seed, "qoi": qoi}
                star += [
                    {**about, "delta_star": d, "status": s}
                    for d, s in zip(
                        cells.obs["sensx_delta_star"], cells.obs["sensx_status"].astype(str),
                        strict=True,
                    )
                ]  # fmt: skip
                there = cells.obs["sensx_delta_star"].to_numpy() > 0
                for name in ("value", "change", "mean", "shapley"):
                    layer = "sensx" if name == "value" else f"sensx_{name}"
                    scores = np.asarray(cells.layers[layer])[there]
                    accuracy += rows_of(scores, relevant[there], {**about, "method": name})
                for name, (scores, who) in baselines(cells, adata, net, options, seed).items():
                    accuracy += rows_of(scores, relevant[who], {**about, "method": name})
                control = np.random.default_rng(seed).random(cells.shape)
                accuracy += rows_of(control, relevant, {**about, "method": "random"})
            logging.info(
                "%s, seed %d: %d inputs, %.0f s", kind, seed, cells.n_obs, time.time() - started
            )
            written("accuracy.csv", accuracy, ["set", "seed"], float_format="%.5g")
            counts = pd.DataFrame(star).value_counts().rename("n_inputs").reset_index()
            written("delta_star.csv", counts.to_dict("records"), ["set", "seed"],
                    float_format="%.4g")  # fmt: skip


def hyperparameters(options: Any) -> None:
    """D1, D2: accuracy against walks and steps, and delta* against samples (D3); one net a set."""
    for kind in options.kinds:
        rows, star = [], []
        adata, y = data(kind, options.n_obs)
        net = cached_nets(adata, y, kind, [0], options)[0]
        cells = sure_cells(adata, net, options.curve_inputs)
        relevant = np.asarray(cells.obsm["relevant"], dtype=bool)
        for n in WALKS:
            sx.tl.sensx(
                cells, net, lower="lower", upper="upper", deltas=np.linspace(0.05, 1, 20),
                n_walks=n, n_samples=n, design="uniform", statistics=("change",),
            )  # fmt: skip
            there = cells.obs["sensx_delta_star"].to_numpy() > 0
            for name, layer in (("value", "sensx"), ("change", "sensx_change")):
                about = {"set": kind, "method": name, "size": n}
                rows += rows_of(np.asarray(cells.layers[layer])[there], relevant[there], about)
            star += [{"set": kind, "n": n, "delta_star": d} for d in cells.obs["sensx_delta_star"]]
            logging.info("%s, %d walks", kind, n)
        for n in STEPS:
            for method in ("ig_zero", "ig_mean", "ig_random"):
                train = np.asarray(adata.X)[: int(0.8 * adata.n_obs)]
                background = train[:20_000] if method == "ig_random" else train.mean(axis=0)[None]
                sx.tl.compare(
                    cells, net, methods=[method], background=background, n_draws=1, ks=[10],
                    scales=1.0, n_steps=n, keep_scores=True, key_added="other",
                )  # fmt: skip
                about = {"set": kind, "method": method, "size": n}
                rows += rows_of(np.asarray(cells.layers[f"other_{method}"]), relevant, about)
        written("curves.csv", rows, ["set"], float_format="%.5g")
        counts = pd.DataFrame(star).value_counts().rename("n_inputs").reset_index()
        written("delta_star_curves.csv", counts.to_dict("records"), ["set"], float_format="%.4g")


def parsed() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n-obs", type=int, default=100_000)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--shap-inputs", type=int, default=200)
    parser.add_argument("--curve-inputs", type=int, default=200)
    parser.add_argument("--permutations", type=int, default=10)
    parser.add_argument("--walks", type=int, default=1000)
    parser.add_argument("--tau-logit", type=float, default=1.0)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS))
    parser.add_argument("--part", choices=["main", "curves", "all"], default="all")
    parser.add_argument("--cache", type=Path, default=Path("synthetic_nets"))
    return parser.parse_args()


if __name__ == "__main__":
    options = parsed()
    warnings.simplefilter("ignore")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", force=True)
    logging.getLogger("sensx_sc").setLevel(logging.WARNING)
    torch.set_num_threads(1)
    sx.settings.progress = False
    options.cache.mkdir(exist_ok=True, parents=True)
    RESULTS.mkdir(exist_ok=True)
    began = time.time()
    if options.part in ("main", "all"):
        main_table(options)
    if options.part in ("curves", "all"):
        hyperparameters(options)
    done = {name: value for name, value in vars(options).items() if name != "cache"}
    done |= {"hours": round((time.time() - began) / 3600, 2), "python": platform.python_version(),
             "torch": torch.__version__, "sensx_sc": sx.__version__}  # fmt: skip
    path = RESULTS / "runs.json"  # one entry a run, since a table may come from several
    runs = json.loads(path.read_text()) if path.exists() else []
    path.write_text(json.dumps([*runs, done], indent=1) + "\n")
