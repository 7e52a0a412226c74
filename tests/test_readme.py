"""The README's Python runs as it is written."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib.axes
import pytest

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.slow
def test_the_notebook_snippet(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    sx, cells = names["sx"], names["cells"]
    table = sx.get.rankings(cells, rank_by="change", presence="present", n_genes=20)
    # Of the genes present in natural killer cells, several known markers lead.
    markers = sx.datasets.pbmc_markers().query("cell_type == 'NK cells'")["gene"]
    assert len(set(table["names"]) & set(markers)) >= 3
    axes = sx.pl.rankings(cells, rank_by="change", presence="present")
    assert isinstance(axes, matplotlib.axes.Axes)
