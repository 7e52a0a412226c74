"""What a model file, or its user, says of the model.

A file may carry three entries: ``outputs`` (``logit``, ``probability`` or ``value``),
``output_names`` and ``feature_names`` (JSON lists). In an ONNX file they are metadata properties,
in a safetensors file its metadata, and in an archive of ``torch.export`` the extra file
``sensx.json`` holds them together.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from sensx_sc.models.model import OutputKind, as_names

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Described:
    """Kind of the outputs, and names; None where nothing is said."""

    outputs: OutputKind | None = None
    feature_names: tuple[str, ...] | None = None
    output_names: tuple[str, ...] | None = None

    def completed(self, other: Described) -> Described:
        """What this one says, and where it says nothing what another does."""
        return Described(
            self.outputs or other.outputs,
            self.feature_names or other.feature_names,
            self.output_names or other.output_names,
        )


def read_description(told: Mapping[str, Any] | None) -> Described:
    """What the metadata of a file say.

    Raises
    ------
    ValueError
        An entry that cannot be read.
    """
    found = {name: told[name] for name in ("outputs", "feature_names", "output_names")
             if told and name in told}  # fmt: skip
    kind = found.get("outputs")
    if kind is not None and kind not in get_args(OutputKind):
        msg = f"the file says that its `outputs` are {kind!r}; they may be {get_args(OutputKind)}."
        raise ValueError(msg)
    names = {}
    for name in ("feature_names", "output_names"):
        value = found.get(name)
        try:
            names[name] = as_names(json.loads(value) if isinstance(value, str) else value)
        except ValueError as error:
            msg = f"the file's `{name}` must be a JSON list of names; got {str(value)[:60]!r}."
            raise ValueError(msg) from error
    return Described(kind, **names)
