"""The page about images runs as it is written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.slow
def test_images(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "images.md").read_text("utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "images.md", "exec"), names)
    sx, by_tile, fine, model = (names[n] for n in ("sx", "by_tile", "fine", "model"))
    # What the page says: the spot's own tile leads, two patches are taken apart, crops are reused.
    assert (sx.im.tile_dominance(by_tile)["ratio"] < 1).all()
    assert int(fine["value"].notnull().sum()) == 72
    assert model.n_asked > 2 * model.n_encoded
    assert "sensx" in names["adata"].uns["spatial"]["tissue"]["images"]
    assert names["codes"].shape[1] == names["rest"].shape[0] * names["rest"].shape[1]
