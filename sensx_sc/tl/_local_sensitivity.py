"""``sx.tl.local_sensitivity``: which way each gene moves a model's call on each cell."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sensx_sc.companions.slope_options import make_how
from sensx_sc.companions.slopes import (
    STATISTICS,
    precise_evaluator,
    prepare_slopes,
    scale_of,
    slope_params,
    slopes_of_blocks,
)
from sensx_sc.core.arrays import as_rows, pick_rows
from sensx_sc.core.preparation import block_size, outputs
from sensx_sc.core.progress import progress_bar
from sensx_sc.get._stored import quoted, read_rows
from sensx_sc.logger import logger
from sensx_sc.pp._selection import check_adata, column_of, pick_bounds, pick_mask, pick_matrix
from sensx_sc.scale.budget import check_fits
from sensx_sc.slots import check_free, in_place, put, refuse_foreign, stored_bounds
from sensx_sc.tl._slope_table import GroupSlopes, slope_table
from sensx_sc.tl._targets import pick_targets

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd
    import torch
    from anndata import AnnData
    from numpy.typing import ArrayLike

    from sensx_sc.companions.slope_options import How
    from sensx_sc.core.arrays import Floats, Ints
    from sensx_sc.core.run import Run
    from sensx_sc.models.qoi import Qoi
    from sensx_sc.words import OutOfDomain, Precision

TOOL = "local_sensitivity"


def local_sensitivity(
    adata: AnnData,
    model: Any,
    *,
    method: Literal["local_poly", "sage"] = "local_poly",
    features: str = "all",
    target: str | int | ArrayLike | None = None,
    qoi: Qoi | Callable[[Floats], Any] = "auto",
    layer: str | None = None,
    mask_obs: ArrayLike | str | None = None,
    mask_var: ArrayLike | str | None = None,
    lower: ArrayLike | str | None = None,
    upper: ArrayLike | str | None = None,
    out_of_domain: OutOfDomain = "raise",
    scale: ArrayLike | str | None = None,
    bandwidth: str | float | Sequence[float] = "auto",
    n_points: int = 8,
    radius: float = 0.3,
    kappa: float = 1.0,
    statistics: Sequence[str] = STATISTICS,
    batch_size: int | str = "auto",
    chunk_size: int | str = "auto",
    device: str | torch.device = "auto",
    precision: Precision | None = None,
    key: str = "sensx",
    key_added: str = TOOL,
    progress: bool | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Signed local slope of a model's response along every gene, for each cell.

    SensX says which genes a call hangs on; this says which way each of them moves it from where
    the cell is now. One gene is moved at a time, to some points around its value and inside the
    domain, and a parabola is fitted to the response. Of several nested windows the widest is used
    whose slope agrees with those of all narrower ones (Lepski's rule). For a model that moves in
    jumps (trees) the slope is an average over the window, for a smooth one its derivative.

    Parameters
    ----------
    adata
        Annotated data; ``X`` dense or sparse, in memory, backed, read lazily or a Dask array.
    model
        What :func:`sensx_sc.tl.sensx` takes.
    method
        ``"local_poly"``, or ``"sage"``: the numbers of SAGE as published, no bounds, no errors.
    features
        ``"all"``, or ``"top:200"``: of each cell only the 200 genes that the results under `key`
        rank first.
    target, qoi, layer, mask_obs, mask_var, out_of_domain
        As in :func:`sensx_sc.tl.sensx`.
    lower, upper
        The domain, which no gene leaves; by default that of `key`, else the data's smallest and
        largest values.
    scale
        Unit of the windows: number, array (n_vars,) or column of ``.var``. By default each gene's
        standard deviation over all cells of ``adata``; of genes that are zero in more than half of
        them, that of the values that are not zero. At most half of the domain.
    bandwidth
        ``"auto"``: choose among half-widths of 1/16 to 1 scale; ``"plug_in"``: the one nearest to
        the optimum for independent noise; a half-width; or increasing ones to choose from.
    n_points
        Points of a window.
    radius, kappa
        Of SAGE: half-width of its points and of its weights in standard deviations. Its repository
        has a ``kappa`` of 1, its package 0.8.
    statistics
        What to keep for every cell and gene: ``"slope"`` (always), ``"se"``, ``"bandwidth"``,
        ``"curvature"``.
    batch_size, chunk_size, device
        As in :func:`sensx_sc.tl.sensx`.
    precision
        ``"auto"`` is float64 where the model takes it: slopes are differences of close numbers.
        None: ``settings.precision``.
    key
        Results of :func:`sensx_sc.tl.sensx` that ``features`` and the domain refer to.
    key_added
        Prefix of all keys.
    progress
        Show a progress bar; None: ``settings.progress``.
    copy
        Return a copy instead of writing into ``adata``.

    Returns
    -------
    None, or with ``copy=True`` the copy. Written are, with ``local_sensitivity`` for ``key_added``:

    - ``.layers["local_sensitivity"]``: signed slope, float32, units of q per unit of expression;
      NaN = not tested (constant genes, genes left out).
    - ``.layers["local_sensitivity_se"]``: its standard error, from how rough the response is.
    - ``.layers["local_sensitivity_bandwidth"]``: half-width of the window, in units of expression.
    - ``.layers["local_sensitivity_curvature"]``: second derivative.
    - ``.obs["local_sensitivity_target"]``, ``["local_sensitivity_qoi"]``: explained output and q.
    - ``.var["local_sensitivity_lower"]``, ``["local_sensitivity_upper"]``: the domain used.
    - ``.uns["local_sensitivity"]``: ``params``; ``slopes``, a tidy table of means over the cells of
      each explained output that have tested the gene (group, names, rank by the size of the mean
      slope, where a cell that has not tested it adds 0, slope and its standard error over cells,
      size = mean of ``|slope|``, agreement = share of cells with the sign of the mean, bandwidth,
      curvature, presence, n_cells); ``curve`` (groups, n_vars, windows), the mean slope in each
      window, whose half-widths are ``params["bandwidths"]``.

    Raises
    ------
    ValueError, TypeError, KeyError
        Wrong arguments or data, before any work; ``adata`` is unchanged.

    Examples
    --------
    >>> import numpy as np, sensx_sc as sx
    >>> adata = sx.datasets.toy()
    >>> weights = np.linspace(-1, 1, adata.n_vars)
    >>> sx.tl.local_sensitivity(adata, lambda x: x @ weights, progress=False)
    >>> adata.layers["local_sensitivity"][0, [0, -1]].round(4).tolist()
    [-1.0, 1.0]

    References
    ----------
    Fan, Gijbels, Local Polynomial Modelling and Its Applications (1996); Lepski, Mammen, Spokoiny,
    Annals of Statistics 25 (1997) 929-947; Kher, sage-explainer 0.1.1 (2026).
    """
    started = time.perf_counter()
    check_adata(adata)
    how = make_how(method, bandwidth, n_points, radius, kappa)
    kept = _kept(statistics, how)
    check_free(adata, key_added, TOOL)
    if key_added not in adata.uns:
        refuse_foreign(adata, key_added, _names(key_added, kept))
    matrix = pick_matrix(adata, layer=layer)
    cells = np.flatnonzero(pick_mask(mask_obs, adata.obs, adata.obs_names, "mask_obs"))
    every = as_rows(matrix.values, name=matrix.label)
    rows = every if len(cells) == adata.n_obs else pick_rows(every, cells)
    wanted = _top(adata, features, key, cells)
    low, high, source = pick_bounds(*stored_bounds(adata, key, lower, upper), adata.var, matrix)
    run = prepare_slopes(
        rows,
        model,
        lower=low,
        upper=high,
        mask=pick_mask(mask_var, adata.var, matrix.names, "mask_var"),
        qoi=qoi,
        out_of_domain=out_of_domain,
        names=matrix.names,
        batch_size=batch_size,
        device=device,
        precision=precision,
    )
    units = scale_of(every, _scale(scale, adata), how, run)
    together = block_size(chunk_size, adata.n_vars)
    targets, names = pick_targets(adata, target, cells, outputs(rows, run, together), run)
    check_fits(adata.n_obs, adata.n_vars, len(kept))
    _log_plan(run, how, units, len(cells), adata.n_obs, source)
    layers = {name: np.full(adata.shape, np.nan, np.float32) for name in kept}
    q = np.full(adata.n_obs, np.nan)
    groups: dict[int, GroupSlopes] = {}
    with progress_bar(len(cells), 1, progress, unit="cell") as shown:
        for part, found in slopes_of_blocks(
            rows, targets, run, how, units, together, wanted, advance=shown.advance
        ):
            for name, layer_of in layers.items():
                layer_of[cells[part]] = found[name]
            q[cells[part]] = found["qoi"]
            present = read_rows(rows, np.arange(part.start, part.stop)) > run.domain.lower
            for k in np.unique(targets[part]).tolist():
                group = groups.setdefault(k, GroupSlopes(adata.n_vars, found["curve"].shape[2]))
                group.add(found, present, targets[part] == k)
    explained = sorted(groups)
    tables: dict[str, Any] = {
        "slopes": slope_table({names[k]: groups[k] for k in explained}, adata.var_names),
        "curve": np.stack([groups[k].curve for k in explained]).astype(np.float32),
    }
    params = slope_params(run, how) | {
        "features": features,
        "layer": layer,
        "domain": source,
        "key": key,
        "statistics": kept,
        "groups": [names[k] for k in explained],
    }
    result = adata.copy() if copy else adata
    columns = {
        "obs": _obs(key_added, cells, targets, names, q),
        "var": dict(
            zip(_names(key_added, kept)["var"], (run.domain.lower, run.domain.upper), strict=True)
        ),
    }
    _write(result, key_added, params, tables, layers, columns)
    logger.info(
        "local_sensitivity: added %s (%.1f s).",
        ", ".join(f".{a}[{n!r}]" for a, ns in _names(key_added, kept).items() for n in ns),
        time.perf_counter() - started,
    )
    return result if copy else None


