"""``sx.im.sensx``: which pixels drive a model's output on each image or spot."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from sensx_sc.core.arguments import split_options
from sensx_sc.core.arrays import as_rows
from sensx_sc.core.groups import Groups
from sensx_sc.core.options import MAX_WALKS
from sensx_sc.core.preparation import block_size, outputs, prepare
from sensx_sc.im._dataset import make_dataset
from sensx_sc.im._features import make_features
from sensx_sc.im._frame import bounds, make_inputs
from sensx_sc.logger import logger
from sensx_sc.models.images import image_model
from sensx_sc.models.layout import HasLayout
from sensx_sc.models.qoi import resolve_target
from sensx_sc.scale.blocks import in_reach
from sensx_sc.scale.budget import check_fits, check_samples_fit
from sensx_sc.scale.run import Job, open_store
from sensx_sc.slots import COLUMNS, Section, slot_names
from sensx_sc.tl._asked import kept_statistics
from sensx_sc.tl._gather import gather
from sensx_sc.tl._notes import log_written
from sensx_sc.words import ON_ERROR

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from os import PathLike

    import torch
    import xarray as xr
    from numpy.typing import ArrayLike

    from sensx_sc.core.arrays import Floats
    from sensx_sc.core.run import Run
    from sensx_sc.im._features import Features
    from sensx_sc.im._frame import Inputs
    from sensx_sc.models.model import Model
    from sensx_sc.models.qoi import Qoi
    from sensx_sc.words import (
        DesignName,
        Estimator,
        GroupNorm,
        OnError,
        OutOfDomain,
        Precision,
        RankBy,
    )

_KEY = "sensx"


def sensx(
    image: xr.DataArray,
    model: Model | torch.nn.Module | Callable[..., Any] | Any,
    *,
    features: str | ArrayLike = "pixel",
    coarse: str | ArrayLike | None = None,
    coarse_top: int = 1,
    perturb: str | Sequence[str] | None = None,
    target: str | int | ArrayLike | None = None,
    qoi: Qoi | Callable[[Floats], Any] = "auto",
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    deltas: ArrayLike | str = "auto",
    tau: float = 0.1,
    n_samples: int = 1000,
    n_walks: int | Literal["auto"] = 200,
    design: DesignName = "balanced",
    refine_tol: float | None = None,
    min_step: float = 0.0,
    out_of_domain: OutOfDomain = "raise",
    group_norm: GroupNorm = "l2",
    rank_by: RankBy = "value",
    estimator: Estimator = "walks",
    top_k: int | None = None,
    max_walks: int = MAX_WALKS,
    audit_features: int = 256,
    audit_walks: int | None = None,
    alpha: float = 0.05,
    statistics: Sequence[str] = ("value", "rank", "change", "mean"),
    batch_size: int | str = "auto",
    chunk_size: int | str = "auto",
    device: str | torch.device = "auto",
    precision: Precision | None = None,
    seed: int | None = None,
    store: str | PathLike[str] | None = None,
    on_error: OnError = "mark",
    progress: bool | None = None,
) -> xr.Dataset:
    """Explain a model's output on images: SensX values of pixels (equations 1 to 4, groups: A14).

    For each input, find delta*, the smallest perturbation scale at which the response saturates;
    inside that neighbourhood walk from the input to random endpoints, one feature at a time in
    random order. A feature is what changes in one step: a value, a pixel with all its channels, a
    patch, a tile, a nucleus.

    Parameters
    ----------
    image
        An image (c, y, x), images (obs, c, y, x), or tiles (obs, tile, c, y, x), as the functions
        of this room make them. Lazy ones are read some inputs at a time.
    model
        A :class:`torch.nn.Module` in eval mode or a callable on images (B, c, y, x), or on tiles
        (B, tile, c, y, x) where there are several, with the values as they are in ``image``
        (put a normalisation in front: :class:`sensx_sc.models.Chain`);
        :class:`sensx_sc.models.DeepSpot`; an estimator of rows.
    features
        ``"value"`` (each channel of each pixel), ``"pixel"`` (its channels together),
        ``"patch:16"`` (squares of 16 x 16 pixels), ``"tile"``, or a label map: whole numbers
        (y, x) or (tile, y, x), such as nuclei; pixels of label 0 are never perturbed.
    coarse
        Larger features, of the same kinds, that are walked first; only the ``coarse_top`` first of
        each input are then taken apart into ``features``, beside the others, which still move as
        wholes. None: all features are walked.
    coarse_top
        How many.
    perturb
        Names of the tiles whose values are perturbed, such as ``"C"``; the others keep theirs.
        None: all.
    target
        Explained output: name, index, one an input, or None for each input's predicted class.
    qoi
        ``"auto"`` (probability of a classifier, else value), ``"probability"``, ``"logit"``,
        ``"value"``, or a callable on the outputs (B, K) that returns (B,).
    lower, upper
        The range of values: a number, one for each channel, or an array that broadcasts to
        (tile, c, y, x). None: 0 and 255 for images of 8 bits.
    deltas, tau, n_samples, n_walks, design, refine_tol, min_step, out_of_domain
        As in :func:`sensx_sc.tl.sensx`.
    group_norm
        What the change of the response at a step of several values is divided by: ``"l2"``,
        ``"density"`` or ``"none"``; see :class:`sensx_sc.core.Groups`.
    rank_by, estimator, top_k, max_walks, alpha
        As in :func:`sensx_sc.tl.sensx`. ``estimator="gradient"`` gives maps of whole images from
        ``n_walks`` backward passes, audited.
    audit_features, audit_walks
        As in :func:`sensx_sc.core.explain`: how many features, in how many walks, the audit
        evaluates exactly. With a large network the audit is most of the work.
    statistics
        What to keep of every feature: any of ``"value"``, ``"rank"``, ``"mean"``, ``"std"``,
        ``"change"``, ``"shapley"``, ``"se"``, ``"n"``; ``"value"`` always is.
    batch_size, chunk_size, device, precision, seed, on_error, progress
        As in :func:`sensx_sc.tl.sensx`; a chunk is some inputs.
    store
        Folder of a zarr store that is written some inputs at a time; the results then read it
        lazily. A run that was killed goes on from there when it is called again.

    Returns
    -------
    :class:`xarray.Dataset`. ``value``, ``rank`` and whatever ``statistics`` asks for, with the
    dimensions

    - (obs, tile, c, y, x) for values, (obs, tile, y, x) for pixels and for patches (at their
      centres), (obs, tile) for tiles, (obs, label) for labels; tiles are those of ``perturb``, and
      an image has neither obs nor tile. NaN (rank: 0) = not tested.
    - With ``coarse`` these are NaN outside the top ones, and ``value_coarse`` and so on are those
      of the larger features, with the dimensions ``y_coarse``, ``x_coarse`` or ``label_coarse``.
    - With labels ``labels`` (tile, y, x) is the map of the labels.

    For each input ``delta_star``, ``status``, ``target``, ``qoi`` (q(x)), ``certified``,
    ``noise_floor`` and what else ``.uns["sensx"]["cells"]`` of :func:`sensx_sc.tl.sensx` holds; and
    ``envelope`` (obs, delta, percentile). ``attrs["params"]``: every parameter. The coordinates
    of the tiles stay, so that :func:`sensx_sc.im.stitch` puts any of it back on the slide.

    Raises
    ------
    ValueError, TypeError, KeyError
        Wrong arguments or data, before any work.
    RuntimeError
        The model's output for an input depends on more than the input.

    Examples
    --------
    >>> import numpy as np, sensx_sc as sx
    >>> image = sx.im.from_array(np.full((4, 4, 3), 100, dtype=np.uint8))
    >>> model = lambda images: images[:, :, 1, 2].mean(axis=1)  # reads one pixel
    >>> found = sx.im.sensx(image, model, n_walks=20, n_samples=400, progress=False)
    >>> int(found["rank"][1, 2]), float(found["change"].sum() - found["change"][1, 2])
    (1, 0.0)

    References
    ----------
    Aggarwal, Cogan, Periwal, "SensX: Model-Agnostic Local Feature Attribution via Calibrated
    Global Sensitivity Analysis", TMLR 2026, equations 1 to 4 and A14.
    """
    started = time.perf_counter()
    kept = kept_statistics(statistics)
    if on_error not in ON_ERROR:
        msg = f"`on_error` must be one of {ON_ERROR}; got {on_error!r}."
        raise ValueError(msg)
    inputs = make_inputs(image, perturb, model.layout if isinstance(model, HasLayout) else None)
    asked = make_features(features, inputs.frame)
    first = None if coarse is None else make_features(coarse, inputs.frame)
    _check_nested(first, asked)
    rows = as_rows(in_reach(inputs.rows, "`image`"), name="image")
    options, how = split_options(
        {
            "qoi": qoi,
            "deltas": deltas,
            "tau": tau,
            "n_samples": n_samples,
            "n_walks": n_walks,
            "design": design,
            "refine_tol": refine_tol,
            "min_step": min_step,
            "out_of_domain": out_of_domain,
            "group_norm": group_norm,
            "rank_by": rank_by,
            "estimator": estimator,
            "top_k": top_k,
            "max_walks": max_walks,
            "audit_features": audit_features,
            "audit_walks": audit_walks,
            "alpha": alpha,
            "batch_size": batch_size,
            "precision": precision,
            "seed": seed,
        }
    )
    plain = asked.single and inputs.order == ("tile", "c", "y", "x") and first is None
    run = prepare(
        rows,
        image_model(model, inputs.shape, device=device),
        lower=inputs.as_row(bounds(lower, "lower", image, inputs)),
        upper=inputs.as_row(bounds(upper, "upper", image, inputs)),
        mask=None,
        names=None,
        device=device,
        options=options,
        groups=None if plain else _groups(first or asked, inputs),
        within=None if first is None else _groups(asked, inputs),
        within_top=coarse_top,
        mark=on_error == "mark",
        **how,
    )
    check_samples_fit(len(run.deltas), options.n_samples)
    together = block_size(chunk_size, rows.shape[1])
    at_inputs = outputs(rows, run, together, mark=on_error == "mark")
    targets, output_names = _targets(target, run, at_inputs)
    job = Job(
        rows,
        np.arange(len(inputs.names)),
        len(inputs.names),
        inputs.names,
        targets,
        output_names,
        tuple(map(str, range(run.n_places))),
        run,
        tuple(kept),
        on_error,
        (Section(COLUMNS, 0, run.n_places),),
    )
    stored = None
    if store is None:
        check_fits(job.n_obs, run.n_places, len(kept))
    else:
        stored = open_store(
            store,
            job,
            chunk_size,
            key=_KEY,
            obs_names=pd.Index(inputs.names),
            var_names=pd.Index([], dtype=str),
            slots=slot_names(_KEY, kept, [COLUMNS]),
        )
    _log_plan(job, asked, together)
    results = gather(job, together, stored, None, progress=progress, noun="input")
    if results is None:
        raise AssertionError
    params = {
        **run.params,
        "target": target if isinstance(target, str | int | None) else "array",
        "groupby": f"{_KEY}_target",
        "method": "sensx",
        "features": features if isinstance(features, str) else "labels",
        "coarse": coarse if isinstance(coarse, str | None) else "labels",
        "perturb": [inputs.frame.tiles[t] for t in inputs.frame.perturbed if inputs.frame.tiles],
        "statistics": kept,
    }
    if stored is not None:
        stored.finish(results.slots(_KEY, params, pd.Index(inputs.names), of_genes=False))
        lazy = stored.arrays()[COLUMNS.attribute]
        results.arrays = {name: lazy[COLUMNS.name(_KEY, name)] for name in kept}
    log_written(results, {}, time.perf_counter() - started, noun="input")
    return make_dataset(results, inputs, image, asked, first, params)


def _check_nested(coarse: Features | None, fine: Features) -> None:
    """The features must divide the coarse ones."""
    if coarse is None:
        return
    inside = coarse.label >= 0
    if (fine.label[inside] < 0).any():
        msg = "`coarse`: some of its values are in none of `features`."
        raise ValueError(msg)
    pairs = np.unique(np.stack([fine.label[inside], coarse.label[inside]]), axis=1)
    if pairs.shape[1] > len(np.unique(pairs[0])):
        msg = "`coarse`: every one of `features` must lie inside one of these; some cross them."
        raise ValueError(msg)


def _groups(features: Features, inputs: Inputs) -> Groups:
    return Groups(tuple(map(str, range(features.n))), inputs.as_row(features.label))


def _targets(target: Any, run: Run, at_inputs: Floats) -> tuple[np.ndarray, tuple[str, ...]]:
    """The explained output of each input."""
    several = not (target is None or isinstance(target, str | int | np.integer))
    wanted = np.asarray(target, dtype=object) if several else target
    index, names = resolve_target(wanted, run.response, at_inputs)
    if target is None and len(names) > 1:
        index = np.where(np.isnan(at_inputs).any(axis=1), -1, index)  # the class is not known
    return index, names


def _log_plan(job: Job, features: Features, together: int) -> None:
    run = job.run
    logger.info(
        "sensx: explaining %s for %d inputs of %d values, %d of them perturbed, in %d features; "
        "%.3g evaluations an input, %s; %d inputs at a time.",
        run.response.model.name,
        job.n_obs,
        run.domain.n_features,
        len(run.domain.free),
        features.n,
        run.evaluations,
        run.why,
        min(together, job.n_obs),
    )
