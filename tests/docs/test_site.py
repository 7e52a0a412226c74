"""The site has every page, tutorial and reproduction, and links lead somewhere."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
BUILT = {"tutorials": "tutorials/*.ipynb", "reproductions": "notebooks/*/*.ipynb"}


pytestmark = pytest.mark.skipif(
    not (ROOT / "notebooks").exists(), reason="the notebooks are not part of the package"
)


def entries(page: str) -> list[str]:
    """What the toctrees of a page list."""
    text = (DOCS / page).read_text("utf-8")
    trees = re.findall(r"```\{toctree\}\n(.*?)```", text, re.DOTALL)
    lines = "\n".join(trees).splitlines()
    return [line for line in lines if line and not line.startswith(":")]


def test_every_page_is_listed_once() -> None:
    listed = entries("index.md")
    assert sorted(listed) == sorted({path.stem for path in PAGES} - {"index"})


@pytest.mark.parametrize(
    ("page", "folder"), [("tutorials.md", "tutorials"), ("reproduction.md", "reproductions")]
)
def test_every_notebook_is_shown(page: str, folder: str) -> None:
    books = {path.stem for path in ROOT.glob(BUILT[folder])}
    assert books
    assert len(books) == len(list(ROOT.glob(BUILT[folder])))  # their copies lie in one folder
    assert {entry.removeprefix(f"{folder}/") for entry in entries(page)} == books
    if page == "tutorials.md":
        text = (DOCS / page).read_text("utf-8")
        for name in books:
            assert f"(tutorials/{name}.ipynb) |" in text, name


@pytest.mark.parametrize("room", ["core", "get", "im", "metrics", "models", "pl", "pp", "tl"])
def test_the_list_of_functions_shows_whole_sentences(room: str) -> None:
    """A sentence ends where Sphinx sees its first dot and blank, also after an abbreviation."""
    module = importlib.import_module(f"sensx_sc.{room}")
    for name in module.__all__:
        summary = (getattr(module, name).__doc__ or "").split("\n\n")[0]
        assert ". " not in summary.replace("\n", " ").strip(), (name, summary)


def anchors(path: Path) -> set[str]:
    """Names of the headings of a page, as GitHub and MyST make them."""
    found = re.findall(r"^#+ (.*)$", path.read_text("utf-8"), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", head.lower()) for head in found)
    return {head.strip().replace(" ", "-") for head in plain}


@pytest.mark.parametrize(
    "path", [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=lambda path: path.name
)
def test_links_lead_somewhere(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text("utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        to = path.parent / name if name else path
        for folder, pattern in BUILT.items():  # copied when the site is built
            if path.parent == DOCS and name.startswith(f"{folder}/"):
                copies = {made.name: made for made in ROOT.glob(pattern)}
                to = copies[name.removeprefix(f"{folder}/")]
        assert to.exists(), target
        if anchor:
            assert anchor in anchors(to), target
