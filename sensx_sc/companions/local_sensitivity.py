"""Which way each feature moves the response at an input: signed local slopes of all features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sensx_sc.companions.local_polynomial import local_slopes
from sensx_sc.companions.sage import sage_offsets, sage_slopes
from sensx_sc.companions.spread import column_spread, feature_scale
from sensx_sc.companions.windows import LADDER, make_windows, place
from sensx_sc.core.arrays import as_rows
from sensx_sc.core.domain import make_domain
from sensx_sc.core.preparation import Options, block_size, is_whole, outputs, prepare, read
from sensx_sc.core.workers import in_order
from sensx_sc.models.qoi import resolve_target
from sensx_sc.settings import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch
    from numpy.typing import ArrayLike

    from sensx_sc.companions.local_polynomial import Rule
    from sensx_sc.companions.windows import Windows
    from sensx_sc.core.arrays import Floats, Ints, Rows
    from sensx_sc.core.preparation import Run
    from sensx_sc.evaluators.protocol import Evaluator
    from sensx_sc.models.qoi import Qoi
    from sensx_sc.words import OutOfDomain, Precision

METHODS = ("local_poly", "sage")
RULES = ("lepski", "plug_in")
_NARROWER = (0.125, 0.25, 0.5, 1.0)  # windows inside a given one: what tells noise from jumps
STATISTICS = ("slope", "se", "bandwidth", "curvature")
_LEAST_POINTS = 6  # a polynomial of degree 4 must leave something
_NUMBERS_AT_ONCE = 2**21


@dataclass(frozen=True)
class How:
    """How slopes are estimated; checked once, kept in the results.

    Attributes
    ----------
    method
        ``"local_poly"`` or ``"sage"``.
    bandwidth
        Half-widths of the windows in units of a feature's scale, ascending.
    rule
        How one of them is chosen.
    n_points
        Points of a window.
    radius, kappa
        Of SAGE.
    """

    method: str = "local_poly"
    bandwidth: tuple[float, ...] = LADDER
    rule: Rule = "lepski"
    n_points: int = 8
    radius: float = 0.3
    kappa: float = 1.0

    @property
    def windows(self) -> Windows:
        return make_windows(self.bandwidth, self.n_points)

    @property
    def offsets(self) -> Floats:
        """Offsets of all points, in units of a feature's scale."""
        return sage_offsets(self.radius) if self.method == "sage" else self.windows.offsets


def make_how(
    method: str,
    bandwidth: str | float | Sequence[float],
    n_points: int,
    radius: float,
    kappa: float,
) -> How:
    """Check how slopes are to be estimated.

    Raises
    ------
    ValueError
        With the argument, what was got and what is allowed.
    """
    if method not in METHODS:
        msg = f"`method` must be one of {METHODS}; got {method!r}."
        raise ValueError(msg)
    if not is_whole(n_points) or n_points < _LEAST_POINTS or n_points % 2:
        msg = f"`n_points` must be an even number of at least {_LEAST_POINTS}; got {n_points!r}."
        raise ValueError(msg)
    for name, value in (("radius", radius), ("kappa", kappa)):
        if not _positive(value):
            msg = f"`{name}` must be a positive number, in standard deviations; got {value!r}."
            raise ValueError(msg)
    rule: Rule = "lepski"
    widths: tuple[float, ...] = LADDER
    if isinstance(bandwidth, str):
        if bandwidth not in ("auto", *RULES):
            msg = (
                f"`bandwidth` must be 'auto', one of {RULES}, a number or increasing numbers, in "
                f"units of each feature's scale; got {bandwidth!r}."
            )
            raise ValueError(msg)
        rule = "plug_in" if bandwidth == "plug_in" else "lepski"
    else:
        given = np.atleast_1d(np.asarray(bandwidth))
        numbers = given.dtype.kind in "fiu" and given.ndim == 1 and given.size > 0
        if not numbers or not all(map(_positive, given.tolist())) or (np.diff(given) <= 0).any():
            msg = (
                f"`bandwidth` must be 'auto', one of {RULES}, a positive number or increasing "
                f"ones; got {bandwidth!r}."
            )
            raise ValueError(msg)
        widths = tuple(float(width) for width in given)
        if len(widths) == 1:
            rule, widths = "widest", tuple(widths[0] * share for share in _NARROWER)
    if max(widths) > 1:
        msg = (
            f"`bandwidth` must not exceed 1, a feature's scale, so that windows fit the domain; "
            f"got {max(widths):g}. Give a larger `scale` instead."
        )
        raise ValueError(msg)
    return How(method, widths, rule, int(n_points), float(radius), float(kappa))


def _positive(value: object) -> bool:
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return bool(number and np.isfinite(value) and value > 0)  # type: ignore[operator, call-overload]


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
    precision: Precision = "auto",
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


def prepare_slopes(rows: Rows, model: Any, *, precision: Precision, **how: Any) -> Run:
    """Check everything that can be checked before the work."""
    options = Options(precision=precision, seed=settings.seed)
    run = prepare(
        rows, model, deltas=(1.0,), n_walks=1, design="uniform", options=options, **how
    )
    return run


