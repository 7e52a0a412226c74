"""Everything that is checked and settled before the first input is explained."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sensx_sc.core.arrays import dense
from sensx_sc.core.calibration import delta_grid
from sensx_sc.core.checks import check_model, check_names, check_outputs
from sensx_sc.core.declared_kinds import check_kinds
from sensx_sc.core.domain import admit, clip
from sensx_sc.core.features import settle_features, settle_finer
from sensx_sc.core.gradients import why_no_gradients
from sensx_sc.core.group_norms import why_not_comparable
from sensx_sc.core.options import is_whole, require
from sensx_sc.core.run import Run
from sensx_sc.core.sampling import cell_key, make_design, uniforms
from sensx_sc.core.trial import ready_model, trial_inputs
from sensx_sc.core.walks import place
from sensx_sc.evaluators.choose import choose_evaluator
from sensx_sc.evaluators.full_precision import full_precision
from sensx_sc.evaluators.gradient.gradients import Gradients
from sensx_sc.evaluators.grouped import GroupedEvaluator
from sensx_sc.evaluators.reduced_precision import reduced_precision
from sensx_sc.logger import logger
from sensx_sc.models.held import HoldsCovariates
from sensx_sc.models.model import Announces, ChecksRows
from sensx_sc.models.qoi import make_response
from sensx_sc.settings import settings
from sensx_sc.words import OUT_OF_DOMAIN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import ArrayLike

    from sensx_sc.core.arrays import Floats, Rows
    from sensx_sc.core.domain import Domain
    from sensx_sc.core.groups import Grouping
    from sensx_sc.core.kinds import Kinds
    from sensx_sc.core.options import Options
    from sensx_sc.core.sets import Partition
    from sensx_sc.evaluators.protocol import Evaluator
    from sensx_sc.models.model import Model
    from sensx_sc.models.qoi import Qoi, Response
    from sensx_sc.words import DesignName, GroupNorm, OutOfDomain, Overlap, Precision, Ungrouped

_N_PROBES = 6
_MOST_LOOKED_AT = 32
_N_CHECKED = 64  # inputs that the model may look at
_MOST_ROWS = 16_384
_MOST_INPUTS = 1024
ARRAYS_AN_INPUT = 28  # float64 rows that an explained input occupies while its block is open
_GRADIENT_ARRAYS = 4  # rows, endpoints, gradients and steps of a pass
_BATCH_SHARE = 1 / 16  # of the memory budget: rows, their making and a net's first layers


def prepare(
    rows: Rows,
    model: Any,
    *,
    lower: ArrayLike,
    upper: ArrayLike,
    mask: ArrayLike | None,
    qoi: Qoi | Callable[[Floats], Any],
    deltas: ArrayLike | str,
    n_walks: int | str,
    design: DesignName,
    out_of_domain: OutOfDomain,
    names: Sequence[str] | None,
    batch_size: int | str,
    device: str | torch.device,
    options: Options,
    groups: Grouping | Partition | None = None,
    group_norm: GroupNorm = "l2",
    overlap: Overlap = "share",
    ungrouped: Ungrouped = "hold",
    within: Grouping | str | None = None,
    within_top: int = 1,
    kinds: Kinds | Mapping[str, str] | ArrayLike | None = None,
    levels: Mapping[Any, ArrayLike] | None = None,
    blocks: Mapping[str, Sequence[object]] | None = None,
    hold: bool = True,
    mark: bool = False,
    respond: Callable[[Response], Response] | None = None,
) -> Run:
    """Check everything that can be checked before the work, on all rows that will be explained.

    With ``mark``, inputs on which the model fails are no reason to stop, unless it fails on all
    that it is tried on. With ``hold``, what a model reads beside features keeps its values; else
    the mask says what of it walks.
    """
    n = rows.shape[1]
    labels = None if names is None else tuple(map(str, names))
    if labels is not None and len(labels) != n:
        msg = f"`names` must name each of the {n} features; got {len(labels)}."
        raise ValueError(msg)
    require(
        out_of_domain in OUT_OF_DOMAIN, "out_of_domain", out_of_domain, f"one of {OUT_OF_DOMAIN}"
    )
    grid, extend = delta_grid(deltas)
    until_stable = _is_auto(n_walks, options)
    plan = make_design(design, options.max_walks if until_stable else n_walks, n)  # type: ignore[arg-type]
    if options.estimator != "walks" and plan.n_blocks < 2:
        msg = (
            f"`estimator` {options.estimator!r} needs at least two blocks of walks to be audited; "
            f"`n_walks` {n_walks} gives {plan.n_blocks}."
        )
        raise ValueError(msg)
    domain, sets = settle_features(
        n,
        lower,
        upper,
        names=labels,
        mask=mask,
        groups=groups,
        group_norm=group_norm,
        overlap=overlap,
        ungrouped=ungrouped,
        kinds=kinds,
        levels=levels,
        blocks=blocks,
    )
    if sets is not None and options.top_k is not None:
        msg = (
            "`top_k` races for single groups; these sets overlap and are put together from parts. "
            "Leave `top_k` out, or report the parts with overlap='atoms'."
        )
        raise ValueError(msg)
    fine = settle_finer(within, within_top, domain, labels)
    device = settings.device if device == "auto" else device
    ready = ready_model(model, rows, domain, device, mark=mark)
    check_names(labels, ready.feature_names)
    domain = _hold(domain, ready) if hold else domain
    if isinstance(ready, ChecksRows):
        ready.check_rows(dense(rows[:_N_CHECKED]))
    if isinstance(ready, Announces):
        of_walks, swept = plan.n_walks * (domain.n_steps + 1), len(grid) * options.n_samples
        ready.announce(rows.shape[0] * (of_walks + swept))
    tried = trial_inputs(rows, domain, ready, mark=mark)
    if ready.feature_names is not None and len(ready.feature_names) != n:
        msg = f"the model was fitted on {len(ready.feature_names)} features; the inputs have {n}."
        raise ValueError(msg)
    response = make_response(ready, qoi)
    response = response if respond is None else respond(response)
    if domain.kinds is not None and not domain.continuous:
        check_kinds(rows, domain.kinds, domain.tested, labels)
    domain = admit(rows, domain, out_of_domain=out_of_domain, names=labels)
    trial = clip(dense(rows[tried]), domain)
    _warn_of_sizes(rows, domain)
    probes = _probes(trial[:2], domain)
    evaluators, why = _evaluators(response, batch_size, options.precision, probes, domain)
    evaluator = next(iter(evaluators.values()))
    at = check_model(trial, domain, evaluator, seed=options.seed, mark=mark)
    check_outputs(response.model, at)
    # Outputs for whole numbers may be exact in a coarse type by chance.
    told = at if domain.continuous else at[:0]
    reduced = reduced_precision(response.model, probes[:1], told)
    if reduced is not None:
        logger.warning(
            "sensx: %s computes in %s inside, so its response is only known to about %.1g of its "
            "size; effects below the noise floor of a cell are marked. Let it compute in float32 "
            "(no .half(), no autocast) for finer ones.",
            response.model.name,
            reduced.name,
            reduced.grain,
        )
    gradients, reason = _gradients(
        response, evaluators, trial[:2], domain, batch_size, options, mark=mark
    )
    return Run(
        response,
        domain,
        out_of_domain,
        grid,
        extend,
        plan,
        until_stable,
        options,
        evaluators,
        gradients,
        f"{why}; {reason}" if reason else why,
        trial,
        fine,
        int(within_top),
        reduced,
        sets,
    )


def _warn_of_sizes(rows: Rows, domain: Domain) -> None:
    if domain.groups is None:
        return
    some = clip(dense(rows[:_MOST_LOOKED_AT]), domain)
    why = why_not_comparable(domain.groups, some, domain.lower, domain.upper, domain.kinds)
    if why is not None:
        warnings.warn(why, UserWarning, stacklevel=4)


def _hold(domain: Domain, model: Model) -> Domain:
    """The domain without what the model reads beside features: it stays as it is."""
    held = len(model.held_names) if isinstance(model, HoldsCovariates) else 0
    if not held:
        return domain
    features = np.arange(domain.n_features) < domain.n_features - held
    return replace(domain, tested=domain.tested & features)


def _evaluators(
    response: Response,
    batch_size: int | str,
    precision: Precision,
    probes: Floats,
    domain: Domain,
) -> tuple[dict[str, Evaluator], str]:
    """One evaluator for each type of rows, the model's preferred type first; and why these."""
    available = [str(dtype).removeprefix("torch.") for dtype in response.model.dtypes]
    if precision != "auto":
        if precision not in available:
            msg = (
                f"`precision` {precision!r} is not possible with {response.model.name}, which "
                f"takes {' or '.join(available)}."
            )
            raise ValueError(msg)
        # float64 stays at hand to measure what float32 loses.
        available.sort(key=lambda name: name != precision)
    made: dict[str, Evaluator] = {}
    why = ""
    for name in available:
        dtype: np.dtype[np.floating] = np.dtype(name)
        together = _rows(batch_size, probes.shape[1] * dtype.itemsize)
        if made and not _runs(response, name, probes[:1]):
            continue
        made[name], reason = choose_evaluator(response, dtype, together, probes)
        if domain.groups is not None:
            made[name] = GroupedEvaluator(made[name], domain.groups.label)
        why = why or reason
    return made, why


