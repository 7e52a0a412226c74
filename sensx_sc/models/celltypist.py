"""CellTypist models: a scaler, a cut at ten, and a logistic regression for each cell type."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from sensx_sc.models.model import as_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from sensx_sc.models.model import OutputKind

    Floats = NDArray[np.float64]

_LARGEST = 10.0  # CellTypist cuts scaled expression there
_TOTAL = 1e4
_ROUNDING = 1e-3  # of a total, from expression kept in single precision


class CellTypistModel:
    """A ``celltypist.models.Model``: one score for each cell type, a sigmoid for each score.

    What CellTypist's own annotation does to log-normalised expression is repeated: scaled with
    the model's means and deviations, cut at 10, scored by its classifier. ``qoi="logit"`` is the
    score of CellTypist's decision matrix, ``"probability"`` that of its probability matrix; the
    predicted cell type is its "best match".

    Parameters
    ----------
    model
        What ``celltypist.train`` or ``celltypist.models.Model.load`` returned.
    feature_names, output_names
        Other names for its genes (Ensembl's, say) and cell types, in its order.

    Raises
    ------
    ValueError
        Its parts do not belong to one model.
    """

    name = "CellTypist"
    kind: OutputKind = "logit"
    independent = True
    dtypes: tuple[torch.dtype, ...] = (torch.float64,)
    input_range = (0.0, float(np.log1p(_TOTAL)))

    def __init__(
        self,
        model: Any,
        *,
        feature_names: Sequence[object] | None = None,
        output_names: Sequence[object] | None = None,
    ) -> None:
        self.source = model
        self.feature_names = (
            as_names(model.features if feature_names is None else feature_names) or ()
        )
        self.output_names = as_names(model.cell_types if output_names is None else output_names)
        scaler, n = model.scaler, len(self.feature_names)
        self._mean = np.asarray(scaler.mean_ if scaler.with_mean else np.zeros(n), dtype=float)
        self._scale = np.asarray(scaler.scale_, dtype=float)
        shapes = np.shape(model.classifier.coef_)[1:], self._mean.shape, self._scale.shape
        if set(shapes) != {(n,)}:
            msg = (
                f"the CellTypist model names {n} genes, but its classifier, means and deviations "
                f"have {', '.join(str(shape[0]) for shape in shapes)}."
            )
            raise ValueError(msg)

    def device(self, dtype: torch.dtype) -> torch.device:
        return torch.device("cpu")

    def outputs(self, rows: Tensor) -> Tensor:
        scaled = np.minimum((rows.numpy() - self._mean) / self._scale, _LARGEST)
        scores, _, _ = self.source.predict_labels_and_prob(scaled)
        return torch.as_tensor(np.asarray(scores, dtype=np.float64))

    def module(self, dtype: torch.dtype) -> nn.Module:
        """The same in torch: rows to scores."""
        classifier = self.source.classifier
        made = _Scores(self._mean, self._scale, classifier.coef_, classifier.intercept_)
        return made.to(dtype).eval()

    def check_rows(self, rows: Floats) -> None:
        low, high = float(rows.min()), float(rows.max())
        totals = np.expm1(np.minimum(rows, 700.0)).sum(axis=1)
        if low < 0 or high > self.input_range[1] * (1 + _ROUNDING):
            found = f"got values from {low:.4g} to {high:.4g}"
        elif totals.max() > _TOTAL * (1 + _ROUNDING):
            found = f"got a cell whose expression adds up to {totals.max():.6g}"
        else:
            if rows.shape[1] > len(self.feature_names) and totals.min() < _TOTAL * (1 - _ROUNDING):
                warnings.warn(
                    f"CellTypist expects log1p of counts scaled to 10,000 a cell; here a cell's "
                    f"{rows.shape[1]} genes add up to {totals.min():.6g}. If genes were left out "
                    "after scaling that is fine, else its predictions are not what they could be.",
                    UserWarning,
                    stacklevel=2,
                )
            return
        msg = (
            f"CellTypist expects log1p of counts scaled to 10,000 a cell; {found}. Make it with "
            "sc.pp.normalize_total(adata, target_sum=1e4) and sc.pp.log1p(adata)."
        )
        raise ValueError(msg)


def is_celltypist(model: object) -> bool:
    """Whether an object is a model of CellTypist's."""
    kind = type(model)
    return kind.__name__ == "Model" and kind.__module__.partition(".")[0] == "celltypist"


class _Scores(nn.Module):
    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Floats, scale: Floats, weight: Any, bias: Any) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("scale", torch.tensor(scale))
        self.linear = nn.Linear(np.shape(weight)[1], np.shape(weight)[0], dtype=torch.float64)
        self.linear.weight = nn.Parameter(torch.tensor(weight), requires_grad=False)
        self.linear.bias = nn.Parameter(torch.tensor(bias), requires_grad=False)
        self.binary = len(weight) == 1

    def forward(self, rows: Tensor) -> Tensor:
        scaled = torch.clamp((rows - self.mean) / self.scale, max=_LARGEST)
        scores: Tensor = self.linear(scaled)
        # Of two cell types one score is known, that of the second.
        return torch.cat([-scores, scores], dim=1) if self.binary else scores
