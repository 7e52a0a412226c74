"""One binary classifier a class, as one model with an output for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from sensx_sc.models.model import Announces, ChecksRows
from sensx_sc.models.qoi import Response, make_response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from sensx_sc.models.model import Model, OutputKind
    from sensx_sc.models.qoi import Floats, Ints


class BinaryResponse(Response):
    """The probability of a binary classifier's class, its last output, whatever the target."""

    def of_outputs(self, outputs: Floats, target: Ints) -> Floats:
        if outputs.shape[1] > 2:
            msg = (
                f"the classifiers of a mapping must be binary; {self.model.name} has "
                f"{outputs.shape[1]} outputs."
            )
            raise ValueError(msg)
        return super().of_outputs(outputs, np.full(len(outputs), outputs.shape[1] - 1))


class OneVsRest:
    """Binary classifiers under the names of their classes; outputs are their probabilities.

    Parameters
    ----------
    members
        A classifier for each class, with one logit, one probability, or the probabilities of
        "rest" and the class, in this order.

    Raises
    ------
    ValueError
        No members, members that take other types of rows or other genes, or are no classifiers.
    """

    kind: OutputKind = "probability"

    def __init__(self, members: Mapping[str, Model]) -> None:
        if not members:
            msg = "a mapping of models must hold at least one: {class name: binary classifier}."
            raise ValueError(msg)
        self.source = self.members = dict(members)
        self.name = f"{len(members)} binary classifiers"
        self.output_names = tuple(map(str, members))
        self.responses = [
            BinaryResponse(member, make_response(member, "probability").qoi)
            for member in members.values()
        ]
        first, *others = members.values()
        self.feature_names = first.feature_names
        self.dtypes = tuple(
            dtype for dtype in first.dtypes if all(dtype in other.dtypes for other in others)
        )
        ranges = [member.input_range for member in members.values() if member.input_range]
        self.input_range = (
            (min(low for low, _ in ranges), max(high for _, high in ranges)) if ranges else None
        )
        if not self.dtypes:
            msg = "the binary classifiers must all take float32 or all take float64 rows."
            raise ValueError(msg)
        for name, member in members.items():
            if member.feature_names != self.feature_names:
                msg = f"the binary classifiers must take the same features; {name!r} takes others."
                raise ValueError(msg)

    def device(self, dtype: torch.dtype) -> torch.device:
        return next(iter(self.members.values())).device(dtype)

    def outputs(self, rows: Tensor) -> Tensor:
        each = [torch.as_tensor(self.output(rows, k)) for k in range(len(self.responses))]
        return torch.stack(each, dim=1)

    def check_rows(self, rows: Floats) -> None:
        for member in self.members.values():
            if isinstance(member, ChecksRows):
                member.check_rows(rows)

    def announce(self, n_rows: int) -> None:
        for member in self.members.values():
            if isinstance(member, Announces):
                member.announce(n_rows)

    def output(self, rows: Tensor, k: int) -> Floats:
        """Probability (B,) of one class: the other classifiers are not run."""
        return self.responses[k](rows, np.zeros(len(rows), dtype=np.int64))
