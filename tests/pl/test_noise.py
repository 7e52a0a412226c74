from __future__ import annotations

import runpy
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

import sensx_sc as sx

made = runpy.run_path(str(Path(__file__).parent / "fabricated_tools.py"))["noise"]


def test_points_medians_and_labels() -> None:
    adata = made()
    ax = sx.pl.noise(adata)
    table = adata.uns["sensx_noise"]["cells"]
    part = table[table["group"] == "type 1"]
    np.testing.assert_allclose(
        np.sort(ax.collections[1].get_offsets()[:, 0]), np.sort(part["n_found"])
    )
    assert ax.lines[1].get_xdata()[0] == np.median(part["n_found"])
    label = ax.get_yticklabels()[1].get_text()
    assert label == f"type 1 (n=10)\nnoise {part['threshold'].median():.1e}"
    assert any(list(line.get_xdata()) == [6289, 6289] for line in ax.lines)


@pytest.mark.parametrize("n_groups", [1, 50])
def test_few_and_many_groups(n_groups: int) -> None:
    ax = sx.pl.noise(made(n_groups, 100))
    assert len(ax.get_yticklabels()) == n_groups
    ax.figure.canvas.draw()


def test_your_axes_and_wrong_keys() -> None:
    _, mine = plt.subplots()
    assert sx.pl.noise(made(), ax=mine) is mine
    with pytest.raises(KeyError, match="run sx.tl.noise_screening first"):
        sx.pl.noise(made(), key="none")