def _kept(statistics: Sequence[str], how: How) -> list[str]:
    asked = [statistics] if isinstance(statistics, str) else list(statistics)
    unknown = [name for name in asked if name not in STATISTICS]
    if unknown:
        msg = f"`statistics` may hold {', '.join(STATISTICS)}; got {unknown[0]!r}."
        raise ValueError(msg)
    there = ("slope", "bandwidth") if how.method == "sage" else STATISTICS
    return [name for name in there if name in asked or name == "slope"]


def _names(key: str, kept: Sequence[str]) -> dict[str, list[str]]:
    """The names of what is written, in each attribute of the AnnData."""
    return {
        "layers": [_layer(key, name) for name in kept],
        "obs": [f"{key}_target", f"{key}_qoi"],
        "var": [f"{key}_lower", f"{key}_upper"],
        "uns": [key],
    }


def _layer(key: str, statistic: str) -> str:
    return key if statistic == "slope" else f"{key}_{statistic}"


def _top(adata: AnnData, features: str, key: str, cells: Ints) -> list[Ints] | None:
    """The genes to test of each cell, or None for all."""
    if features == "all":
        return None
    kind, _, number = features.partition(":") if isinstance(features, str) else ("", "", "")
    if kind != "top" or not number.isdecimal() or int(number) < 1:
        msg = f"`features` must be 'all' or such as 'top:200'; got {features!r}."
        raise ValueError(msg)
    layer = f"{key}_rank"
    if layer not in adata.layers:
        msg = (
            f"`features` {features!r} needs the ranks adata.layers[{layer!r}]: run sx.tl.sensx("
            f"adata, model, key_added={key!r}) first. adata.layers has {quoted(adata.layers)}."
        )
        raise KeyError(msg)
    wanted = []
    for cell in cells:
        rank = read_rows(adata.layers[layer], np.array([cell]))[0]
        wanted.append(np.flatnonzero((rank >= 1) & (rank <= int(number))))
    ranked = sum(len(some) > 0 for some in wanted)
    if not ranked:
        msg = f"none of the {len(cells)} cells has ranks in adata.layers[{layer!r}]."
        raise ValueError(msg)
    if ranked < len(cells):
        logger.info(
            "local_sensitivity: %d of %d cells have no ranks in .layers[%r] and get no slopes.",
            len(cells) - ranked,
            len(cells),
            layer,
        )
    return wanted


