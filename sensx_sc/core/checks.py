"""What is asked of a model before any work: repeatable, row by row, finite somewhere."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from sensx_sc.core.sampling import cell_key, uniforms
from sensx_sc.core.walks import place
from sensx_sc.models.model import OTHER_NAMES
from sensx_sc.models.qoi import is_independent

if TYPE_CHECKING:
    from sensx_sc.core.arrays import Floats
    from sensx_sc.core.domain import Domain
    from sensx_sc.evaluators.protocol import Evaluator
    from sensx_sc.models.model import Model

_SAME = 1e-5  # relative difference of outputs that a repeated call may show
_ELSEWHERE = 1e-2  # and a call in another batch: half precision stays far below
_SMALLEST = 1e-12  # outputs below this are rounding
_RANGE = 1e-5  # that probabilities may be beyond 0 and 1
_ADD_UP = 1e-4  # from a sum of 1
_N_CELLS, _N_POINTS = 4, 8


def check_names(
    names: tuple[str, ...] | None, model_names: tuple[str, ...] | None, *, what: str = "feature"
) -> None:
    """Refuse features that are not the model's, in the model's order.

    Raises
    ------
    ValueError
        Features missing, unknown or in another order, with the first of them.
    """
    if names is None or model_names is None or names == model_names:
        return
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        msg = f"the names of the {what}s must be unique; {twice!r} occurs more than once."
        raise ValueError(msg)
    missing = sorted(set(model_names) - set(names))
    unknown = sorted(set(names) - set(model_names))
    if missing or unknown:
        parts = [
            f"{len(group)} {label}: {', '.join(group[:5])}{', ...' if len(group) > 5 else ''}"
            for group, label in ((missing, "missing"), (unknown, "unknown to the model"))
            if group
        ]
        advice = (
            _of_missing(names, model_names, missing)
            if missing
            else "Pass exactly the model's, in its order, adata[:, list(model.feature_names)], or "
            "let it take them by name: sx.models.as_model(model, columns=adata.var_names)."
        )
        msg = f"the {what}s are not those the model was fitted with ({'; '.join(parts)}). {advice}"
        raise ValueError(msg)
    first = next(i for i, (a, b) in enumerate(zip(names, model_names, strict=True)) if a != b)
    msg = (
        f"the {what}s are in another order than the model's: position {first} holds "
        f"{names[first]!r}, the model expects {model_names[first]!r}. Reorder them, "
        "adata[:, list(model.feature_names)], or let the model take them by name: "
        "sx.models.as_model(model, columns=adata.var_names)."
    )
    raise ValueError(msg)


def _of_missing(names: tuple[str, ...], model_names: tuple[str, ...], missing: list[str]) -> str:
    """What to do where features of the model are missing."""
    advice = "A missing gene is not one that is not expressed, so none is filled in."
    if {name.lower() for name in names} >= {name.lower() for name in model_names}:
        return f"{advice} The names differ in upper and lower case only: rename those of the data."
    if len(missing) == len(set(model_names)):
        return advice + OTHER_NAMES
    return f"{advice} Take the data before genes were left out, or a model of those that are there."


def check_model(
    x: Floats, domain: Domain, evaluator: Evaluator, *, seed: int, mark: bool = False
) -> Floats:
    """Call the model twice on the same rows, then once more at other places of other batches.

    Parameters
    ----------
    x
        Some inputs, (C, n); the first few and random points of the domain are tried.
    mark
        Rows on which the model raises are left out.

    Returns
    -------
    Its outputs for those rows, (B, K).

    Raises
    ------
    ValueError
        The output is random, or depends on the other rows of the batch, or is never finite.
    """
    x = x[:_N_CELLS]
    rows = np.concatenate([x, np.repeat(x[:1], _N_POINTS, axis=0)])
    u = uniforms(seed, cell_key("model check"), "calibration", 0, _N_POINTS, domain.n_features)
    rows[len(x) :, domain.free] = place(u[:, domain.free], x[0], domain, 1.0)
    if mark:
        rows = rows[[_works(evaluator, rows[i : i + 1]) for i in range(len(rows))]]
    first = evaluator.outputs(rows)
    if not np.isfinite(first).any():
        msg = (
            f"the model returned only NaN or infinite values for the {len(x)} inputs it was tried "
            "on and random points of the domain: check its input scale and its weights."
        )
        raise ValueError(msg)
    scale = max(_SMALLEST, float(np.abs(first[np.isfinite(first)]).max()))
    repeated = _difference(first, evaluator.outputs(rows))
    if repeated > _SAME * scale:
        msg = (
            f"the model is not deterministic: the same rows gave outputs that differ by "
            f"{repeated:.3g}. Switch off dropout and sampling (model.eval(), a fixed seed)."
        )
        raise ValueError(msg)
    order = np.arange(len(rows))[::-1]  # one row alone, and the others the other way round
    elsewhere = np.concatenate(
        [evaluator.outputs(rows[order[:1]]), evaluator.outputs(rows[order[1:]])]
    )
    moved = _difference(first[order], elsewhere)
    if moved > _ELSEWHERE * scale:
        msg = (
            f"the model's output for a row depends on the other rows of its batch: it changed by "
            f"{moved:.3g} when the rows were given in another order. It must treat rows one by one."
        )
        raise ValueError(msg)
    return first


def _works(evaluator: Evaluator, row: Floats) -> bool:
    try:
        evaluator.outputs(row)
    except Exception:  # noqa: BLE001 - a model may raise anything
        return False
    return True


def check_outputs(model: Model, outputs: Floats) -> None:
    """Hold outputs (B, K) against what they are said to be.

    Raises
    ------
    ValueError
        Probabilities that are none.
    """
    known = outputs[np.isfinite(outputs)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    if model.kind == "probability" and not -_RANGE <= low <= high <= 1 + _RANGE:
        msg = (
            f"the outputs of {model.name} are said to be probabilities, but lie from {low:.4g} to "
            f"{high:.4g}: tell what they are with sx.models.as_model(model, outputs='logit' or "
            "'value')."
        )
        raise ValueError(msg)
    whole = outputs.shape[1] > 1 and np.isfinite(outputs).all()
    if model.kind == "logit" and whole and not is_independent(model):
        sums = np.abs(outputs.sum(axis=1) - 1.0).max()
        if low >= 0 and high <= 1 and sums < _ADD_UP and np.ptp(outputs, axis=0).any():
            warnings.warn(
                f"the outputs of {model.name} are taken for logits, but are positive and add up to "
                "1 in every row: if its forward ends in a softmax, say so with "
                "sx.models.as_model(model, outputs='probability').",
                UserWarning,
                stacklevel=4,
            )


def _difference(a: Floats, b: Floats) -> float:
    if not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return np.inf
    both = np.isfinite(a)
    return float(np.abs(a[both] - b[both]).max(initial=0.0))
