"""A composite model of tissue, pixel by pixel: rows H1 to H8 of the paper's checklist.

python notebooks/spatial/benchmark.py

DeepSpot's weights and its encoder cannot be had without asking for them, so a small model of its
structure (a frozen encoder, phi on the spot, its nine sub-spots and its eight neighbours, rho) is
trained in its place: on a made-up section, of which it is known what each gene follows, and on a
small real one (49 spots of mouse brain). Controls that must find nothing: a model without
sub-spots has no grid to be biased by, and a model of shuffled expression has learned nothing.
Writes results/*.csv and results/maps.npz, part by part; ``--only tiles`` runs one part alone.
"""

from __future__ import annotations

import argparse
import functools
import logging
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from scipy.sparse import issparse

import sensx_sc as sx
from sensx_sc.models.deepspot import grid_lines

if TYPE_CHECKING:
    import xarray as xr
    from anndata import AnnData

RESULTS = Path(__file__).parent / "results"
GENES = ("NUC1", "EOS1", "LUM1", "NEI1", "NULL1")
SHOWN = ("EOS1", "LUM1")
MODELS = {
    "full": {},
    "no sub-spots": {"context": "spot_neighbors"},
    "shuffled": {"shuffle": True},
}
BRAIN_GENES = ("Pcp4", "Mal", "Mog", "Npy", "Gad1", "Lamp5", "Ncald", "Cldn11")
HOW: dict[str, Any] = {
    "deltas": [0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0], "n_samples": 40, "tau": 0.1,
    "precision": "float32",
}  # fmt: skip
TOP_SHARE = 0.05  # of the pixels of a tile: the paper's 500 of 10,000


@functools.cache
def trained(name: str) -> Any:
    """A model of the made-up section."""
    return sx.datasets.tissue_model(section(), epochs=20, **MODELS[name])


def section(seed: int = 0) -> AnnData:
    """The made-up section."""
    return sx.datasets.tissue(n_rows=8, n_columns=8, seed=seed)


def cut(adata: AnnData) -> xr.DataArray:
    """The tiles of all spots."""
    return sx.im.spot_tiles(sx.im.from_adata(adata), adata).compute()


def predicted(model: Any, tiles: xr.DataArray) -> np.ndarray:
    """What a model makes of tiles, (spots, genes)."""
    ordered = tiles.sel(tile=list(model.layout.tiles)).transpose("obs", *model.layout.dims)
    rows = torch.tensor(ordered.values.reshape(len(tiles), -1), dtype=torch.float32)
    with torch.inference_mode():
        return model.outputs(rows).numpy()


def expression(adata: AnnData) -> np.ndarray:
    """Expression, dense."""
    return np.asarray(adata.X.toarray() if issparse(adata.X) else adata.X, dtype=np.float64)


def correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of each column of two matrices."""
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    return (a * b).sum(axis=0) / np.maximum(np.sqrt((a**2).sum(0) * (b**2).sum(0)), 1e-12)


def save(name: str, rows: list[Any]) -> None:
    """Write a table as far as it has come."""
    tables = [part if isinstance(part, pd.DataFrame) else pd.DataFrame([part]) for part in rows]
    table = pd.concat(tables, ignore_index=True)
    table.to_csv(RESULTS / f"{name}.csv", index=False, float_format="%.5g")


def inner_spots(adata: AnnData, n: int) -> list[str]:
    """Some spots, spread over the section."""
    at = np.linspace(0, adata.n_obs - 1, n + 2)[1:-1].round().astype(int)
    return list(adata.obs_names[at])


def part_fit(_: argparse.Namespace) -> None:
    """How well the models predict, on their own section and on another."""
    adata, other, rows = section(), section(seed=1), []
    for name in MODELS:
        model = trained(name)
        for where, some in (("trained on", adata), ("another", other)):
            r = correlations(predicted(model, cut(some)), expression(some))
            rows += [
                {"model": name, "section": where, "gene": gene, "driver": driver, "r": value}
                for gene, driver, value in zip(
                    some.var_names, some.var["driver"], r, strict=True
                )
            ]  # fmt: skip
        save("fit", rows)


def part_tiles(options: argparse.Namespace) -> None:
    """H1, H2: delta* of spots and genes, and how far the spot's own tile leads its neighbours."""
    adata, rows, envelopes = section(), [], []
    tiles = cut(adata).sel(obs=inner_spots(adata, options.spots))
    for name in ("full", "shuffled"):
        model = trained(name)
        for gene in GENES if name == "full" else SHOWN[:1]:
            found = sx.im.sensx(tiles, model, features="tile", target=gene, n_walks=40, **HOW)
            table = sx.im.tile_dominance(found, name="change")
            table["delta_star"], table["status"] = found["delta_star"], found["status"]
            table["q"] = found["qoi"]
            table[["own", "others"]] = moved(model, gene, tiles, found["delta_star"].values)
            rows.append(table.assign(model=name, gene=gene))
            width = np.ptp(found["envelope"].values, axis=2)
            envelopes.append(
                {"model": name, "gene": gene,
                 **dict(zip(map(str, HOW["deltas"]), width.mean(0), strict=True))}
            )  # fmt: skip
            save("tiles", rows)
            save("envelopes", envelopes)