def slope_evaluator(run: Run) -> Evaluator:
    """The evaluator of slopes: in float64, unless float32 is asked for or all there is."""
    if run.options.precision == "auto" and "float64" in run.evaluators:
        return run.evaluators["float64"]
    return next(iter(run.evaluators.values()))


def scale_of(rows: Rows, scale: ArrayLike | None, how: How, run: Run) -> Floats:
    """Scale of each feature, (n,): given, or of the data; 0 for those without one."""
    domain = run.domain
    if scale is None:
        found = column_spread(rows).all() if how.method == "sage" else feature_scale(rows)
    else:
        # Bounds are checked as a scale must be: one finite number, or one a feature.
        try:
            found = make_domain(0.0, scale, domain.n_features).upper
        except (TypeError, ValueError) as error:
            msg = (
                f"`scale` must be a number or {domain.n_features} numbers, not negative and not "
                f"all zero; got {scale!r}."
            )
            raise type(error)(msg) from error
    if how.method == "sage":
        return found
    return np.minimum(found, (domain.upper - domain.lower) / 2)


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


def slope_params(run: Run, how: How) -> dict[str, Any]:
    """The parameters, JSON-safe."""
    kept = ("model", "qoi", "precision", "n_features", "n_tested", "out_of_domain", "evaluator")
    params = {name: run.params[name] for name in kept}
    if how.method == "sage":
        return params | {"method": "sage", "radius": how.radius, "kappa": how.kappa}
    return params | {
        "method": how.method,
        "bandwidths": list(how.bandwidth),
        "rule": how.rule,
        "n_points": how.n_points,
    }


def slopes_of_blocks(
    rows: Rows,
    target: Ints,
    run: Run,
    how: How,
    scale: Floats,
    together: int,
    features: Sequence[Ints] | None = None,
    *,
    advance: Callable[[int], object] = lambda _: None,
) -> Iterator[tuple[slice, dict[str, Floats]]]:
    """Slopes of inputs, a block of rows dense at a time.

    Yields
    ------
    Which rows, and arrays by the name of the statistic, (C, n); ``curve`` (C, n, L), ``qoi`` (C,).
    """
    evaluator = slope_evaluator(run)
    testable = run.domain.free[scale[run.domain.free] > 0]
    for start in range(0, rows.shape[0], together):
        part = slice(start, min(start + together, rows.shape[0]))
        x = read(rows[part], run)
        q_x = evaluator.at(x, target[part])
        shape = (len(x), run.domain.n_features)
        levels = 1 if how.method == "sage" else len(how.bandwidth)
        arrays = {name: np.full(shape, np.nan) for name in STATISTICS}
        arrays |= {"curve": np.full((*shape, levels), np.nan), "qoi": q_x}

        def work(i: int, x: Floats = x, q_x: Floats = q_x, part: slice = part) -> _Found:
            free = testable
            if features is not None:
                free = np.intersect1d(testable, features[part.start + i], assume_unique=True)
            wanted = (x[i], int(target[part.start + i]), float(q_x[i]))
            return free, _of_input(*wanted, free, evaluator, run, how, scale)

        for i, (free, found) in enumerate(
            in_order(work, range(len(x)), parallel=evaluator.parallel)
        ):
            for name, values in found.items():
                arrays[name][i, free] = values
            advance(1)
        yield part, arrays


_Found = tuple["Ints", "dict[str, Floats]"]


def _of_input(
    x: Floats,
    target: int,
    q_x: float,
    free: Ints,
    evaluator: Evaluator,
    run: Run,
    how: How,
    scale: Floats,
) -> dict[str, Floats]:
    """Slopes of one input along some features, some of them at a time."""
    lower, upper = run.domain.lower, run.domain.upper
    eps = float(np.finfo(evaluator.dtype).eps)
    many = max(1, _NUMBERS_AT_ONCE // (8 * len(how.offsets)))
    parts: list[dict[str, Floats]] = []
    for first in range(0, max(len(free), 1), many):
        some = free[first : first + many]
        unit = scale[some]
        if how.method == "sage":
            values = x[some][:, None] + unit[:, None] * how.offsets
            q = evaluator.one_at_a_time(x, target, some, values)
            slope = sage_slopes(q_x, q, how.offsets, unit, how.kappa)
            none = np.full(len(some), np.nan)
            found = {"slope": slope, "se": none, "curvature": none}
            found |= {"bandwidth": how.radius * unit, "curve": slope[:, None]}
        else:
            placed = place(x[some], unit, how.windows, lower[some], upper[some])
            q = evaluator.one_at_a_time(x, target, some, placed.values)
            got = local_slopes(q_x, q, placed, unit, how.windows, how.rule, eps)
            found = {"slope": got.slope, "se": got.se, "bandwidth": got.width}
            found |= {"curvature": got.curvature, "curve": got.curve}
        parts.append(found)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
