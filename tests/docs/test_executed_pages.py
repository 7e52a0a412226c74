"""Pages whose cells are run at each build: what they show is what files and package say."""

from __future__ import annotations

import ast
import csv
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
with_notebooks = pytest.mark.skipif(
    not (ROOT / "notebooks").exists(), reason="the notebooks are not part of the package"
)


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
    rows = figures()
    drawn = [bar.get_width() for bar in names["drawn"]]
    assert drawn == [*names["bars"].values()]
    known = {row["value"] for row in rows}
    assert {f"{width:g}" for width in drawn} <= {
        f"{float(value):g}" for value in known if value.replace(".", "").isdigit()
    }
    for row in rows:
        value = row["value"]
        if row["what"].startswith("time, "):  # points of a picture
            continue
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
ROOMS = {"S": "synthetic", "C": "single_cell", "B": "single_cell", "V": "vision", "H": "spatial"}


@with_notebooks
def test_the_checklist_has_each_row_once_with_a_state(monkeypatch: pytest.MonkeyPatch) -> None:
    names, shown = run("reproduction.md", monkeypatch)
    rows = [row for part in names["parts"].values() for row in part]
    assert [row.name for row in rows] == list(CHECKLIST)
    states = {*names["checklist"].STATES, "beyond the paper"}
    for row in rows:
        assert row.state in states
        assert f"| **{row.name}** {row.state} | {row.what} |" in shown
        line = (row.what, row.paper, row.here, row.state)
        assert all(line)
        assert not any("|" in part or re.search(r"\bnan\b", part) for part in line), line
        if row.state == "not run yet":  # only where a table is missing
            (table,) = re.findall(r"`(\S+)` is missing", row.here)
            room = ROOMS[row.name[0]]
            assert not list((ROOT / "notebooks" / room).rglob(table))


@with_notebooks
def test_tests_that_the_checklist_names_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    names, _ = run("reproduction.md", monkeypatch)
    for _, _, _, *tests in names["checklist"].TESTED:
        assert tests
        for test in tests:
            path, name = test.split("::")
            tree = ast.parse((ROOT / "tests" / path).read_text("utf-8"))
            assert name in {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}, test


@with_notebooks
def test_verdicts_follow_the_tables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A table that says otherwise, or is gone, changes the state of its row."""
    monkeypatch.setattr(sys, "path", [str(DOCS), *sys.path])
    import checklist

    before = {row.name: row for row in checklist.synthetic()}
    assert before["S1"].state == "reproduced smaller"
    table = checklist.read("synthetic/results/accuracy")
    shown = table.query("set == 'switch' and method == 'value' and k == 2 and qoi == 'probability'")
    assert f"top 2 {shown['accuracy'].mean():.2f} (" in before["S1"].here
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
    assert after["S9"].here == "`delta_star.csv` is missing"


def tables_to_come(folder: Path) -> None:
    """Tables of the form that the scripts write, which may not have been made yet."""

    def write(name: str, rows: list[dict[str, Any]]) -> None:
        path = folder / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(rows).to_csv(path, index=False)

    vision, pbmc = "vision/results", "single_cell/results/pbmc"
    write(f"{vision}/maps", [
        {"image": "face", "delta_star": 0.5, "status": "resolved", "audit_passed": True,
         "audit_ratio": 1.1, "audit_spearman": 1.0}
    ])  # fmt: skip
    write(f"{vision}/channels", [{"image": "face", "channels": "rg", "spearman": 0.8}])
    write(f"{vision}/patch_profile", [
        {"image": "face", "method": method, "c": c, "distance": d, "mean": (d - 4) ** 2, "sd": sd}
        for method, sd in (("SensX", 0.2), ("expected gradients", 0.5)) for c in "rgb"
        for d in (0.5, 3.5, 6.5)
    ])  # fmt: skip
    write(f"{vision}/perturbation", [
        {"image": "face", "method": method, "first": first, "k": 0, "ratio": 1, "auc": auc}
        for method, first, auc in (("SensX value", "top", 0.2), ("SensX value", "bottom", 0.9),
                                   ("random", "top", 0.5), ("random", "bottom", 0.5))
    ])  # fmt: skip
    write(f"{vision}/randomised", [
        {"layers": "11", "status": "resolved", "spearman": 0.4, "top_1000": 0.2},
        {"layers": "0-11", "status": "insensitive", "spearman": np.nan, "top_1000": np.nan},
    ])  # fmt: skip
    write(f"{vision}/convergence", [
        {"states": 32, "seeds_spearman": 0.95, "seeds_top_500": 0.6, "half_as_many_spearman": 0.9}
    ])  # fmt: skip
    write(f"{vision}/base", [
        {"cpu_seconds_a_step": 0.4, "hours_a_walk_of_all_values": 17, "gib_peak": 3}
    ])  # fmt: skip
    for name in ("b2", "b3"):
        write(f"{pbmc}/{name}", [
            {"cell": "x", "size": 50, "tau": 0.1, "n_samples": n, "delta_star": 0.2}
            for n in (100, 5000)
        ])  # fmt: skip
    write("synthetic/results/curves", [
        {"set": kind, "method": method, "size": n, "k": 4,
         "accuracy": 0.8 if (kind, n) == ("nonlinear_additive", 500) else 0.9}
        for kind in ("xor", "nonlinear_additive") for method in ("value", "ig_zero")
        for n in ((500, 1000) if method == "value" else (50,))
    ])  # fmt: skip
    write("synthetic/results/delta_star_curves", [
        {"set": "orange_skin", "n": n, "delta_star": d, "n_inputs": 5}
        for n in (500, 1000) for d in (0.9, 1.0)
    ])  # fmt: skip
    inside = np.zeros((3, 224, 224), dtype=np.float16)
    inside[:, 80:150, 80:160] = 1
    np.savez_compressed(folder / vision / "maps.npz", face_value=inside)


@with_notebooks
def test_rows_whose_tables_are_to_come(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "path", [str(DOCS), *sys.path])
    import checklist
    import checklist_images

    shutil.copytree(ROOT / "notebooks", tmp_path, dirs_exist_ok=True)
    tables_to_come(tmp_path)
    monkeypatch.setattr(checklist, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(checklist_images, "NOTEBOOKS", tmp_path)
    rows = {
        row.name: row
        for part in (checklist.synthetic(), checklist.single_cell(), checklist_images.vision())
        for row in part
    }
    made = (*(f"V{i}" for i in range(1, 10)), "S7", "S8", "S10", "B2", "B3")
    assert {rows[name].state for name in made} == {"reproduced smaller"}
    assert "above .05: nonlinear additive value top 4" in rows["S7"].here
    assert "100% of the first 5,000 inside" in rows["V2"].here
    assert "least 0.25 at distance 3.5" in rows["V4"].here
    assert rows["B2"].here == "100.0% (1 cells)"


# ---- concepts


@pytest.mark.slow
def test_pictures_of_the_concepts(monkeypatch: pytest.MonkeyPatch) -> None:
    names, _ = run("concepts.md", monkeypatch)
    statuses = names["corner"].obs["sensx_status"].astype(str).str.replace("_", "-")
    assert statuses.tolist() == names["corner"].obs["answer"].tolist()
    assert names["corner"].obs["sensx_delta_star"].iloc[0] == pytest.approx(0.35)
    assert set(names["cells"].obs["sensx_status"]) == {"resolved"}
    # The walks of the picture stay inside its box, and their gene values are those of all walks.
    assert (names["ends"] >= names["low"]).all()
    assert (names["ends"] <= names["high"]).all()
    assert len(names["named"]) >= 8
    plt.close("all")
