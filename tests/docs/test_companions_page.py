"""The page about companion methods runs as it is written, and has the notebooks' numbers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sensx_sc as sx

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "companions.md"
NOTEBOOKS = ROOT / "notebooks" / "companions"


@pytest.mark.slow
def test_every_snippet_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    adata = names["adata"]
    edited = adata.obs["edited"].to_numpy()
    slopes = adata.layers["local_sensitivity"]
    # What the page says: each cell's first 200 genes, and no others, have slopes.
    tested = np.isfinite(slopes[edited])
    assert (tested.sum(axis=1) == 200).all()
    assert (adata.layers["sensx_rank"][edited][tested] <= 200).all()
    table = adata.uns["property_gradient"]["table"]
    assert set(table["property"]) == set(names["editors"])
    has_placebo = table["property"] != "library size"
    moved = has_placebo & (table["n_inputs"] > 0)  # a cell without counts of a programme stays
    assert moved.sum() > 3
    assert table.loc[moved, "p_placebo"].between(0, 1).all()
    assert table.loc[~has_placebo, "p_placebo"].isna().all()
    assert set(names["found"].table["property"]) == {"haematoxylin", "blur"}
    constant = adata.X.toarray().std(axis=0) == 0
    assert (adata.var.loc[constant, "scores_rank"] == 0).all()
    assert adata.var["scores_rank"].max() == (adata.var["scores_rank"] > 0).sum() > 300


def test_the_page_names_every_tool_and_is_in_the_list() -> None:
    text = PAGE.read_text("utf-8")
    arrays = {"LocalSensitivity", "local_sensitivity"}
    for name in {*sx.companions.__all__} - arrays:
        assert f"`{name}`" in text, name
    for name in ("fit_scores", "ScoresActivation"):
        assert f"`sx.nn.{name}`" in text, name
    assert "\ncompanions\n" in (PAGE.parent / "index.md").read_text("utf-8")
    assert "@@" not in text


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_the_page_refers_to_each_notebook(path: Path) -> None:
    assert f"`notebooks/companions/{path.name}`" in PAGE.read_text("utf-8")


def shown(path: Path) -> str:
    """All that a notebook's cells have printed or shown as text."""
    cells = json.loads(path.read_text("utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    parts = [out.get("text") or out.get("data", {}).get("text/plain", []) for out in outputs]
    return "\n".join("".join(part) for part in parts)


TABLES = {
    "local_sensitivity": 3,
    "property_gradient": 3,
    "tissue": 2,
    "scores_activation": 3,
}
"""Digits of the numbers in the tables of each notebook's section."""


@pytest.mark.parametrize("stem", TABLES)
def test_numbers_of_the_tables_are_those_of_the_notebooks(stem: str) -> None:
    """Each of them stands in its notebook's outputs."""
    text = PAGE.read_text("utf-8")
    section = text[text.index(f"notebooks/companions/{stem}.ipynb") :]
    section = section[: section.index("\n#")] if "\n#" in section else section
    rows = [line for line in section.splitlines() if line.startswith("|")]
    of_digits = rf"(?<![\d.])-?\d?\.\d{{{TABLES[stem]}}}(?!\d)"
    numbers = re.findall(of_digits, "\n".join(rows))
    assert len(numbers) > 20
    found = shown(NOTEBOOKS / f"{stem}.ipynb")
    for number in numbers:
        digits = number.lstrip("-")
        zero = "0" if digits[0] == "." else ""
        assert re.search(rf"(?<!\d){zero}{re.escape(digits)}", found), number
