"""Everything that is checked and settled before the first input is explained."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sensx_sc.core.arrays import dense
from sensx_sc.core.calibration import delta_grid
from sensx_sc.core.checks import check_model, check_names
from sensx_sc.core.domain import admit, clip, make_domain
from sensx_sc.core.gradients import why_no_gradients
from sensx_sc.core.sampling import cell_key, make_design, uniforms
from sensx_sc.core.walks import place
from sensx_sc.evaluators.choose import choose_evaluator
from sensx_sc.evaluators.full_precision import full_precision
from sensx_sc.evaluators.gradient.gradients import Gradients
from sensx_sc.models.as_model import as_model
from sensx_sc.models.model import ChecksRows
from sensx_sc.models.qoi import make_response
from sensx_sc.settings import settings
from sensx_sc.words import ESTIMATORS, OUT_OF_DOMAIN, PRECISIONS, RACED, RANK_BY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike

    from sensx_sc.core.arrays import Floats, Rows
    from sensx_sc.core.domain import Domain
    from sensx_sc.core.sampling import Design
    from sensx_sc.evaluators.protocol import Evaluator
    from sensx_sc.models.model import Model
    from sensx_sc.models.qoi import Qoi, Response
    from sensx_sc.words import DesignName, Estimator, OutOfDomain, Precision, RankBy

_N_PROBES = 6
_N_CHECKED = 64  # inputs that the model may look at
_MOST_ROWS = 16_384
_MOST_INPUTS = 1024
ARRAYS_AN_INPUT = 28  # float64 rows that an explained input occupies while its block is open
_GRADIENT_ARRAYS = 4  # rows, endpoints, gradients and steps of a pass
_BATCH_SHARE = 1 / 16  # of the memory budget: rows, their making and a net's first layers


@dataclass(frozen=True)
class Options:
    """The numbers that shape a run; checked once, kept in the results."""

    tau: float = 0.1
    n_samples: int = 1000
    refine_tol: float | None = None
    min_step: float = 0.0
    rank_by: RankBy = "value"
    estimator: Estimator = "walks"
    top_k: int | None = None
    alpha: float = 0.05
    precision: Precision = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        # Plain numbers, so that the results can be stored.
        for name, kind, fine, allowed in _NUMBERS:
            value = getattr(self, name)
            if value is None and name in ("refine_tol", "top_k"):
                continue
            if not isinstance(value, Real):
                msg = f"`{name}` must be {allowed}; got {value!r}."
                raise TypeError(msg)
            _require(_real(value) and fine(value), name, value, allowed)
            _require(kind is float or is_whole(value), name, value, allowed)
            object.__setattr__(self, name, kind(value))
        _require(self.rank_by in RANK_BY, "rank_by", self.rank_by, f"one of {RANK_BY}")
        _require(self.estimator in ESTIMATORS, "estimator", self.estimator, f"one of {ESTIMATORS}")
        for name in ("top_k", "estimator"):
            if getattr(self, name) not in (None, "walks") and self.rank_by not in RACED:
                msg = (
                    f"`{name}` {getattr(self, name)!r} needs `rank_by` to be one of {RACED}; "
                    f"got {self.rank_by!r}."
                )
                raise ValueError(msg)
        _require(self.precision in PRECISIONS, "precision", self.precision, f"one of {PRECISIONS}")


_NUMBERS: tuple[tuple[str, type, Callable[[Any], bool], str], ...] = (
    ("tau", float, lambda v: v > 0, "a positive number, in units of q"),
    ("n_samples", int, lambda v: v >= 2, "a whole number of at least 2"),
    ("refine_tol", float, lambda v: v > 0, "None or positive"),
    ("top_k", int, lambda v: v >= 1, "None or a whole number of at least 1"),
    ("alpha", float, lambda v: 0 < v < 1, "between 0 and 1"),
    ("min_step", float, lambda v: 0 <= v < 1, "at least 0 and below 1"),
    ("seed", int, lambda v: 0 <= v < 2**64, "a whole number from 0 to 2**64 - 1"),
)


def _real(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def is_whole(value: object) -> bool:
    """Whether a value is a whole number, and no bool."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _require(fine: bool, name: str, value: object, allowed: str) -> None:
    if not fine:
        msg = f"`{name}` must be {allowed}; got {value!r}."
        raise ValueError(msg)


