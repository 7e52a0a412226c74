"""The fastest evaluator that is exact for a model, and why it is not a faster one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from sensx_sc.evaluators.columnwise import ColumnwiseEvaluator
from sensx_sc.evaluators.dense import DenseEvaluator
from sensx_sc.evaluators.full_precision import full_precision
from sensx_sc.evaluators.graph.columns import NoStemError
from sensx_sc.evaluators.graph.composed import composed
from sensx_sc.evaluators.graph.onnx_graph import onnx_module
from sensx_sc.evaluators.graph.sklearn_linear import as_module
from sensx_sc.evaluators.graph.sklearn_parts import Untranslatable
from sensx_sc.evaluators.graph.trace import find_stem
from sensx_sc.evaluators.routed import RoutedEvaluator
from sensx_sc.evaluators.stem.evaluator import StemEvaluator
from sensx_sc.evaluators.trees.evaluator import tree_evaluator
from sensx_sc.evaluators.trees.pipeline import pipeline_evaluator
from sensx_sc.models.by_name import ByName
from sensx_sc.models.chain import Chain
from sensx_sc.models.lightgbm_booster import LightGBMBooster
from sensx_sc.models.model import InTorch
from sensx_sc.models.one_vs_rest import OneVsRest
from sensx_sc.models.onnx import Onnx
from sensx_sc.models.sklearn_estimator import SklearnModel

if TYPE_CHECKING:
    from torch import nn

    from sensx_sc.evaluators.protocol import Evaluator, Floats
    from sensx_sc.evaluators.stem.stem import Stem
    from sensx_sc.models.qoi import Response

# A stem is as wide as what a step costs: beyond this share of the input rows are as cheap.
_WIDEST = 0.5
_AGREEMENT = {torch.float64: 1e-9, torch.float32: 1e-3}


def choose_evaluator(
    response: Response, dtype: np.dtype[np.floating], rows: int, probes: Floats
) -> tuple[Evaluator, str]:
    """Make an evaluator for a response.

    A model whose graph proves that it starts with something affine, and whose stem gives the
    model's own outputs on the probes, is evaluated step by step; any other row by row.

    Parameters
    ----------
    response
        Model and quantity of interest.
    dtype, rows
        Type of rows, and how many the model is given at once.
    probes
        Some rows of the domain, (B, n).

    Returns
    -------
    The evaluator, and one sentence's end on why it is this one.
    """
    model = response.model
    if isinstance(model, ByName):
        own = replace(response, model=model.inner)
        found, why = choose_evaluator(own, dtype, rows, probes[:, model.index])
        return ColumnwiseEvaluator(found, model.index, probes.shape[1]), why
    dense = DenseEvaluator(response, dtype, rows)
    if isinstance(model, OneVsRest) and response.qoi == "probability":
        each = [choose_evaluator(own, dtype, rows, probes) for own in model.responses]
        members = [member for member, _ in each]
        # A member that routes itself would take the class for one of its own.
        if not any(isinstance(getattr(m, "inner", m), RoutedEvaluator) for m in members):
            return RoutedEvaluator(dense, members), each[0][1]
    if isinstance(model, SklearnModel | LightGBMBooster):
        of_trees = tree_evaluator(response, model, dense, probes)
        if of_trees is not None:
            return of_trees
    if isinstance(model, SklearnModel):
        of_pipeline = pipeline_evaluator(response, model, dense, probes)
        if of_pipeline is not None:
            return of_pipeline
    try:
        stem = _stem(response, dense, probes)
    except NoStemError as reason:
        return dense, f"row by row, because {reason}"
    why = f"by an affine stem of {stem.width} outputs: a step moves along one of its columns"
    return StemEvaluator(response, dtype, rows, stem), why


def _stem(response: Response, dense: DenseEvaluator, probes: Floats) -> Stem:
    dtype = torch.float32 if dense.dtype == np.float32 else torch.float64
    device = response.model.device(dtype)
    n = probes.shape[1]
    with full_precision():
        stem = find_stem(_module(response, dtype), n, dtype, device, widest=int(_WIDEST * n))
    expected = dense.outputs(probes)
    with full_precision():
        rows = torch.as_tensor(probes, dtype=dtype, device=device)
        found = stem.outputs(stem.states(rows)).cpu().double().numpy()
    same = found.shape == expected.shape and np.allclose(
        found, expected, rtol=_AGREEMENT[dtype], atol=_AGREEMENT[dtype] * np.abs(expected).max()
    )
    if not same:
        msg = "its affine stem does not give its outputs"
        raise NoStemError(msg)
    return stem


def _module(response: Response, dtype: torch.dtype) -> nn.Module:
    model = response.model
    if isinstance(model, InTorch):
        return model.module(dtype)
    if isinstance(model, Chain):
        return composed(model, dtype)
    if isinstance(model, Onnx):
        return onnx_module(model, dtype).to(model.device(dtype))
    if isinstance(model, SklearnModel):
        try:
            return as_module(model)
        except Untranslatable as estimator:
            msg = f"{estimator} has no affine stem that is known"
            raise NoStemError(msg) from estimator
    msg = f"{model.name} is a black box"
    raise NoStemError(msg)
