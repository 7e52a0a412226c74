"""The logger speaks once: itself, or through the root logger's handlers."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from sensx_sc.logger import logger

if TYPE_CHECKING:
    import pytest

PROGRAM = """
import logging
{setup}
from sensx_sc.logger import logger
logger.debug("a detail")
logger.info("a sentence")
"""


def run(setup: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(setup=setup)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ""
    return done.stderr


def test_messages_reach_stderr_plainly() -> None:
    assert run("") == "a sentence\n"


def test_a_configured_root_logger_prints_once() -> None:
    assert run("logging.basicConfig(format='root: %(message)s')") == "root: a sentence\n"


def test_it_can_be_silenced() -> None:
    """Also before the package has made the logger, which it does on first use."""
    silence = "logging.getLogger('sensx_sc').setLevel(logging.WARNING)"
    assert run(f"import sensx_sc.logger; {silence}") == ""
    assert run(silence) == ""


def test_caplog_sees_the_messages(caplog: pytest.LogCaptureFixture) -> None:
    logger.info("seen")
    assert caplog.messages == ["seen"]
