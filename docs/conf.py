"""Sphinx configuration."""

from __future__ import annotations

import shutil
from importlib.metadata import version as installed_version
from pathlib import Path

project = "sensx_sc"
author = "the sensx_sc developers"
copyright = f"2026, {author}"  # noqa: A001
release = version = installed_version("sensx_sc")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]

# Tutorials and reproductions are shown as they were executed; a copy of each lies here for a build.
HERE = Path(__file__).parent
for folder, books in (
    ("tutorials", HERE.parent.glob("tutorials/*.ipynb")),
    ("reproductions", HERE.parent.glob("notebooks/*/*.ipynb")),
):
    shutil.rmtree(HERE / folder, ignore_errors=True)
    (HERE / folder).mkdir()
    for book in books:
        shutil.copy2(book, HERE / folder)
nb_execution_excludepatterns = ["tutorials/*", "reproductions/*"]

# Docstrings: numpy style, types in the signature only. Returns sections are prose: the keys that
# are written, a line each.
autosummary_generate = True
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
napoleon_google_docstring = False
napoleon_custom_sections = ["Returns", "Yields", "Source"]
napoleon_use_rtype = False

# Pages with code are executed at each build: what they show is what the package does.
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "cache"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_output_stderr = "remove"
nb_render_markdown_format = "myst"  # tables that cells make

html_theme = "sphinx_book_theme"
html_title = "sensx_sc"
html_theme_options = {"show_toc_level": 2, "home_page_in_toc": True}
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_copy_source = False


def setup(app: object) -> None:
    """Read pages again whose numbers are in files, also where the pages have not changed."""
    pages = ["benchmarks", "reproduction"]
    app.connect("env-get-outdated", lambda *_: pages)  # type: ignore[attr-defined]
