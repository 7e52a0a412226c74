"""Reproductions and tutorials: executed without error, small, of no one machine; scripts load."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pandas as pd
import pytest

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
TUTORIALS = Path(__file__).parents[1] / "tutorials"
REPRODUCTIONS = sorted(NOTEBOOKS.glob("*/*.ipynb"))
EXECUTED = [*REPRODUCTIONS, *sorted(TUTORIALS.glob("*.ipynb"))]
SCRIPTS = sorted(NOTEBOOKS.glob("*/benchmark.py"))


@pytest.mark.skipif(not NOTEBOOKS.exists(), reason="the notebooks are not part of the package")
def test_each_reproduction_has_a_notebook_a_script_and_results() -> None:
    rooms = {path.parent.name for path in REPRODUCTIONS}
    assert rooms >= {path.parent.name for path in SCRIPTS}
    assert {"synthetic", "single_cell", "biology", "planted"} <= rooms
    for path in SCRIPTS:
        assert list((path.parent / "results").rglob("*.csv")), path


@pytest.mark.parametrize("path", EXECUTED, ids=lambda path: path.stem)
def test_notebooks_are_executed_and_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text) < 1_500_000
    for place in ("/tmp/", "/home/", "/root/", "\\\\Users\\\\", "site-packages"):
        assert place not in text, place
    book = json.loads(text)
    code = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    assert all(cell["execution_count"] for cell in code)
    kinds = {output["output_type"] for cell in code for output in cell["outputs"]}
    assert "error" not in kinds
    assert kinds & {"display_data", "execute_result"}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.parent.name)
def test_scripts_load_and_say_how_they_are_run(path: Path) -> None:
    found = runpy.run_path(str(path))
    assert f"python notebooks/{path.parent.name}/benchmark.py" in found["__doc__"]


@pytest.mark.parametrize(
    "path", sorted(NOTEBOOKS.glob("*/results/**/*.csv")), ids=lambda path: path.stem
)
def test_tables_are_whole(path: Path) -> None:
    table = pd.read_csv(path)
    assert len(table) > 0
    assert not [name for name in table.columns if name.startswith("Unnamed")]
