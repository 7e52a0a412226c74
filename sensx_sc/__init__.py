"""Local feature attribution by calibrated global sensitivity analysis, for single-cell models.

``import sensx_sc as sx``; the rooms ``sx.pp``, ``sx.tl``, ``sx.pl``, ``sx.get``, ``sx.im``,
``sx.nn``, ``sx.models``, ``sx.datasets``, ``sx.metrics``, ``sx.companions``, ``sx.core`` and
``sx.evaluators`` are loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

# Eager and light. The import binds the package's attribute to the module of that name; the next
# name binding, made by this very statement, puts the instance there, where it stays.
from sensx_sc.settings import settings

if TYPE_CHECKING:
    from sensx_sc import (
        companions,
        core,
        datasets,
        evaluators,
        get,
        im,
        metrics,
        models,
        nn,
        pl,
        pp,
        tl,
    )

    __version__: str

__all__ = [
    "__version__",
    "companions",
    "core",
    "datasets",
    "evaluators",
    "get",
    "im",
    "metrics",
    "models",
    "nn",
    "pl",
    "pp",
    "settings",
    "tl",
]

_ROOMS = frozenset(__all__) - {"__version__", "settings"}


def __getattr__(name: str) -> Any:
    """Import a room, or look the version up, on first use (PEP 562)."""
    if name in _ROOMS:
        from importlib import import_module

        return import_module(f"sensx_sc.{name}")
    if name == "__version__":
        value = globals()["__version__"] = _version()
        return value
    msg = f"module 'sensx_sc' has no attribute {name!r}; it has {', '.join(__all__)}."
    raise AttributeError(msg, name=name)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("sensx_sc")
    except PackageNotFoundError:  # a source tree that is not installed
        return "0+unknown"
