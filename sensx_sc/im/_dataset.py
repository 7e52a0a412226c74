"""Results of images as one labelled dataset."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

import sensx_sc
from sensx_sc.slots import sanitised
from sensx_sc.words import STATUSES

if TYPE_CHECKING:
    import xarray as xr

    from sensx_sc.im._features import Features
    from sensx_sc.im._frame import Inputs
    from sensx_sc.tl._results import Results

PERCENTILES = (1.0, 99.0)
PLACES = ("y0", "x0", "valid_fraction")
COARSE = "_coarse"
_OF_IMAGES = ("scalef", "library_id", "img_key", "affine", "coordinate_system", "grid", "tile_px")


def make_dataset(
    results: Results,
    inputs: Inputs,
    image: xr.DataArray,
    features: Features,
    coarse: Features | None,
    params: dict[str, Any],
) -> xr.Dataset:
    """Give results their dimensions: those of features, and of coarse ones before them."""
    import xarray as xr

    variables: dict[str, Any] = {}
    coords: dict[str, Any] = {"obs": list(inputs.names)}
    attrs = {name: image.attrs[name] for name in _OF_IMAGES if name in image.attrs}
    of_values = {**attrs, "qoi": params["qoi"]}
    first = 0
    for part, suffix in ((coarse, COARSE), (features, "")):
        if part is None:
            continue
        names = {name: name if name == "tile" else f"{name}{suffix}" for name in part.dims}
        dims = ("obs", *names.values())
        for name, array in results.arrays.items():
            columns = array[:, first : first + part.n]
            shaped = columns.reshape(len(inputs.names), *part.shape)
            variables[f"{name}{suffix}"] = (dims, shaped, of_values | part.attrs)
        first += part.n
        coords |= {names[name]: values for name, values in part.coords.items()}
        if part.labels is not None:
            variables[f"labels{suffix}"], where = _label_map(part.labels, inputs, suffix)
            coords |= where
    variables |= _of_inputs(results)
    coords["delta"], envelope = results.envelope()
    variables["envelope"] = (("obs", "delta", "percentile"), envelope)
    coords["percentile"] = list(PERCENTILES)
    coords |= _places(inputs)
    versions = {"sensx_sc": sensx_sc.__version__}
    versions |= {name: version(name) for name in ("numpy", "torch", "xarray")}
    about = {**attrs, "params": sanitised(params), "versions": versions}
    made = xr.Dataset(variables, coords=coords, attrs=about)
    return made.isel(obs=0, drop=True) if "obs" in inputs.plain else made


def _of_inputs(results: Results) -> dict[str, Any]:
    names = np.array([*results.output_names, ""], dtype=str)
    found: dict[str, Any] = {
        "delta_star": ("obs", results.delta_star),
        "status": ("obs", np.array(STATUSES, dtype=str)[results.status]),
        "target": ("obs", names[results.target]),
        "qoi": ("obs", results.qoi),
    }
    table = results.cells(pd.RangeIndex(len(results.status)))
    for name in table:
        column = table[name].to_numpy()
        found[str(name)] = ("obs", column.astype(str) if column.dtype == object else column)
    return found


def _label_map(labels: np.ndarray, inputs: Inputs, suffix: str) -> tuple[Any, dict[str, Any]]:
    """Which pixel has which label, and coordinates."""
    frame = inputs.frame
    axes = ("y", "x") if not suffix else ("y_labels", "x_labels")
    where = dict(zip(axes, (frame.y.centres, frame.x.centres), strict=True))
    kept = labels[list(frame.perturbed)]
    if not frame.tiles:
        return (axes, kept[0]), where
    return (("tile", *axes), kept), where | {"tile": _perturbed(inputs)}


def _perturbed(inputs: Inputs) -> list[str]:
    return [inputs.frame.tiles[t] for t in inputs.frame.perturbed]


def _places(inputs: Inputs) -> dict[str, Any]:
    """Where tiles were cut, of those that are perturbed."""
    if not inputs.frame.tiles:
        return {}
    own = inputs.array.sel(tile=_perturbed(inputs))
    known = [name for name in PLACES if name in own.coords]
    return {name: (("obs", "tile"), own.coords[name].values) for name in known} | {
        "tile": _perturbed(inputs)
    }
