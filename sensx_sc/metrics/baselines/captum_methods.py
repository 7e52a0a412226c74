"""Integrated Gradients, expected gradients and DeepLiftShap, by captum."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sensx_sc.metrics.baselines.question import (
    Answer,
    NotApplicableError,
    library,
    quiet,
    relative,
)
from sensx_sc.metrics.baselines.response_module import response_module

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from sensx_sc.core.arrays import Floats
    from sensx_sc.metrics.baselines.question import Question
    from sensx_sc.metrics.baselines.response_module import ResponseModule

_ROWS_TOGETHER = 2**24  # numbers of rows that are differentiated at once
_GRADIENT_SAMPLES = 200


def ig_zero(question: Question) -> Answer:
    """Integrated Gradients from the zero vector."""
    return _integrated(question, np.zeros_like(question.x))


def ig_mean(question: Question) -> Answer:
    """Integrated Gradients from the mean of the background."""
    mean = question.background.mean(axis=0)
    return _integrated(question, np.repeat(mean[None], len(question.cells), axis=0))


def ig_own(question: Question) -> Answer:
    """Integrated Gradients from the mean of the inputs with the same explained output."""
    x, target = question.x, question.cells.target
    baseline = np.empty_like(x)
    for k in np.unique(target):
        baseline[target == k] = x[target == k].mean(axis=0)
    return _integrated(question, baseline)


def ig_random(question: Question) -> Answer:
    """Integrated Gradients from a background row drawn for each input."""
    rows = [question.drawn("ig_random", i) for i in range(len(question.cells))]
    return _integrated(question, np.stack(rows))


def ig_expected(question: Question) -> Answer:
    """Integrated Gradients averaged over all background rows."""
    x, many = question.x, len(question.background)
    scores, missed = np.empty_like(x), np.empty(len(x))

    def of(i: int, module: ResponseModule, output: int) -> None:
        rows = np.repeat(x[i : i + 1], many, axis=0)
        found, gap = _along_paths(module, rows, question.background, output, question)
        scores[i] = found.mean(axis=0)
        should = _q(module, rows[:1], output) - _q(module, question.background, output).mean()
        missed[i] = relative(gap.mean(keepdims=True), should)[0]

    _each(question, of)
    return Answer(scores, missed)


def gradient_shap(question: Question) -> Answer:
    """Expected gradients at random points of random paths (GradientShap without noise)."""
    captum = library("captum.attr")
    x, many = question.x, question.n_samples or _GRADIENT_SAMPLES
    scores, missed = np.empty_like(x), np.empty(len(x))

    def of(i: int, module: ResponseModule, output: int) -> None:
        row, base = _tensor(x[i : i + 1], module), _tensor(question.background, module)
        seed = int(question.rng(f"gradient_shap:{question.cells.keys[i]}").integers(2**31))
        with quiet(seed):
            found, gap = captum.GradientShap(module).attribute(
                row,
                baselines=base,
                n_samples=many,
                stdevs=0.0,
                target=output,
                return_convergence_delta=True,
            )
        scores[i] = found.detach().cpu().numpy()[0]
        should = _q(module, x[i : i + 1], output) - _q(module, question.background, output).mean()
        missed[i] = relative(np.array([float(gap.mean())]), should)[0]

    _each(question, of)
    return Answer(scores, missed)


def deeplift_shap(question: Question) -> Answer:
    """DeepLift's rules averaged over the background (Lundberg and Lee's DeepSHAP)."""
    captum = library("captum.attr")
    x = question.x
    scores, missed = np.empty_like(x), np.empty(len(x))

    def of(i: int, module: ResponseModule, output: int) -> None:
        # Hooks are set on every activation: on a copy.
        method = captum.DeepLiftShap(copy.deepcopy(module))
        row, base = _tensor(x[i : i + 1], module), _tensor(question.background, module)
        with quiet(0):
            try:
                found, gap = method.attribute(
                    row, baselines=base, target=output, return_convergence_delta=True
                )
            except (RuntimeError, AssertionError) as error:
                msg = f"failed on this model: {str(error).splitlines()[0]}"
                raise NotApplicableError(msg) from error
        scores[i] = found.detach().cpu().numpy()[0]
        should = _q(module, x[i : i + 1], output) - _q(module, question.background, output).mean()
        missed[i] = relative(np.array([float(gap.mean())]), should)[0]

    if len(question.background) < 2:
        msg = "needs at least two background rows"
        raise NotApplicableError(msg)
    _each(question, of)
    return Answer(scores, missed)


def _each(question: Question, of: Callable[[int, ResponseModule, int], None]) -> None:
    """Call a function for each input with the response of its explained output."""
    modules: dict[int, tuple[ResponseModule, int]] = {}
    for i, target in enumerate(question.cells.target.tolist()):
        if target not in modules:
            example = question.cells.x(i)[None]
            modules[target] = response_module(question.cells.run.response, target, example)
        of(i, *modules[target])


def _integrated(question: Question, baseline: Floats) -> Answer:
    """Integrated Gradients of each input from its own baseline."""
    x = question.x
    scores, missed = np.empty_like(x), np.empty(len(x))

    def of(i: int, module: ResponseModule, output: int) -> None:
        row, start = x[i : i + 1], baseline[i : i + 1]
        found, gap = _along_paths(module, row, start, output, question)
        scores[i] = found[0]
        missed[i] = relative(gap, _q(module, row, output) - _q(module, start, output))[0]

    _each(question, of)
    return Answer(scores, missed)


def _along_paths(
    module: ResponseModule, rows: Floats, start: Floats, output: int, question: Question
) -> tuple[Floats, Floats]:
    """Integrated Gradients of rows (B, n), and what they miss, (B,)."""
    captum = library("captum.attr")
    together = max(1, _ROWS_TOGETHER // rows.shape[1])
    with quiet(0):
        found, gap = captum.IntegratedGradients(module).attribute(
            _tensor(rows, module),
            baselines=_tensor(start, module),
            target=output,
            n_steps=question.n_steps,
            method="gausslegendre",
            internal_batch_size=max(together, len(rows)),
            return_convergence_delta=True,
        )
    return found.detach().cpu().numpy(), gap.detach().cpu().numpy()


def _tensor(values: Floats, module: ResponseModule) -> Tensor:
    device = next((part.device for part in _state(module)), torch.device("cpu"))
    return torch.as_tensor(np.ascontiguousarray(values), dtype=torch.float64, device=device)


def _state(module: ResponseModule) -> Any:
    yield from module.parameters()
    yield from module.buffers()


def _q(module: ResponseModule, rows: Floats, output: int) -> Floats:
    with torch.no_grad():
        found: Floats = module(_tensor(rows, module))[:, output].cpu().numpy()
    return found