def moved(model: Any, gene: str, tiles: xr.DataArray, deltas: np.ndarray) -> np.ndarray:
    """Median |change| of a gene when the own tile, or all neighbours, move at random (D12B)."""
    rng, at, found = np.random.default_rng(0), model.output_names.index(gene), []
    for one, delta in zip(tiles, deltas, strict=True):
        x = one.values.astype(np.float64)
        scale = delta if np.isfinite(delta) and delta > 0 else 1.0
        low, high = np.maximum(0, x - 255 * scale), np.minimum(255, x + 255 * scale)
        ends = low + rng.random((40, *x.shape)) * (high - low)
        own = (one["tile"] == "C").values[:, None, None, None]
        start = predicted(model, one.expand_dims("obs"))[0, at]
        row = []
        for which in (own, ~own):
            states = one.drop_vars("obs").expand_dims(obs=40).copy(data=np.where(which, ends, x))
            row.append(np.median(np.abs(predicted(model, states)[:, at] - start)))
        found.append(row)
    return np.array(found)


def part_pixels(options: argparse.Namespace) -> None:
    """H3 to H6: maps of pixels, the two tests by both nulls, planted truth, validation."""
    adata = section()
    slide, nuclei = sx.im.from_adata(adata), adata.uns["spatial"]["tissue"]["images"]["nuclei"]
    tiles = cut(adata).sel(obs=inner_spots(adata, options.pixel_spots))
    tests, truth, curves, maps = [], [], [], {}
    for name in MODELS:
        model = trained(name)
        for gene in SHOWN if name == "full" else SHOWN[:1]:
            began, asked, encoded = time.perf_counter(), model.n_asked, model.n_encoded
            found = pixels(model, tiles, gene, "patch:2", options.walks)
            logging.info(
                "%s, %s: %.0f s, %.1f crops looked at for each that was encoded", name, gene,
                time.perf_counter() - began,
                (model.n_asked - asked) / max(model.n_encoded - encoded, 1),
            )  # fmt: skip
            about = {"model": name, "gene": gene}
            tests.append(tested(found, tiles).assign(**about))
            truth.append(recovered(found, tiles, nuclei, slide).assign(**about))
            if name == "full":
                curves.append(validated(model, gene, tiles, found).assign(**about))
                maps[gene] = at_pixels(found).values.astype(np.float16)
                save("validation", curves)
            save("tests", tests)
            save("truth", truth)
    np.savez_compressed(RESULTS / "maps.npz", obs=tiles["obs"].values.astype(str), **maps)


def pixels(model: Any, tiles: xr.DataArray, gene: str, features: str, walks: int) -> xr.Dataset:
    """Values of small squares of pixels of the own tile, which the lines do not cut."""
    how = {"features": features, "perturb": "C", "target": gene, "n_walks": walks}
    return sx.im.sensx(tiles, model, **how, **HOW)


def at_pixels(found: xr.Dataset, name: str = "change") -> xr.DataArray:
    """A map of the own tile, (obs, y, x)."""
    return sx.im.to_pixels(found, name).isel(tile=0)


def tested(found: xr.Dataset, tiles: xr.DataArray) -> pd.DataFrame:
    """H4, H5: whether the top pixels are near the lines between sub-spots, or pale."""
    values = at_pixels(found)
    size = values.sizes["y"]
    how = {"top_k": round(TOP_SHARE * size**2), "n_draws": 10_000}
    grid = sx.im.grid_line_test(values, lines=grid_lines(size), **how).set_index("obs")
    pale = sx.im.saturation_test(values, tiles, **how).set_index("obs")
    both = grid.add_prefix("grid_").join(pale.add_prefix("pale_")).reset_index()
    both["delta_star"], both["status"] = found["delta_star"].values, found["status"].values
    return both


def recovered(
    found: xr.Dataset, tiles: xr.DataArray, nuclei: np.ndarray, slide: xr.DataArray
) -> pd.DataFrame:
    """H7: AUROC of nuclei, and of light pixels, by the maps."""
    rows = []
    for name in found["obs"].values:
        one = tiles.sel(obs=name, tile="C")
        y, x = int(one["y0"]), int(one["x0"])
        size = one.sizes["y"]
        values = at_pixels(found).sel(obs=name).values.ravel()
        in_nuclei = nuclei[y : y + size, x : x + size].ravel() > 0
        light = (one.sel(c="g").values > 215).ravel()
        row = {"obs": name, "status": str(found["status"].sel(obs=name).item())}
        for what, mask in (("nuclei", in_nuclei), ("lumen", light)):
            enough = 20 <= mask.sum() <= mask.size - 20 and np.isfinite(values).all()
            row[f"auroc_{what}"] = (
                float(sx.metrics.auroc(values[None], mask[None])[0]) if enough else np.nan
            )
        rows.append(row)
    return pd.DataFrame(rows)


