"""The inputs that a model is tried on before the work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sensx_sc.core.arrays import dense
from sensx_sc.core.domain import clip
from sensx_sc.evaluators.full_precision import full_precision
from sensx_sc.models.as_model import as_model

if TYPE_CHECKING:
    from sensx_sc.core.arrays import Floats, Ints, Rows
    from sensx_sc.core.domain import Domain
    from sensx_sc.models.model import Model

N_TRIALS = 4
_N_SPREAD = 12


def candidates(n_inputs: int) -> Ints:
    """Rows of inputs to try a model on: the first few, and some spread over all.

    Inputs that a model fails on often lie side by side: one sample, one plate.

    Examples
    --------
    >>> from sensx_sc.core.trial import candidates
    >>> candidates(3)
    array([0, 1, 2])
    >>> candidates(1000)[:7]
    array([  0,   1,   2,   3,  90, 181, 272])
    """
    spread = np.linspace(0, n_inputs - 1, _N_SPREAD).astype(np.int64)
    return np.unique(np.concatenate([np.arange(min(N_TRIALS, n_inputs)), spread]))


def ready_model(
    model: Any, rows: Rows, domain: Domain, device: str | torch.device, *, mark: bool
) -> Model:
    """The model, made ready; a bare callable is tried on inputs of its own kind.

    Parameters
    ----------
    mark
        Inputs may be such that the model fails on them: others are tried, too.

    Raises
    ------
    ValueError, TypeError
        Not a model, or a callable that fails on all that were tried.
    """
    n = rows.shape[1]
    first: ValueError | None = None
    for example in _examples(rows, domain, mark=mark):
        try:
            return as_model(model, n_features=n, example=example, device=device)
        except ValueError as error:
            if not mark:
                raise
            first = first or error
    raise first or AssertionError


def _examples(rows: Rows, domain: Domain, *, mark: bool) -> Any:
    """Two rows at a time, inside the domain."""
    yield clip(dense(rows[:2]), domain)
    if mark:
        for row in candidates(rows.shape[0]):
            yield np.repeat(clip(dense(rows[row : row + 1]), domain), 2, axis=0)


def trial_inputs(rows: Rows, domain: Domain, model: Model, *, mark: bool) -> Ints:
    """Up to four inputs on which the model works, (T,).

    Without ``mark`` the first four, on the first of which the model must not raise. With it the
    first of :func:`candidates` for which it returns finite outputs; where there is none, those
    for which it returns anything.

    Raises
    ------
    ValueError, TypeError
        The model raises on all that were tried, with what it said first.
    """

    def outputs(row: int) -> Floats:
        return try_model(model, clip(dense(rows[row : row + 1]), domain))

    if not mark:
        outputs(0)
        return np.arange(min(N_TRIALS, rows.shape[0]))
    fine: list[int] = []
    returned: list[int] = []
    refusal: Exception | None = None
    for row in candidates(rows.shape[0]).tolist():
        try:
            found = outputs(row)
        except Exception as error:  # noqa: BLE001 - a black box may raise anything
            refusal = refusal or error
            continue
        (fine if np.isfinite(found).all() else returned).append(row)
        if len(fine) == N_TRIALS:
            break
    if refusal is not None and not fine + returned:
        raise refusal
    return np.array((fine or returned)[:N_TRIALS])


def try_model(model: Model, example: Floats) -> Floats:
    """Outputs of the model, (B, K); it may not take as many features, or fail in its own ways."""
    dtype = model.dtypes[0]
    rows = torch.as_tensor(example, dtype=dtype, device=model.device(dtype))
    # A black box may raise anything; what it said is passed on.
    try:
        with full_precision():
            return model.outputs(rows).detach().cpu().double().numpy()
    except (ValueError, TypeError):
        raise
    except Exception as error:
        notes = "".join(f" {note}" for note in getattr(error, "__notes__", ()))
        msg = (
            f"the model ({model.name}) failed on rows of {example.shape[1]} features: "
            f"{type(error).__name__}: {str(error).rstrip('.')}. Does it take that many?{notes}"
        )
        raise ValueError(msg) from error
