"""The package's logger.

Functions tell what they wrote and what they assumed as ``INFO`` messages of the standard
library's logger ``"sensx_sc"``, printed to stderr as plain sentences. To hear less::

    import logging

    logging.getLogger("sensx_sc").setLevel(logging.WARNING)

An application that configures logging itself (``logging.basicConfig`` or any handler on the root
logger) gets the records through its own handlers, once, and this module prints nothing.
"""

from __future__ import annotations

import logging
import sys
from typing import TextIO

__all__ = ["logger"]


class _FallbackHandler(logging.StreamHandler[TextIO]):
    """Print to the current stderr unless the root logger has handlers of its own."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record, or leave it to the root logger's handlers."""
        if logging.getLogger().handlers:
            return
        self.stream = sys.stderr  # looked up now: notebooks and tests replace it
        super().emit(record)


logger = logging.getLogger("sensx_sc")
if not logger.handlers:
    _handler = _FallbackHandler()
    _handler.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(_handler)
if logger.level == logging.NOTSET:  # a level chosen before this first import stays
    logger.setLevel(logging.INFO)
