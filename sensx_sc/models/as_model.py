"""Anything a user may pass as a model, made into one form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from os import PathLike
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import torch
from torch import nn

from sensx_sc.models.by_name import ByName
from sensx_sc.models.celltypist import CellTypistModel, is_celltypist
from sensx_sc.models.described import Described
from sensx_sc.models.devices import find_device
from sensx_sc.models.exported import FixedBatch
from sensx_sc.models.files import load_exported, load_weights, split_path
from sensx_sc.models.function import function_model
from sensx_sc.models.lightgbm_booster import LightGBMBooster, is_lightgbm_booster
from sensx_sc.models.model import Model, OutputKind, as_names
from sensx_sc.models.not_a_model import is_weights, not_a_model
from sensx_sc.models.one_vs_rest import OneVsRest
from sensx_sc.models.onnx import Onnx, is_onnx_session
from sensx_sc.models.scvi_model import Scvi, is_scvi
from sensx_sc.models.sklearn_estimator import SklearnModel, is_estimator
from sensx_sc.models.torch_module import TorchModel
from sensx_sc.models.xgboost_booster import is_xgboost_booster, xgboost_booster

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sensx_sc.models.function import RowKind


def as_model(
    model: Any,
    *,
    n_features: int | None = None,
    example: np.ndarray | None = None,
    outputs: OutputKind | None = None,
    feature_names: Sequence[object] | None = None,
    output_names: Sequence[object] | None = None,
    rows: RowKind | None = None,
    columns: Sequence[object] | None = None,
    device: str | torch.device = "auto",
) -> Model:
    """Make a model ready to be explained.

    Parameters
    ----------
    model
        A :class:`torch.nn.Module`, a fitted scikit-learn, XGBoost or LightGBM estimator or
        Pipeline, a booster of XGBoost or LightGBM, a model of CellTypist, a SCANVI or SCVI of
        scvi-tools, or any callable on rows (B, n) that returns (B,) or (B, K).
        Or the path of a file: ``"model.onnx"``, ``"model.pt2"`` (``torch.export.save``) or
        ``"weights.safetensors+package.module:factory"``, where the factory makes the module; or
        a session of onnxruntime. No pickle is read.
        Or a mapping from class names to binary classifiers: one model with an output for each,
        of which only the explained one is run.
    n_features
        Number of features; only a bare callable needs it, for a trial call on two rows of zeros.
    example
        Rows (B, n_features) for the trial call instead.
    outputs
        What the outputs are: ``"logit"``, ``"probability"`` or ``"value"``. By default a
        module's outputs are logits (probabilities after a final sigmoid or softmax, values if it
        has ``task = "regression"``), an estimator's are those of its ``predict_proba``, and a
        callable's are values, as are an ONNX graph's that are not called probabilities.
    feature_names, output_names
        Names, where the model does not carry them.
    rows
        Whether a callable takes ``"numpy"`` arrays or ``"torch"`` tensors; by default found out.
    columns
        Names of the columns of the rows, where they are more than the model's features or in
        another order: the model then takes its own by name, and the others have no effect.
    device
        ``"auto"`` (a module's own device if that is not the CPU, else a GPU if there is one), or
        a device that torch knows. The module itself is not moved.

    Returns
    -------
    A :class:`~sensx_sc.models.model.Model`.

    Raises
    ------
    TypeError
        Not a model.
    ValueError
        A module in training mode, an estimator that is not fitted, an unknown device, a callable
        that fails on example rows, features of the model that are not among the ``columns``.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> model = sx.models.as_model(lambda rows: rows.sum(1), n_features=3)
    >>> model.kind
    'value'

    A model of two genes, given rows of three:

    >>> model = sx.models.as_model(
    ...     lambda rows: rows[:, 0] - rows[:, 1],
    ...     n_features=2,
    ...     feature_names=["CD3D", "CD79A"],
    ...     columns=["NKG7", "CD79A", "CD3D"],
    ... )
    >>> model.feature_names
    ('NKG7', 'CD79A', 'CD3D')
    """
    if outputs is not None and outputs not in get_args(OutputKind):
        msg = f"`outputs` must be one of {get_args(OutputKind)}; got {outputs!r}."
        raise ValueError(msg)
    said = _Said(outputs, feature_names, output_names, rows)
    if isinstance(model, Model):
        if said.anything:
            msg = (
                f"{model.name} was made by as_model before: describe it there, with `outputs`, "
                "`feature_names`, `output_names` and `rows`."
            )
            raise ValueError(msg)
        made = model
    else:
        made = _made(model, said, n_features, example, device)
    return made if columns is None else ByName(made, columns)


@dataclass(frozen=True)
class _Said:
    """What the caller says of a model."""

    outputs: OutputKind | None = None
    feature_names: Sequence[object] | None = None
    output_names: Sequence[object] | None = None
    rows: RowKind | None = None

    @property
    def anything(self) -> bool:
        return any(getattr(self, part.name) is not None for part in fields(self))

    @property
    def names(self) -> dict[str, Sequence[object] | None]:
        return {"feature_names": self.feature_names, "output_names": self.output_names}


def _made(
    model: Any,
    said: _Said,
    n_features: int | None,
    example: np.ndarray | None,
    device: str | torch.device,
) -> Model:
    if isinstance(model, str | PathLike) or is_onnx_session(model):
        return _of_file(model, said, device)
    if isinstance(model, nn.Module):
        home = next((p.device for p in model.parameters()), torch.device("cpu"))
        return TorchModel(
            model, outputs=said.outputs, device=find_device(device, home), **said.names
        )
    if is_celltypist(model):
        _refuse_outputs(said, "CellTypist")
        return CellTypistModel(model, **said.names)
    if is_scvi(model):
        _refuse_outputs(said, type(model).__name__)
        return Scvi(model, output_names=said.output_names, device=device)
    if is_xgboost_booster(model):
        return xgboost_booster(model, outputs=said.outputs, **said.names)
    if is_lightgbm_booster(model):
        return LightGBMBooster(model, outputs=said.outputs, **said.names)
    if is_estimator(model):
        return SklearnModel(model, outputs=said.outputs, **said.names)
    if isinstance(model, Mapping) and not is_weights(model):
        return _of_mapping(model, said, n_features, example, device)
    if callable(model) and not isinstance(model, type):
        if n_features is None and example is None:
            msg = "`n_features` is needed to make a bare callable ready: it is tried on two rows."
            raise ValueError(msg)
        return function_model(
            model,
            np.zeros((2, n_features or 0)) if example is None else example,
            rows=said.rows,
            device=None if device == "auto" else find_device(device),
            kind=said.outputs or "value",
            feature_names=as_names(said.feature_names),
            output_names=as_names(said.output_names),
        )
    raise TypeError(not_a_model(model))


def _of_mapping(
    model: Mapping[Any, Any],
    said: _Said,
    n_features: int | None,
    example: np.ndarray | None,
    device: str | torch.device,
) -> Model:
    if said.output_names is not None:
        msg = (
            "the outputs of a mapping are named by its keys, "
            f"{', '.join(map(repr, list(model)[:5]))}; `output_names` is for other models."
        )
        raise ValueError(msg)
    members = {}
    for name, member in model.items():
        try:
            members[str(name)] = as_model(
                member,
                n_features=n_features,
                example=example,
                outputs=said.outputs,
                feature_names=said.feature_names,
                rows=said.rows,
                device=device,
            )
        except (TypeError, ValueError) as error:
            msg = f"the model of {name!r}: {error}"
            raise type(error)(msg) from error
    return OneVsRest(members)


def _of_file(model: Any, said: _Said, device: str | torch.device) -> Model:
    session = is_onnx_session(model)
    path, factory = (model, "") if session else split_path(model)
    if session or path.suffix == ".onnx":
        return Onnx(
            path,
            outputs=said.outputs,
            feature_names=said.feature_names,
            output_names=said.output_names,
            device=device,
        )
    told = Described(said.outputs, as_names(said.feature_names), as_names(said.output_names))
    if factory:
        module, found = load_weights(path, factory)
    else:
        module, found, batch = load_exported(path)
        module = module if batch is None else FixedBatch(module, batch)
    described = told.completed(found)
    return TorchModel(
        module,
        outputs=described.outputs,
        feature_names=described.feature_names,
        output_names=described.output_names,
        device=find_device(device),
    )


def _refuse_outputs(said: _Said, name: str) -> None:
    if said.outputs is not None:
        msg = f"what the outputs of a {name} model are is known; `outputs` is for other models."
        raise ValueError(msg)
