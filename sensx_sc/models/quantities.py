"""Quantities of interest beyond one output: a margin between two, a distance."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, get_args, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from sensx_sc.models.model import Model
    from sensx_sc.models.qoi import Floats, Qoi, Response

Metric = Literal["euclidean", "cosine"]


@runtime_checkable
class Quantity(Protocol):
    """A function of the outputs (B, K) that must first see the model.

    Attributes
    ----------
    label
        What the results are called.
    """

    @property
    def label(self) -> str: ...

    def bound(self, model: Model) -> Quantity:
        """The same for a model."""
        ...

    def __call__(self, outputs: Floats) -> Floats:
        """Its value, (B,)."""
        ...


@dataclass(frozen=True)
class Margin:
    """How far one output is above another: q = q_first - q_second.

    Parameters
    ----------
    first, second
        Names or numbers of two outputs.
    of
        What is subtracted: ``"probability"``, ``"logit"``, ``"value"``, or ``"auto"``: the outputs
        as the model gives them (logits of a net, probabilities of an estimator).

    Raises
    ------
    ValueError
        The same output twice, or an unknown ``of``.

    Examples
    --------
    Which genes speak for "NK cells" rather than "T cells CD8":

    >>> import numpy as np
    >>> import sensx_sc as sx
    >>> model = sx.models.as_model(
    ...     lambda z: np.stack([2 * z[:, 0], z[:, 1]], axis=1),
    ...     n_features=2,
    ...     output_names=["NK cells", "T cells CD8"],
    ... )
    >>> q = sx.models.Margin("NK cells", "T cells CD8")
    >>> found = sx.core.explain([[0.5, 0.5]], model, qoi=q, lower=0, upper=1, n_walks=20)
    >>> found.mean.round(6), found.output_names[0]
    (array([[ 2., -1.]]), 'NK cells - T cells CD8')
    """

    first: str | int
    second: str | int
    of: Qoi = "auto"
    response: Response | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.first == self.second:
            msg = f"the margin is between two outputs; got {self.first!r} twice."
            raise ValueError(msg)

    @property
    def label(self) -> str:
        return f"{self.first} - {self.second}"

    @property
    def __name__(self) -> str:
        return self.label

    def bound(self, model: Model) -> Margin:
        """The margin of a model.

        Raises
        ------
        ValueError
            The model has no such quantity as ``of``.
        """
        from sensx_sc.models.qoi import make_response

        of = model.kind if self.of == "auto" else self.of
        return Margin(self.first, self.second, self.of, make_response(model, of))

    def places(self, n_outputs: int) -> tuple[int, int]:
        """Numbers of the two outputs.

        Raises
        ------
        KeyError, ValueError
            An output that is not there, or the same one by name and by number.
        """
        from sensx_sc.models.qoi import output_place

        response = self._response()
        places = [output_place(response.model, x, n_outputs) for x in (self.first, self.second)]
        if places[0] == places[1]:
            msg = f"the margin is between two outputs; {self.label!r} is one."
            raise ValueError(msg)
        return places[0], places[1]

    def __call__(self, outputs: Floats) -> Floats:
        """The margin of outputs (B, K), (B,)."""
        response = self._response()
        first, second = (
            response.of_outputs(outputs, np.full(len(outputs), k))
            for k in self.places(outputs.shape[1])
        )
        return first - second

    def _response(self) -> Response:
        if self.response is None:
            msg = "a Margin is used as `qoi`: it must be told the model first (`bound`)."
            raise ValueError(msg)
        return self.response


@dataclass(frozen=True)
class Distance:
    """How far the outputs of a model, an embedding, are from a reference.

    Parameters
    ----------
    reference
        A point of the embedding, (K,): that of the cell itself, the mean of a cell type.
    metric
        ``"euclidean"``, or ``"cosine"``: 1 less the cosine of the angle.

    Raises
    ------
    ValueError, TypeError
        The reference is no vector of finite numbers; an unknown metric.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> q = sx.models.Distance([1.0, 0.0])
    >>> found = sx.core.explain(
    ...     [[0.0, 0.0]], lambda z: z, qoi=q, lower=0, upper=1, n_walks=20, n_samples=400
    ... )
    >>> found.qoi
    array([1.])
    """

    reference: tuple[float, ...]
    metric: Metric

    def __init__(self, reference: ArrayLike, metric: Metric = "euclidean") -> None:
        if metric not in get_args(Metric):
            msg = f"`metric` must be one of {get_args(Metric)}; got {metric!r}."
            raise ValueError(msg)
        try:
            point = np.asarray(reference, dtype=np.float64)
        except (TypeError, ValueError) as error:
            msg = f"`reference` must be a vector of numbers; got {type(reference).__name__}."
            raise TypeError(msg) from error
        if point.ndim != 1 or not point.size or not np.isfinite(point).all():
            msg = f"`reference` must be a vector of finite numbers; got shape {point.shape}."
            raise ValueError(msg)
        if metric == "cosine" and not point.any():
            msg = "`reference` must not be zero: no angle is taken to it."
            raise ValueError(msg)
        object.__setattr__(self, "reference", tuple(point.tolist()))
        object.__setattr__(self, "metric", metric)

    @property
    def label(self) -> str:
        return f"{self.metric} distance"

    @property
    def __name__(self) -> str:
        return self.label

    def bound(self, model: Model) -> Distance:
        """Itself: it needs nothing of the model."""
        return self

    def _reference(self, outputs: Floats) -> Floats:
        point = np.array(self.reference)
        if outputs.shape[1] != len(point):
            msg = f"`reference` has {len(point)} numbers; the model gives {outputs.shape[1]}."
            raise ValueError(msg)
        return point

    def __call__(self, outputs: Floats) -> Floats:
        """The distance of outputs (B, K), (B,)."""
        point = self._reference(outputs)
        if self.metric == "euclidean":
            return np.asarray(np.linalg.norm(outputs - point, axis=1))
        with np.errstate(invalid="ignore"):
            cosine = outputs @ point / (np.linalg.norm(outputs, axis=1) * np.linalg.norm(point))
        return np.asarray(1.0 - cosine)

    def slopes(self, outputs: Floats) -> Floats:
        """Derivatives by the outputs, (B, K); zero at the reference itself."""
        point = self._reference(outputs)
        if self.metric == "euclidean":
            away, q = outputs - point, self(outputs)
            return away / np.where(q > 0, q, 1.0)[:, None]
        size = np.linalg.norm(outputs, axis=1)[:, None]
        cosine = 1.0 - self(outputs)[:, None]
        return np.asarray(
            (cosine * outputs / size - point / np.linalg.norm(point)) / np.where(size > 0, size, 1)
        )
