"""Where models run."""

from __future__ import annotations

import torch


def find_device(device: str | torch.device, home: torch.device | None = None) -> torch.device:
    """The device meant: "auto" is ``home`` if that is a GPU, else the first GPU, else the CPU."""
    if device == "auto":
        if home is not None and home.type != "cpu":
            return home
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    if not isinstance(device, str | torch.device):
        msg = f"`device` must be 'auto', a device's name or a torch.device; got {device!r}."
        raise TypeError(msg)
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        msg = f"`device` {device!r} cannot be used here: {error}"
        raise ValueError(msg) from error
    return found


def that_holds(dtype: torch.dtype, device: torch.device) -> torch.device:
    """The device, or the CPU where it has no such numbers: Apple's GPUs have no float64."""
    return torch.device("cpu") if device.type == "mps" and dtype == torch.float64 else device
