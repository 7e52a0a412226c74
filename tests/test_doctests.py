"""Run every example in the docstrings of the tested package, and ask for one of each function."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
from operator import attrgetter
from typing import TYPE_CHECKING

import pytest

import sensx_sc as sx

if TYPE_CHECKING:
    from pathlib import Path

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(sx.__path__, "sensx_sc.")
    if not module.name.endswith("__main__")
)
ROOMS = sorted(name for name in sx.__all__ if inspect.ismodule(getattr(sx, name)))
PUBLIC = [f"{room}.{name}" for room in ROOMS for name in getattr(sx, room).__all__]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the examples of one module in an empty directory."""
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    output: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for example in doctest.DocTestFinder().find(module, name):
        runner.run(example, out=output.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(output)


@pytest.mark.parametrize("name", PUBLIC)
def test_public_functions_have_an_example(name: str) -> None:
    """Each public function says how to use it."""
    thing = attrgetter(name)(sx)
    if inspect.isfunction(thing):
        assert ">>> " in (inspect.getdoc(thing) or ""), f"sx.{name} has no example"
