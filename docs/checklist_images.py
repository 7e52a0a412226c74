"""Rows of the paper's checklist about images and tissue (notebooks/vision, notebooks/spatial)."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import numpy as np
from checklist import NOT_HERE, NOTEBOOKS, Row, band, read, told

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd


def _boxes() -> dict[str, tuple[int, int, int, int]]:
    """Top, bottom, left and right of what is asked about, as the benchmark has them."""
    tree = ast.parse((NOTEBOOKS / "vision" / "benchmark.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "BOXES":
            return ast.literal_eval(node.value)  # type: ignore[no-any-return]
    msg = "notebooks/vision/benchmark.py has no BOXES."
    raise ValueError(msg)


def vision() -> list[Row]:
    def maps() -> tuple[str, bool]:
        table = read("vision/results/maps")
        here = "; ".join(
            f"{row.image}: {row.delta_star:.2g} ({row.status}); audit of its map "
            f"{'passed' if row.audit_passed else 'failed'}: exact values sum to "
            f"{row.audit_ratio:.2f} of the estimate, Spearman {row.audit_spearman:.2f}"
            for row in table.itertuples()
        )
        return here, bool((table["status"] == "resolved").all())

    def masks() -> tuple[str, bool]:
        path = NOTEBOOKS / "vision" / "results" / "maps.npz"
        with np.load(path) as stored:
            values = {n[:-6]: stored[n].astype(float) for n in stored.files if n.endswith("_value")}
        if not values:
            raise FileNotFoundError(2, "no map", str(path))
        found = []
        for name, value in values.items():
            top, bottom, left, right = _boxes()[name]
            first = np.argsort(-value.ravel())[:5000]
            inside = np.zeros(value.shape[1:], dtype=bool)
            inside[top:bottom, left:right] = True
            share = np.broadcast_to(inside, value.shape).ravel()[first].mean()
            found.append((name, share, inside.mean()))
        here = "; ".join(
            f"{name}: {share:.0%} of the first 5,000 inside the box that is asked about, which is "
            f"{area:.0%} of the image" for name, share, area in found
        )  # fmt: skip
        return here, all(share > 2 * area for _, share, area in found)

    def channels() -> tuple[str, bool]:
        rho = read("vision/results/channels")["spearman"]
        return f"Spearman between channels {band(rho)}", bool(rho.min() > 0.5)

    def profile(method: str) -> pd.DataFrame:
        table = read("vision/results/patch_profile").query("method == @method")
        return table.groupby(["image", "c", "distance"])[["mean", "sd"]].mean().reset_index()

    def inside() -> tuple[str, bool]:
        parts, agree = [], []
        for image, part in profile("SensX").groupby("image"):
            mean = part.groupby("distance")["mean"].mean()
            centre, least, edge = mean.iloc[0], mean.iloc[1:-1].min(), mean.iloc[-1]
            at = mean.iloc[1:-1].idxmin()
            parts.append(f"{image}: centre {centre:.2f}, least {least:.2f} at distance {at:g}, "
                         f"edge {edge:.2f}")  # fmt: skip
            agree.append(centre > least and edge > least)
        return "; ".join(parts), all(agree)

    def gradients() -> tuple[str, bool]:
        ours, theirs = (profile(m)["sd"].mean() for m in ("SensX", "expected gradients"))
        return f"SD between patches {ours:.2f}; expected gradients {theirs:.2f}", theirs > ours

    def perturbation() -> tuple[str, bool]:
        table = read("vision/results/perturbation")
        area = table.groupby(["image", "method", "first"])["auc"].first().unstack("first")
        ours, chance = (area.xs(m, level="method") for m in ("SensX value", "random"))
        here = "; ".join(
            f"{image}: top {ours.loc[image, 'top']:.2f}, bottom {ours.loc[image, 'bottom']:.2f}, "
            f"random {chance.loc[image, 'top']:.2f}" for image in ours.index
        )  # fmt: skip
        good = (ours["top"] < chance["top"]) & (ours["bottom"] > chance["bottom"])
        return f"areas, {here}", bool(good.all())

    def randomised() -> tuple[str, bool]:
        table = read("vision/results/randomised").astype({"layers": str})
        parts = []
        for row in table.itertuples():
            rest = f"Spearman {row.spearman:.2f}, {row.top_1000:.0%} of the first 1,000 kept"
            rest = "no ranking" if np.isnan(row.top_1000) else rest
            parts.append(f"layers {row.layers}: {row.status}, {rest}")
        kept = table["top_1000"].fillna(0)
        return "; ".join(parts), bool(kept.iloc[-1] < 0.1 and kept.max() < 0.9)

    def convergence() -> tuple[str, bool]:
        table = read("vision/results/convergence").sort_values("states")
        last = table.iloc[-1]
        here = (
            f"two seeds of {last['states']:.0f} gradient states: Spearman "
            f"{last['seeds_spearman']:.3f}, {last['seeds_top_500']:.0%} of the first 500 in common"
        )
        if "half_as_many_spearman" in table and np.isfinite(last["half_as_many_spearman"]):
            here += f"; with half as many of one seed {last['half_as_many_spearman']:.3f}"
        return here, bool(last["seeds_spearman"] > 0.9)

    def cost() -> tuple[str, bool]:
        parts = []
        for row in read("vision/results/base").itertuples():
            parts.append(
                f"ViT-Base, exact walks: {row.cpu_seconds_a_step:.2f} CPU seconds a step, "
                f"{row.hours_a_walk_of_all_values:.1f} h a walk; {row.gib_peak:.1f} GiB"
            )
        return "; ".join(parts), bool(read("vision/results/base")["gib_peak"].max() < 10)

    return [
        told("V1", "150,528 values of a vision transformer: δ\\*", ".54 to .70", maps),
        told("V2", "which values rank first (figures 3, D5)", "those of what is asked about",
             masks),
        told("V3", "the three channels (D4)", "agree", channels),
        told("V4", "inside the patches (figures 4, D8)",
             "a peak at the centre, least near distance 6 of 8, a rebound at the edge", inside),
        told("V5", "the same by Integrated Gradients (D9)", "a much wider spread", gradients),
        told("V6", "moving the first or the last values (D6, D7)",
             "the first take q down, the last do nothing", perturbation),
        told("V7", "weights permuted, last layers first (D6)", "the ranking is lost", randomised),
        told("V8", "convergence (E1)", "above .99 by 200 walks", convergence),
        told("V9", "cost", "5 min a walk on an A100, below 10 GB", cost),
    ]  # fmt: skip


def tissue() -> list[Row]:
    def full(name: str) -> pd.DataFrame:
        return read(f"spatial/results/{name}").query("model == 'full'")

    def stars() -> tuple[str, bool]:
        table = full("tiles")
        counts = table["status"].value_counts()
        told = ", ".join(f"{n} {status}" for status, n in counts.items())
        here = f"{told}; median {table['delta_star'].median():.2g}"
        return here, bool((table["status"] != "unsaturated").mean() > 0.5)

    def dominance() -> tuple[str, bool]:
        table = full("tiles").query("gene in ['EOS1', 'LUM1']")
        ten, factor = (table["ratio"] < 0.1).mean(), (table["own"] / table["others"]).median()
        here = (
            f"{ten:.0%} for genes that the model predicts well; median ratio "
            f"{table['ratio'].median():.3f}; {factor:.0f} times when perturbed"
        )
        return here, bool(ten > 0.9)

    def overlay() -> tuple[str, bool]:
        with np.load(NOTEBOOKS / "spatial" / "results" / "maps.npz") as stored:
            names = [name for name in stored.files if name != "obs"]
            n = len(stored["obs"])
        return f"maps of {', '.join(names)} in {n} spots: lines of sub-spots, and lumina", True

    def share(column: str) -> dict[str, float]:
        table = read("spatial/results/tests").query("status != 'insensitive'")
        return (table[column] < 0.025).groupby(table["model"]).mean().to_dict()

    def bias(column: str) -> Callable[[], tuple[str, bool]]:
        def found() -> tuple[str, bool]:
            of = share(column)
            here = ", ".join(f"{of[m]:.0%} ({m})" for m in ("full", "no sub-spots", "shuffled"))
            return f"of maps with p < .025: {here}", of["full"] > of["no sub-spots"]

        return found

    def moved() -> tuple[str, bool]:
        of = read("spatial/results/validation").groupby(["gene", "first", "share"])["change"]
        middle = of.median().unstack("share")[[0.02, 0.05, 0.1]].mean(axis=1).unstack("first")
        here = "; ".join(
            f"{gene}: {row.top:.3f} against {row.bottom:.3f}" for gene, row in middle.iterrows()
        )
        return f"change of the gene, {here}", bool((middle["top"] > middle["bottom"]).all())

    def truth() -> tuple[str, bool]:
        table = full("truth").query("gene == 'LUM1' and status != 'insensitive'")["auroc_lumen"]
        table = table.dropna()  # spots without a lumen
        return f"AUROC of planted lumina {band(table)}", bool(table.min() > 0.5)

    def brain() -> tuple[str, bool]:
        r = read("spatial/results/brain_fit")["r_held_out"]
        here = (
            "their weights must be asked for. A small model of 49 real spots predicts held-out "
            f"genes with r {band(r)}"
        )
        if r.max() < 0.3:
            here += ": of the tissue there is nothing to explain"
        near = read("spatial/results/brain_tests").assign(
            near=lambda t: t["grid_p_uniform"] < 0.025
        )
        shares = near.groupby("model", sort=False)["near"].agg(["sum", "size"])
        found = ", ".join(
            f"{row['sum']} of {row['size']} ({name})" for name, row in shares.iterrows()
        )
        here += f"; maps whose top lies near the lines between sub-spots: {found}"
        return here, True

    return [
        told("H1", "δ\\* (D13)", "most at the first grid point, .1", stars),
        told("H2", "own tile / best neighbour (D12)",
             "ten times in 98.4 %, median ratio .018; 20 times when perturbed", dominance),
        told("H3", "maps on the slide (figure 6)", "boundaries of sub-spots show", overlay),
        told("H4", "top pixels near the lines between sub-spots (D14)", "61.9 %",
             bias("grid_p_uniform")),
        told("H5", "top pixels pale (D14)", "73.9 % of the rest", bias("pale_p_uniform")),
        told("H6", "moving the first pixels (D15)", "changes the gene more", moved),
        told("H7", "is it the planted truth?", "not in the paper", truth),
        told("H8", "real tissue", "745 spots of colon, through UNI and DeepSpot", brain, NOT_HERE),
    ]  # fmt: skip
