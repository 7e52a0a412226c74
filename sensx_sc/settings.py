"""Package-wide defaults: device, precision, memory budget, progress bars, seed.

The one piece of global state of the package. It imports nothing but the standard library.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from sensx_sc.words import PRECISIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sensx_sc.words import Precision

__all__ = ["Settings", "settings"]

UNITS = {
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}


@dataclass
class Settings:
    """Defaults used wherever an argument is left at ``"auto"`` or ``None``.

    Every assignment is checked, so a typing error is reported where it is made.

    Parameters
    ----------
    device
        Where models are evaluated: ``"auto"`` (CUDA, then MPS, then CPU), ``"cpu"``, ``"cuda"``,
        ``"cuda:1"``, ``"mps"``.
    precision
        ``"float32"``, ``"float64"``, or ``"auto"``: float32 where the measured noise of the model
        is harmless, else float64.
    memory_budget
        Bytes that one batch of model evaluations may occupy: an integer, or a string such as
        ``"2GiB"`` or ``"500 MB"``; always read back as an integer.
    progress
        Whether long computations show a progress bar.
    seed
        Seed used where a function is not given its own; an integer in [0, 2**64).

    Raises
    ------
    TypeError
        If a value has the wrong type.
    ValueError
        If a value is not among those allowed.
    AttributeError
        If the name is not a setting.

    Examples
    --------
    >>> import sensx_sc as sx
    >>> with sx.settings.override(memory_budget="2GiB", progress=False):
    ...     sx.settings.memory_budget
    2147483648
    >>> sx.settings.memory_budget
    1073741824
    """

    device: str = "auto"
    precision: Precision = "auto"
    memory_budget: int = 2**30
    progress: bool = True
    seed: int = 0

    def __setattr__(self, name: str, value: Any) -> None:
        """Check and store one setting."""
        if name not in CHECKS:
            msg = f"{name!r} is not a setting; the settings are {', '.join(CHECKS)}."
            raise AttributeError(msg)
        object.__setattr__(self, name, CHECKS[name](value))

    @contextmanager
    def override(self, **values: Any) -> Iterator[Settings]:
        """Change settings inside a ``with`` block and restore them when it ends.

        Parameters
        ----------
        **values
            Names of settings and the values they have inside the block.

        Yields
        ------
        The settings themselves. The earlier values come back however the block is left.

        Raises
        ------
        TypeError
            If a name is not a setting, or a value has the wrong type.
        ValueError
            If a value is not among those allowed. Nothing is changed then.

        Examples
        --------
        >>> import sensx_sc as sx
        >>> with sx.settings.override(seed=7) as settings:
        ...     settings.seed
        7
        """
        unknown = [name for name in values if name not in CHECKS]
        if unknown:
            names = ", ".join(map(repr, unknown))
            msg = f"override got {names}; the settings are {', '.join(CHECKS)}."
            raise TypeError(msg)
        checked = {name: CHECKS[name](value) for name, value in values.items()}
        before = {name: getattr(self, name) for name in checked}
        self._store(checked)
        try:
            yield self
        finally:
            self._store(before)

    def reset(self) -> None:
        """Put every setting back to its default.

        Examples
        --------
        >>> import sensx_sc as sx
        >>> sx.settings.seed = 3
        >>> sx.settings.reset()
        >>> sx.settings.seed
        0
        """
        self._store({field.name: field.default for field in fields(self)})

    def _store(self, values: dict[str, Any]) -> None:
        for name, value in values.items():
            setattr(self, name, value)


def _device(value: object) -> str:
    if not isinstance(value, str):
        msg = f"device must be a string such as 'auto', 'cpu' or 'cuda:0', got {value!r}."
        raise TypeError(msg)
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", value):
        msg = f"device must be 'auto', 'cpu', 'mps', 'cuda' or 'cuda:<number>', got {value!r}."
        raise ValueError(msg)
    return value


def _precision(value: object) -> str:
    if not isinstance(value, str):
        msg = f"precision must be one of {', '.join(PRECISIONS)} (a string), got {value!r}."
        raise TypeError(msg)
    if value not in PRECISIONS:
        msg = f"precision must be one of {', '.join(PRECISIONS)}, got {value!r}."
        raise ValueError(msg)
    return value


def _memory_budget(value: object) -> int:
    if isinstance(value, str):
        return _bytes(value)
    number = _integer("memory_budget", value, also=" or a string such as '2GiB'")
    if number <= 0:
        msg = f"memory_budget must be a positive number of bytes, got {number}."
        raise ValueError(msg)
    return number


def _bytes(text: str) -> int:
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-zA-Z]*)\s*", text)
    unit = match[2].lower() or "b" if match else ""
    if match is None or unit not in UNITS:
        msg = (
            f"memory_budget must be bytes or a number with a unit (B, kB, MB, GB, TB, KiB, MiB, "
            f"GiB, TiB), for example '2GiB', got {text!r}."
        )
        raise ValueError(msg)
    number = int(float(match[1]) * UNITS[unit])
    if number <= 0:
        msg = f"memory_budget must be at least one byte, got {text!r}."
        raise ValueError(msg)
    return number


def _progress(value: object) -> bool:
    if not isinstance(value, bool):
        msg = f"progress must be True or False, got {value!r}."
        raise TypeError(msg)
    return value


def _seed(value: object) -> int:
    number = _integer("seed", value)
    if not 0 <= number < 2**64:
        msg = f"seed must lie in [0, 2**64), got {number}."
        raise ValueError(msg)
    return number


def _integer(name: str, value: object, also: str = "") -> int:
    """Return an integer, also a numpy one; refuse bool and float."""
    if not isinstance(value, bool) and hasattr(value, "__index__"):
        return int(value.__index__())
    msg = f"{name} must be an integer{also}, got {value!r}."
    raise TypeError(msg)


CHECKS = {
    "device": _device,
    "precision": _precision,
    "memory_budget": _memory_budget,
    "progress": _progress,
    "seed": _seed,
}

settings = Settings()
