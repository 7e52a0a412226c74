"""The page about groups runs as it is written."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:groups have")
def test_groups() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "groups.md").read_text("utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "groups.md", "exec"), names)
    cells, some = names["cells"], names["some"]
    assert isinstance(some.obsm["sensx_covariates"], pd.DataFrame)  # type: ignore[attr-defined]
    assert cells.obsm["sensx_groups"].shape == (5, 17)  # type: ignore[attr-defined]
    assert (names["counts"].var["sensx_kind"] == "count").all()  # type: ignore[attr-defined]
