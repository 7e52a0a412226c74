"""Which way each feature moves the response at an input: signed local slopes of all features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.companions.slope_options import make_how
from sensx_sc.companions.slopes import (
    STATISTICS,
    prepare_slopes,
    scale_of,
    slope_params,
    slopes_of_blocks,
)
from sensx_sc.core.arrays import as_rows
from sensx_sc.core.preparation import block_size, outputs
from sensx_sc.models.qoi import resolve_target

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch
    from numpy.typing import ArrayLike

    from sensx_sc.core.arrays import Floats, Ints, Rows
    from sensx_sc.models.qoi import Qoi
    from sensx_sc.words import OutOfDomain, Precision


@dataclass(frozen=True)
class LocalSensitivity:
    """Signed local slopes of inputs.

    Attributes
    ----------
    slope
        Change of q per unit of each feature at the input, (C, n); NaN = not tested.
    se
        Standard error of the slope from the roughness of the response, (C, n); NaN for SAGE.
    bandwidth
        Half-width of the window that was used, in the feature's own units, (C, n).
    curvature
        Second derivative, (C, n); NaN for SAGE.
    curve
        Slope in each window, (C, n, L).
    widths
        Half-widths of the windows in units of ``scale``, (L,).
    scale
        Scale of each feature, (n,).
    target, output_names, qoi
        Explained output of each input, names of all, and q at the inputs.
    params
        JSON-safe parameters.
    """

    slope: Floats
    se: Floats
    bandwidth: Floats
    curvature: Floats
    curve: Floats
    widths: Floats
    scale: Floats
    target: Ints
    output_names: tuple[str, ...]
    qoi: Floats
    params: dict[str, Any]


def local_sensitivity(
    X: Rows,
    model: Any,
    *,
    lower: ArrayLike,
    upper: ArrayLike,
    method: str = "local_poly",
    scale: ArrayLike | None = None,
    bandwidth: str | float | Sequence[float] = "auto",
    n_points: int = 8,
    radius: float = 0.3,
    kappa: float = 1.0,
    features: Sequence[ArrayLike] | None = None,
    mask: ArrayLike | None = None,
    target: object = None,
    qoi: Qoi | Callable[[Floats], Any] = "auto",
    out_of_domain: OutOfDomain = "raise",
    names: Sequence[str] | None = None,
    batch_size: int | str = "auto",
    device: str | torch.device = "auto",
    precision: Precision | None = None,
) -> LocalSensitivity:
    """Signed slope of the response along every feature, one feature moved at a time.

    ``"local_poly"`` fits a parabola to the response at several points around the input, in the
    widest of some nested windows whose slope agrees with those of all narrower ones (Lepski's
    rule). The slope is a kernel-averaged derivative: well defined for trees, and the derivative
    of a smooth model as the window shrinks. ``"sage"`` gives the numbers of SAGE as published.

    Parameters
    ----------
    X
        Inputs, dense or sparse, (C, n).
    model
        What :func:`sensx_sc.models.as_model` takes.
    lower, upper
        The domain: no feature is moved beyond it (SAGE as published knows no bounds).
    method
        ``"local_poly"`` or ``"sage"``.
    scale
        Unit of the windows, a number or (n,); by default each feature's standard deviation over
        ``X``, for features that are mostly zero that of the values that are not (SAGE: the
        standard deviation in any case). At most half the range of the domain.
    bandwidth
        ``"auto"`` or ``"lepski"``; ``"plug_in"``: the window nearest to the optimum for
        independent noise; a half-width, or the half-widths to choose from, at most 1.
    n_points
        Points of a window.
    radius, kappa
        Of SAGE: half-width of its points and width of its weights, in standard deviations. Its
        repository has kappa 1, its package 0.8.
    features
        For each input the indices of the features to test; by default all.
    mask, target, qoi, out_of_domain, names, batch_size, device
        As in :func:`sensx_sc.core.explain`.
    precision
        ``"auto"`` is float64 where the model takes it: slopes are differences of close numbers.
        None: ``settings.precision``.

    Returns
    -------
    A :class:`LocalSensitivity`.

    Raises
    ------
    ValueError, TypeError, KeyError
        Wrong arguments, before any work.

    Examples
    --------
    >>> import numpy as np
    >>> import sensx_sc as sx
    >>> X = np.array([[0.0, 0.5], [1.0, 0.2]])
    >>> found = sx.companions.local_sensitivity(
    ...     X, lambda z: 3 * z[:, 0] - z[:, 1] ** 2, lower=0, upper=1
    ... )
    >>> found.slope.round(6)
    array([[ 3. , -1. ],
           [ 3. , -0.4]])

    References
    ----------
    Fan, Gijbels, Local Polynomial Modelling and Its Applications (1996); Lepski, Mammen, Spokoiny,
    Annals of Statistics 25 (1997) 929-947; Kher, sage-explainer 0.1.1 (2026).
    """
    how = make_how(method, bandwidth, n_points, radius, kappa)
    rows = as_rows(X)
    run = prepare_slopes(
        rows,
        model,
        lower=lower,
        upper=upper,
        mask=mask,
        qoi=qoi,
        out_of_domain=out_of_domain,
        names=names,
        batch_size=batch_size,
        device=device,
        precision=precision,
    )
    units = scale_of(rows, scale, how, run)
    together = block_size("auto", rows.shape[1])
    targets, output_names = resolve_target(target, run.response, outputs(rows, run, together))
    wanted = None if features is None else check_features(features, rows.shape)
    parts = list(slopes_of_blocks(rows, targets, run, how, units, together, wanted))
    joined = {
        name: np.concatenate([part[name] for _, part in parts])
        for name in (*STATISTICS, "curve", "qoi")
    }
    return LocalSensitivity(
        widths=np.array(how.bandwidth if method == "local_poly" else [how.radius]),
        scale=units,
        target=targets,
        output_names=output_names,
        params=slope_params(run, how),
        **joined,
    )


def check_features(features: Sequence[ArrayLike], shape: tuple[int, int]) -> list[Ints]:
    """The features to test of each input, as indices."""
    wanted = [np.asarray(some) for some in features]
    if len(wanted) != shape[0]:
        msg = f"`features` must hold an array for each of the {shape[0]} inputs; got {len(wanted)}."
        raise ValueError(msg)
    for some in wanted:
        whole = some.ndim == 1 and some.dtype.kind in "iu"
        if not whole or (some < 0).any() or (some >= shape[1]).any():
            msg = (
                f"`features` must hold 1-d arrays of indices from 0 to {shape[1] - 1}; got "
                f"{some!r}."
            )
            raise ValueError(msg)
    return [np.unique(some).astype(np.int64) for some in wanted]
