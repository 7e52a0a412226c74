"""Pages whose cells are run at each build: what they show is what files and package say."""

from __future__ import annotations

import ast
import csv
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def run(page: str, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], str]:
    """The names that a page's cells leave, and the Markdown that they show."""
    shown: list[str] = []
    package, notebook = ModuleType("IPython"), ModuleType("IPython.display")
    package.get_ipython = lambda: None  # type: ignore[attr-defined]
    package.version_info = (9, 0)  # type: ignore[attr-defined]  # matplotlib asks for both
    notebook.Markdown = str  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", package)
    monkeypatch.setitem(sys.modules, "IPython.display", notebook)
    monkeypatch.chdir(DOCS)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(plt, "show", lambda: None)
    text = (DOCS / page).read_text("utf-8")
    names: dict[str, Any] = {"display": shown.append}
    cells = re.findall(r"```\{code-cell\} python\n(?::tags:[^\n]*\n)?(.*?)```", text, re.DOTALL)
    assert cells
    for cell in cells:
        tree = ast.parse(cell)
        last = tree.body[-1] if isinstance(tree.body[-1], ast.Expr) else None
        if last is not None:
            tree.body.pop()
        exec(compile(tree, page, "exec"), names)
        if last is not None:
            shown.append(eval(compile(ast.Expression(last.value), page, "eval"), names))
    return names, "\n".join(one for one in shown if isinstance(one, str))


# ---- benchmarks


def figures() -> list[dict[str, str]]:
    with (DOCS / "benchmarks.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_page_about_benchmarks_has_every_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    names, shown = run("benchmarks.md", monkeypatch)
    bars, *_ = (c for c in names["ax"].containers)
    drawn = [f"{bar.get_width():g}" for bar in bars]
    rows = figures()
    assert {f"{float(v):g}" for v in names["bars"].values()} == set(drawn)
    for row in rows:
        value = row["value"]
        assert f"| {value} |" in shown or f" {float(value):,.0f} MiB" in shown, row
    plt.close("all")


def test_figures_are_named_once_and_by_a_script_that_makes_them() -> None:
    rows = figures()
    assert len({(row["benchmark"], row["what"]) for row in rows}) == len(rows) > 50
    table = ast.parse((ROOT / "tests" / "benchmarks" / "table.py").read_text("utf-8"))
    (made,) = (node for node in table.body if isinstance(node, ast.AnnAssign))
    of_table = {key.value for key in made.value.keys}  # type: ignore[union-attr]
    scripts = {"scale_atlas", "scale_workers", "scale_storing"}
    assert {row["benchmark"] for row in rows} == of_table | scripts
    page = (DOCS / "benchmarks.md").read_text("utf-8")
    assert "tests/benchmarks/table.py --out docs/benchmarks.csv" in page
    for name in scripts:
        assert f"tests/benchmarks/scale.py {name.removeprefix('scale_')}" in page


def test_other_benchmarks_stay_where_one_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(ROOT / "tests" / "benchmarks"), *sys.path])
    from kept import keep, read

    path = tmp_path / "figures.csv"
    for name, value in (("a", "1"), ("b", "2"), ("c", "3"), ("b", "4")):
        keep(path, name, [("one, with a comma", value), ("two", value)])
    assert [(r["benchmark"], r["value"]) for r in read(path)] == [
        ("a", "1"), ("a", "1"), ("b", "4"), ("b", "4"), ("c", "3"), ("c", "3"),
    ]  # fmt: skip
    assert read(path)[0]["what"] == "one, with a comma"


# ---- reproduction

CHECKLIST = (
    *(f"S{i}" for i in range(1, 11)), *(f"C{i}" for i in range(1, 8)), "B1", "B2", "B3",
    *(f"V{i}" for i in range(1, 10)), *(f"H{i}" for i in range(1, 9)),
    *(f"P{i}" for i in range(1, 8)), *(f"A{i}" for i in range(1, 10)), "X1", "X2", "X3",
)  # fmt: skip


def test_the_checklist_has_each_row_once_with_a_state(monkeypatch: pytest.MonkeyPatch) -> None:
    names, shown = run("reproduction.md", monkeypatch)
    rows = [row for part in names["parts"].values() for row in part]
    assert [row.name for row in rows] == list(CHECKLIST)
    states = {*names["checklist"].STATES, "beyond the paper"}
    for row in rows:
        assert row.state in states
        assert f"| **{row.name}** | {row.what} |" in shown
        line = (row.what, row.paper, row.here, row.state)
        assert all(line)
        assert not any("|" in part or re.search(r"\bnan\b", part) for part in line), line
        if row.state == "not run yet":  # only where a table is missing
            (path,) = re.findall(r"`(notebooks/\S+)` is missing", row.here)
            assert not (ROOT / path).exists()


def test_tests_that_the_checklist_names_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    names, _ = run("reproduction.md", monkeypatch)
    for _, _, _, *tests in names["checklist"].TESTED:
        assert tests
        for test in tests:
            path, name = test.split("::")
            tree = ast.parse((ROOT / "tests" / path).read_text("utf-8"))
            assert name in {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}, test


def test_verdicts_follow_the_tables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A table that says otherwise, or is gone, changes the state of its row."""
    monkeypatch.setattr(sys, "path", [str(DOCS), *sys.path])
    import checklist

    before = {row.name: row for row in checklist.synthetic()}
    assert before["S1"].state == "reproduced smaller"
    assert "0.96" in before["S1"].here
    table = checklist.read("synthetic/results/accuracy")
    ours = (table["set"] == "switch") & (table["method"] == "value")
    folder = tmp_path / "synthetic" / "results"
    folder.mkdir(parents=True)
    table.assign(accuracy=np.where(ours, 0.3, table["accuracy"])).to_csv(
        folder / "accuracy.csv", index=False
    )
    monkeypatch.setattr(checklist, "NOTEBOOKS", tmp_path)
    after = {row.name: row for row in checklist.synthetic()}
    assert after["S1"].state == after["S2"].state == "differs"
    assert "0.30" in after["S1"].here
    assert after["S4"].here == before["S4"].here
    assert after["S9"].state == "not run yet"
    assert after["S9"].here == "`notebooks/synthetic/results/delta_star.csv` is missing"


# ---- concepts


@pytest.mark.slow
def test_pictures_of_the_concepts(monkeypatch: pytest.MonkeyPatch) -> None:
    names, _ = run("concepts.md", monkeypatch)
    statuses = names["corner"].obs["sensx_status"].astype(str).str.replace("_", "-")
    assert statuses.tolist() == names["corner"].obs["answer"].tolist()
    assert names["corner"].obs["sensx_delta_star"].iloc[0] == pytest.approx(0.35)
    assert names["cells"].obs["sensx_status"].tolist() == ["resolved"]
    # The walks of the picture stay inside its box, and their gene values are those of all walks.
    assert (names["ends"] >= names["low"]).all()
    assert (names["ends"] <= names["high"]).all()
    assert len(names["named"]) >= 8
    plt.close("all")
