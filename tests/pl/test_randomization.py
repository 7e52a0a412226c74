from __future__ import annotations

import runpy
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

import sensx_sc as sx

made = runpy.run_path(str(Path(__file__).parent / "fabricated_tools.py"))["randomization"]
KEY = "sensx_randomization"


def test_levels_agreement_and_statuses() -> None:
    adata = made()
    left, right = sx.pl.randomization(adata)
    names = [label.get_text() for label in left.get_yticklabels()]
    assert names[:2] == ["another seed", "encoder.block.11.attentio..."]
    assert names[2].startswith("+ encoder.block.10")
    table = adata.uns[KEY]["levels"]
    for level in range(3):
        r = table.loc[table["level"] == level, "spearman"]
        np.testing.assert_allclose(np.sort(left.collections[level].get_offsets()[:, 0]), np.sort(r))
    assert [text.get_text() for text in left.texts] == ["no ranking"]
    widths = [bar.get_width() for bar in right.patches]
    assert widths == [1, 1, 1, 1]
    assert [text.get_text() for text in right.texts][-1] == "delta* 0"
    assert [label.get_text() for label in right.get_yticklabels()] == [""] * 4


def test_shares_of_statuses() -> None:
    adata = made(2, 40)
    right = sx.pl.randomization(adata)[1]
    last = adata.uns[KEY]["levels"].query("level == 2")
    share = (last["status"] == "insensitive").mean()
    assert 0 < share < 1
    assert right.patches[-1].get_width() == pytest.approx(share)
    assert right.get_legend() is not None


def test_independent_levels_are_not_sums() -> None:
    left, _ = sx.pl.randomization(made(3, mode="independent"))
    assert not any(label.get_text().startswith("+") for label in left.get_yticklabels())


@pytest.mark.parametrize("n_levels", [1, 12, 50])
def test_few_and_many_levels(n_levels: int) -> None:
    left, _ = sx.pl.randomization(made(n_levels))
    assert len(left.get_yticklabels()) == n_levels + 1
    left.figure.canvas.draw()


def test_your_axes() -> None:
    _, mine = plt.subplots(1, 2)
    assert list(sx.pl.randomization(made(), ax=mine)) == list(mine)
    with pytest.raises(ValueError, match="1 Axes for 2 panels"):
        sx.pl.randomization(made(), ax=mine[0])
    with pytest.raises(KeyError, match="run sx.tl.randomization_check first"):
        sx.pl.randomization(made(), key="none")
