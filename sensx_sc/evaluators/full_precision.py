"""Evaluation in the precision that was asked for, whatever torch has been told before."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# The switches are the process's: the first thread that enters sets them, the last one restores.
_LOCK = threading.Lock()
_depth = 0
_restore: Callable[[], None] | None = None


@contextlib.contextmanager
def full_precision(*, gradients: bool = False) -> Iterator[None]:
    """Evaluate without TF32, reduced-precision products or autocast.

    Parameters
    ----------
    gradients
        Keep what a backward pass needs, even where the caller has switched that off.
    """
    global _depth, _restore
    with _LOCK:
        if _depth == 0:
            _restore = _switch_off()
        _depth += 1
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(torch.inference_mode(mode=not gradients))
            stack.enter_context(torch.set_grad_enabled(gradients))
            stack.enter_context(torch.autocast("cpu", enabled=False))
            if torch.cuda.is_available():
                stack.enter_context(torch.autocast("cuda", enabled=False))
            yield
    finally:
        with _LOCK:
            _depth -= 1
            if _depth == 0 and _restore is not None:
                _restore()
                _restore = None


def _switch_off() -> Callable[[], None]:
    """Switch reduced precision off, and say how to restore what was."""
    backends: Any = torch.backends
    try:
        matmul, cudnn = torch.get_float32_matmul_precision(), backends.cudnn.allow_tf32
    except RuntimeError:  # the user has set torch's newer switches; the two do not mix
        switches = [
            backends.cuda.matmul,
            backends.cudnn.conv,
            backends.cudnn.rnn,
            backends.mkldnn.matmul,
            backends.mkldnn.conv,
            backends.mkldnn.rnn,
        ]
        before = [switch.fp32_precision for switch in switches]
        for switch in switches:
            switch.fp32_precision = "ieee"

        def restore_each() -> None:
            for switch, value in zip(switches, before, strict=True):
                switch.fp32_precision = value

        return restore_each
    torch.set_float32_matmul_precision("highest")
    backends.cudnn.allow_tf32 = False

    def restore() -> None:
        torch.set_float32_matmul_precision(matmul)
        backends.cudnn.allow_tf32 = cudnn

    return restore