def validated(model: Any, gene: str, tiles: xr.DataArray, found: xr.Dataset) -> pd.DataFrame:
    """H6: the median |change| of the gene when the first, or the last, k pixels move."""
    rng, at, rows = np.random.default_rng(0), model.output_names.index(gene), []
    for name in found["obs"].values:
        delta, one = float(found["delta_star"].sel(obs=name)), tiles.sel(obs=name)
        if not delta > 0:
            continue
        x = one.values.astype(np.float64)
        low, high = np.maximum(0, x - 255 * delta), np.minimum(255, x + 255 * delta)
        ends = low + rng.random((16, *x.shape)) * (high - low)
        order = np.argsort(-at_pixels(found, "value").sel(obs=name).values.ravel(), kind="stable")
        own = list(one["tile"].values).index("C")
        start = predicted(model, one.expand_dims("obs"))[0, at]
        for first, along in (("top", order), ("bottom", order[::-1])):
            for share in (0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0):
                mask = np.zeros(len(order), dtype=bool)
                mask[along[: round(share * len(order))]] = True
                states = np.repeat(x[None], 16, axis=0)
                picked = mask.reshape(x.shape[-2:])
                states[:, own][..., picked] = ends[:, own][..., picked]
                got = predicted(model, one.drop_vars("obs").expand_dims(obs=16).copy(data=states))[
                    :, at
                ]
                rows.append(
                    {"obs": name, "first": first, "share": share,
                     "change": float(np.median(np.abs(got - start)))}
                )  # fmt: skip
    return pd.DataFrame(rows)


def part_brain(options: argparse.Namespace) -> None:
    """H8: the same on a real section: prediction, tiles, patches, both tests, and a control."""
    adata = sx.datasets.mouse_brain()[:, list(BRAIN_GENES)].copy()
    tiles, fit = cut(adata), []
    folds = np.arange(adata.n_obs) % 5
    guess = np.zeros((adata.n_obs, adata.n_vars))
    for fold in range(5):
        model = sx.datasets.tissue_model(adata[folds != fold].copy(), epochs=15, seed=fold)
        guess[folds == fold] = predicted(model, tiles[folds == fold])
    r = correlations(guess, expression(adata))
    fit = [{"gene": gene, "r_held_out": v} for gene, v in zip(BRAIN_GENES, r, strict=True)]
    save("brain_fit", fit)
    some = tiles.sel(obs=inner_spots(adata, options.pixel_spots))
    tests, dominance, maps = [], [], {}
    for name in ("full", "no sub-spots", "shuffled"):
        model = sx.datasets.tissue_model(adata, epochs=15, **MODELS[name])
        own = correlations(predicted(model, tiles), expression(adata))
        for gene in [BRAIN_GENES[i] for i in np.argsort(-r)[: 3 if name == "full" else 1]]:
            found = sx.im.sensx(tiles[::7], model, features="tile", target=gene, n_walks=40, **HOW)
            table = sx.im.tile_dominance(found, name="change")
            table["delta_star"], table["status"] = found["delta_star"], found["status"]
            table = table.assign(model=name, gene=gene, r=own[BRAIN_GENES.index(gene)])
            dominance.append(table)
            save("brain_tiles", dominance)
            found = pixels(model, some, gene, "patch:3", options.walks)
            tests.append(tested(found, some).assign(model=name, gene=gene))
            save("brain_tests", tests)
            if name == "full":
                maps[gene] = at_pixels(found).values.astype(np.float16)
            logging.info("brain, %s, %s", name, gene)
    np.savez_compressed(RESULTS / "brain_maps.npz", obs=some["obs"].values.astype(str), **maps)


PARTS = {"fit": part_fit, "tiles": part_tiles, "pixels": part_pixels, "brain": part_brain}


def main() -> None:
    """Run the parts that are asked for, in order."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--spots", type=int, default=8)
    parser.add_argument("--pixel-spots", type=int, default=3)
    parser.add_argument("--walks", type=int, default=8)
    options = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    for name in options.only:
        began = time.perf_counter()
        PARTS[name](options)
        logging.info("%s: %.0f s", name, time.perf_counter() - began)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", force=True)
    logging.getLogger("sensx_sc").setLevel(logging.WARNING)
    torch.set_num_threads(1)
    sx.settings.progress = False
    main()