def _scale(scale: ArrayLike | str | None, adata: AnnData) -> ArrayLike | None:
    if not isinstance(scale, str):
        return scale
    if scale not in adata.var:
        msg = f"`scale` {scale!r} is no column of adata.var, which has {quoted(adata.var.columns)}."
        raise KeyError(msg)
    return column_of(adata.var, scale).to_numpy()


def _log_plan(run: Run, how: How, scale: Floats, n_cells: int, n_obs: int, source: str) -> None:
    testable = int(np.count_nonzero(scale[run.domain.free] > 0))
    logger.info(
        "local_sensitivity: %s, %d of %d cells, %d of %d genes vary and are tested at %d points "
        "each; evaluator: %s; bounds: %s.",
        run.response.model.name,
        n_cells,
        n_obs,
        testable,
        run.domain.n_features,
        len(how.offsets),
        precise_evaluator(run).name,
        "none, as published" if how.method == "sage" else source,
    )


def _obs(
    key: str, cells: Ints, target: Ints, names: tuple[str, ...], q: Floats
) -> dict[str, pd.Categorical | Floats]:
    import pandas as pd

    explained = np.unique(target)
    codes = np.full(len(q), -1)
    codes[cells] = np.searchsorted(explained, target)
    labels = pd.Categorical.from_codes(codes, [names[k] for k in explained])
    return {f"{key}_target": labels, f"{key}_qoi": q}


def _write(
    adata: AnnData,
    key: str,
    params: dict[str, Any],
    tables: dict[str, Any],
    layers: dict[str, np.ndarray],
    columns: dict[str, dict[str, Any]],
) -> None:
    """Write everything; layers of an earlier run go first."""
    in_place(adata)
    if key in adata.uns:
        for name in [_layer(key, statistic) for statistic in STATISTICS]:
            if name in adata.layers:
                del adata.layers[name]
    put(adata, key, TOOL, params, tables)
    for name, values in layers.items():
        adata.layers[_layer(key, name)] = values
    for attribute, entries in columns.items():
        for name, values in entries.items():
            getattr(adata, attribute)[name] = values
