"""Reduced precision is off inside and as it was after, also with several threads."""

from __future__ import annotations

import threading

import torch

from sensx_sc.evaluators.full_precision import full_precision


def test_full_precision_has_no_gradients_and_ends() -> None:
    with full_precision():
        assert torch.is_inference_mode_enabled()
        assert torch.get_float32_matmul_precision() == "highest"
    assert not torch.is_inference_mode_enabled()


def test_threads_that_overlap_leave_the_users_setting() -> None:
    inside, leave = threading.Event(), threading.Event()
    seen: list[str] = []

    def first() -> None:
        with full_precision():
            inside.set()
            leave.wait(10)

    kept = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        thread = threading.Thread(target=first)
        thread.start()
        assert inside.wait(10)
        with full_precision():
            leave.set()
            thread.join(10)
            # The first thread has left, but this one is still inside.
            seen.append(torch.get_float32_matmul_precision())
        seen.append(torch.get_float32_matmul_precision())
    finally:
        torch.set_float32_matmul_precision(kept)
    assert seen == ["highest", "high"]


def test_gradients_are_kept_where_they_are_asked_for() -> None:
    for mode in (torch.inference_mode, torch.no_grad):
        with mode(), full_precision(gradients=True):
            assert torch.is_grad_enabled()
            assert not torch.is_inference_mode_enabled()
            assert torch.get_float32_matmul_precision() == "highest"
            x = torch.ones(3, requires_grad=True)
            (back,) = torch.autograd.grad((x**2).sum(), x)
            assert back.tolist() == [2.0, 2.0, 2.0]
    with full_precision(gradients=True), full_precision():
        assert torch.is_inference_mode_enabled()
