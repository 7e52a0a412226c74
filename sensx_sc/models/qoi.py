"""The quantity of interest: one number a row, from the outputs of a model and a target."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from sensx_sc.models.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from sensx_sc.models.model import Model

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

Qoi = Literal["auto", "probability", "logit", "value"]
QOIS = ("auto", "probability", "logit", "value")


@dataclass(frozen=True)
class Response:
    """The scalar response q that is explained: a model and a quantity of interest.

    Attributes
    ----------
    model
        The model.
    qoi
        ``"probability"``, ``"logit"`` (the raw output of a net, log-odds of a probability),
        ``"value"`` (the output as it is), or a callable on the outputs (B, K), float64, that
        returns (B,).
    """

    model: Model
    qoi: Qoi | Callable[[Floats], Any]

    def __call__(self, rows: Tensor, target: Ints) -> Floats:
        """Q of rows (B, n), each for its own target (B,)."""
        output = getattr(self.model, "output", None)
        if output is None or self.qoi != self.model.kind:
            return self.of_outputs(self.outputs(rows), target)
        # Independent outputs: those that are not asked for are not computed.
        q = np.empty(len(target))
        for k in np.unique(target):
            at = np.flatnonzero(target == k)
            q[at] = output(rows if len(at) == len(rows) else rows[torch.as_tensor(at)], int(k))
        return q

    def outputs(self, rows: Tensor) -> Floats:
        """Outputs (B, K) in float64."""
        outputs = self.model.outputs(rows)
        # Converted on the CPU: not every device has float64.
        return outputs.detach().cpu().double().numpy()

    def of_outputs(self, outputs: Floats, target: Ints) -> Floats:
        """Q of outputs (B, K)."""
        if callable(self.qoi):
            q = np.asarray(self.qoi(outputs), dtype=np.float64)
            if q.shape != (len(outputs),):
                msg = (
                    f"`qoi` must return one number a row, shape ({len(outputs)},); "
                    f"it returned shape {q.shape}."
                )
                raise ValueError(msg)
            return q
        rows = np.arange(len(outputs))
        chosen: Floats = outputs[rows, target]
        kind = self.model.kind
        if self.qoi == "probability" and kind == "logit":
            if outputs.shape[1] == 1 or is_independent(self.model):
                return _expit(chosen)
            shifted = outputs - outputs.max(axis=1, keepdims=True)
            weights = np.exp(shifted)
            chosen = weights[rows, target] / weights.sum(axis=1)
        elif self.qoi == "logit" and kind == "probability":
            with np.errstate(divide="ignore"):
                chosen = np.log(chosen) - np.log1p(-chosen)
        return chosen


def is_independent(model: Model) -> bool:
    """Whether the logits are those of classes that do not exclude each other: a sigmoid each."""
    return bool(getattr(model, "independent", False))


def _expit(logit: Floats) -> Floats:
    # Exact in both tails, where 1 / (1 + exp(-z)) would overflow.
    small = np.exp(-np.abs(logit))
    return np.where(logit >= 0, 1.0, small) / (1.0 + small)


def make_response(model: Model, qoi: Qoi | Callable[[Floats], Any] = "auto") -> Response:
    """Settle ``"auto"``: the probability for classifiers, the value for anything else.

    Raises
    ------
    ValueError
        An unknown quantity, or a probability of a model that has none.
    """
    if callable(qoi):
        return Response(model, qoi.bound(model) if isinstance(qoi, Quantity) else qoi)
    if qoi not in QOIS:
        msg = f"`qoi` must be one of {QOIS} or a callable on the outputs; got {qoi!r}."
        raise ValueError(msg)
    if qoi == "auto":
        qoi = "value" if model.kind == "value" else "probability"
    if qoi in ("probability", "logit") and model.kind == "value":
        msg = (
            f"qoi={qoi!r} needs a classifier with probabilities or logits; the outputs of "
            f"{model.name} are plain values. Use qoi='value', or tell what they are with "
            "sx.models.as_model(model, outputs='logit' or 'probability')."
        )
        raise ValueError(msg)
    return Response(model, qoi)


def resolve_target(
    target: object, response: Response, outputs: Floats
) -> tuple[Ints, tuple[str, ...]]:
    """The explained output of each cell.

    Parameters
    ----------
    target
        Name or index of an output, an array with one a cell, or None: the predicted class.
    response
        The response.
    outputs
        Outputs at the inputs, (C, K).

    Returns
    -------
    Indices (C,), and the names of all K outputs.

    Raises
    ------
    KeyError
        An output that is not there, naming those that are.
    ValueError
        None where the model has several outputs that are no classes; wrong length.
    """
    n_cells, n_outputs = outputs.shape
    model = response.model
    names = output_names(model, n_outputs)
    if callable(response.qoi):
        if target is not None:
            msg = "`target` has no meaning beside a callable `qoi`, which sees all outputs."
            raise ValueError(msg)
        label = response.qoi.label if isinstance(response.qoi, Quantity) else "qoi"
        return np.zeros(n_cells, dtype=np.int64), (label, *names[1:])
    if target is None:
        several = getattr(model, "needs_target", False) or model.kind == "value"
        if n_outputs > 1 and several:
            msg = (
                f"`target` must name one of the {n_outputs} outputs of {model.name}: "
                f"{_listed(names)}."
            )
            raise ValueError(msg)
        return outputs.argmax(axis=1), names
    if isinstance(target, str | int | np.integer):
        return np.full(n_cells, _index(target, names)), names
    wanted: Sequence[Any] = np.asarray(target, dtype=object).ravel().tolist()
    if len(wanted) != n_cells:
        msg = f"`target` must have one entry a cell, {n_cells}; got {len(wanted)}."
        raise ValueError(msg)
    index = {entry: _index(entry, names) for entry in dict.fromkeys(wanted)}
    return np.array([index[entry] for entry in wanted], dtype=np.int64), names


def output_names(model: Model, n_outputs: int) -> tuple[str, ...]:
    """Names of a model's outputs.

    Raises
    ------
    ValueError
        The model names one twice, or another number of them.
    """
    if model.output_names is None:
        # One logit or one probability is that of the positive class.
        single = n_outputs == 1 and model.kind != "value"
        return ("1",) if single else tuple(str(k) for k in range(n_outputs))
    if len(set(model.output_names)) < len(model.output_names):
        msg = (
            f"the outputs of {model.name} must have different names: {_listed(model.output_names)}."
        )
        raise ValueError(msg)
    if len(model.output_names) != n_outputs:
        msg = (
            f"{model.name} names {len(model.output_names)} outputs "
            f"({_listed(model.output_names)}) but returns {n_outputs}."
        )
        raise ValueError(msg)
    return model.output_names


def output_place(model: Model, target: str | int, n_outputs: int) -> int:
    """Number of an output that is named or numbered.

    Raises
    ------
    KeyError
        It is not there.
    """
    return _index(target, output_names(model, n_outputs))


def _index(target: object, names: tuple[str, ...]) -> int:
    if isinstance(target, str) and target in names:
        return names.index(target)
    if isinstance(target, int | np.integer) and not isinstance(target, bool):
        named = names.index(str(target)) if str(target) in names else None
        placed = int(target) if 0 <= target < len(names) else None
        if None not in (named, placed) and named != placed:
            msg = (
                f"`target` {target!r} is ambiguous: output number {target} is "
                f"{names[int(target)]!r}. Pass the name as text, {str(target)!r} or "
                f"{names[int(target)]!r}."
            )
            raise ValueError(msg)
        if placed is not None or named is not None:
            return placed if placed is not None else named  # type: ignore[return-value]
    msg = f"`target` {target!r} is not an output of the model; it has {_listed(names)}."
    raise KeyError(msg + _hint(str(target), names))


def _hint(target: str, names: tuple[str, ...]) -> str:
    """What may have been meant."""
    near = difflib.get_close_matches(target, names, 1, 0.75)
    if near:
        return f" Did you mean {near[0]!r}?"
    numbered = all(name.isdigit() for name in names) and not target.isdigit()
    how = " Name them: sx.models.as_model(model, output_names=[...])."
    return how if numbered else ""


def _listed(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(map(repr, names[:20])) + more
