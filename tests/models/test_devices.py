"""Where models run."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sensx_sc.models.devices import find_device, that_holds


def test_devices(device: str) -> None:
    assert find_device(device).type == device
    assert find_device("auto", torch.device(device)).type in (device, "cuda", "mps")
    assert find_device("auto", torch.device("meta")).type == "meta"  # a home that is no CPU


@pytest.mark.parametrize(
    ("device", "error", "match"),
    [
        (3, TypeError, "`device` must be 'auto', a device's name or a torch.device; got 3"),
        ("gpu", ValueError, "`device` 'gpu' cannot be used here"),
        ("xpu:7", ValueError, "`device` 'xpu:7' cannot be used here"),
    ],
)
def test_what_is_no_device(device: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        find_device(device)


@pytest.mark.parametrize(
    ("device", "dtype", "expected"),
    [
        ("mps", torch.float64, "cpu"),  # Apple's GPUs have none
        ("mps", torch.float32, "mps"),
        ("cuda", torch.float64, "cuda"),
        ("cpu", torch.float64, "cpu"),
    ],
)
def test_a_device_that_holds_a_type(device: str, dtype: torch.dtype, expected: str) -> None:
    assert that_holds(dtype, torch.device(device)).type == expected