@dataclass(frozen=True)
class Run:
    """Everything that is settled before the first input is explained."""

    response: Response
    domain: Domain
    out_of_domain: OutOfDomain
    deltas: Floats
    extend: bool
    design: Design
    options: Options
    evaluators: dict[str, Evaluator]
    gradients: dict[str, Gradients]
    why: str

    @property
    def evaluations(self) -> int:
        """Evaluations of the response that one input takes, about."""
        swept = len(self.deltas) * self.options.n_samples
        return swept + self.design.n_walks * len(self.domain.free)

    @property
    def params(self) -> dict[str, Any]:
        """The parameters, JSON-safe."""
        qoi = self.response.qoi
        rows = {name: evaluator.rows for name, evaluator in self.evaluators.items()}
        return {
            **asdict(self.options),
            "model": self.response.model.name,
            "qoi": getattr(qoi, "__name__", type(qoi).__name__) if callable(qoi) else qoi,
            "n_walks": self.design.n_walks,
            "design": self.design.name,
            "block": self.design.block,
            "n_blocks": self.design.n_blocks,
            "n_features": self.domain.n_features,
            "n_tested": len(self.domain.free),
            "out_of_domain": self.out_of_domain,
            "evaluator": next(iter(self.evaluators.values())).name,
            "rows_a_batch": rows,
        }


def prepare(
    rows: Rows,
    model: Any,
    *,
    lower: ArrayLike,
    upper: ArrayLike,
    mask: ArrayLike | None,
    qoi: Qoi | Callable[[Floats], Any],
    deltas: ArrayLike | str,
    n_walks: int,
    design: DesignName,
    out_of_domain: OutOfDomain,
    names: Sequence[str] | None,
    batch_size: int | str,
    device: str | torch.device,
    options: Options,
) -> Run:
    """Check everything that can be checked before the work, on all rows that will be explained."""
    n = rows.shape[1]
    labels = None if names is None else tuple(map(str, names))
    if labels is not None and len(labels) != n:
        msg = f"`names` must name each of the {n} features; got {len(labels)}."
        raise ValueError(msg)
    _require(
        out_of_domain in OUT_OF_DOMAIN, "out_of_domain", out_of_domain, f"one of {OUT_OF_DOMAIN}"
    )
    grid, extend = delta_grid(deltas)
    plan = make_design(design, n_walks, n)
    if options.estimator != "walks" and plan.n_blocks < 2:
        msg = (
            f"`estimator` {options.estimator!r} needs at least two blocks of walks to be audited; "
            f"`n_walks` {n_walks} gives {plan.n_blocks}."
        )
        raise ValueError(msg)
    domain = make_domain(lower, upper, n, mask=mask, names=labels)
    device = settings.device if device == "auto" else device
    example = clip(dense(rows[:2]), domain)  # a bare callable is tried on inputs of its own kind
    ready = as_model(model, n_features=n, example=example, device=device)
    check_names(labels, ready.feature_names)
    if isinstance(ready, ChecksRows):
        ready.check_rows(dense(rows[:_N_CHECKED]))
    _try(ready, example[:1])
    if ready.feature_names is not None and len(ready.feature_names) != n:
        msg = f"the model was fitted on {len(ready.feature_names)} features; the inputs have {n}."
        raise ValueError(msg)
    response = make_response(ready, qoi)
    domain = admit(rows, domain, out_of_domain=out_of_domain, names=labels)
    probes = _probes(clip(dense(rows[:2]), domain), domain)
    evaluators, why = _evaluators(response, batch_size, options.precision, probes)
    evaluator = next(iter(evaluators.values()))
    check_model(clip(dense(rows[:4]), domain), domain, evaluator, seed=options.seed)
    gradients, reason = _gradients(response, evaluators, probes[:2], domain, batch_size, options)
    return Run(
        response,
        domain,
        out_of_domain,
        grid,
        extend,
        plan,
        options,
        evaluators,
        gradients,
        f"{why}; {reason}" if reason else why,
    )


def _evaluators(
    response: Response, batch_size: int | str, precision: Precision, probes: Floats
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
        made[name], reason = choose_evaluator(response, dtype, together, probes)
        why = why or reason
    return made, why


def _gradients(
    response: Response,
    evaluators: dict[str, Evaluator],
    x: Floats,
    domain: Domain,
    batch_size: int | str,
    options: Options,
) -> tuple[dict[str, Gradients], str]:
    """What gives the gradients for each type of rows, if they are asked for; and what of them."""
    if options.estimator == "walks":
        return {}, ""
    first = next(iter(evaluators.values()))
    together = _rows(batch_size, _GRADIENT_ARRAYS * x.shape[1] * first.dtype.itemsize)
    target = first.outputs(x).argmax(axis=1)
    why_not = why_no_gradients(response, x, target, domain, rows=together, seed=options.seed)
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


def _try(model: Model, example: Floats) -> None:
    """Call the model once; a module may not take as many features, or fail in ways of its own."""
    dtype = model.dtypes[0]
    rows = torch.as_tensor(example, dtype=dtype, device=model.device(dtype))
    # A black box may raise anything; what it said is passed on.
    try:
        with full_precision():
            model.outputs(rows)
    except (ValueError, TypeError):
        raise
    except Exception as error:
        msg = (
            f"the model ({model.name}) failed on rows of {example.shape[1]} features: "
            f"{type(error).__name__}: {error}. Does it take that many?"
        )
        raise ValueError(msg) from error


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
            return evaluator.outputs(x)
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