def _runs(response: Response, name: str, x: Floats) -> bool:
    """Whether a model runs on another type of rows: one that casts inside may not."""
    dtype = torch.float32 if name == "float32" else torch.float64
    # It may raise anything; the first type is there.
    try:
        with full_precision():
            response.model.outputs(
                torch.as_tensor(x, dtype=dtype, device=response.model.device(dtype))
            )
    except Exception:  # noqa: BLE001
        return False
    return True


def _gradients(
    response: Response,
    evaluators: dict[str, Evaluator],
    x: Floats,
    domain: Domain,
    batch_size: int | str,
    options: Options,
    *,
    mark: bool,
) -> tuple[dict[str, Gradients], str]:
    """What gives the gradients for each type of rows, if they are asked for; and what of them."""
    if options.estimator == "walks":
        return {}, ""
    first = next(iter(evaluators.values()))
    together = _rows(batch_size, _GRADIENT_ARRAYS * x.shape[1] * first.dtype.itemsize)
    target = first.outputs(x).argmax(axis=1)
    try:
        why_not = why_no_gradients(response, x, target, domain, rows=together, seed=options.seed)
    except Exception as error:
        if not mark:
            raise
        why_not = f"it raised {type(error).__name__}: {error}"
    if why_not is None:
        made = {
            name: Gradients(response, evaluator.dtype, together)
            for name, evaluator in evaluators.items()
        }
        return made, "its gradients screen all features, exact walks audit them"
    if options.estimator == "gradient":
        msg = (
            f"`estimator` 'gradient' cannot be used for {response.model.name}: {why_not}. Use "
            "estimator='walks', or 'auto', which walks where gradients are of no use."
        )
        raise ValueError(msg)
    return {}, f"gradients are not used: {why_not}"


