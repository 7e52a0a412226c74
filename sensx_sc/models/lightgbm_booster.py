"""LightGBM's boosters themselves, without its scikit-learn estimators."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sensx_sc.models.model import as_matrix, as_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from sensx_sc.models.model import OutputKind

_SOFT = ("binary", "multiclass", "multiclassova")


def is_lightgbm_booster(model: object) -> bool:
    """Whether an object is a ``lightgbm.Booster``."""
    kind = type(model)
    return kind.__name__ == "Booster" and kind.__module__.partition(".")[0] == "lightgbm"


class LightGBMBooster:
    """A ``lightgbm.Booster``.

    Outputs of ``binary`` and ``multiclass`` objectives are the probabilities of classes ``"0"``,
    ``"1"``, ...; those of other objectives are values. The rounds up to the best one count, as in
    ``Booster.predict``.
    """

    name = "lightgbm Booster"
    dtypes: tuple[torch.dtype, ...] = (torch.float64,)
    input_range: tuple[float, float] | None = None

    def __init__(
        self,
        booster: Any,
        *,
        outputs: OutputKind | None = None,
        feature_names: Sequence[object] | None = None,
        output_names: Sequence[object] | None = None,
    ) -> None:
        self.source = self.estimator = booster
        objective = _objective(booster)
        self._two = objective == "binary"
        self.kind: OutputKind = outputs or ("probability" if objective in _SOFT else "value")
        names = booster.feature_name()
        # LightGBM's names of columns that were not named.
        unnamed = all(re.fullmatch(r"Column_\d+", name) for name in names)
        own = None if unnamed else names
        self.feature_names = as_names(own if feature_names is None else feature_names)
        n_outputs = 2 if self._two else booster.num_model_per_iteration()
        classes = range(n_outputs) if objective in _SOFT else None
        self.output_names = as_names(classes if output_names is None else output_names)

    def device(self, dtype: torch.dtype) -> torch.device:
        return torch.device("cpu")

    def outputs(self, rows: Tensor) -> Tensor:
        returned = np.asarray(self.source.predict(rows.numpy()), dtype=np.float64)
        if self._two:
            returned = np.stack([1.0 - returned, returned], axis=1)
        return torch.as_tensor(returned.reshape(as_matrix(returned.shape, len(rows), self.name)))


def _objective(booster: Any) -> str:
    """The first word of a LightGBM booster's objective; empty for one of the user's own."""
    header = booster.model_to_string(num_iteration=1).partition("\nTree=")[0]
    found = re.search(r"^objective=(\S+)", header, flags=re.MULTILINE)
    return found.group(1) if found else ""
