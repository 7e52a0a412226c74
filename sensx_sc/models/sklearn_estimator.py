"""scikit-learn estimators and Pipelines, and whatever speaks their language."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sensx_sc.models.model import as_matrix, as_names

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from sensx_sc.models.model import OutputKind


class SklearnModel:
    """A fitted estimator: ``predict_proba``, else ``decision_function``, else ``predict``.

    Rows are handed over in float64, under the names the estimator was fitted with. A classifier
    of several things at once has an output for each class of each, named ``"0=B cells"``.

    Attributes
    ----------
    estimator
        The one that answers: of a search over parameters the best one.
    columns
        Names under which it wants its rows, or None.
    needs_target
        Whether the largest output is not the predicted class, as classes of several things
        stand side by side.
    """

    def __init__(
        self,
        estimator: Any,
        *,
        outputs: OutputKind | None = None,
        feature_names: Sequence[object] | None = None,
        output_names: Sequence[object] | None = None,
    ) -> None:
        self.source = estimator
        self.name = type(estimator).__name__
        self.estimator = _answering(estimator)
        self.dtypes: tuple[torch.dtype, ...] = (torch.float64,)
        self.input_range: tuple[float, float] | None = None
        self.columns = getattr(estimator, "feature_names_in_", None)
        self.feature_names = as_names(self.columns if feature_names is None else feature_names)
        self._predict, self.kind = _method(estimator, outputs)
        classes = getattr(estimator, "classes_", None)
        self.needs_target = isinstance(classes, list) and len(classes) > 1
        self.output_names = as_names(output_names)
        if self.output_names is None and isinstance(classes, list):
            classes = [f"{k}={name}" for k, own in enumerate(classes) for name in own]
        if self.output_names is None and classes is not None:
            # decision_function of two classes is one column: the second class.
            binary_margin = self.kind != "probability" and len(classes) == 2
            self.output_names = as_names(classes[1:] if binary_margin else classes)

    def device(self, dtype: torch.dtype) -> torch.device:
        return torch.device("cpu")

    def outputs(self, rows: Tensor) -> Tensor:
        table: Any = rows.numpy()
        if self.columns is not None:
            import pandas as pd

            table = pd.DataFrame(table, columns=self.columns, copy=False)
        returned = self._predict(table)
        if isinstance(returned, list):  # an array for each thing that is classified
            returned = np.concatenate(returned, axis=1)
        returned = np.asarray(returned, dtype=np.float64)
        shape = as_matrix(returned.shape, len(rows), self.name)
        return torch.as_tensor(returned.reshape(shape))


def is_estimator(model: object) -> bool:
    """Whether an object has the methods of a scikit-learn estimator."""
    return hasattr(model, "get_params") and callable(getattr(model, "predict", None))


def _answering(estimator: Any) -> Any:
    """The estimator behind one that only chose it, or a threshold for it."""
    kind = type(estimator)
    if kind.__module__.startswith("sklearn.model_selection."):
        for attribute in ("best_estimator_", "estimator_"):
            if hasattr(estimator, attribute):
                return _answering(getattr(estimator, attribute))
    return estimator


def _method(estimator: Any, outputs: OutputKind | None) -> tuple[Callable[[Any], Any], OutputKind]:
    """The method whose outputs are of the kind asked for."""
    refuse_unfitted(estimator)
    if outputs in (None, "probability") and hasattr(estimator, "predict_proba"):
        return estimator.predict_proba, "probability"
    if outputs != "probability" and hasattr(estimator, "decision_function"):
        return estimator.decision_function, outputs or "value"
    if outputs in (None, "value"):
        return estimator.predict, "value"
    msg = f"{type(estimator).__name__} has no outputs of the kind `outputs`={outputs!r}."
    raise ValueError(msg)


def refuse_unfitted(estimator: Any) -> None:
    """Refuse an estimator that is not fitted.

    Raises
    ------
    ValueError
        It is not.
    """
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(estimator)
    except NotFittedError as error:
        msg = f"the estimator {type(estimator).__name__} is not fitted: call its fit() first."
        raise ValueError(msg) from error