def _is_auto(n_walks: int | str, options: Options) -> bool:
    """Whether the number of walks is left to the criterion."""
    if not isinstance(n_walks, str):
        return False
    if n_walks != "auto":
        msg = f"`n_walks` must be 'auto' or a whole number of at least 1; got {n_walks!r}."
        raise ValueError(msg)
    if options.estimator != "walks":
        msg = (
            f"`n_walks` 'auto' needs estimator='walks'; got {options.estimator!r}. Give a number "
            "of walks."
        )
        raise ValueError(msg)
    return True


def _probes(x: Floats, domain: Domain) -> Floats:
    """Rows on which the parts of a model are held against the whole."""
    rows = np.concatenate([x, np.repeat(x[:1], _N_PROBES, axis=0)])
    u = uniforms(0, cell_key("probes"), "calibration", 0, _N_PROBES, domain.n_features)
    rows[len(x) :, domain.free] = place(u[:, domain.free], x[0], domain, 1.0)
    return rows


def _rows(batch_size: int | str, row_bytes: int) -> int:
    if batch_size == "auto":
        budget = settings.memory_budget * _BATCH_SHARE
        return int(np.clip(budget // row_bytes, 1, _MOST_ROWS))
    if not is_whole(batch_size) or int(batch_size) < 1:
        msg = f"`batch_size` must be 'auto' or a whole number of at least 1; got {batch_size!r}."
        raise ValueError(msg)
    return int(batch_size)


def read(rows: Rows, run: Run) -> Floats:
    """Inputs as the run sees them: dense, float64, clipped if asked (or by a rounding)."""
    return clip(dense(rows), run.domain)


def outputs(rows: Rows, run: Run, together: int, *, mark: bool = False) -> Floats:
    """The model's outputs at the inputs, (C, K), a block of inputs at a time.

    With ``mark``, NaN for inputs on which the model raises.
    """
    evaluator = next(iter(run.evaluators.values()))

    def of(x: Floats) -> Floats:
        try:
            # A model may return a part of its rows, which would all be kept.
            return np.array(evaluator.outputs(x))
        except Exception:
            if not mark:
                raise
            if len(x) == 1:
                return np.full((1, 0), np.nan)
        return _stacked([of(x[i : i + 1]) for i in range(len(x))])

    starts = range(0, rows.shape[0], together)
    return _stacked([of(read(rows[start : start + together], run)) for start in starts])


def _stacked(parts: list[Floats]) -> Floats:
    """Parts below each other; those without columns are NaN."""
    width = max(part.shape[1] for part in parts)
    return np.concatenate(
        [part if part.shape[1] else np.full((len(part), width), np.nan) for part in parts]
    )


def block_size(chunk_size: int | str, n_features: int) -> int:
    """How many inputs are dense at a time, for a user's ``chunk_size``."""
    if chunk_size == "auto":
        budget = settings.memory_budget / 4
        return int(np.clip(budget // (ARRAYS_AN_INPUT * 8 * n_features), 1, _MOST_INPUTS))
    if not is_whole(chunk_size) or int(chunk_size) < 1:
        msg = f"`chunk_size` must be 'auto' or a whole number of at least 1; got {chunk_size!r}."
        raise ValueError(msg)
    return int(chunk_size)


def check_keys(keys: Sequence[str | int] | None, n_inputs: int) -> list[str | int]:
    """Names that key the random numbers of inputs: their rows, if none are given."""
    found = list(range(n_inputs) if keys is None else keys)
    if len(found) != n_inputs:
        msg = f"`keys` must name each of the {n_inputs} inputs; got {len(found)}."
        raise ValueError(msg)
    return found
