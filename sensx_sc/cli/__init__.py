"""The command line: ``sensx-sc`` or ``python -m sensx_sc``."""

from __future__ import annotations

from sensx_sc.cli.main import main

__all__ = ["main"]
