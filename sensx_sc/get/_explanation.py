"""``sx.get.explanation``: all that was stored for one key, as one labelled dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.get._stored import (
    BLOCK_BYTES,
    check_stored,
    read_values,
    source_key,
)
from sensx_sc.slots import COLUMNS, COVARIATES, GENES, GROUPS, WITHIN, sanitised
from sensx_sc.words import STATISTICS

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr
    from anndata import AnnData

    from sensx_sc.slots import Spot

PERCENTILES = (1.0, 99.0)


def explanation(adata: AnnData, key: str = "sensx") -> xr.Dataset:
    """Collect everything stored under `key` into one :class:`xarray.Dataset`.

    Parameters
    ----------
    adata
        Data with the results of :func:`sensx_sc.tl.sensx`.
    key
        ``key_added`` of the results.

    Returns
    -------
    Dataset with the dimensions ``obs`` (cells), ``var`` (genes), ``delta`` (perturbation factors),
    ``percentile`` (1, 99) and ``bound`` (lower, upper) and these variables:

    - ``value`` and each stored one of ``rank, mean, std, change, shapley, se, n``, (obs, var): the
      layers, shared and not copied; NaN (0 in ``rank``) = not tested. Sparse ones
      (``keep="top:500"``) as Dask arrays, NaN (0) = not kept;
    - ``delta_star``, ``status``, ``target``, ``qoi``, (obs,); an empty ``target`` = not analysed;
    - ``envelope``, (obs, delta, percentile), if stored: percentiles of q in the neighbourhood;
    - ``lower``, ``upper``, (var,), and ``bounds``, (var, bound): the domain.

    With ``tl.sensx(..., obsm=...)`` the arrays come from ``.obsm`` and ``var`` has no names; with
    ``groups=`` they are (obs, group), and with ``within=`` there are ``value_within`` and so on,
    (obs, var) or (obs, fine); with ``covariates=`` there are ``value_covariates`` and so on, (obs,
    covariate).
    ``attrs`` holds the call's parameters, ``noise_floor`` and ``versions`` as plain Python values.

    Raises
    ------
    KeyError
        No results under `key`.

    Examples
    --------
    >>> import anndata as ad, numpy as np, sensx_sc as sx
    >>> adata = ad.AnnData(np.random.default_rng(0).random((6, 3), dtype="float32"))
    >>> model = lambda x: x @ np.array([3.0, -1.0, 0.0])
    >>> sx.tl.sensx(adata, model, n_walks=20, n_samples=400)
    >>> ds = sx.get.explanation(adata)
    >>> ds["value"].mean("obs").values.round(3).tolist()
    [3.0, 1.0, 0.0]
    """
    import xarray as xr

    prefix = source_key(adata, key)
    stored = check_stored(adata, prefix)
    variables: dict[str, Any] = {}
    coords: dict[str, Any] = {"obs": adata.obs_names.to_numpy().astype(str)}
    for spot, column, suffix in _parts(stored):
        arrays = getattr(adata, spot.attribute)
        for name in ("value", "rank", *STATISTICS[1:]):
            if (slot := spot.name(prefix, name)) in arrays:
                variables[name + suffix] = (("obs", column), _dense(arrays[slot]))
        if spot in (GROUPS, WITHIN):
            table = stored["groups" if spot == GROUPS else "groups_within"]
            coords[column] = table["names"].to_numpy().astype(str)
        if spot == COVARIATES:
            coords[column] = np.array([str(key) for key in stored["params"]["covariates"]])
    for name in ("delta_star", "qoi"):
        if f"{prefix}_{name}" in adata.obs:
            variables[name] = ("obs", adata.obs[f"{prefix}_{name}"].to_numpy(dtype=np.float64))
    for name in ("status", "target"):
        if f"{prefix}_{name}" in adata.obs:
            words = adata.obs[f"{prefix}_{name}"].astype(object)
            variables[name] = ("obs", words.where(words.notna(), "").to_numpy().astype(str))
    sides = ("lower", "upper")
    bounds = (
        {name: adata.var[f"{prefix}_{name}"] for name in sides if f"{prefix}_{name}" in adata.var}
        if stored["params"].get("obsm") is None
        else {name: stored[name] for name in sides if name in stored}
    )
    for name, column in bounds.items():
        variables[name] = ("var", np.asarray(column, dtype=np.float64))
    if stored["params"].get("obsm") is None:
        coords["var"] = adata.var_names.to_numpy().astype(str)
    if len(bounds) == len(sides):
        box = np.stack([variables[name][1] for name in sides], axis=1)
        variables["bounds"] = (("var", "bound"), box)
        coords["bound"] = list(sides)
    if "deltas" in stored:
        coords["delta"] = np.asarray(stored["deltas"], dtype=np.float64)
    if f"{prefix}_envelope" in adata.obsm:
        envelope = np.asarray(adata.obsm[f"{prefix}_envelope"])
        variables["envelope"] = (("obs", "delta", "percentile"), envelope)
        coords["percentile"] = list(PERCENTILES)
    attrs = {
        **sanitised(stored["params"]),
        **{name: sanitised(stored[name]) for name in ("noise_floor", "versions") if name in stored},
    }
    return xr.Dataset(variables, coords=coords, attrs=attrs)


def _parts(stored: Mapping[str, Any]) -> list[tuple[Spot, str, str]]:
    """Return where arrays are, the name of their columns, and what follows the names of each."""
    flat = GENES if stored["params"].get("obsm") is None else COLUMNS
    if "groups" not in stored:
        beside = [(COVARIATES, "covariate", "_covariates")]
        return [(flat, "var", ""), *(beside if "covariates" in stored["params"] else [])]
    finer = (WITHIN, "fine") if "groups_within" in stored else (flat, "var")
    return [(GROUPS, "group", ""), (*finer, "_within")]


def _dense(array: Any) -> Any:
    """A layer as xarray can hold it: a sparse one block by block, when it is asked for."""
    import dask.array as da

    if hasattr(array, "iloc"):
        return array.to_numpy()
    lazy = hasattr(array, "dask")
    if not (hasattr(array, "tocoo") or (lazy and hasattr(array._meta, "tocoo"))):
        return array
    if not lazy:
        rows = max(1, BLOCK_BYTES // (8 * array.shape[1]))
        array = da.from_array(array, chunks=(rows, array.shape[1]), asarray=False)
    everything = slice(None)
    return array.map_blocks(
        read_values, everything, dtype=array.dtype, meta=np.empty((0, 0), array.dtype)
    )
