"""A gate that ranks features in training: a score a feature, and a softmax over the scores.

After Covaci et al., arXiv 2511.13809, of which only the abstract and a summary were at hand: y =
softmax(s) * x before the first layer, ranked by its weights. What goes beyond that line is a
reconstruction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from sensx_sc.models.mlp import ExpressionMLP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

_SMALLEST = 1e-12  # standard deviation, as a share of the mean, of what is a constant
_COLUMNS = 1024  # of which moments are taken together


class ScoresActivation(nn.Module):
    """Weigh features by a softmax of learned scores: y = k softmax(s / T) * standardise(x).

    Scores start at 0, all features alike. Weights alone mean nothing: a larger weight with smaller
    weights of the next layer is the same function. So inputs are standardised and the next layer
    needs weight decay; at the optimum of a ridge penalty a weight is then proportional to its
    feature's effective score to the power of 2/3. Read :meth:`effective_scores`, which no such
    exchange can change. Correlated features share a weight, or one of them takes it all.

    Parameters
    ----------
    n_features
        Features, d.
    k
        Factor on the weights, by default d, so that at the start y = standardise(x). With 1, as in
        the published line, inputs start d times too small.
    temperature
        T: below 1 the gate is harder.

    Attributes
    ----------
    scores
        s, (d,).
    mean, deviation
        What standardises; 0 and 1 until :meth:`fit_standardisation` is called.

    Examples
    --------
    >>> import torch
    >>> import sensx_sc as sx
    >>> gate = sx.nn.ScoresActivation(3)
    >>> gate(torch.ones(1, 3)), gate.weights
    (tensor([[1., 1., 1.]], grad_fn=<MulBackward0>), tensor([0.3333, 0.3333, 0.3333]))

    References
    ----------
    Covaci et al., arXiv 2511.13809 (reconstruction).
    """

    def __init__(
        self, n_features: int, *, k: float | None = None, temperature: float = 1.0
    ) -> None:
        super().__init__()
        if isinstance(n_features, bool) or not isinstance(n_features, int) or n_features < 1:
            msg = f"`n_features` must be a whole number of at least 1; got {n_features!r}."
            raise ValueError(msg)
        for name, value in (("k", k), ("temperature", temperature)):
            if value is not None and not (isinstance(value, int | float) and value > 0):
                msg = f"`{name}` must be a positive number; got {value!r}."
                raise ValueError(msg)
        self.k = float(n_features if k is None else k)
        self.temperature = float(temperature)
        self.scores = nn.Parameter(torch.zeros(n_features))
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("deviation", torch.ones(n_features))

    def fit_standardisation(self, rows: Tensor) -> ScoresActivation:
        """Take means and standard deviations from rows (B, d); constants are left as they are."""
        # In double precision, a part of the columns at a time: a constant comes out as one, and a
        # mean far above the spread takes nothing of it.
        parts = [part.to("cpu", torch.float64) for part in rows.split(_COLUMNS, dim=1)]
        mean = torch.cat([part.mean(dim=0) for part in parts])
        deviation = torch.cat([part.std(dim=0, correction=0) for part in parts])
        self.mean.copy_(mean)
        self.deviation.copy_(torch.where(deviation > _SMALLEST * mean.abs(), deviation, 1.0))
        return self

    def forward(self, rows: Tensor) -> Tensor:
        """Weighed, standardised rows (B, d)."""
        gated: Tensor = self._softmax() * self.k * ((rows - self.mean) / self.deviation)
        return gated

    def _softmax(self) -> Tensor:
        return torch.softmax(self.scores / self.temperature, dim=0)

    @property
    def weights(self) -> Tensor:
        """softmax(s / T), (d,); they sum to 1."""
        return self._softmax().detach()

    def entropy(self) -> Tensor:
        """Entropy of the weights: log d at the start, 0 when one feature has it all."""
        logs = torch.log_softmax(self.scores / self.temperature, dim=0)
        found: Tensor = -(logs.exp() * logs).sum()
        return found

    def effective_scores(self, layer: nn.Linear) -> Tensor:
        """K w_j ||W_j||: how much of each standardised feature reaches the next layer, (d,).

        Parameters
        ----------
        layer
            The linear layer that follows the gate.
        """
        size = layer.weight.detach().norm(dim=0)
        found: Tensor = self.k * self.weights * size
        return found

    def extra_repr(self) -> str:
        return f"{len(self.scores)}, k={self.k:g}, temperature={self.temperature:g}"


class ScoresMLP(nn.Module):
    """A gate in front of a multilayer perceptron; what :func:`sensx_sc.nn.fit_scores` trains.

    Parameters
    ----------
    feature_names, output_names, hidden, input_range, seed
        As in :class:`sensx_sc.models.ExpressionMLP`; at least one hidden layer.
    k, temperature
        As in :class:`ScoresActivation`.

    Attributes
    ----------
    gate, body
        The two parts.
    report
        Figures of the held-out test.

    Examples
    --------
    >>> import torch
    >>> import sensx_sc as sx
    >>> net = sx.nn.ScoresMLP(["CD3D", "MS4A1"], ["B cell"], hidden=(4,))
    >>> net(torch.zeros(5, 2)).shape
    torch.Size([5, 1])
    """

    task: Literal["classification"] = "classification"

    def __init__(
        self,
        feature_names: Sequence[str],
        output_names: Sequence[str],
        *,
        hidden: Sequence[int] = (64, 32),
        k: float | None = None,
        temperature: float = 1.0,
        input_range: tuple[float, float] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.gate = ScoresActivation(len(feature_names), k=k, temperature=temperature)
        self.body = ExpressionMLP(feature_names, output_names, hidden=hidden, seed=seed)
        self.feature_names = self.body.feature_names
        self.output_names = self.body.output_names
        self.input_range = input_range
        self.report: dict[str, Any] = {}

    def forward(self, rows: Tensor) -> Tensor:
        """Logits (B, n_outputs) of rows (B, n_features)."""
        logits: Tensor = self.body(self.gate(rows))
        return logits

    @property
    def first(self) -> nn.Linear:
        """The layer after the gate."""
        layer = self.body.layers[0]
        if not isinstance(layer, nn.Linear):
            msg = f"the layer after the gate is no Linear but {type(layer).__name__}."
            raise TypeError(msg)
        return layer

    def effective_scores(self) -> Tensor:
        """How much of each standardised feature reaches the first layer, (d,)."""
        return self.gate.effective_scores(self.first)
