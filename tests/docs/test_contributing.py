"""The adapter of the contributing guide works as written, and is as short as it says."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import sensx_sc as sx

if TYPE_CHECKING:
    from anndata import AnnData

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
LIBRARY = """
import numpy as np

class Card:
    def __init__(self, genes, classes, points):
        self.genes, self.classes, self.points = genes, classes, points

    def scores(self, array):
        return np.tanh(array) @ self.points
"""


def block(mark: str) -> str:
    """The code that follows a mark."""
    found = re.search(rf"<!-- {mark} -->\n```python\n(.*?)```", GUIDE, re.DOTALL)
    assert found is not None, mark
    return found.group(1)


@pytest.fixture
def guide(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Names of the adapter and of its test, beside a library that it is for."""
    library = ModuleType("scorecard")
    exec(LIBRARY, vars(library))
    monkeypatch.setitem(sys.modules, "scorecard", library)
    names: dict[str, Any] = {"Card": library.Card}
    for mark in ("adapter", "test of the adapter"):
        exec(compile(block(mark), "CONTRIBUTING.md", "exec", dont_inherit=True), names)
    return names


def card(guide: dict[str, Any]) -> Any:
    points = np.random.default_rng(0).normal(size=(20, 2))
    return guide["Card"]([f"gene_{j}" for j in range(20)], ["B", "T"], points)


def test_its_own_tests_pass(guide: dict[str, Any]) -> None:
    x = np.random.default_rng(1).random((2, 20))
    tests = {name: test for name, test in guide.items() if name.startswith("test_")}
    assert len(tests) == 4
    for test in tests.values():
        wanted = test.__code__.co_varnames[: test.__code__.co_argcount]
        test(**{name: {"card": card(guide), "x": x}[name] for name in wanted})


def test_it_explains_cells(guide: dict[str, Any], adata: AnnData) -> None:
    model = guide["ScorecardModel"](card(guide))
    assert guide["is_scorecard"](card(guide))
    assert isinstance(model, sx.models.Model)
    adata = adata[:3].copy()
    adata.var_names = model.feature_names
    sx.tl.sensx(adata, model, n_walks=20, n_samples=50)
    logits = model.source.scores(adata.X.astype(float))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(adata.obs["sensx_qoi"], p.max(axis=1), rtol=1e-6)
    adata.var_names = model.feature_names[::-1]
    with pytest.raises(ValueError, match="another order than the model's"):
        sx.tl.sensx(adata, model)


def test_it_is_as_short_as_the_readme_says() -> None:
    lines = [line for line in block("adapter").splitlines() if line.strip()]
    assert len(lines) <= 30
    assert "CONTRIBUTING.md#add-a-model-adapter" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert "## Add a model adapter" in GUIDE


def test_what_it_names_is_there() -> None:
    """Files and protocols that the guide sends its reader to."""
    from sensx_sc.models import held, model

    for name in re.findall(r"`(sensx_sc/[\w/]+\.py|tests/[\w/]+\.py)`", GUIDE):
        assert (ROOT / name).exists() or "scorecard" in name, name
    methods = {"module": model.InTorch, "check_rows": model.ChecksRows, "announce": model.Announces,
               "held_values": held.HoldsCovariates}  # fmt: skip
    for method, protocol in methods.items():
        assert f"`{method}(" in GUIDE
        assert hasattr(protocol, method)
